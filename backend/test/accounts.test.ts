import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createAccounts, type FirstAdmin } from '../src/accounts/accounts.js';
import { createApiKeys } from '../src/accounts/api-keys.js';
import { openDatabase } from '../src/db/database.js';
import { systemClock as clock } from '../src/lib/clock.js';
import { databases, password, startRig, type Rig } from './support/backend.js';
import { coreOf } from './support/parts.js';

describe.each(await databases())('accounts on %s', (database) => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig({ database, settings: { REGISTRATION: 'open' } });
  });
  afterAll(async () => rig?.close());

  const register = (name: string, email = `${name}@example.com`) =>
    rig.call('POST', '/auth/register', { key: null, body: { username: name, email, password } });
  const exchange = (apiKey: string) => rig.call('POST', '/auth/api-key', { key: null, body: { apiKey } });
  const me = (token: string) => rig.call('GET', '/auth/me', { key: null, headers: { authorization: `Bearer ${token}` } });
  const tokenOf = (reply: { body: { data?: unknown } }): string => (reply.body.data as { token: string }).token;

  test('open registration creates a user with a working primary key, and names the field whose value is in use', async () => {
    const made = await register('rosa');
    const { account, apiKey } = made.body.data as { account: { role: string }; apiKey: string };
    expect([made.status, account.role]).toEqual([201, 'user']);
    expect((await rig.call('GET', '/auth/me', { key: apiKey })).status).toBe(200);
    expect(JSON.stringify(made.body)).not.toMatch(/argon2|jwtSecret|passwordHash/);
    for (const [reply, field] of [
      [await register('rosa', 'other@example.com'), 'username'],
      [await register('other', 'ROSA@example.com'), 'email'],
    ] as const)
      expect([reply.status, reply.body.error?.code, reply.body.error?.details['field']]).toEqual([409, 'ALREADY_EXISTS', field]);
  });

  test('of ten registrations of one name at once, one succeeds and nine are refused with the field', async () => {
    const replies = await Promise.all(Array.from({ length: 10 }, (_, n) => register('same', `same${n}@example.com`)));
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(replies.filter(({ body }) => body.error?.details['field'] === 'username')).toHaveLength(9);
  });

  test('a token exchanged for a key has the key’s permissions and ends with it', async () => {
    const made = await rig.call('POST', '/keys', { body: { name: 'narrow', permissions: ['messages.send'] } });
    const { key, id } = made.body.data as { key: string; id: string };
    const token = tokenOf(await exchange(key));
    const shown = await me(token);
    expect((shown.body.data as { credential: unknown }).credential).toMatchObject({
      type: 'token',
      permissions: ['messages.send'],
    });
    const bearer = { key: null, headers: { authorization: `Bearer ${token}` } };
    expect((await rig.call('GET', '/keys', bearer)).body.error?.code).toBe('PERMISSION_DENIED');
    expect((await rig.call('POST', '/auth/logout', bearer)).body.error?.code).toBe('PASSWORD_LOGIN_REQUIRED');
    await rig.call('DELETE', `/keys/${id}`);
    expect((await me(token)).status).toBe(401);
    expect((await exchange(key)).body.error?.code).toBe('INVALID_CREDENTIALS');
  });
});

test('registration is closed unless it is opened', async () => {
  const rig = await startRig();
  const body = { username: 'rosa', email: 'rosa@example.com', password };
  const reply = await rig.call('POST', '/auth/register', { key: null, body }).finally(() => rig.close());
  expect([reply.status, reply.body.error?.code]).toEqual([403, 'REGISTRATION_CLOSED']);
});

test('a process that dies while it shows the first password leaves no account behind; the next start shows one that works', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'chasqui-first-'));
  const database = await openDatabase({ file: join(dir, 'chasqui.sqlite') });
  const rules = { maxPerSession: 10, expiryDays: 365, autoRotation: false, noticeDays: 7 };
  const keys = createApiKeys(coreOf(database), { rules });
  const accounts = createAccounts({ database, clock }, { keys });
  const shown: FirstAdmin[] = [];
  const start = (show: (first: FirstAdmin) => void): Promise<void> =>
    accounts.ensureFirstAdmin({ email: 'a@example.com', password: undefined, maxSessions: 1, show });
  try {
    const dies = start((first) => {
      shown.push(first);
      throw new Error('killed');
    });
    await expect(dies).rejects.toThrow('killed');
    await start((first) => shown.push(first));
    expect(shown).toHaveLength(2);
    const { email, password: second } = shown[1]!;
    await expect(accounts.authenticatePassword(email, second!, null)).resolves.toMatchObject({ role: 'admin' });
    await start((first) => shown.push(first));
    expect(shown).toHaveLength(2);
  } finally {
    await database.close();
    await rm(dir, { recursive: true });
  }
});
