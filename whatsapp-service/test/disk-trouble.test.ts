/* eslint-disable max-lines -- one rig of full and broken disks, and one block for each */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, newId, type OutletEvent } from '@chasqui/shared';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import type { BackendCall } from '../src/backend.js';
import { systemClock } from '../src/clock.js';
import { createDelivery } from '../src/events/delivery.js';
import { createOutlet, type Outlet } from '../src/events/outlet.js';
import type { WorkerEvent } from '../src/events/worker-event.js';
import type { Problems } from '../src/problems.js';
import { createCatchUp } from '../src/sessions/catch-up.js';
import { createMarks, type Marks } from '../src/sessions/marks.js';
import { isStoreUnavailable, openStore, type Store } from '../src/store.js';
import { until } from './engine/harness.js';
import { createTestClock, createTestLog, createTestProblems, settle } from './memory-engine.js';

/** The disk is full or locked, or one event cannot be written: nothing is lost, and everything resumes by itself. */

const nothingInherited = { phoneNumber: () => null, inherited: () => null, watched: () => [] };

let dir: string;
let store: Store;
let problems: Problems;
let marks: Marks;
let outlet: Outlet;
let clock: ReturnType<typeof createTestClock>;
let blocker: Database.Database | null;

const open = (memoryLimit?: number): void => {
  problems = createTestProblems(clock);
  marks = createMarks(store);
  outlet = createOutlet({
    store,
    clock,
    log: createTestLog(),
    problems,
    marks,
    newId: () => newId(),
    seenDays: 30,
    ...(memoryLimit === undefined ? {} : { memoryLimit }),
  });
};
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-disk-'));
  store = openStore(join(dir, 'worker.sqlite'));
  clock = createTestClock();
  blocker = null;
  open();
});
afterEach(() => {
  blocker?.close();
  store.close();
  rmSync(dir, { recursive: true });
});

const message = (key: string, text = 'x'): WorkerEvent =>
  ({ event: 'message.observed', payload: { message: { key, text, content: { type: 'text' } }, origin: 'live' } }) as never;
const ack = (key: string, n: number): WorkerEvent => ({ event: 'message.ack', payload: { key, ack: n } }) as never;
const lines = (): string[] =>
  outlet
    .batch(10_000)
    .map(({ type, payload }) => `${type} ${(payload['message'] as { key: string } | undefined)?.key ?? payload['key']}`);
const markOnDisk = (sessionId: string): number | null => createMarks(store).watermark(sessionId);

/** Reasons why a disk accepts no writes for a while. Each returns a function that ends it. */
const troubles: Record<string, () => () => void> = {
  locked: () => {
    blocker = new Database(join(dir, 'worker.sqlite'));
    blocker.exec('BEGIN IMMEDIATE');
    store.pragma('busy_timeout = 1');
    return () => {
      blocker!.close();
      blocker = null;
    };
  },
  full: () => {
    // No page more than there is; the journal's room is counted by the file system, not by this.
    const pages = Number(store.pragma('page_count', { simple: true }));
    store.pragma(`max_page_count = ${pages}`);
    return () => void store.pragma('max_page_count = 1073741823');
  },
  'read-only': () => {
    store.pragma('query_only = ON');
    return () => void store.pragma('query_only = OFF');
  },
};

