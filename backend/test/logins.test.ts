import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AppError } from '@chasqui/shared';
import fc from 'fast-check';
import { createLoginLimit, type LoginAttempt, type LoginLimit } from '../src/accounts/login-limit.js';
import { authenticatePassword } from '../src/accounts/password-login.js';
import { resetAdmin } from '../src/accounts/reset-admin.js';
import type { LoginCaller, VerificationRoom } from '../src/accounts/verification-room.js';
import { openDatabase } from '../src/db/database.js';
import { systemClock } from '../src/lib/clock.js';
import { countedAddress } from '../src/lib/client-address.js';
import { createLocalWindows } from '../src/lib/windows.js';
import { databases, hasPostgres, hasRedis, password, redisUrl, startRig, type Reply, type Rig } from './support/backend.js';
import { eventually } from './support/eventually.js';

const refused = (reply: Reply): boolean => reply.status === 429 && reply.body.error?.details['scope'] === 'login';
const login = (rig: Rig, ip: string, email: string, secret: string): Promise<Reply> =>
  rig.call('POST', '/auth/login', { key: null, body: { email, password: secret }, headers: { 'x-forwarded-for': ip } });
const atOnce = <T>(n: number, call: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: n }, (_, index) => call(index)));
const count = (replies: readonly Reply[], status: number): number => replies.filter((reply) => reply.status === status).length;

describe.each(await databases())('failed logins on %s', (database) => {
  let rig: Rig;
  let email: string;
  beforeAll(async () => {
    rig = await startRig({ database, settings: { TRUST_PROXY: '1' } });
    email = rig.firstAdmin!.email;
  });
  afterAll(() => rig?.close());

  test('of sixty wrong passwords at once ten are judged, and the owner still signs in from elsewhere', async () => {
    const replies = await atOnce(60, () => login(rig, '192.0.2.1', email, 'wrong password here'));
    expect([count(replies, 401), replies.filter(refused).length]).toEqual([10, 50]);
    expect(Number(replies.find(refused)!.headers.get('retry-after'))).toBeLessThanOrEqual(900);
    // Even the right password is not judged from there, and it is from any other address.
    expect(refused(await login(rig, '192.0.2.1', email, password))).toBe(true);
    expect((await login(rig, '192.0.2.2', email, password)).status).toBe(200);
  }, 30_000);

  test('one address has thirty over all accounts, whichever names it tries', async () => {
    const replies = await atOnce(45, (n) => login(rig, '192.0.2.3', `nobody${n}@example.com`, 'wrong password here'));
    expect([count(replies, 401), replies.filter(refused).length]).toEqual([30, 15]);
  }, 30_000);

  test('correct passwords are never refused, however many arrive at once, and they clear earlier failures', async () => {
    for (let n = 0; n < 9; n += 1) await login(rig, '192.0.2.4', email, 'wrong password here');
    const replies = await atOnce(40, () => login(rig, '192.0.2.4', email, password));
    expect(count(replies, 200)).toBe(40);
    const wrong = await atOnce(12, () => login(rig, '192.0.2.4', email, 'wrong password here'));
    expect(count(wrong, 401)).toBe(10);
  }, 30_000);

  test('addresses of one IPv6 network count together', async () => {
    const replies = await atOnce(20, (n) => login(rig, `2001:db8:1:2::${n + 1}`, email, 'wrong password here'));
    expect([count(replies, 401), replies.filter(refused).length]).toEqual([10, 10]);
    expect((await login(rig, '2001:db8:1:3::1', email, password)).status).toBe(200);
  }, 30_000);

  test('a flood from many addresses is bounded, and the owner signs in beside it from an address that was used before', async () => {
    expect((await login(rig, '192.0.2.7', email, password)).status).toBe(200);
    const flood = atOnce(400, (n) => login(rig, `198.51.${100 + (n >> 8)}.${n & 255}`, email, 'wrong password here'));
    const owner = login(rig, '192.0.2.7', email, password);
    const replies = await flood;
    expect((await owner).status).toBe(200);
    const refusals = replies.filter(({ status }) => status === 503).map(({ body }) => body.error?.code);
    // The slower the machine, the more time there is for each, and some wait too long for a connection; some are always refused.
    expect(refusals.filter((code) => code === 'OVERLOADED').length).toBeGreaterThan(10);
    expect(['OVERLOADED', 'DATABASE_UNAVAILABLE']).toEqual(expect.arrayContaining([...new Set(refusals)]));
    expect(count(replies, 401) + refusals.length).toBe(400);
  });

  test('a login that is refused because too many run is not counted', async () => {
    const parts = { database: rig.database, clock: systemClock };
    const refused = new AppError('OVERLOADED', { retryAfterSeconds: 5 });
    const verifications: VerificationRoom = { run: () => Promise.reject(refused), remember: () => undefined };
    const begun: string[] = [];
    const limit: LoginLimit = { begin: (login) => Promise.reject(new Error(`Counted ${begun.push(login)}.`)) };
    await expect(authenticatePassword({ ...parts, limit, verifications }, email, password, '192.0.2.30')).rejects.toBe(refused);
    expect(begun).toEqual([]);
  });

  test('the address of the last login is known also after a restart and on another backend', async () => {
    expect((await login(rig, '192.0.2.8', email, password)).status).toBe(200);
    const parts = { database: rig.database, clock: systemClock };
    for (const [ip, isKnown] of [
      ['192.0.2.8', true],
      ['192.0.2.9', false],
      ['192.0.2.8', false],
    ] as const) {
      const callers: LoginCaller[] = [];
      const verifications: VerificationRoom = {
        run: (caller, verify) => (callers.push(caller), verify()),
        remember: () => undefined,
      };
      const limit = createLoginLimit(createLocalWindows(systemClock), { ...parts, findReset: async () => null });
      await authenticatePassword({ ...parts, limit, verifications }, email, password, ip);
      expect(callers).toEqual([{ email, ip, isKnown }]);
    }
  });
});

