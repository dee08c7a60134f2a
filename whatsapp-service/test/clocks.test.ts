import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId, type OutletEvent } from '@chasqui/shared';
import fc from 'fast-check';
import type { BackendCall } from '../src/backend.js';
import { guardTimers, repeat } from '../src/clock.js';
import { createDelivery } from '../src/events/delivery.js';
import { createOutlet } from '../src/events/outlet.js';
import { createHealth } from '../src/sessions/health.js';
import { createLease, instant } from '../src/sessions/lease.js';
import { openStore } from '../src/store.js';
import { createTestClock, createTestLog, createTestProblems, settle } from './memory-engine.js';

/** The wall clock may be set back or forth at any moment: no duration depends on it. Timers cannot end the process. */

const hour = 3_600_000;

describe('a lease', () => {
  test('is never valid longer than granted, however the wall clock jumps, and not at all after a suspension', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 30_000 }) }),
      fc.record({ kind: fc.constant('jump' as const), ms: fc.integer({ min: -2 * hour, max: 2 * hour }) }),
      fc.record({ kind: fc.constant('grant' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let passed = 0;
        let wall = Date.UTC(2026, 0, 1);
        const clock = { now: () => wall, monotonic: () => passed, after: () => () => undefined };
        const lease = createLease(clock);
        let longest: number | null = null;
        for (const { kind, ms } of steps) {
          if (kind === 'pass') [passed, wall] = [passed + ms, wall + ms];
          else if (kind === 'jump') wall += ms;
          else {
            lease.grant(instant(clock), ms);
            longest = Math.max(longest ?? 0, passed + ms);
            expect(lease.isValid()).toBe(true);
          }
          // Granted for less time than has passed: it has ended, whatever the wall says.
          if (longest !== null && passed >= longest) expect(lease.isValid()).toBe(false);
          if (longest !== null) expect(lease.endsAt()).toBeLessThanOrEqual(wall + Math.max(0, longest - passed));
        }
      }),
    );
  });

  test('has expired after a suspension, in which the monotonic clock stops', () => {
    let wall = 0;
    const clock = { now: () => wall, monotonic: () => 0, after: () => () => undefined };
    const lease = createLease(clock);
    lease.grant(instant(clock), 20_000);
    wall += 21_000;
    expect(lease.isValid()).toBe(false);
    lease.grant(instant(clock), 20_000);
    expect(lease.isValid()).toBe(true);
  });

  test('counts from its request: a late reply does not extend it', async () => {
    const clock = createTestClock();
    const lease = createLease(clock);
    const asked = instant(clock);
    await clock.advance(19_000);
    lease.grant(asked, 20_000);
    expect(lease.remainingMs()).toBe(1_000);
    clock.jump(-2 * hour);
    expect(lease.remainingMs()).toBe(1_000);
    await clock.advance(1_000);
    expect(lease.isValid()).toBe(false);
  });
});

describe('with a wall clock that is set', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'chasqui-clocks-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  test.each([-2 * hour, 2 * hour])('by %d ms, events still reach the backend at once', async (jump) => {
    const clock = createTestClock();
    const store = openStore(join(dir, 'worker.sqlite'));
    const problems = createTestProblems(clock);
    const outlet = createOutlet({ store, clock, log: createTestLog(), problems, newId: () => newId(), seenDays: 30 });
    const got: OutletEvent[] = [];
    const call = (async (_route: unknown, { body }: { body: { events: OutletEvent[] } }) => {
      got.push(...body.events);
      return { status: 200, data: { ackCursor: body.events.at(-1)!.cursor, refused: [], resend: [] } };
    }) as unknown as BackendCall;
    const delivery = createDelivery({
      outlet,
      call,
      worker: { workerId: 'w', bootId: 'b' },
      epochOf: () => 1,
      clock,
      random: () => 0,
      log: createTestLog(),
      problems,
    });
    delivery.start();
    const tell = (n: number): void =>
      outlet.append('s', 1, { event: 'session.heal', payload: { step: 'probe', reason: String(n), ok: true } });
    tell(1);
    await clock.advance(100);
    clock.jump(jump);
    tell(2);
    await clock.advance(100);
    tell(3);
    await clock.advance(100);
    expect(got.map(({ payload }) => payload['reason'])).toEqual(['1', '2', '3']);
    const stopping = delivery.stop(100);
    await clock.advance(200);
    await stopping;
    store.close();
  });

  test.each([-2 * hour, 2 * hour])('by %d ms, the uptime of a browser is the elapsed time, and probes continue', async (jump) => {
    const clock = createTestClock();
    let probes = 0;
    const health = createHealth({
      session: { probe: async () => (++probes, { roundTripMs: 1, canary: true }), pids: async () => [] } as never,
      clock,
      everyMs: 5_000,
      onProbeFailed: () => undefined,
      onLost: () => undefined,
      onChallenged: () => undefined,
      onMemory: () => undefined,
      onFailure: () => undefined,
    });
    await clock.advance(10_000);
    clock.jump(jump);
    await clock.advance(10_000);
    health.stop();
    expect([health.metrics().browserUptimeSeconds, probes]).toEqual([20, 4]);
  });
});

