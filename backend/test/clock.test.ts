import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createLoginLimit } from '../src/accounts/login-limit.js';
import { openDatabase, type Database } from '../src/db/database.js';
import { lockRows, updateRows } from '../src/db/rows.js';
import { steadyTime, type Clock } from '../src/lib/clock.js';
import { createLocalWindows } from '../src/lib/windows.js';
import { Message } from '../src/messages/message.entity.js';
import { createPacing } from '../src/messages/send/pacing.js';
import { Session } from '../src/sessions/session.entity.js';
import { hasPostgres, startRig } from './support/backend.js';
import { ana, quick, startCore } from './support/core.js';
import { eventually } from './support/eventually.js';
import { createWorld, makeAccount, makeSession, queue, startDispatcher, statusesOf } from './support/outbox.js';

/** The machine's clock is set forward and back while everything runs: nothing waits for it, and no limit is exceeded by it. */

const hourMs = 3_600_000;
const hasServer = await hasPostgres();

/** The time of this process, and a wall clock that the test sets. */
function settableClock(): Clock & { jump(ms: number): void } {
  let offset = 0;
  return {
    now: () => new Date(Date.now() + offset),
    monotonic: () => performance.now(),
    jump: (ms) => void (offset += ms),
  };
}

let dir: string;
let database: Database;
let accountId: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'chasqui-clock-'));
  database = await openDatabase({ file: join(dir, 'clock.sqlite') });
  accountId = await makeAccount(database);
});
afterAll(async () => {
  await database?.close();
  await rm(dir, { recursive: true, force: true });
});

type Step = { do: 'queue'; chats: number[] } | { do: 'jump'; ms: number } | { do: 'restart' } | { do: 'polls'; n: number };
const jump = fc.record({ do: fc.constant('jump' as const), ms: fc.integer({ min: -2 * hourMs, max: 2 * hourMs }) });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('queue' as const),
        chats: fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 3 }),
      }),
    },
    { weight: 4, arbitrary: jump },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('polls' as const), n: fc.integer({ min: 1, max: 4 }) }) },
  ),
  { minLength: 4, maxLength: 14 },
);
const turns = fc.array(fc.constantFrom('sent', 'refused', 'lostBefore', 'lostAfter', 'failedForNow', 'slow'), { maxLength: 8 });

test('whenever the clock is set by up to two hours, everything due leaves, once, within seconds', async () => {
  await fc.assert(
    fc.asyncProperty(steps, turns, async (list, outcomes) => {
      const clock = settableClock();
      const world = createWorld();
      world.turns.push(...outcomes);
      const sessionId = await makeSession(database, accountId, { perMinute: 600, chatGapMs: 15, jitterMs: 5 });
      const start = () =>
        startDispatcher({ database, world, clock, times: { pollMs: 5, leaseMs: 2_000, maxRetries: 12, retryIntervalMs: 2 } });
      let dispatcher = start();
      let queued = 0;
      try {
        for (const step of list)
          if (step.do === 'queue') queued += (await queue(database, sessionId, step.chats, clock.now())).length;
          else if (step.do === 'jump') clock.jump(step.ms);
          else if (step.do === 'restart') {
            await dispatcher.stop();
            // Long stopped: its claims have no owner. On SQLite there is no other backend.
            dispatcher = start();
          } else
            for (let n = 0; n < step.n; n += 1) {
              dispatcher.wake(sessionId);
              await new Promise(setImmediate);
            }
        await eventually(
          'everything to leave',
          async () => Object.values(await statusesOf(database, sessionId)).every((status) => status === 'sent'),
          12_000,
        );
      } finally {
        await dispatcher.stop();
      }
      expect(world.left).toHaveLength(queued);
      expect(new Set(world.left.map(({ messageId }) => messageId)).size).toBe(queued);
    }),
    { numRuns: 15, endOnFailure: true },
  );
}, 120_000);

test.each([
  ['a rest after a refusal', 'refused'],
  ['a scheduled retry', 'failedForNow'],
  ['a lookup that is planned', 'lostBefore'],
  ['a call that still runs at the worker', 'slow'],
] as const)('set back two hours during %s: it is over as soon as it would have been', async (_what, turn) => {
  const clock = settableClock();
  const world = createWorld();
  const sessionId = await makeSession(database, accountId, { perMinute: 60, chatGapMs: 30 });
  clock.jump(2 * hourMs);
  world.turns.push(turn);
  const times = { leaseMs: 600_000, graceMs: 150, retryIntervalMs: 300 };
  const dispatcher = startDispatcher({ database, world, clock, times });
  try {
    await queue(database, sessionId, [0, 0], clock.now());
    await eventually('the first call', () => Promise.resolve(world.turns.length === 0));
    clock.jump(-2 * hourMs);
    await eventually(
      'both to be sent',
      async () => Object.values(await statusesOf(database, sessionId)).every((status) => status === 'sent'),
      8_000,
    );
    expect(world.left).toHaveLength(2);
  } finally {
    await dispatcher.stop();
  }
});

