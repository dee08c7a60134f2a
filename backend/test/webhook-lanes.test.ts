/* eslint-disable max-lines -- one rig of receivers, and one block for each way they fail */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { insertRow, insertRows, updateRows } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import { Session } from '../src/sessions/session.entity.js';
import { newDelivery, type Deliveries } from '../src/webhooks/deliveries.js';
import { databases } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { account, numbers, startLanes, type Arrival, type Lanes } from './support/lanes.js';

let lanes: Lanes;
const rejections: unknown[] = [];
const onRejection = (error: unknown): void => void rejections.push(error);
process.on('unhandledRejection', onRejection);

afterEach(async () => {
  await lanes?.close();
  lanes = undefined as unknown as Lanes;
  expect(rejections.splice(0)).toEqual([]);
});

const settled = (count: number, withinMs?: number) =>
  eventually(
    `${count} deliveries`,
    async () => {
      const rows = await lanes.rows();
      return rows.length === count && rows.every(({ status }) => status === 'delivered') ? rows : null;
    },
    withinMs,
  );

describe.each(await databases())('webhook lanes on %s', (database) => {
  test('an endpoint gets every event after its creation, also those of a backend that has just read the others', async () => {
    lanes = await startLanes({ database });
    const [one, two] = [lanes.backend(), lanes.backend()];
    await lanes.emit(two, 's1', [0]);
    await lanes.webhook();
    // As the backend that creates an endpoint does; the other one hears nothing of it.
    one.subscriptions.forget(account);
    if (database === 'sqlite') two.subscriptions.forget(account);
    await lanes.emit(two, 's1', [1]);
    await lanes.emit(one, 's1', [2]);
    await eventually('both', async () => lanes.taken.get('s1')?.length === 2);
    expect(lanes.taken.get('s1')).toEqual([1, 2]);
  });

  test('a receiver that fails 15 % of the time keeps up with 40 events a second over four sessions, each in order', async () => {
    // Nothing in it depends on the database.
    if (database === 'postgres') return;
    lanes = await startLanes({ database, receiver: () => (Math.random() < 0.15 ? { statusCode: 500 } : {}) });
    const id = await lanes.webhook();
    const backend = lanes.backend();
    // The even rate that 40 a second is, so long as it takes for a backlog to show.
    for (let n = 0; n < 60; n += 1) {
      for (const session of ['s1', 's2', 's3', 's4']) await lanes.emit(backend, session, [n]);
      await sleep(100);
    }
    await settled(240, 15_000);
    for (const session of ['s1', 's2', 's3', 's4']) expect(lanes.taken.get(session)).toEqual(numbers(60));
    expect(lanes.arrivals.length).toBeGreaterThan(260);
    const row = await lanes.row(id);
    expect([row.openUntil, row.failures]).toEqual([null, 0]);
  }, 40_000);

  test('after an outage of some seconds everything is delivered soon, in order', async () => {
    let isDown = true;
    lanes = await startLanes({ database, receiver: () => (isDown ? { statusCode: null, error: 'ECONNREFUSED' } : {}) });
    await lanes.webhook();
    const backend = lanes.backend();
    for (let n = 0; n < 20; n += 1) {
      for (const session of ['s1', 's2', 's3']) await lanes.emit(backend, session, [n]);
      await sleep(150);
    }
    const began = lanes.arrivals[0]!.at;
    const downMs = performance.now() - began;
    isDown = false;
    await settled(60, 30_000);
    const last = lanes.arrivals.at(-1)!.at;
    for (const session of ['s1', 's2', 's3']) expect(lanes.taken.get(session)).toEqual(numbers(20));
    // No wait is longer than what went before it, up to a minute.
    expect(last - began - downMs).toBeLessThan(downMs * 1.5 + 5_000);
  }, 60_000);

  test('one endpoint’s attempts are one at a time for each session and as many as allowed, over two backends', async () => {
    if (database === 'sqlite') return;
    const under = new Map<string, number>();
    let all = 0;
    let most = 0;
    const both: string[] = [];
    const receiver = async ({ session }: Arrival): Promise<object> => {
      under.set(session, (under.get(session) ?? 0) + 1);
      all += 1;
      most = Math.max(most, all);
      if (under.get(session)! > 1) both.push(session);
      await sleep(4);
      under.set(session, under.get(session)! - 1);
      all -= 1;
      return {};
    };
    lanes = await startLanes({ database, receiver });
    await lanes.webhook();
    const [one, two] = [lanes.backend(), lanes.backend()];
    for (let n = 0; n < 30; n += 1)
      await Promise.all(
        ['s1', 's2', 's3', 's4', 's5', 's6', 's7', 's8'].map((session, index) =>
          lanes.emit((n + index) % 2 ? one : two, session, [n]),
        ),
      );
    await settled(240, 30_000);
    expect(both).toEqual([]);
    expect(most).toBe(4);
    for (const session of under.keys()) expect(lanes.taken.get(session)).toEqual(numbers(30));
    expect(lanes.arrivals).toHaveLength(240);
  }, 60_000);

  test('a lane is not released while the events of its claims are read', async () => {
    if (database === 'sqlite') return;
    let all = 0;
    let most = 0;
    const receiver = async ({ session }: Arrival): Promise<object> => {
      most = Math.max(most, (all += 1));
      await sleep(session === 's1' ? 300 : 1_500);
      all -= 1;
      return {};
    };
    lanes = await startLanes({ database, receiver });
    await lanes.webhook();
    const [one, two] = [lanes.backend({ concurrency: 2 }), lanes.backend({ concurrency: 2 })];
    const told = one.deliveries.eventsOf;
    await lanes.emit(one, 's1', [0]);
    await eventually('the first attempt', async () => lanes.arrivals.length === 1);
    let isReading = false;
    one.deliveries.eventsOf = async (...args) => {
      isReading = true;
      await sleep(1_000);
      return told(...args);
    };
    await lanes.emit(one, 's2', [0]);
    await eventually('the second claim', async () => isReading);
    await eventually('the first one to be settled', async () =>
      (await lanes.rows()).some(({ status }) => status === 'delivered'),
    );
    await lanes.emit(two, 's3', [0]);
    await lanes.emit(two, 's4', [0]);
    await settled(4, 60_000);
    expect(most).toBe(2);
  }, 120_000);

  test('deliveries that another backend was about to send are sent when its lane is free, or its lease has ended', async () => {
    if (database === 'sqlite') return;
    lanes = await startLanes({ database });
    const id = await lanes.webhook();
    const take = (until: string) =>
      lanes.database.write.run((tx) =>
        runStatement(tx.manager, `UPDATE webhooks SET "laneOwner" = 'elsewhere', "laneUntil" = ${until} WHERE id = ?`, [id]),
      );
    const now = '(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint';
    await take(`${now} + 60000`);
    const backend = lanes.backend();
    await lanes.emit(backend, 's1', numbers(3));
    await sleep(1_500);
    expect(lanes.arrivals).toEqual([]);
    await take(`${now} - 1`);
    await settled(3);
    // The database's own clock was set back an hour.
    await take(`${now} + 3600000`);
    await lanes.emit(backend, 's1', [3]);
    await settled(4);
  }, 30_000);

  test('a delivery that breaks at any step is a failed attempt of its own: every other one is delivered, in order', async () => {
    // Nothing in it depends on the database.
    if (database === 'postgres') return;
    type Step = 'open' | 'told' | 'body' | 'post' | 'postRejects' | 'settle';
    const steps: Step[] = ['told', 'body', 'post', 'postRejects', 'settle'];
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 5 }),
        fc.constantFrom('s1', 's2'),
        fc.constantFrom(...steps),
        async (bad, badSession, step) => {
          const isBad = (session: string | null, number: unknown): boolean => session === badSession && number === bad;
          lanes = await startLanes({ database, delays: [50, 100, 60_000] });
          const receiver = ({ session, number }: Arrival): object => {
            if (!isBad(session, number)) return {};
            if (step === 'post') throw new Error('broken');
            return step === 'postRejects' ? Promise.reject(new Error('broken')) : {};
          };
          let badId = '';
          const wrap = (deliveries: Deliveries): Deliveries => ({
            ...deliveries,
            async eventsOf(list) {
              if (step === 'told' && list.some(({ eventId }) => eventId === badId)) throw new Error('broken');
              const found = await deliveries.eventsOf(list);
              for (const told of found.values())
                if (step === 'body' && told.id === badId)
                  Object.defineProperty(told, 'data', {
                    get() {
                      throw new Error('broken');
                    },
                  });
              return found;
            },
            async settle(outcomes, also) {
              const isHit = outcomes.some(({ delivery, attempt }) => delivery.eventId === badId && attempt?.requestBody);
              if (step === 'settle' && isHit) throw new Error('broken');
              return deliveries.settle(outcomes, also);
            },
          });
          const quiet = lanes.backend();
          await quiet.dispatcher.stop();
          await lanes.webhook();
          for (const session of ['s1', 's2']) await lanes.emit(quiet, session, numbers(6));
          const [row] = await lanes.database.reader.query<{ id: string }[]>(
            `SELECT id FROM events WHERE "sessionId" = '${badSession}' ORDER BY cursor LIMIT 1 OFFSET ${bad}`,
          );
          badId = row!.id;
          lanes.backend({ receiver, deliveries: wrap(quiet.deliveries) });
          const others = await eventually('all others', async () => {
            const rows = await lanes.rows();
            const rest = rows.filter(({ eventId }) => eventId !== badId);
            const isRecorded = rows.some(({ eventId, attempts }) => eventId === badId && attempts > 0);
            return isRecorded && rest.every(({ status }) => status === 'delivered') ? rest : null;
          });
          expect(others).toHaveLength(11);
          for (const session of ['s1', 's2'])
            expect(lanes.taken.get(session)!.filter((number) => !isBad(session, number))).toEqual(
              numbers(6).filter((number) => !isBad(session, number)),
            );
          await lanes.close();
          lanes = undefined as unknown as Lanes;
        },
      ),
      { numRuns: steps.length + 2, examples: steps.map((step, index): [number, string, Step] => [index, 's1', step]) },
    );
  }, 120_000);

  test('an endpoint whose secrets cannot be read fails its own deliveries, with the reason, and continues when they can', async () => {
    let isBroken = true;
    lanes = await startLanes({ database });
    const id = await lanes.webhook();
    const backend = lanes.backend({
      open() {
        if (isBroken) throw new Error('no key');
        return { secrets: ['whsec_MDEyMzQ1Njc4OWFiY2RlZg=='], headers: {} };
      },
    });
    await lanes.emit(backend, 's1', numbers(2));
    await eventually('the failed attempts', async () => (await lanes.rows()).every(({ attempts }) => attempts >= 1));
    expect((await lanes.rows()).map(({ status, error }) => [status, error])).toEqual(Array(2).fill(['pending', 'NOT_BUILT']));
    expect((await lanes.row(id)).failures).toBe(0);
    isBroken = false;
    await lanes.database.write.run((tx) => runStatement(tx.manager, 'UPDATE webhook_deliveries SET "nextAttemptAt" = 0', []));
    await settled(2);
  });

  test('results that the database refused for a while are written afterwards, and nothing is sent twice', async () => {
    let isRefusing = false;
    lanes = await startLanes({ database, receiver: () => ((isRefusing = true), {}) });
    await lanes.webhook();
    const quiet = lanes.backend();
    await quiet.dispatcher.stop();
    const { deliveries } = quiet;
    let refused = 0;
    const backend = lanes.backend({
      deliveries: {
        ...deliveries,
        async settle(outcomes, also) {
          if (isRefusing && refused < 6) {
            refused += 1;
            // The last refusal is a commit whose answer was lost.
            if (refused === 6) await deliveries.settle(outcomes, also);
            throw new Error('Connection terminated unexpectedly');
          }
          return deliveries.settle(outcomes, also);
        },
      },
    });
    await lanes.emit(quiet, 's1', numbers(3));
    backend.subscriptions.wake('hook-2');
    await settled(3);
    expect(lanes.arrivals.map(({ number }) => number)).toEqual([0, 1, 2]);
    // A repeat of what was written already is no failure.
    expect(lanes.lines.filter((line) => line.includes('it is sent again'))).toEqual([]);
    const [{ n }] = await lanes.database.reader.query<[{ n: number | string }]>('SELECT COUNT(*) AS n FROM webhook_attempts');
    expect(Number(n)).toBe(3);
  });

  test('a claim under this backend’s own name that it does not work on is released at once', async () => {
    lanes = await startLanes({ database });
    const id = await lanes.webhook();
    const backend = lanes.backend({ owner: 'me' });
    let isLost = true;
    const { claim } = backend.deliveries;
    // The commit is made, its answer is lost.
    backend.deliveries.claim = async (request) => {
      const found = await claim(request);
      if (isLost && found?.length) throw ((isLost = false), new Error('Connection terminated unexpectedly'));
      return found;
    };
    await lanes.emit(backend, 's1', numbers(5));
    await settled(5, 6_000);
    expect(lanes.taken.get('s1')).toEqual(numbers(5));
    expect((await lanes.row(id)).laneOwner).toBeNull();
  });

  test('a stop does not wait for a receiver that hangs: the delivery is pending again, and another backend sends it', async () => {
    let isHanging = true;
    const hang = ({ signal }: Arrival): Promise<object> =>
      new Promise((resolve) => signal!.addEventListener('abort', () => resolve({ statusCode: null, error: 'ABORTED' })));
    lanes = await startLanes({ database, receiver: (arrival) => (isHanging ? hang(arrival) : {}) });
    const id = await lanes.webhook();
    const backend = lanes.backend();
    await lanes.emit(backend, 's1', numbers(3));
    await eventually('the attempt', async () => lanes.arrivals.length === 1);
    const began = performance.now();
    await backend.dispatcher.stop();
    expect(performance.now() - began).toBeLessThan(8_000);
    expect((await lanes.rows()).map(({ status, attempts, leaseOwner }) => [status, attempts, leaseOwner])).toEqual(
      Array(3).fill(['pending', 0, null]),
    );
    expect((await lanes.row(id)).failures).toBe(0);
    isHanging = false;
    lanes.backend();
    await settled(3);
    expect(lanes.taken.get('s1')).toEqual(numbers(3));
  });

  test('a clock that is set back an hour delays nothing: new deliveries, retries and the circuit', async () => {
    let moved = 0;
    let isDown = false;
    const clock = { now: () => new Date(Date.now() + moved), monotonic: () => performance.now() };
    lanes = await startLanes({ database, clock, delays: [4_000], receiver: () => (isDown ? { statusCode: 500 } : {}) });
    const id = await lanes.webhook();
    const backend = lanes.backend();
    isDown = true;
    await lanes.emit(backend, 's1', numbers(2));
    await eventually('a failure', async () => (await lanes.rows())[0]!.attempts >= 1);
    moved = -3_600_000;
    isDown = false;
    await lanes.emit(backend, 's2', [0]);
    await settled(3, 60_000);
    isDown = true;
    await lanes.emit(backend, 's1', numbers(1, 2));
    for (let n = 0; n < 12; n += 1) await lanes.emit(backend, `t${n}`, [0]);
    await eventually('the circuit to open', async () => (await lanes.row(id)).openUntil !== null);
    moved -= 3_600_000;
    isDown = false;
    await settled(16, 9_000);
  }, 40_000);

  test('deliveries that wait for more than a minute put the endpoint behind, with an event, and another one when it has caught up', async () => {
    // Nothing in it depends on the database.
    if (database === 'postgres') return;
    let moved = 0;
    let isDown = true;
    const clock = { now: () => new Date(Date.now() + moved), monotonic: () => performance.now() };
    lanes = await startLanes({ database, clock, receiver: () => (isDown ? { statusCode: 500 } : {}) });
    const id = await lanes.webhook();
    const backend = lanes.backend();
    await lanes.emit(backend, 's1', numbers(4));
    const told = async (): Promise<Record<string, unknown>[]> =>
      (
        await lanes.database.reader.query<{ data: string }[]>(
          `SELECT data FROM events WHERE type = 'webhook.backlog' ORDER BY cursor`,
        )
      ).map(({ data }) => JSON.parse(data) as Record<string, unknown>);
    await eventually('a failure', async () => lanes.arrivals.length > 0);
    moved = 70_000;
    await eventually('the event', async () => (await told()).length === 1);
    expect(await told()).toEqual([
      { webhookId: id, url: `https://receiver.example/${id}`, isBehind: true, waiting: 4, oldestAt: expect.any(String) },
    ]);
    expect((await backend.deliveries.backlogOf([id])).get(id)!.waiting).toBe(4);
    isDown = false;
    await eventually('the second event', async () => (await told()).length === 2);
    expect((await told())[1]).toMatchObject({ isBehind: false, waiting: 0, oldestAt: null });
    expect((await lanes.row(id)).behindSince).toBeNull();
  }, 60_000);

  /** Deliveries that wait behind what a test looks at, without events: they must not be sent. */
  const fill = (id: string, session: string, count: number) => {
    const now = Date.now();
    return lanes.database.write.run((tx) =>
      runStatement(
        tx.manager,
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
        INSERT INTO webhook_deliveries (id, "webhookId", "accountId", "sessionId", "eventCursor", "eventId", type, status, attempts, "nextAttemptAt", "waitMs", "createdAt")
        SELECT 'fill-' || i, ?, 'account-1', ?, 1000 + i, 'event-' || i, 'session.recycled', 'pending', 0, ${now}, 0, ${now} FROM n`,
        [id, session],
      ),
    );
  };
  const moveCursors = (beyond: number) =>
    lanes.database.write.run((tx) =>
      runStatement(
        tx.manager,
        database === 'postgres'
          ? `SELECT setval(pg_get_serial_sequence('events', 'cursor'), ${beyond})`
          : `UPDATE sqlite_sequence SET seq = ${beyond} WHERE name = 'events'`,
        [],
      ),
    );

  test('a session with a long queue that waits for its receiver neither fills the memory nor delays another one', async () => {
    let free = (): void => undefined;
    const gate = new Promise<void>((resolve) => (free = resolve));
    lanes = await startLanes({ database, receiver: async ({ session }) => (session === 'long' && (await gate), {}) });
    await lanes.webhook();
    const quiet = lanes.backend();
    await quiet.dispatcher.stop();
    // More than a lane may claim: without its limit for each session it would never reach the other one.
    await lanes.emit(quiet, 'long', numbers(1_100));
    await lanes.emit(quiet, 'other', numbers(3));
    lanes.backend();
    try {
      await eventually('the other session', async () => lanes.taken.get('other')?.length === 3);
      expect(lanes.taken.get('other')).toEqual(numbers(3));
      const rows = await lanes.rows();
      expect(rows.filter(({ status }) => status === 'sending').length).toBeLessThan(300);
    } finally {
      // A stop waits for the receiver.
      free();
    }
    // Beyond what was claimed at first.
    await eventually('the long queue to go on', async () => (lanes.taken.get('long')?.length ?? 0) > 200);
    expect(lanes.taken.get('long')!.slice(0, 200)).toEqual(numbers(200));
  }, 60_000);

  test('more than 20,000 events behind one that fails do not hide the events of another session', async () => {
    lanes = await startLanes({
      database,
      delays: [30_000],
      receiver: ({ session }) => (session === 'long' ? { statusCode: 500 } : {}),
    });
    const id = await lanes.webhook();
    const backend = lanes.backend();
    await lanes.emit(backend, 'long', [0]);
    await eventually('the failure', async () => (await lanes.rows())[0]!.attempts >= 1);
    await fill(id, 'long', 20_500);
    await moveCursors(50_000);
    await lanes.emit(backend, 'other', numbers(3));
    await eventually('the other session', async () => lanes.taken.get('other')?.length === 3);
  }, 60_000);

  test('a delivery that cannot be built waits for its next attempt, however long that is', async () => {
    lanes = await startLanes({ database, delays: [100_001, 100_001] });
    await lanes.webhook();
    const backend = lanes.backend({
      open() {
        throw new Error('no key');
      },
    });
    await lanes.emit(backend, 's1', [0]);
    const [row] = await eventually('the attempt', async () => {
      const rows = await lanes.rows();
      return rows[0]!.status === 'pending' && rows[0]!.attempts > 0 ? rows : null;
    });
    expect(row).toMatchObject({ attempts: 1, error: 'NOT_BUILT' });
    expect(lanes.lines.filter((line) => line.includes('could not be written'))).toEqual([]);
  });

  test('an endpoint that is changed, switched off or deleted gets no more deliveries that were claimed before', async () => {
    lanes = await startLanes({ database, receiver: async () => (await sleep(200), {}) });
    const id = await lanes.webhook();
    const backend = lanes.backend();
    const change = (fields: string) =>
      lanes.database.write.run((tx) => runStatement(tx.manager, `UPDATE webhooks SET ${fields} WHERE id = ?`, [id]));
    // Fewer than one claim takes: nothing but the age of the endpoint's row makes the lane read it again.
    await lanes.emit(backend, 's1', numbers(60));
    await eventually('some', async () => lanes.arrivals.length > 2);
    await change(`url = 'https://receiver.example/moved', "updatedAt" = "updatedAt" + 1`);
    await eventually('the new place', async () => lanes.arrivals.at(-1)!.webhookId === 'moved');
    await change(`"deletedAt" = "createdAt", "isActive" = false, "updatedAt" = "updatedAt" + 1`);
    const left = await eventually('the rest to be settled', async () => {
      const rows = await lanes.rows();
      return rows.every(({ status }) => status === 'delivered' || status === 'cancelled') ? rows : null;
    });
    expect(left.some(({ status }) => status === 'cancelled')).toBe(true);
    expect(lanes.arrivals.length).toBe(left.filter(({ status }) => status === 'delivered').length);
  }, 60_000);

  test('a session that is renamed has its new name in deliveries soon afterwards', async () => {
    let moved = 0;
    const clock = { now: () => new Date(), monotonic: () => performance.now() + moved };
    lanes = await startLanes({ database, clock });
    await lanes.webhook();
    const now = new Date();
    const session = { id: 's1', accountId: 'account-1', name: 'before', liveName: 'before', createdAt: now, updatedAt: now };
    await lanes.database.write.run((tx) =>
      insertRow(tx, Session, { ...session, settings: {} as Session['settings'], metadata: {} }),
    );
    const names: string[] = [];
    const backend = lanes.backend({
      async post(_url, { body }) {
        names.push((JSON.parse(body) as { session: { name: string } }).session.name);
        return { statusCode: 204, error: null, response: '', retryAfterMs: 0, durationMs: 1 };
      },
    });
    await lanes.emit(backend, 's1', [0]);
    await eventually('the first delivery', async () => names.length === 1);
    await lanes.database.write.run((tx) => updateRows(tx, Session, { id: 's1' }, { name: 'after', liveName: 'after' }));
    moved = 10_000;
    await lanes.emit(backend, 's1', [1]);
    await eventually('the second delivery', async () => names.length === 2);
    expect(names).toEqual(['before', 'after']);
  }, 60_000);

  test('a cached name is in a delivery also when the cache of names is emptied for another one', async () => {
    // Nothing in it depends on the database.
    if (database === 'postgres') return;
    lanes = await startLanes({ database });
    const { events, deliveries } = lanes.backend();
    const ids = numbers(5_002).map((n) => `s${n}`);
    const now = new Date();
    const rows = await lanes.database.write.run(async (tx) => {
      await insertRows(
        tx,
        Session,
        ids.map((id) => ({
          id,
          accountId: 'account-1',
          name: `n-${id}`,
          liveName: id,
          settings: {},
          metadata: {},
          createdAt: now,
          updatedAt: now,
        })),
      );
      const data = { reason: 'test', memoryMb: 1 };
      const type = 'session.recycled' as const;
      return events.appendAll(
        tx,
        ids.map((sessionId) => ({ accountId: 'account-1', sessionId, type, data })),
      );
    });
    const all = rows.map((event) => newDelivery({ id: 'hook', accountId: 'account-1' }, event, now));
    await deliveries.eventsOf(all.slice(0, -1));
    const found = await deliveries.eventsOf([all[0]!, all.at(-1)!]);
    expect([...found.values()].map(({ session }) => session?.name)).toEqual(['n-s0', 'n-s5001']);
  });

  test('a clock that is set forward, or days without the program, neither switch an endpoint off nor end deliveries', async () => {
    // Nothing in it depends on the database.
    if (database === 'postgres') return;
    let moved = 0;
    let isDown = true;
    const clock = { now: () => new Date(Date.now() + moved), monotonic: () => performance.now() };
    lanes = await startLanes({
      database,
      clock,
      delays: [100, 200, 400, 60_000],
      receiver: () => (isDown ? { statusCode: 500 } : {}),
    });
    const id = await lanes.webhook();
    const backend = lanes.backend();
    await lanes.emit(backend, 's1', numbers(3));
    await eventually('a failure', async () => (await lanes.row(id)).failures > 0);
    moved = 8 * 86_400_000;
    const before = (await lanes.row(id)).failures;
    await lanes.emit(backend, 's2', numbers(2));
    await eventually('more failures', async () => (await lanes.row(id)).failures >= before + 3);
    expect(await lanes.row(id)).toMatchObject({ isActive: true, disabledReason: null });
    expect((await lanes.rows()).filter(({ status }) => status === 'failed')).toEqual([]);
    isDown = false;
    // Whatever was put a minute away is due then.
    moved += 120_000;
    await settled(5, 20_000);
  }, 40_000);

  test('long events are sent like short ones, in order', async () => {
    // Nothing in it depends on the database.
    if (database === 'postgres') return;
    lanes = await startLanes({ database });
    await lanes.webhook();
    const backend = lanes.backend();
    await lanes.database.write.run(async (tx) => {
      await backend.events.appendAll(
        tx,
        numbers(12).map((memoryMb) => ({
          accountId: 'account-1',
          sessionId: 's1',
          type: 'session.recycled' as const,
          data: { reason: memoryMb % 3 ? 'short' : 'long'.repeat(5_000), memoryMb },
        })),
      );
    });
    await settled(12);
    expect(lanes.taken.get('s1')).toEqual(numbers(12));
  });

  test('an endpoint whose row cannot be read stops neither the account’s events nor its other endpoints, and staff see it', async () => {
    lanes = await startLanes({ database });
    const [bad, good] = [await lanes.webhook({ id: 'bad' }), await lanes.webhook({ id: 'good' })];
    const broken = [
      [`types = 'not JSON'`, bad],
      [`types = 'null'`, bad],
      [`types = '{"session.recycled":"x"}', filter = '{"chats":5}'`, bad],
    ] as const;
    for (const [index, [fields, id]] of broken.entries()) {
      await lanes.database.write.run((tx) => runStatement(tx.manager, `UPDATE webhooks SET ${fields} WHERE id = ?`, [id]));
      // A backend that has cached nothing yet.
      await lanes.emit(lanes.backend(), 's1', [index]);
      await eventually('the other endpoint', async () => lanes.taken.get('s1')?.length === index + 1);
      expect(lanes.reports.splice(0)).toEqual([`webhook ${bad}`]);
    }
    expect(lanes.arrivals.every(({ webhookId }) => webhookId === good)).toBe(true);
  });
});
