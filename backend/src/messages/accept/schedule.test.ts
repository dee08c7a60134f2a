import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { wallTimeOf } from '../../lib/wall-time.js';
import { warmUpLimit } from '../quotas/warm-up.js';
import { maxScheduleDays, resolveSchedule } from './schedule.js';

const now = new Date('2026-01-01T00:00:00Z');
const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'Pacific/Apia'];
const two = (value: number): string => String(value).padStart(2, '0');

describe('a scheduled time', () => {
  it('of any wall time is an instant at which a clock shows it, and a repeated one is the first and said', () => {
    const ahead = fc.integer({ min: 2 * 86_400_000, max: (maxScheduleDays - 2) * 86_400_000 });
    fc.assert(
      fc.property(fc.constantFrom(...zones), ahead, fc.boolean(), (timezone, ms, isDefault) => {
        const { year, month, day, hour, minute, second } = wallTimeOf(new Date(now.getTime() + ms), timezone);
        const scheduledAt = `${year}-${two(month)}-${two(day)}T${two(hour)}:${two(minute)}:${two(second)}`;
        const time = resolveSchedule({ scheduledAt, ...(isDefault ? {} : { timezone }) }, isDefault ? timezone : 'UTC', now)!;
        expect(wallTimeOf(time.at, timezone)).toMatchObject({ year, month, day, hour, minute, second, millisecond: 0 });
        const earlier = wallTimeOf(new Date(time.at.getTime() - 3_600_000), timezone);
        const halfEarlier = wallTimeOf(new Date(time.at.getTime() - 1_800_000), timezone);
        for (const before of [earlier, halfEarlier]) expect(before).not.toMatchObject({ day, hour, minute });
        for (const { code, message } of time.warnings) {
          expect(code).toBe('SCHEDULE_TIME_TWICE');
          expect(message).toContain(time.at.toISOString());
        }
      }),
      { numRuns: 500 },
    );
  });

  it('is refused in the past, at this moment, and too far ahead', () => {
    const at = (ms: number) => () => resolveSchedule({ scheduledAt: new Date(now.getTime() + ms).toISOString() }, 'UTC', now);
    expect(at(0)).toThrow(expect.objectContaining({ code: 'SCHEDULE_IN_PAST' }));
    expect(at(-1)).toThrow(expect.objectContaining({ code: 'SCHEDULE_IN_PAST' }));
    expect(at(1)()?.at).toEqual(new Date(now.getTime() + 1));
    expect(at(maxScheduleDays * 86_400_000)()).not.toBeNull();
    expect(at(maxScheduleDays * 86_400_000 + 1)).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED' }));
    expect(resolveSchedule({}, 'UTC', now)).toBeNull();
  });
});

describe('a warm-up plan', () => {
  const plan = { startedOn: '2026-02-27', messagesPerDay: 20, growth: 1.5, until: '2026-03-02' };
  it('grows each day, over the end of a month, and has no effect before and after', () => {
    const days = ['2026-02-26', '2026-02-27', '2026-02-28', '2026-03-01', '2026-03-02', '2026-03-03'];
    expect(days.map((day) => warmUpLimit(plan, day))).toEqual([null, 20, 30, 45, 67, null]);
  });
  it('never exceeds the highest limit, however long it runs', () => {
    expect(warmUpLimit({ startedOn: '2020-01-01', messagesPerDay: 100_000, growth: 10 }, '2030-01-01')).toBe(100_000_000);
  });
});