test('an uncertain message whose lookup, grace period and connection are two hours ahead is looked up within its grace period', async () => {
  const world = createWorld();
  const ahead = new Date(Date.now() + 2 * hourMs);
  const sessionId = await makeSession(database, accountId, {}, { connectedAt: ahead });
  const [id] = await queue(database, sessionId, [0]);
  await database.write.run((tx) =>
    updateRows(tx, Message, { id: id! }, { status: 'uncertain', nextAttemptAt: ahead, leaseExpiresAt: ahead }),
  );
  const dispatcher = startDispatcher({ database, world, times: { graceMs: 100 } });
  try {
    await eventually('it to be sent', async () => (await statusesOf(database, sessionId))[id!] === 'sent');
    expect(world.left).toHaveLength(1);
  } finally {
    await dispatcher.stop();
  }
});

test('messages leave in the order of acceptance of a queue that was filled before and after the clock was set back', async () => {
  let offset = 2 * hourMs;
  const core = await startCore({
    clock: { now: () => new Date(Date.now() + offset), monotonic: () => performance.now() },
    settings: { LEASE_SECONDS: '600' },
  });
  try {
    await core.worker.die();
    const ids: string[] = [];
    for (let n = 0; n < 6; n += 1) {
      if (n === 3) offset = 0;
      ids.push(((await core.send(`${n}`, { async: true })).body.data as { id: string }).id);
    }
    await core.worker.rise();
    for (const id of ids) await core.reaches(id, 'sent');
    expect(core.worker.left.map(({ messageId }) => messageId)).toEqual(ids);
  } finally {
    await core.close();
  }
}, 30_000);

test('a worker that is lost after the clock was set back is written off when its lease is over, and counts as gone', async () => {
  let offset = 2 * hourMs;
  const core = await startCore({
    clock: { now: () => new Date(Date.now() + offset), monotonic: () => performance.now() },
    settings: { LEASE_SECONDS: '5', HEARTBEAT_SECONDS: '0.5' },
  });
  try {
    // On a busy machine its lease may be over before this line.
    await eventually('the connection', async () => {
      await core.worker.beat();
      return (await core.session()).status === 'connected';
    });
    await core.worker.die();
    offset = 0;
    await eventually('the loss to be told', async () => (await core.session()).status === 'disconnected');
    const { body } = await core.rig.call('GET', '//health', { key: null });
    expect((body as unknown as { checks: Record<string, string> }).checks['workers']).toBe('degraded');
  } finally {
    await core.close();
  }
}, 40_000);

