import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loginOf } from './support/account.js';
import { databases, hasPostgres, hasRedis, password, redisUrl, startRig, type Reply, type Rig } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const refusal = ({ status, body }: Reply): unknown[] => [status, body.error?.code, body.error?.details['scope']];
const refusedFor = (scope: string): unknown[] => [429, 'RATE_LIMITED', scope];
const split = (replies: readonly Reply[]): { passed: number; refused: number } => ({
  passed: replies.filter(({ status }) => status < 400).length,
  refused: replies.filter(({ status }) => status === 429).length,
});
const times = <T>(n: number, call: () => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: n }, call));

async function makeKey(rig: Rig, body: Record<string, unknown> = {}, own?: string): Promise<{ id: string; key: string }> {
  const input = { name: 'limited', permissions: ['*'], ...body };
  const made = await rig.call('POST', '/keys', { body: input, ...(own ? { key: own } : {}) });
  expect(made.status).toBe(201);
  return made.body.data as { id: string; key: string };
}
describe('the address', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig({
      settings: { IP_RATE_LIMIT: '8', IP_RATE_WINDOW: '60000', IP_RATE_AUTHENTICATED_FACTOR: '5', TRUST_PROXY: '1' },
    });
  });
  afterAll(() => rig?.close());
  const from = (ip: string, key: string | null): Promise<Reply> =>
    rig.call('GET', '/auth/me', { key, headers: { 'x-forwarded-for': ip } });

  test('eight wrong credentials get 401, the ninth gets 429 with the time to wait', async () => {
    const replies = await times(50, () => from('192.0.2.1', 'chq_wrong'));
    expect(replies.filter(({ status }) => status === 401)).toHaveLength(8);
    expect(split(replies).refused).toBe(42);
    const last = await from('192.0.2.1', null);
    expect(refusal(last)).toEqual(refusedFor('ip'));
    const seconds = Number(last.headers.get('retry-after'));
    expect(seconds).toBeGreaterThan(50);
    expect(last.body.error?.details['retryAfterSeconds']).toBe(seconds);
    expect(last.body.error?.message).toContain(`Wait ${seconds} s`);
  });

  test('a valid key from that address still works, up to its own limit', async () => {
    const replies = await times(45, () => from('192.0.2.1', rig.apiKey));
    expect(split(replies)).toEqual({ passed: 40, refused: 5 });
    expect(refusal(replies.find(({ status }) => status === 429)!)).toEqual(refusedFor('ip'));
  });

  test('a flood of refused requests writes a bounded number of lines to the log', async () => {
    const lines = () => rig.lines.filter((line) => line.includes('A request was answered.') && line.includes('RATE_LIMITED'));
    const before = lines().length;
    expect(split(await times(250, () => from('192.0.2.1', null))).refused).toBe(250);
    // Each ten seconds there may be a hundred.
    await eventually('the refusals to be logged', async () => lines().length > 0);
    expect(lines().length - before).toBeLessThanOrEqual(200);
  });

  test('another address knows nothing of it', async () => {
    expect((await from('192.0.2.2', rig.apiKey)).status).toBe(200);
    expect((await from('192.0.2.2', 'chq_wrong')).status).toBe(401);
  });

  test('routes that ask for no credential are counted too', async () => {
    const login = () =>
      rig.call('POST', '/auth/login', {
        key: null,
        body: { email: 'nobody@example.com', password },
        headers: { 'x-forwarded-for': '192.0.2.3' },
      });
    for (let i = 0; i < 8; i += 1) await login();
    expect(refusal(await login())).toEqual(refusedFor('ip'));
  });
});

describe.each(await databases())('the key on %s', (database) => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig({ database, settings: { API_KEY_RATE_LIMIT: '12', API_KEY_RATE_WINDOW: '6000' } });
  });
  afterAll(() => rig?.close());

  test('exactly twelve of fifty at once pass, each reply has the remaining number, and there is capacity again after the window', async () => {
    const { key } = await makeKey(rig);
    const me = () => rig.call('GET', '/auth/me', { key });
    const replies = await times(50, me);
    expect(split(replies)).toEqual({ passed: 12, refused: 38 });
    const left = replies.filter(({ status }) => status === 200).map(({ headers }) => Number(headers.get('ratelimit-remaining')));
    expect(left.sort((a, b) => b - a)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    const refused = replies.find(({ status }) => status === 429)!;
    expect(refusal(refused)).toEqual(refusedFor('key'));
    expect(
      Object.fromEntries(
        ['ratelimit-limit', 'x-ratelimit-remaining', 'retry-after'].map((name) => [name, refused.headers.get(name)]),
      ),
    ).toEqual({
      'ratelimit-limit': '12',
      'x-ratelimit-remaining': '0',
      'retry-after': expect.stringMatching(/^[1-6]$/),
    });
    const reset = Number(refused.headers.get('x-ratelimit-reset')) - Date.now() / 1000;
    expect(Math.abs(reset)).toBeLessThan(7);
    await eventually('room', async () => (await me()).status === 200);
  });

  test('a key’s own limit applies instead, from the next request on, and its usage shows the remaining number', async () => {
    await eventually('the window of the primary key', async () => (await rig.call('GET', '/auth/me')).status === 200);
    const { id, key } = await makeKey(rig, { rateLimit: { limit: 3, windowMs: 60_000 } });
    expect(split(await times(5, () => rig.call('GET', '/auth/me', { key })))).toEqual({ passed: 3, refused: 2 });
    const usage = await eventually('the usage', async () => {
      const { data } = (await rig.call('GET', `/keys/${id}/usage`)).body;
      return (data as { total?: number } | undefined)?.total === 5 ? data : null;
    });
    expect(usage).toMatchObject({ total: 5, successful: 3, failed: 2, remaining: 0, rateLimit: { limit: 3, windowMs: 60_000 } });
    await rig.call('PUT', `/keys/${id}`, { body: { rateLimit: { limit: 5, windowMs: 60_000 } } });
    expect(split(await times(5, () => rig.call('GET', '/auth/me', { key })))).toEqual({ passed: 2, refused: 3 });
  });
});

