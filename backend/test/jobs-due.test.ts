import { isCron } from '@chasqui/shared';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readConfig } from '../src/config.js';
import { dueRun, jobTimes, nextRun } from '../src/jobs/due.js';
import { cronTimes } from '../src/lib/cron.js';

/** When jobs are due, without a database. */

const state = (more: Partial<Parameters<typeof dueRun>[1]> = {}) => ({
  isStopped: false,
  handledUntil: new Date('2026-03-27T00:00:00Z'),
  failures: 0,
  retryAt: null,
  ...more,
});
const timesOf = (cron: string | null, timezone = 'UTC') => ({
  cron,
  timezone,
  times: cron === null ? null : cronTimes(cron, timezone),
});

/** Ticks as the scheduler does, and returns when it runs. */
function simulate(cron: string, timezone: string, from: string, until: string, stepMs: number): Date[] {
  const runs: Date[] = [];
  const times = timesOf(cron, timezone);
  let handledUntil = new Date(from);
  for (let at = Date.parse(from); at <= Date.parse(until); at += stepMs) {
    const now = new Date(at);
    if (!dueRun(times, state({ handledUntil }), now)) continue;
    runs.push(now);
    handledUntil = now;
  }
  return runs;
}

describe('when jobs are due', () => {
  test('every job of the catalogue has a schedule that occurs, or none', () => {
    for (const { times, cron } of Object.values(jobTimes({}, 'UTC'))) {
      if (cron === null) continue;
      expect(isCron(cron)).toBe(true);
      expect(times!.after(new Date('2026-03-27T00:00:00Z'))).not.toBeNull();
    }
  });

  test('the schedules are those that the operators were promised', () => {
    const from = new Date('2026-03-27T00:00:30Z'); // A Friday.
    const next = Object.fromEntries(
      Object.entries(jobTimes({}, 'UTC')).map(([name, { times }]) => [name, times?.after(from)?.toISOString().slice(5, 16)]),
    );
    expect(next).toMatchObject({
      'sessions.monitor': '03-27T00:05',
      'qr.sweep': '03-27T00:05',
      'messages.dispatch': '03-27T00:01',
      'messages.retry': '03-27T00:15',
      'quotas.reset': '03-28T00:00',
      'messages.cleanup': '03-29T02:00',
    });
  });

  test.each([
    ['a clock that skips the hour', '30 2 * * *', 'America/New_York', '2026-03-07T00:00:00Z', '2026-03-10T00:00:00Z'],
    ['a clock that repeats the hour', '30 1 * * *', 'America/New_York', '2026-10-31T00:00:00Z', '2026-11-03T00:00:00Z'],
    ['midnight that does not exist', '0 0 * * *', 'America/Santiago', '2026-09-04T12:00:00Z', '2026-09-08T12:00:00Z'],
  ])('%s: one run on each day', (_what, cron, timezone, from, until) => {
    const format = new Intl.DateTimeFormat('en-CA', { timeZone: timezone });
    const days = simulate(cron, timezone, from, until, 300_000).map((at) => format.format(at));
    expect(days.length).toBeGreaterThan(2);
    expect(new Set(days).size).toBe(days.length);
    const all = new Set<string>();
    for (let at = Date.parse(from) + 86_400_000; at < Date.parse(until) - 86_400_000; at += 3_600_000) all.add(format.format(at));
    for (const day of all) expect(days).toContain(day);
  });

  test('whatever the pauses between two looks, every scheduled time is handled, and one run handles all that were missed', () => {
    const crons = [...new Set(Object.values(jobTimes({}, 'UTC')).flatMap(({ cron }) => cron ?? []))];
    fc.assert(
      fc.property(
        fc.constantFrom(...crons),
        fc.constantFrom('UTC', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu'),
        fc.integer({ min: 0, max: 365 * 24 }),
        fc.array(fc.oneof(fc.integer({ min: 1, max: 90_000 }), fc.integer({ min: 1, max: 30 * 86_400_000 })), {
          minLength: 1,
          maxLength: 20,
        }),
        (cron, timezone, hour, pauses) => {
          const times = timesOf(cron, timezone);
          let handledUntil = new Date(Date.parse('2026-01-01T00:00:00Z') + hour * 3_600_000);
          let now = handledUntil;
          for (const pause of pauses) {
            now = new Date(now.getTime() + pause);
            const first = times.times!.after(handledUntil)!;
            const due = dueRun(times, state({ handledUntil }), now);
            // Due exactly if a scheduled time has passed since the last handled one.
            expect(due !== null).toBe(first <= now);
            if (!due) continue;
            expect(due.scheduledFor).toEqual(first);
            expect(due.trigger).toBe(now.getTime() - first.getTime() > 30_000 ? 'catch_up' : 'schedule');
            handledUntil = now;
            expect(dueRun(times, state({ handledUntil }), now)).toBeNull();
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test('a clock that was set back by a year delays no job by a year', () => {
    const now = new Date('2026-03-27T12:00:00Z');
    const ahead = state({ handledUntil: new Date('2027-03-27T12:00:00Z'), retryAt: new Date('2027-03-27T12:00:00Z') });
    expect(nextRun(timesOf('0 14 * * *'), ahead, now)).toEqual({ at: new Date('2026-03-27T13:00:00Z'), isRetry: true });
    expect(nextRun(timesOf('0 14 * * *'), { ...ahead, retryAt: null }, now)?.at).toEqual(new Date('2026-03-27T14:00:00Z'));
  });

  test('a failed job runs again before its next time, and not later than that', () => {
    const weekly = timesOf('0 2 * * 0');
    const retryAt = new Date('2026-03-27T00:01:00Z');
    expect(dueRun(weekly, state({ retryAt }), new Date('2026-03-27T00:00:59Z'))).toBeNull();
    expect(dueRun(weekly, state({ retryAt }), new Date('2026-03-27T00:01:00Z'))).toEqual({
      trigger: 'retry',
      scheduledFor: null,
    });
    const minutely = state({ retryAt: new Date('2026-03-27T01:00:00Z') });
    expect(dueRun(timesOf('* * * * *'), minutely, new Date('2026-03-27T00:01:00Z'))).toMatchObject({ trigger: 'schedule' });
  });

  test('a stopped job, and one without a schedule, never run by themselves', () => {
    const now = new Date('2027-01-01T00:00:00Z');
    const retryAt = new Date('2026-03-27T00:01:00Z');
    expect(nextRun(timesOf('* * * * *'), state({ isStopped: true, retryAt }), now)).toBeNull();
    expect(nextRun(timesOf(null), state(), now)).toBeNull();
    expect(jobTimes({ 'qr.sweep': null }, 'UTC')['qr.sweep'].times).toBeNull();
  });

  test('a schedule that never occurs stops the start', () => {
    const env = (cron: string) => ({ JOB_SCHEDULES: `messages.cleanup=${cron}`, DATA_DIR: '/nonexistent' });
    expect(() => readConfig(env('0 2 31 2 *'), '/')).toThrow(
      'JOB_SCHEDULES has a schedule for messages.cleanup that never occurs',
    );
  });
});