/** Where the windows are: in memory, in PostgreSQL, in Redis. */
const resetStores = async (): Promise<{ name: string; database: 'sqlite' | 'postgres'; settings: Record<string, string> }[]> => [
  ...(await databases()).map((database) => ({ name: database, database, settings: {} })),
  ...((await hasPostgres()) && (await hasRedis())
    ? [{ name: 'postgres with Redis', database: 'postgres' as const, settings: { REDIS_URL: redisUrl } }]
    : []),
];

describe.each(await resetStores())('a reset of a password, with the windows in $name', ({ database, settings }) => {
  const options = { database, settings: { TRUST_PROXY: '1', ...settings } };
  let rigs: Rig[] = [];
  let email: string;
  beforeAll(async () => {
    const first = await startRig(options);
    rigs = [first];
    if (database === 'postgres') rigs.push(await startRig({ ...options, databaseUrl: first.databaseUrl! }));
    email = first.firstAdmin!.email;
  });
  afterAll(async () => {
    for (const rig of [...rigs].reverse()) await rig.close();
  });

  async function resetByOperator(): Promise<string> {
    const own = await openDatabase(
      rigs[0]!.databaseUrl ? { url: rigs[0]!.databaseUrl } : { file: join(rigs[0]!.dataDir, 'chasqui.sqlite') },
    );
    try {
      return (await resetAdmin({ database: own, clock: systemClock }, email, 'a secret of the test')).password;
    } finally {
      await own.close();
    }
  }

  test('lifts the lock of the account and of the address on every backend, once', async () => {
    const address = `198.51.100.${database.length + Object.keys(settings).length}`;
    for (const rig of rigs) {
      await atOnce(12, () => login(rig, address, email, 'wrong password here'));
      await atOnce(35, (n) => login(rig, address, `nobody${n}@example.com`, 'wrong password here'));
      expect(refused(await login(rig, address, email, password))).toBe(true);
    }
    const secret = await resetByOperator();
    for (const rig of [...rigs].reverse()) expect((await login(rig, address, email, secret)).status).toBe(200);
    // It is no door for guesses: after the reset as many are judged as ever, on each backend at most. While Redis answers late, as on a busy
    // machine, each backend counts for itself.
    const counting = 'REDIS_URL' in settings ? rigs.length : 1;
    const guess = (times: number): Promise<Reply[][]> =>
      Promise.all(rigs.map((rig) => atOnce(times, () => login(rig, address, email, 'wrong password here'))));
    const most = 10 * counting * (rigs.length + 1);
    let judged = count((await guess(40)).flat(), 401);
    expect(judged).toBeLessThanOrEqual(most);
    // A backend that had no answer of Redis meanwhile may follow the reset only now, once.
    for (let round = 0; round < counting; round += 1) judged += count((await guess(10)).flat(), 401);
    expect(judged).toBeLessThanOrEqual(most);
    expect(count((await guess(10)).flat(), 401)).toBe(0);
    expect(refused(await login(rigs[0]!, address, email, secret))).toBe(true);
  }, 60_000);

  test('of one account does not lift the lock of another', async () => {
    const other = `other-${database}@example.com`;
    const address = `198.51.100.${100 + database.length + Object.keys(settings).length}`;
    await atOnce(12, () => login(rigs[0]!, address, other, 'wrong password here'));
    await resetByOperator();
    expect(refused(await login(rigs[0]!, address, other, 'wrong password here'))).toBe(true);
  }, 30_000);
});

test('the part of an address that counts: an IPv4 address in any form, a network of IPv6, and nothing throws', () => {
  const forms: [string, string][] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::9', '2001:db8:1:2::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '::1'],
    ['unknown', 'unknown'],
  ];
  for (const [address, counted] of forms) expect([address, countedAddress(address)]).toEqual([address, counted]);
  fc.assert(fc.property(fc.ipV6(), (address) => /^([0-9a-f:]+(::\/64)?|[\d.]+)$/.test(countedAddress(address))));
  fc.assert(fc.property(fc.string(), (text) => typeof countedAddress(text) === 'string'));
});