describe('the pace', () => {
  const perMinute = 4;
  const chatGapMs = 5_000;
  type PaceStep = { advanceMs: number; jumpMs: number; restarts: boolean; chat: number };
  const paceSteps: fc.Arbitrary<PaceStep[]> = fc.array(
    fc.record({
      advanceMs: fc.nat({ max: 12_000 }),
      jumpMs: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.integer({ min: -2 * hourMs, max: 2 * hourMs })),
      restarts: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
      chat: fc.nat({ max: 2 }),
    }),
    { minLength: 5, maxLength: 40 },
  );

  test('keeps the gap of a chat that a throttle makes longer than settings allow', async () => {
    let now = 1_800_000_000_000;
    const sessionId = await makeSession(database, accountId, { perMinute: 60, chatGapMs: 600_000 });
    const session = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
    const ids = await queue(database, sessionId, [0, 1, 2]);
    const throttle = { since: new Date(now).toISOString(), reason: 'test' };
    const pacing = createPacing(() => 0);
    const claim = (chat: number): Promise<boolean> =>
      database.write.run(async (tx) => {
        await lockRows(tx, Session, [sessionId]);
        return pacing.claim(tx, { ...session, throttle }, ids[chat]!, now);
      });
    expect(await claim(0)).toBe(true);
    // Of each of these claims, the first one in a minute deletes the rows that are too old.
    now += 700_000;
    expect(await claim(1)).toBe(true);
    now += 60_000;
    expect(await claim(2)).toBe(true);
    expect(await claim(0)).toBe(false);
    now = Date.parse(throttle.since) + 1_200_000;
    expect(await claim(0)).toBe(true);
  });

  test('applies in every minute while the clock is set, and never delays a message longer than configured', async () => {
    await fc.assert(
      fc.asyncProperty(paceSteps, async (list) => {
        let monotonic = 1_000;
        let wall = 1_800_000_000_000;
        const clock: Clock = { now: () => new Date(wall), monotonic: () => monotonic };
        const advance = (ms: number): void => {
          monotonic += ms;
          wall += ms;
        };
        const sessionId = await makeSession(database, accountId, { perMinute, chatGapMs });
        const session = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
        const ids = await queue(database, sessionId, [0, 1, 2]);
        let steady = steadyTime(clock);
        let pacing = createPacing(() => 0);
        // What left before a restart at which the wall clock had gone forward is forgiven: nothing else tells how long the process was away.
        let since = -Infinity;
        let jumped = 0;
        const left: { at: number; chat: number }[] = [];
        const claim = (chat: number): Promise<boolean> =>
          database.write.run(async (tx) => {
            await lockRows(tx, Session, [sessionId]);
            // Does nothing unless the stored times are ahead.
            await pacing.rebase(tx, sessionId, steady());
            return pacing.claim(tx, session, ids[chat]!, steady());
          });
        for (const { advanceMs, jumpMs, restarts, chat } of list) {
          advance(advanceMs);
          wall += jumpMs;
          jumped += jumpMs;
          if (restarts) {
            steady = steadyTime(clock);
            pacing = createPacing(() => 0);
            if (jumped > 0) since = monotonic;
            jumped = 0;
          }
          const recent = left.filter(({ at }) => at > Math.max(since, monotonic - 60_000));
          const rested = !left.some((one) => one.chat === chat && one.at > Math.max(since, monotonic - chatGapMs));
          if (await claim(chat)) {
            expect(recent.length).toBeLessThan(perMinute);
            expect(rested).toBe(true);
            left.push({ at: monotonic, chat });
          } else {
            // A minute and a second later there is room, whatever was done to the clock.
            const view = await pacing.check(database.reader, session, steady());
            expect(view.waitMs).toBeLessThanOrEqual(60_000);
            advance(61_000);
            expect(await claim(chat)).toBe(true);
            left.push({ at: monotonic, chat });
          }
        }
        await database.write.run((tx) => updateRows(tx, Message, { sessionId }, { status: 'sent' }));
      }),
      { numRuns: 60, endOnFailure: true },
    );
  }, 60_000);
});

(hasServer ? test : test.skip)(
  'backends whose machines differ by minutes write and compare the times of their database',
  async () => {
    const minuteMs = 60_000;
    const clocks = [settableClock(), settableClock()];
    clocks[0]!.jump(-10 * minuteMs);
    clocks[1]!.jump(25 * minuteMs);
    const one = await startCore({ database: 'postgres', machineClock: clocks[0]! });
    const other = await startRig({
      databaseUrl: one.rig.databaseUrl!,
      machineClock: clocks[1]!,
      settings: { ...quick, WORKER_URLS: one.worker.url },
    });
    try {
      const isNear = (time: Date, ms: number): void =>
        expect(Math.abs(time.getTime() - Date.now() - ms)).toBeLessThan(2 * minuteMs);
      for (const rig of [one.rig, other]) {
        one.worker.report(rig.url);
        await one.worker.beat();
        const session = await one.rig.database.reader.getRepository(Session).findOneByOrFail({ id: one.sessionId });
        isNear(session.leaseExpiresAt!, 600_000);
        isNear(session.lastSeen!, 0);
        const sent = await rig.call('POST', '/messages/send-text', {
          key: one.rig.apiKey,
          body: { recipient: ana, message: 'x' },
        });
        const { id } = sent.body.data as { id: string };
        await one.reaches(id, 'sent');
        const message = await one.rig.database.reader.getRepository(Message).findOneByOrFail({ id });
        isNear(message.createdAt, 0);
      }
      // Set while it runs: nothing moves.
      clocks[1]!.jump(-2 * hourMs);
      await one.worker.beat();
      const session = await one.rig.database.reader.getRepository(Session).findOneByOrFail({ id: one.sessionId });
      isNear(session.leaseExpiresAt!, 600_000);
    } finally {
      await other.close();
      await one.close();
    }
  },
  60_000,
);

test('failed logins lock for their window by the monotonic clock, not until the wall clock has caught up', async () => {
  let monotonic = 0;
  const limit = createLoginLimit(createLocalWindows({ monotonic: () => monotonic }), {
    clock: { monotonic: () => monotonic },
    findReset: () => Promise.resolve(null),
  });
  for (let n = 0; n < 10; n += 1) (await limit.begin('a@example.com', '192.0.2.1')).failed();
  await expect(limit.begin('a@example.com', '192.0.2.1')).rejects.toMatchObject({ code: 'RATE_LIMITED' });
  monotonic += 15 * 60_000;
  (await limit.begin('a@example.com', '192.0.2.1')).failed();
});