describe.each(Object.keys(troubles))('a disk that is %s', (name) => {
  test('keeps events in memory, in order, and writes all of them once it accepts writes again', async () => {
    outlet.append('s', 1, message('before'));
    await clock.advance(50);
    const over = troubles[name]!();
    for (let n = 0; n < 30; n += 1) {
      // Large, so that free space within pages does not hide that the disk is full.
      outlet.append('s', 1, message(`m${n}`, 'y'.repeat(3_000)));
      outlet.append('s', 1, ack(`m${n}`, 2));
      marks.raiseWatermark('s', 1_000 + n);
      await clock.advance(100);
    }
    await clock.advance(5_000);
    expect([outlet.healthy(), outlet.pending() >= 50]).toEqual([false, true]);
    expect(problems.unreported()).toMatchObject([{ code: 'STORE_WRITE_FAILED' }]);
    // The mark on the disk is never ahead of what is on the disk.
    const written = lines().filter((line) => line.startsWith('message.observed m')).length;
    expect(markOnDisk('s') ?? 0).toBeLessThanOrEqual(999 + written);
    over();
    await clock.advance(1_100);
    expect(lines()).toEqual([
      'message.observed before',
      ...Array.from({ length: 30 }, (_, n) => [`message.observed m${n}`, `message.ack m${n}`]).flat(),
    ]);
    expect([outlet.healthy(), markOnDisk('s')]).toEqual([true, 1_029]);
  });

  test('at any moment and for any time loses nothing and changes no order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('message', 'ack', 'begin', 'end', 'wait'), { minLength: 1, maxLength: 40 }),
        async (steps) => {
          store.exec('DELETE FROM outlet; DELETE FROM seen_messages; DELETE FROM marks; DELETE FROM sequences');
          open();
          let over: (() => void) | null = null;
          const expected: string[] = [];
          for (const [index, step] of steps.entries()) {
            if (step === 'message' || step === 'ack') {
              outlet.append('s', 1, step === 'message' ? message(`k${index}`, 'z'.repeat(2_000)) : ack(`k${index}`, 1));
              expected.push(`${step === 'message' ? 'message.observed' : 'message.ack'} k${index}`);
              marks.raiseWatermark('s', index + 1);
            } else if (step === 'begin') over ??= troubles[name]!();
            else if (step === 'end') {
              over?.();
              over = null;
            } else await clock.advance(700);
          }
          over?.();
          await clock.advance(2_100);
          expect(lines()).toEqual(expected);
          expect(outlet.pending()).toBe(expected.length);
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe('an event that cannot be written', () => {
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  const poison: Record<string, () => WorkerEvent> = {
    'has a cycle': () => ({ event: 'message.ack', payload: cyclic }) as never,
    'has no payload that JSON knows': () => ({ event: 'message.ack', payload: { key: 1n } }) as never,
    'has a key that is no text': () => message({ toString: 1 } as never),
    'has no message': () => ({ event: 'message.observed', payload: null }) as never,
    'has a payload that SQLite refuses': () => ({ event: 'message.ack', payload: { toJSON: () => undefined } }) as never,
  };

  test.each(Object.keys(poison))('because it %s, at any position, stops only itself', async (name) => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 6 }), async (position) => {
        store.exec('DELETE FROM outlet; DELETE FROM seen_messages; DELETE FROM sequences');
        open();
        for (let n = 0; n <= 6; n += 1) {
          if (n === position) outlet.append('s', 1, poison[name]!());
          outlet.append('s', 1, message(`m${n}`));
          marks.raiseWatermark('s', n + 1);
        }
        await clock.advance(50);
        expect(lines()).toEqual(Array.from({ length: 7 }, (_, n) => `message.observed m${n}`));
        expect(outlet.batch(100).map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7]);
        expect(problems.unreported()).toMatchObject([{ code: 'EVENT_SET_ASIDE', sessionId: 's', count: 1 }]);
        expect([markOnDisk('s'), outlet.healthy(), outlet.pending()]).toEqual([7, true, 7]);
      }),
      { numRuns: 7 },
    );
  });
});

describe('memory while the disk accepts no writes', () => {
  test('is bounded: messages are scanned for afterwards, lost events are reported with their number', async () => {
    open(20_000);
    const over = troubles['locked']!();
    const missed: string[][] = [];
    outlet.onMissed((sessions) => void missed.push([...sessions]));
    marks.raiseWatermark('s', 100);
    for (let n = 0; n < 30; n += 1) {
      outlet.append('s', 1, message(`m${n}`, 'y'.repeat(1_000)));
      outlet.append('s', 1, ack(`m${n}`, 1));
      marks.raiseWatermark('s', 200 + n);
      await clock.advance(100);
    }
    // Messages go first, and the mark falls back to what is on the disk, so that a scan finds them.
    expect(marks.watermark('s')).toBeNull();
    expect(problems.unreported().map(({ code }) => code)).toEqual(['STORE_WRITE_FAILED']);
    for (let n = 0; n < 600; n += 1) outlet.append('s', 1, ack(`late${n}`, 1));
    const dropped = problems.unreported().find(({ code }) => code === 'EVENTS_DROPPED')!;
    expect(dropped).toMatchObject({ sessionId: 's', detail: 'message.ack' });
    over();
    await clock.advance(1_100);
    expect(missed).toEqual([['s']]);
    const kept = lines();
    // In order, nothing twice; every acknowledgement is there or counted.
    expect(kept.filter((line) => line.startsWith('message.ack')).length + dropped.count).toBe(630);
    const observed = kept.filter((line) => line.startsWith('message.observed'));
    expect(observed).toEqual(observed.map((_, n) => `message.observed m${n}`));
    expect(observed.length).toBeGreaterThan(0);
    expect(observed.length).toBeLessThan(30);
    expect([outlet.healthy(), outlet.pending()]).toEqual([true, kept.length]);
  });

  test('is not taken by thumbnails from events that cannot be read again', async () => {
    open(20_000);
    const over = troubles['locked']!();
    const thumbnail = (n: number): WorkerEvent =>
      ({ event: 'message.thumbnail', payload: { key: `m${n}`, thumbnail: 'A'.repeat(1_000) } }) as never;
    outlet.append('s', 1, ack('before', 1));
    await clock.advance(100);
    for (let n = 0; n < 100; n += 1) outlet.append('s', 1, thumbnail(n));
    for (let n = 0; n < 100; n += 1) outlet.append('s', 1, ack(`late${n}`, 1));
    over();
    await clock.advance(1_100);
    expect(lines().filter((line) => line.startsWith('message.ack'))).toHaveLength(101);
    expect(lines().filter((line) => line.startsWith('message.thumbnail')).length).toBeLessThan(10);
    expect(problems.unreported().map(({ code }) => code)).toEqual(['STORE_WRITE_FAILED']);
  });

  test('the scan afterwards begins at the mark on the disk, and the mark moves when it is through', async () => {
    marks.raiseWatermark('s', clock.now() - 3_600_000);
    await clock.advance(50);
    const scans: number[] = [];
    let finish = (): void => undefined;
    const session = {
      backfill: ({ since }: { since: Date }) => {
        scans.push(since.getTime());
        return new Promise((resolve) => (finish = () => resolve({ chats: 1, messages: 1, truncated: false })));
      },
    } as never;
    const catchUp = createCatchUp({
      sessionId: 's',
      session,
      marks,
      emit: () => undefined,
      ...nothingInherited,
      clock,
      random: () => 0.5,
      log: createTestLog(),
      problems,
    });
    void catchUp.run(null);
    await settle();
    finish();
    await settle();
    catchUp.observed(clock.now() - 1_000);
    await clock.advance(50);
    const before = marks.watermark('s')!;
    marks.freeze('s');
    catchUp.observed(clock.now());
    expect(marks.watermark('s')).toBe(before);
    catchUp.onMissedMessages();
    await settle();
    // While the scan runs, what is seen live does not move the mark.
    await clock.advance(10);
    catchUp.observed(clock.now());
    expect([scans.length, marks.watermark('s')]).toEqual([2, before]);
    expect(scans[1]).toBe(before - 600_000);
    finish();
    await settle();
    expect(marks.watermark('s')).toBe(clock.now());
  });
});