test('for any attempts in any order, no more are verified than may fail, and no attempt waits forever', async () => {
  const attempts = fc.array(
    fc.record({ login: fc.nat({ max: 2 }), ip: fc.nat({ max: 2 }), ends: fc.constantFrom('failed', 'succeeded', 'cancelled') }),
    { maxLength: 80 },
  );
  await fc.assert(
    fc.asyncProperty(attempts, async (list) => {
      const limit = createLoginLimit(createLocalWindows({ monotonic: () => 0 }), {
        clock: { monotonic: () => 0 },
        findReset: () => Promise.resolve(null),
      });
      const failed = new Map<string, number>();
      const judge = async ({ login: name, ip, ends }: (typeof list)[number]): Promise<void> => {
        let attempt: LoginAttempt;
        try {
          attempt = await limit.begin(`${name}@example.com`, `192.0.2.${ip}`);
        } catch {
          return; // Refused: it was not judged.
        }
        await new Promise(setImmediate);
        if (ends === 'failed') {
          failed.set(`${name} ${ip}`, (failed.get(`${name} ${ip}`) ?? 0) + 1);
          failed.set(`${ip}`, (failed.get(`${ip}`) ?? 0) + 1);
          attempt.failed();
        } else await attempt[ends as 'succeeded' | 'cancelled']();
        // A right password forgets the failures of its account from its address.
        if (ends === 'succeeded') failed.set(`${name} ${ip}`, 0);
      };
      await Promise.all(list.map(judge));
      for (const [name, n] of failed) expect([name, n <= (name.includes(' ') ? 10 : 30)]).toEqual([name, true]);
    }),
    { numRuns: 60 },
  );
});

const isThere = await hasPostgres();
if (!isThere) process.stderr.write('SKIPPED: logins over two backends, because there is no PostgreSQL server.\n');
const stores: [string, Record<string, string>][] = [['the database', {}]];
if (await hasRedis()) stores.push(['Redis', { REDIS_URL: redisUrl }]);

(isThere ? describe : describe.skip)('two backends on one PostgreSQL', () => {
  test.each(stores)(
    'of wrong passwords over both at once ten are judged, counted in %s',
    async (store, settings) => {
      const { one, other, ip, close } = await twoBackends(settings);
      try {
        const email = one.firstAdmin!.email;
        const replies = await atOnce(40, (n) => login(n % 2 ? one : other, ip, email, `wrong password in ${store}`));
        expect([count(replies, 401), replies.filter(refused).length]).toEqual([10, 30]);
        expect(refused(await login(other, ip, email, password))).toBe(true);
        expect((await login(other, '198.51.100.7', email, password)).status).toBe(200);
      } finally {
        await close();
      }
    },
    40_000,
  );

  test.each(stores)(
    'a right password at one of them clears what was mistyped at the other, counted in %s',
    async (_store, settings) => {
      const { one, other, ip, close } = await twoBackends(settings);
      try {
        const email = one.firstAdmin!.email;
        for (let round = 0; round < 3; round += 1) {
          const wrong = await atOnce(9, () => login(other, ip, email, 'wrong password here'));
          expect([round, count(wrong, 401)]).toEqual([round, 9]);
          expect([round, (await login(one, ip, email, password)).status]).toEqual([round, 200]);
        }
        const wrong = await atOnce(12, () => login(other, ip, email, 'wrong password here'));
        expect([count(wrong, 401), wrong.filter(refused).length]).toEqual([3, 9]);
        expect((await login(other, '198.51.100.8', email, password)).status).toBe(200);
      } finally {
        await close();
      }
    },
    40_000,
  );
});

/** Two backends on one database whose store of windows is ready, and an address of their own: Redis is shared with other runs of this test. */
async function twoBackends(
  settings: Record<string, string>,
): Promise<{ one: Rig; other: Rig; ip: string; close: () => Promise<void> }> {
  const one = await startRig({ database: 'postgres', settings: { TRUST_PROXY: '1', ...settings } });
  const other = await startRig({ databaseUrl: one.databaseUrl!, settings: { TRUST_PROXY: '1', ...settings } });
  const isReady = async (rig: Rig): Promise<boolean> => {
    const { body } = await rig.call('GET', '//health', { key: null });
    return (body as unknown as { checks: Record<string, string> }).checks['redis'] !== 'degraded';
  };
  for (const rig of [one, other]) await eventually('the store', () => isReady(rig));
  const { port } = await freePort();
  const ip = `10.${process.pid % 250}.${port >> 8}.${port & 255}`;
  const close = async (): Promise<void> => {
    await other.close();
    await one.close();
  };
  return { one, other, ip, close };
}

async function freePort(): Promise<{ port: number }> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return address;
}