describe('timers', () => {
  test('a callback that throws is reported and ends nothing', async () => {
    const bare = createTestClock();
    const reported: unknown[] = [];
    const clock = guardTimers(bare, (error) => void reported.push(error));
    let ran = 0;
    clock.after(10, () => {
      throw new Error('An unexpected error.');
    });
    clock.after(20, () => void (ran += 1));
    await bare.advance(100);
    expect([reported.length, ran]).toEqual([1, 1]);
  });

  test('a task that throws or rejects runs again; one that hangs does not run twice at once', async () => {
    const clock = createTestClock();
    const reported: unknown[] = [];
    let runs = 0;
    const stop = repeat(
      clock,
      1_000,
      () => {
        runs += 1;
        if (runs === 1) throw Object.assign(new Error('full'), { code: 'SQLITE_FULL' });
        if (runs === 2) return Promise.reject(new Error('later'));
        if (runs === 3) return new Promise<void>(() => undefined);
        return undefined;
      },
      (error) => void reported.push(error),
    );
    for (let n = 0; n < 6; n += 1) await clock.advance(1_000);
    expect([runs, reported.length]).toEqual([3, 2]);
    stop();
  });

  test('health probes continue after a round that threw', async () => {
    const clock = createTestClock();
    let probes = 0;
    const failures: unknown[] = [];
    const health = createHealth({
      session: {
        probe: async () => (probes++ === 0 ? Promise.reject(new Error('slow')) : { roundTripMs: 1, canary: true }),
        pids: async () => [],
      } as never,
      clock,
      everyMs: 1_000,
      onProbeFailed: () => {
        throw new Error('Full.');
      },
      onLost: () => undefined,
      onChallenged: () => undefined,
      onMemory: () => undefined,
      onFailure: (error) => void failures.push(error),
    });
    for (let n = 0; n < 5; n += 1) await clock.advance(1_000);
    health.stop();
    await settle();
    expect([failures.length, probes]).toEqual([1, 5]);
  });
});

describe('problems', () => {
  test('are one entry for each code and session, bounded, the latest first, and end by themselves', async () => {
    const clock = createTestClock();
    const problems = createTestProblems(clock);
    for (let n = 0; n < 500; n += 1) problems.note('EVENT_UNREADABLE', { sessionId: `s${n % 100}`, detail: 'x'.repeat(5_000) });
    expect(problems.unreported()).toHaveLength(50);
    expect(problems.unreported()[0]).toMatchObject({ sessionId: 's99', count: 1 });
    expect(problems.unreported()[0]!.detail.length).toBeLessThanOrEqual(300);
    expect(problems.isDegraded()).toBe(false);
    problems.note('STORE_WRITE_FAILED', { detail: 'outlet' });
    problems.note('STORE_WRITE_FAILED', { detail: 'outlet' });
    expect(problems.unreported()[0]).toMatchObject({ code: 'STORE_WRITE_FAILED', count: 2 });
    // Degraded for as long as the cause is there, and five clean minutes.
    await clock.advance(299_000);
    clock.jump(-2 * hour);
    expect(problems.isDegraded()).toBe(true);
    await clock.advance(2_000);
    expect([problems.isDegraded(), problems.unreported().length]).toEqual([false, 50]);
    // What happens between a heartbeat and its answer goes with the next one.
    const emitted = problems.unreported();
    problems.note('STORE_WRITE_FAILED', { detail: 'outlet' });
    problems.reported(emitted);
    expect(problems.unreported()).toMatchObject([{ code: 'STORE_WRITE_FAILED', count: 1 }]);
    await clock.advance(hour + 1);
    expect(problems.unreported()).toEqual([]);
  });

  test('whose report got no reply are sent again as the same report, and later ones are in the next report', () => {
    const problems = createTestProblems(createTestClock());
    const note = (): void => problems.note('TASK_FAILED', { detail: 'probe' });
    note();
    note();
    const [lost] = problems.unreported();
    note();
    const [again] = problems.unreported();
    expect(again).toMatchObject({ count: 2, report: lost!.report });
    // An answer that comes late, to the same report twice, counts once.
    problems.reported([lost!]);
    problems.reported([again!]);
    const [next] = problems.unreported();
    expect(next).toMatchObject({ count: 1 });
    expect(next!.report).not.toBe(lost!.report);
    problems.reported([next!]);
    expect(problems.unreported()).toEqual([]);
  });
});