describe('the scan for missed messages', () => {
  const catchUpOf = (backfill: (since: Date) => Promise<unknown>, events: WorkerEvent[] = []) =>
    createCatchUp({
      sessionId: 's',
      session: { backfill: ({ since }: { since: Date }) => backfill(since) } as never,
      marks,
      emit: (event) => void events.push(event),
      ...nothingInherited,
      clock,
      random: () => 0.5,
      log: createTestLog(),
      problems,
    });

  test('that fails completely is retried without a limit; the mark does not move', async () => {
    const mark = clock.now() - 1_000;
    marks.raiseWatermark('s', mark);
    let works = false;
    let scans = 0;
    const catchUp = catchUpOf(async () => {
      scans += 1;
      if (!works) throw new Error('The page has no chatsSince yet.');
      return { chats: 0, messages: 0, truncated: false };
    });
    void catchUp.run(null);
    catchUp.observed(clock.now());
    for (let n = 0; n < 20; n += 1) await clock.advance(300_000);
    expect([scans > 10, marks.watermark('s')]).toEqual([true, mark]);
    works = true;
    for (let n = 0; n < 2; n += 1) await clock.advance(300_000);
    expect(marks.watermark('s')).toBeGreaterThan(mark);
  });

  test('that cannot read some chats is retried a few times, then ends and reports what is missing', async () => {
    marks.raiseWatermark('s', clock.now() - 1_000);
    const events: WorkerEvent[] = [];
    let scans = 0;
    const catchUp = catchUpOf(async () => {
      scans += 1;
      return { chats: 3, messages: 2, truncated: false, failedChats: 1 };
    }, events);
    void catchUp.run(null);
    catchUp.observed(clock.now() + 1);
    for (let n = 0; n < 20; n += 1) await clock.advance(300_000);
    expect(scans).toBe(5);
    expect(events.at(-1)).toMatchObject({ event: 'session.backfill', payload: { truncated: true } });
    // Entries leave the list an hour after they last happened.
    expect(problems.unreported()).toEqual([]);
    catchUp.observed(clock.now());
    expect(marks.watermark('s')).toBe(clock.now());
  });

  test('one that is requested while the past is incomplete covers the past as well', async () => {
    const mark = clock.now() - 3_600_000;
    marks.raiseWatermark('s', mark);
    const since: number[] = [];
    const catchUp = catchUpOf(async (from) => {
      since.push(from.getTime());
      if (since.length === 1) throw new Error('Not yet.');
      return { chats: 0, messages: 0, truncated: false };
    });
    void catchUp.run(null);
    await settle();
    void catchUp.run(new Date(clock.now() - 1_000));
    await settle();
    expect(since[1]).toBe(mark - 600_000);
  });

  test('a mark from a clock that ran ahead hides nothing that came since', async () => {
    marks.raiseWatermark('s', clock.now() + 7_200_000);
    const since: number[] = [];
    const catchUp = catchUpOf(async (from) => {
      since.push(from.getTime());
      return { chats: 0, messages: 0, truncated: false };
    });
    void catchUp.run(null);
    await settle();
    expect(since).toEqual([clock.now() - 600_000]);
  });
});