describe.each(await databases())('the session on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  test('waiting sends beyond the pace are refused and named; queued ones are accepted and paced', async () => {
    await core.rig.call('PUT', '/sessions/current', {
      body: { settings: { pacing: { perMinute: 6, chatGapMs: 0, jitterMs: 0 } } },
    });
    const replies = await times(20, () => core.send('at once', {}, { Prefer: 'wait=1' }));
    expect(split(replies)).toEqual({ passed: 6, refused: 14 });
    expect(refusal(replies.find(({ status }) => status === 429)!)).toEqual(refusedFor('session_send'));
    expect((await core.send('later', { async: true })).status).toBe(202);
    const list = (await core.get('/messages/list?direction=outbound&limit=100')).body.data as unknown[];
    expect(list).toHaveLength(7);
  });

  test('the plan’s limit of calls for a session applies from the change on, without a restart, and other sessions keep theirs', async () => {
    const staff = await loginOf(core.rig);
    const plan = await core.rig.call('POST', '/admin/plans', { ...staff, body: { name: 'small' } });
    const { id: planId } = plan.body.data as { id: string };
    const me = (await core.get('/auth/me')).body.data as { id: string };
    await core.rig.call('PATCH', `/admin/accounts/${me.id}`, { ...staff, body: { planId } });
    const made = await core.post('/sessions', { name: 'second' });
    const { id: second } = made.body.data as { id: string };
    const status = (id: string) => core.get(`/sessions/${id}`);
    expect(split(await times(30, () => status(core.sessionId))).refused).toBe(0);
    await core.rig.call('PUT', `/admin/plans/${planId}`, { ...staff, body: { apiLimit: 5 } });
    const replies = await times(30, () => status(core.sessionId));
    expect(split(replies)).toEqual({ passed: 5, refused: 25 });
    expect(refusal(replies.find(({ status: code }) => code === 429)!)).toEqual(refusedFor('session_api'));
    expect(split(await times(8, () => status(second)))).toEqual({ passed: 5, refused: 3 });
    await core.rig.call('PUT', `/admin/plans/${planId}`, { ...staff, body: { apiLimit: 0 } });
    expect((await status(core.sessionId)).status).toBe(200);
  });
});

const isShared = (await hasRedis()) && (await hasPostgres());
if (!isShared) process.stderr.write('SKIPPED: limits over two backends, which need PostgreSQL and Redis on 127.0.0.1.\n');

(isShared ? describe : describe.skip)('two backends on one PostgreSQL and one Redis', () => {
  let rigs: [Rig, Rig];
  beforeAll(async () => {
    const settings = { REDIS_URL: redisUrl };
    const one = await startRig({ database: 'postgres', settings });
    rigs = [one, await startRig({ databaseUrl: one.databaseUrl!, settings })];
    for (const rig of rigs) await eventually('Redis', async () => (await health(rig)).checks['redis'] === 'ok');
  });
  afterAll(async () => {
    await rigs?.[1].close();
    await rigs?.[0].close();
  });
  const health = async (rig: Rig) =>
    (await rig.call('GET', '//health', { key: null })).body as unknown as { status: string; checks: Record<string, string> };

  test('of fifty callers over both exactly as many pass as the key may', async () => {
    const { key } = await makeKey(rigs[0], { rateLimit: { limit: 15, windowMs: 60_000 } });
    let n = 0;
    const replies = await times(50, () => rigs[(n += 1) % 2]!.call('GET', '/auth/me', { key }));
    expect(split(replies)).toEqual({ passed: 15, refused: 35 });
  });

  test('of fifty sends over both exactly as many are accepted as the day has places', async () => {
    const { data } = (await rigs[0].call('POST', '/sessions', { body: { name: 's', settings: { dailyLimit: 15 } } })).body;
    const body = {
      sessionId: (data as { id: string }).id,
      recipient: '5511999990001',
      message: 'x',
      async: true,
      queueIfOffline: true,
    };
    let n = 0;
    const replies = await times(50, () => rigs[(n += 1) % 2]!.call('POST', '/messages/send-text', { key: rigs[0].apiKey, body }));
    expect(split(replies)).toEqual({ passed: 15, refused: 35 });
  });
});

test('while the configured Redis is unavailable, limits apply in this process, and health reports degraded', async () => {
  const rig = await startRig({ settings: { REDIS_URL: 'redis://127.0.0.1:9', API_KEY_RATE_LIMIT: '5' } });
  try {
    expect(split(await times(12, () => rig.call('GET', '/auth/me')))).toEqual({ passed: 5, refused: 7 });
    const { body, status } = await rig.call('GET', '//health', { key: null });
    expect([status, body]).toMatchObject([200, { status: 'degraded', checks: { redis: 'degraded' } }]);
  } finally {
    await rig.close();
  }
});
