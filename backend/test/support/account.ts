import { randomUUID } from 'node:crypto';
import { createAccounts } from '../../src/accounts/accounts.js';
import { createApiKeys } from '../../src/accounts/api-keys.js';
import { systemClock as clock } from '../../src/lib/clock.js';
import { password, type Rig } from './backend.js';
import { coreOf } from './parts.js';

/** One more tenant of a running backend; gives its id and account key. */
export async function makeAccount({ database }: Rig): Promise<{ id: string; key: string }> {
  const keys = createApiKeys(coreOf(database));
  const name = `other-${randomUUID().slice(0, 8)}`;
  const { account, apiKey } = await createAccounts({ database, clock }, { keys }).create(null, {
    username: name,
    email: `${name}@example.com`,
    password,
    role: 'user',
  });
  return { id: account.id, key: apiKey };
}

/** The headers of a call by a person who signed in: the first admin, when no person is named. */
export async function loginOf(
  rig: Rig,
  email = rig.firstAdmin!.email,
): Promise<{ key: null; headers: { authorization: string } }> {
  const { body } = await rig.call('POST', '/auth/login', { key: null, body: { email, password } });
  return { key: null, headers: { authorization: `Bearer ${(body.data as { token: string }).token}` } };
}