describe('the delivery to the backend', () => {
  /** The real clock: its pauses are short. */
  function deliver(over: Partial<Outlet>, answer: (events: OutletEvent[]) => unknown) {
    const got: string[] = [];
    const call = (async (_route: unknown, { body }: { body: { events: OutletEvent[] } }) => {
      const data = answer(body.events);
      got.push(...body.events.map(({ payload }) => String(payload['key'])));
      return { status: 200, data };
    }) as unknown as BackendCall;
    const delivery = createDelivery({
      outlet: { ...outlet, ...over },
      call,
      worker: { workerId: 'w', bootId: 'b' },
      epochOf: () => 1,
      clock: systemClock,
      random: () => 0,
      log: createTestLog(),
      problems,
    });
    delivery.start();
    return { got, delivery };
  }
  const taken = (events: OutletEvent[]) => ({ ackCursor: events.at(-1)!.cursor, refused: [], resend: [] });

  test.each(['batch', 'acknowledge', 'refuse', 'resend', 'readopt'] as const)(
    'goes on when %s throws for a while, and delivers every event',
    async (verb) => {
      let left = 2;
      const real = outlet[verb] as (...args: unknown[]) => unknown;
      const failing = (...args: unknown[]): unknown => {
        if (left-- > 0) throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' });
        return real(...args);
      };
      for (let n = 0; n < 5; n += 1) outlet.append('s', 1, ack(`k${n}`, 1));
      outlet.commit();
      const once = new Set<string>();
      const { got, delivery } = deliver({ [verb]: failing }, (events) => ({
        ...taken(events),
        refused: events.flatMap(({ id, payload }) => (payload['key'] === 'k2' && left > 0 ? [{ id, code: 'STALE_EPOCH' }] : [])),
        resend: verb === 'resend' && !once.has('asked') && once.add('asked') ? [{ sessionId: 's', fromSequence: 1 }] : [],
      }));
      await until('every event', () => new Set(got).size === 5 && outlet.pending() === 0);
      await delivery.stop(1_000);
      expect(left).toBeLessThan(2);
    },
  );

  test('parks the one event that the backend cannot read, while the disk was full for a while', async () => {
    let left = 2;
    for (let n = 0; n < 9; n += 1) outlet.append('s', 1, ack(`k${n}`, 1));
    outlet.commit();
    const { got, delivery } = deliver(
      {
        refuse: (events, code) => {
          if (left-- > 0) throw Object.assign(new Error('full'), { code: 'SQLITE_FULL' });
          outlet.refuse(events, code);
        },
      },
      (events) => {
        if (events.some(({ payload }) => payload['key'] === 'k4')) throw new AppError('VALIDATION_FAILED');
        return taken(events);
      },
    );
    await until('all but one', () => new Set(got).size === 8 && outlet.pending() === 0);
    await delivery.stop(1_000);
    expect(store.prepare('SELECT code FROM parked').all()).toEqual([{ code: 'VALIDATION_FAILED' }]);
    expect(problems.unreported().map(({ code }) => code)).toContain('EVENT_REFUSED');
  });

  test('a row that the disk has damaged is refused alone', async () => {
    for (let n = 0; n < 3; n += 1) outlet.append('s', 1, ack(`k${n}`, 1));
    outlet.commit();
    store.exec(`UPDATE outlet SET payload = '{"key":' WHERE sequence = 2`);
    const { got, delivery } = deliver({}, (events) => ({
      ...taken(events),
      refused: events.flatMap(({ id, payload }) => (payload['key'] === undefined ? [{ id, code: 'VALIDATION_FAILED' }] : [])),
    }));
    await until('all', () => outlet.pending() === 0);
    await delivery.stop(1_000);
    expect(got).toEqual(['k0', 'undefined', 'k2']);
  });
});

test.each([
  ['SQLITE_FULL', true],
  ['SQLITE_BUSY', true],
  ['SQLITE_BUSY_SNAPSHOT', true],
  ['SQLITE_IOERR_WRITE', true],
  ['SQLITE_READONLY', true],
  ['SQLITE_TOOBIG', false],
  ['SQLITE_CONSTRAINT_NOTNULL', false],
  ['ERR_INVALID_ARG_TYPE', false],
])('%s says something about the store: %p', (code, expected) => {
  expect(isStoreUnavailable(Object.assign(new Error('x'), { code }))).toBe(expected);
  expect(isStoreUnavailable(new TypeError('x'))).toBe(false);
});
