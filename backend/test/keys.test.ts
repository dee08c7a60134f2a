import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Account } from '../src/accounts/account.entity.js';
import { ApiKey } from '../src/accounts/api-key.entity.js';
import { createApiKeys } from '../src/accounts/api-keys.js';
import { updateRows } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import { loginOf, makeAccount } from './support/account.js';
import { databases, startRig, type Reply, type Rig } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { coreOf } from './support/parts.js';

interface Key {
  id: string;
  key: string;
  permissions: string[];
  isActive: boolean;
  expiresAt: string | null;
  successorId: string | null;
  isClaimable: boolean;
}
const codeOf = ({ status, body }: Reply): unknown[] => [status, body.error?.code];

describe.each(await databases())('keys on %s', (database) => {
  let rig: Rig;
  let sessionId: string;
  let moved = 0;
  const clock = { now: () => new Date(Date.now() + moved), monotonic: () => performance.now() + moved };
  beforeAll(async () => {
    rig = await startRig({
      database,
      clock,
      settings: { MAX_KEYS_PER_SESSION: '3', KEY_EXPIRY_DAYS: '30', KEY_EXPIRY_NOTICE_DAYS: '7' },
    });
    sessionId = ((await rig.call('POST', '/sessions', { body: { name: 'shop' } })).body.data as { id: string }).id;
  });
  afterAll(() => rig?.close());

  const make = async (body: Record<string, unknown> = {}, path = '/keys'): Promise<Key> => {
    const reply = await rig.call('POST', path, { body: { name: 'k', permissions: ['messages.send'], ...body } });
    expect(reply.status).toBe(201);
    return reply.body.data as Key;
  };
  const me = (key: string): Promise<Reply> => rig.call('GET', '/auth/me', { key });
  const read = async (id: string): Promise<Key> => (await rig.call('GET', `/keys/${id}`)).body.data as Key;
  const rowOf = (id: string) => rig.database.reader.getRepository(ApiKey).findOneByOrFail({ id });

  test('shown once, stored as a hash; a key with one letter changed is refused without a look into the database', async () => {
    const { id, key } = await make();
    expect(key).toMatch(/^chq_[0-9A-Za-z]{49}$/);
    expect(JSON.stringify((await rig.call('GET', '/keys')).body)).not.toContain(key);
    const {
      rows: [row],
    } = await runStatement<{ hash: string }>(rig.database.reader, 'SELECT * FROM api_keys WHERE id = ?', [id]);
    expect(row!.hash).toBe(createHash('sha256').update(key).digest('hex'));
    expect(JSON.stringify(row)).not.toContain(key);
    const wrong = key.slice(0, -1) + (key.endsWith('0') ? '1' : '0');
    expect(codeOf(await me(wrong))).toEqual([401, 'UNAUTHENTICATED']);
  });

  test('an expiry that no reply could name is refused, and the keys can still be listed', async () => {
    const { id } = await make();
    for (const expiresAt of ['9999-12-31T23:59:59-00:01', '0000-01-01T00:00:00+00:01'])
      for (const [method, path] of [
        ['POST', '/keys'],
        ['PUT', `/keys/${id}`],
      ] as const) {
        const body = { ...(method === 'POST' ? { name: 'k', permissions: ['messages.send'] } : {}), expiresAt };
        const reply = await rig.call(method, path, { body });
        expect([expiresAt, ...codeOf(reply)]).toEqual([expiresAt, 422, 'VALIDATION_FAILED']);
        expect(reply.body.error!.details['fields']).toMatchObject([{ path: 'expiresAt' }]);
      }
    expect((await rig.call('GET', '/keys')).status).toBe(200);
    await make({ expiresAt: '9999-12-31T23:59:59Z' });
    expect((await rig.call('GET', '/keys')).status).toBe(200);
  });

  test('fifty requests that come at once with a key that is not in memory read it once', async () => {
    const { id, key } = await make();
    const { coalescer } = rig.database;
    let reads = 0;
    const database = {
      ...rig.database,
      coalescer: {
        ...coalescer,
        coalesce: <Row>(key: string, read: () => Promise<Row[]>) => coalescer.coalesce(key, () => ((reads += 1), read())),
      },
    };
    const keys = createApiKeys(coreOf(database, clock));
    const found = await Promise.all(Array.from({ length: 50 }, () => keys.authenticate(key)));
    expect(found.map((row) => row.id)).toEqual(Array(50).fill(id));
    expect(reads).toBe(1);
  });

  test('a key is switched off, on and revoked, each from the next request on; the audit log names the caller', async () => {
    const { id, key } = await make({ name: 'life' });
    expect((await me(key)).status).toBe(200);
    await rig.call('PUT', `/keys/${id}`, { body: { isActive: false } });
    expect(codeOf(await me(key))).toEqual([401, 'UNAUTHENTICATED']);
    await rig.call('PUT', `/keys/${id}`, { body: { isActive: true } });
    expect((await me(key)).status).toBe(200);
    expect((await rig.call('DELETE', `/keys/${id}`)).body.data).toEqual({ id, deleted: true });
    expect(codeOf(await me(key))).toEqual([401, 'UNAUTHENTICATED']);
    expect(codeOf(await rig.call('GET', `/keys/${id}`))).toEqual([404, 'KEY_NOT_FOUND']);
    const audit = (await rig.call('GET', `/audit?object=${id}`)).body.data as {
      action: string;
      actor: { type: string; name: string };
    }[];
    expect(audit.map(({ action }) => action).reverse()).toEqual(['key.create', 'key.update', 'key.update', 'key.revoke']);
    expect(audit[0]!.actor).toMatchObject({ type: 'key', name: 'Primary key' });
  });

  test('a permission that was removed is missing at once, and named', async () => {
    const { id, key } = await make({ permissions: ['messages.send', 'audit.read'] });
    expect((await rig.call('GET', '/audit', { key })).status).toBe(200);
    await rig.call('PUT', `/keys/${id}`, { body: { permissions: ['messages.send'] } });
    const refused = await rig.call('GET', '/audit', { key });
    expect(codeOf(refused)).toEqual([403, 'PERMISSION_DENIED']);
    expect([refused.body.error?.details, refused.body.error?.message]).toEqual([
      { permission: 'audit.read' },
      expect.stringContaining('audit.read'),
    ]);
  });

  test('no caller can pass on more permissions than it has, on any route', async () => {
    const { key } = await make({ permissions: ['keys.manage', 'messages.send'] });
    const strong = await make({ permissions: ['*'] });
    const weak = await make({ permissions: ['messages.send'] });
    const by = (method: string, path: string, body?: unknown) =>
      rig.call(method, path, { key, ...(body === undefined ? {} : { body }) });
    for (const reply of [
      await by('POST', '/keys', { name: 'x', permissions: ['*'] }),
      await by('POST', '/keys', { name: 'x', permissions: ['messages.receive'] }),
      await by('PUT', `/keys/${weak.id}`, { permissions: ['messages.send', 'audit.read'] }),
      await by('PUT', `/keys/${strong.id}`, { permissions: ['messages.send'] }),
      await by('POST', `/keys/${strong.id}/regenerate`, {}),
      await by('POST', `/keys/${strong.id}/claim`, {}),
    ])
      expect(codeOf(reply)).toEqual([403, 'PERMISSION_DENIED']);
    expect((await by('POST', '/keys', { name: 'x', permissions: ['messages.send'] })).status).toBe(201);
    expect((await me(strong.key)).status).toBe(200);
    expect(codeOf(await by('POST', '/keys', { name: 'x', permissions: ['messages.fly'] }))).toEqual([422, 'UNKNOWN_PERMISSION']);
  });

  test('a session has three keys at most, also when ten are created at once; deleting one allows another', async () => {
    const path = `/sessions/${sessionId}/keys`;
    const replies = await Promise.all(
      Array.from({ length: 10 }, (_, n) => rig.call('POST', path, { body: { name: `k${n}`, permissions: [] } })),
    );
    const made = replies.filter(({ status }) => status === 201);
    expect(made).toHaveLength(3);
    expect(replies.filter(({ body }) => body.error?.code === 'KEY_LIMIT_REACHED')).toHaveLength(7);
    const [first] = made.map(({ body }) => body.data as Key) as [Key];
    expect((await rig.call('GET', path)).body.data).toHaveLength(3);
    expect(codeOf(await rig.call('GET', '/keys', { key: first.key }))).toEqual([403, 'ACCOUNT_KEY_REQUIRED']);
    await rig.call('DELETE', `${path}/${first.id}`);
    expect((await rig.call('POST', path, { body: { name: 'again', permissions: [] } })).status).toBe(201);
  });

  test('a revoked primary key that two calls replace at once is replaced by one key, and one of the two secrets works', async () => {
    const { id } = await makeAccount(rig);
    const { email } = (await rig.database.reader.getRepository(Account).findOneBy({ id }))!;
    const login = await loginOf(rig, email);
    const primaries = () => rig.database.reader.getRepository(ApiKey).findBy({ accountId: id, isPrimary: true, isActive: true });
    const [before] = await primaries();
    expect((await rig.call('DELETE', `/keys/${before!.id}`, login)).status).toBe(200);
    const replies = await Promise.all([1, 2].map(() => rig.call('POST', '/auth/me/api-key/regenerate', login)));
    expect(await primaries()).toHaveLength(1);
    const secrets = replies.map(({ body }) => (body.data as { apiKey: string }).apiKey);
    const statuses = await Promise.all(secrets.map(async (key) => (await me(key)).status));
    expect(statuses.sort()).toEqual([200, 401]);
  });

  test('a new secret for a key: id, settings and usage stay, the old secret is dead', async () => {
    const before = await make({ name: 'again', rateLimit: { limit: 7 } });
    const { key, ...after } = (await rig.call('POST', `/keys/${before.id}/regenerate`, { body: {} })).body.data as Key;
    expect(after).toMatchObject({ id: before.id, name: 'again', rateLimit: { limit: 7 } });
    expect(codeOf(await me(before.key))).toEqual([401, 'UNAUTHENTICATED']);
    expect((await me(key)).status).toBe(200);
  });

  test('a key ends when it says, unless it says never; the refusal names the time', async () => {
    const at = new Date(clock.now().getTime() + 86_400_000).toISOString();
    const [ends, never, usual] = [await make({ expiresAt: at }), await make({ expiresAt: null }), await make()];
    expect(Math.round((Date.parse(usual.expiresAt!) - clock.now().getTime()) / 86_400_000)).toBe(30);
    moved += 2 * 86_400_000;
    const refused = await me(ends.key);
    expect([...codeOf(refused), refused.body.error?.details['expiredAt']]).toEqual([401, 'KEY_EXPIRED', at]);
    expect((await me(never.key)).status).toBe(200);
    expect((await me(usual.key)).status).toBe(200);
  });

  test('a rotation is announced once, the successor’s secret can be claimed once, and both keys work until the old one ends', async () => {
    const old = await make({ name: 'rotates', autoRotation: true, permissions: ['messages.send', 'audit.read'] });
    moved += 24 * 86_400_000;
    // What runs at each start and every hour: a second backend's start, or this.
    const sweep = () =>
      createApiKeys(coreOf(rig.database, clock), {
        rules: { maxPerSession: 3, expiryDays: 30, autoRotation: false, noticeDays: 7 },
      }).announceEnding();
    await Promise.all([sweep(), sweep()]);
    await sweep();
    const { successorId } = await read(old.id);
    const told = (await rig.call('GET', '/events?types=key.expiring&limit=200')).body.data as {
      data: { keyId: string; successorId: string };
    }[];
    expect(told.filter(({ data }) => data.keyId === old.id).map(({ data }) => data.successorId)).toEqual([successorId]);
    expect(await read(successorId!)).toMatchObject({
      name: 'rotates',
      permissions: ['messages.send', 'audit.read'],
      isClaimable: true,
    });
    const claimed = (await rig.call('POST', `/keys/${successorId}/claim`, { body: {} })).body.data as Key;
    expect(codeOf(await rig.call('POST', `/keys/${successorId}/claim`, { body: {} }))).toEqual([410, 'KEY_ALREADY_CLAIMED']);
    expect([(await me(claimed.key)).status, (await me(old.key)).status]).toEqual([200, 200]);
    moved += 8 * 86_400_000;
    const refused = await me(old.key);
    expect([...codeOf(refused), refused.body.error?.details['successorId']]).toEqual([401, 'KEY_EXPIRED', successorId]);
    expect((await me(claimed.key)).status).toBe(200);
  });

  test.each([
    ['is revoked', { isActive: false, deletedAt: new Date() }, 'none'],
    ['is switched off', { isActive: false }, 'none'],
    ['ends later', { expiresAt: new Date('2999-01-01T00:00:00Z') }, 'none'],
    ['does not rotate any more', { autoRotation: false }, 'announced'],
    ['loses a permission', { permissions: ['messages.send'] }, 'messages.send'],
  ])('rotation: a key that %s after it was found to end soon is judged as it is now', async (_name, change, expected) => {
    const { id } = await make({ name: 'changes', autoRotation: true, permissions: ['messages.send', 'audit.read'] });
    moved += 24 * 86_400_000;
    let isChanged = false;
    const { write } = rig.database;
    const late: typeof write = {
      ...write,
      async run(work) {
        if (!isChanged) {
          isChanged = true;
          await write.run((tx) => updateRows(tx, ApiKey, { id }, change));
        }
        return write.run(work);
      },
    };
    await createApiKeys(coreOf({ ...rig.database, write: late }, clock), {
      rules: { maxPerSession: 3, expiryDays: 30, autoRotation: false, noticeDays: 7 },
    }).announceEnding();
    expect(isChanged).toBe(true);
    const { successorId, noticedAt } = await rowOf(id);
    if (expected === 'none') expect([successorId, noticedAt]).toEqual([null, null]);
    else if (expected === 'announced') expect([successorId, noticedAt === null]).toEqual([null, false]);
    else expect((await read(successorId!)).permissions).toEqual([expected]);
  });

  test('two different credentials in one request are refused; the same twice is one', async () => {
    const [one, other] = [await make(), await make()];
    const both = (second: string) => rig.call('GET', '/auth/me', { key: one.key, headers: { 'x-api-key': second } });
    expect(codeOf(await both(other.key))).toEqual([400, 'CONFLICTING_CREDENTIALS']);
    expect((await both(one.key)).status).toBe(200);
    const bearer = { key: null, headers: { authorization: `Bearer ${one.key}` } };
    expect((await rig.call('GET', '/auth/me', bearer)).status).toBe(200);
  });

  test('the last use is noted', async () => {
    const { id, key } = await make();
    await me(key);
    await eventually('the note', async () => (await rowOf(id)).lastUsedAt !== null);
    // A row of another account does not exist for this caller.
    await rig.database.write.run((tx) => updateRows(tx, ApiKey, { id }, { accountId: 'somebody else' }));
    expect(codeOf(await rig.call('GET', `/keys/${id}`))).toEqual([404, 'KEY_NOT_FOUND']);
  });
});
