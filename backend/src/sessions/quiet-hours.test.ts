import { describe, expect, it } from '@jest/globals';
import { sessionSettings, weekdays, type QuietHours } from '@chasqui/shared';
import fc from 'fast-check';
import { instantsOf, wallTimeOf } from '../lib/wall-time.js';
import { quietSpans, quietUntil } from './quiet-hours.js';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** Zones with and without summer time, with offsets of half and quarter hours, with a half-hour change, and at the ends of the world. */
const zones = [
  'UTC',
  'America/New_York',
  'America/Sao_Paulo',
  'America/St_Johns',
  'America/Asuncion',
  'Europe/Berlin',
  'Africa/Casablanca',
  'Africa/Cairo',
  'Asia/Kathmandu',
  'Asia/Tehran',
  'Australia/Lord_Howe',
  'Pacific/Chatham',
  'Pacific/Apia',
  'Pacific/Kiritimati',
  'Antarctica/Troll',
] as const;
const zone = fc.constantFrom(...zones);
const years = { min: new Date('2024-01-01T00:00:00Z'), max: new Date('2031-01-01T00:00:00Z'), noInvalidDate: true };
/** Half of the times lie within a few hours of a change of the clocks of some zone. */
const changes = [
  '2026-03-29T01:00:00Z',
  '2026-10-25T01:00:00Z',
  '2026-03-08T07:00:00Z',
  '2026-11-01T06:00:00Z',
  '2026-04-04T15:00:00Z',
];
const instant = fc.oneof(
  fc.date(years),
  fc
    .tuple(fc.constantFrom(...changes), fc.integer({ min: -300, max: 300 }))
    .map(([change, minutes]) => new Date(Date.parse(change) + minutes * minuteMs)),
);
const clockTime = fc
  .tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
  .map(([hour, minute]) => `${String(hour).padStart(2, '0')}:${String(minute).padStart(2, '0')}`);
const days = fc.option(fc.subarray([...weekdays], { minLength: 1 }), { nil: undefined });
const quietHours: fc.Arbitrary<QuietHours> = fc
  .record({ from: clockTime, to: clockTime, days })
  .filter((hours) => sessionSettings.shape.quietHours.safeParse(hours).success);

describe('instants of a wall time', () => {
  it('show that time, and the first of two is the earliest', () => {
    fc.assert(
      fc.property(zone, instant, (timezone, at) => {
        const wall = wallTimeOf(at, timezone);
        const { kind, earliest, latest, shifted } = instantsOf(wall, timezone);
        expect(kind).not.toBe('skipped');
        expect(wallTimeOf(earliest, timezone)).toEqual(wall);
        expect(wallTimeOf(latest, timezone)).toEqual(wall);
        expect([earliest.getTime(), latest.getTime()]).toContain(at.getTime());
        expect(earliest < latest).toBe(kind === 'twice');
        expect(shifted).toEqual(earliest);
      }),
      { numRuns: 500 },
    );
  });

  it('of a skipped time are the change itself, and as much later as the clocks moved', () => {
    const result = instantsOf({ year: 2026, month: 3, day: 29, hour: 2, minute: 30 }, 'Europe/Berlin');
    expect(result).toEqual({
      kind: 'skipped',
      earliest: new Date('2026-03-29T01:00:00Z'),
      latest: new Date('2026-03-29T01:00:00Z'),
      shifted: new Date('2026-03-29T01:30:00Z'),
    });
    // Half an hour.
    const howe = instantsOf({ year: 2026, month: 10, day: 4, hour: 2, minute: 10 }, 'Australia/Lord_Howe');
    expect(howe).toMatchObject({
      kind: 'skipped',
      earliest: new Date('2026-10-03T15:30:00Z'),
      shifted: new Date('2026-10-03T15:40:00Z'),
    });
  });

  it('of a repeated time are both of them', () => {
    expect(instantsOf({ year: 2026, month: 10, day: 25, hour: 2, minute: 30 }, 'Europe/Berlin')).toEqual({
      kind: 'twice',
      earliest: new Date('2026-10-25T00:30:00Z'),
      latest: new Date('2026-10-25T01:30:00Z'),
      shifted: new Date('2026-10-25T00:30:00Z'),
    });
  });

  it('of a zone that this runtime does not know are those of UTC', () => {
    const noon = new Date('2026-05-01T12:00:00Z');
    expect(instantsOf(wallTimeOf(noon, 'Mars/Olympus'), 'Mars/Olympus').earliest).toEqual(noon);
  });
});

describe('quiet hours', () => {
  /** What a person says who looks at a calendar and a clock: independent of how the end is computed. */
  function isQuiet({ from, to, days: named }: QuietHours, timezone: string, at: Date): boolean {
    const { year, month, day, hour, minute } = wallTimeOf(at, timezone);
    const now = `${String(hour).padStart(2, '0')}:${String(minute).padStart(2, '0')}`;
    const weekday = (new Date(Date.UTC(year, month - 1, day)).getUTCDay() + 6) % 7;
    const begins = (index: number): boolean => !named || named.includes(weekdays[(index + 7) % 7]!);
    if (from < to) return begins(weekday) && now >= from && now < to;
    return (begins(weekday) && now >= from) || (begins(weekday - 1) && now < to);
  }
  /** Whether the clocks of a zone are set within this many hours of an instant. */
  const isNearChange = (timezone: string, at: Date, hours: number): boolean => {
    const offset = (ms: number): number => {
      const { year, month, day, hour, minute } = wallTimeOf(new Date(ms), timezone);
      return Date.UTC(year, month - 1, day, hour, minute) - Math.floor(ms / minuteMs) * minuteMs;
    };
    return offset(at.getTime() - hours * hourMs) !== offset(at.getTime() + hours * hourMs);
  };

  it('are those that clock and calendar show', () => {
    fc.assert(
      fc.property(zone, instant, quietHours, (timezone, at, hours) => {
        fc.pre(!isNearChange(timezone, at, 4));
        expect(quietUntil({ quietHours: hours, timezone }, at) !== null).toBe(isQuiet(hours, timezone, at));
      }),
      { numRuns: 1_000 },
    );
  });

  it('cover each minute that clock and calendar show as quiet, also where clocks change', () => {
    fc.assert(
      fc.property(zone, instant, quietHours, (timezone, at, hours) => {
        if (isQuiet(hours, timezone, at)) expect(quietUntil({ quietHours: hours, timezone }, at)).not.toBeNull();
      }),
      { numRuns: 1_000 },
    );
  });

  it('end where the next minute is not quiet, and hold until then', () => {
    fc.assert(
      fc.property(zone, instant, quietHours, fc.double({ min: 0, max: 1, noNaN: true }), (timezone, at, hours, part) => {
        const settings = { quietHours: hours, timezone };
        const end = quietUntil(settings, at);
        if (!end) return;
        expect(end.getTime()).toBeGreaterThan(at.getTime());
        expect(quietUntil(settings, end)).toBeNull();
        const between = new Date(at.getTime() + Math.floor(part * (end.getTime() - at.getTime() - 1)));
        expect(quietUntil(settings, between)).toEqual(end);
      }),
      { numRuns: 1_000 },
    );
  });

  it('are the same one after the other as at each instant', () => {
    fc.assert(
      fc.property(zone, instant, quietHours, fc.double({ min: 0, max: 1, noNaN: true }), (timezone, at, hours, part) => {
        const settings = { quietHours: hours, timezone };
        let from = at;
        let spans = 0;
        for (const { start, end } of quietSpans(settings, at)) {
          if (start > from) {
            const open = new Date(from.getTime() + Math.floor(part * (start.getTime() - from.getTime() - 1)));
            expect(quietUntil(settings, open)).toBeNull();
          }
          expect(quietUntil(settings, start > from ? start : from)).toEqual(end);
          from = end;
          if ((spans += 1) === 3) break;
        }
        expect(spans).toBe(3);
      }),
      { numRuns: 500 },
    );
    expect([...quietSpans({ quietHours: null, timezone: 'UTC' }, new Date())]).toEqual([]);
  });

  it('of a year are computed within a fraction of a second', () => {
    const settings = { quietHours: { from: '03:00', to: '03:01' }, timezone: 'America/New_York' };
    const began = process.cpuUsage();
    expect([...quietSpans(settings, new Date('2026-11-29T12:00:00Z'))].length).toBeGreaterThan(366);
    const { user, system } = process.cpuUsage(began);
    // Some hundred milliseconds on a busy machine.
    expect((user + system) / 1_000).toBeLessThan(2_000);
  });

  const until = (hours: QuietHours, timezone: string, at: string) =>
    quietUntil({ quietHours: hours, timezone }, new Date(at))?.toISOString() ?? null;
  const night = { from: '21:00', to: '08:00' };

  it('include their first minute and not their end', () => {
    expect(until(night, 'America/Lima', '2026-05-02T01:59:59.999Z')).toBeNull();
    expect(until(night, 'America/Lima', '2026-05-02T02:00:00Z')).toBe('2026-05-02T13:00:00.000Z');
    expect(until(night, 'America/Lima', '2026-05-02T12:59:59.999Z')).toBe('2026-05-02T13:00:00.000Z');
    expect(until(night, 'America/Lima', '2026-05-02T13:00:00Z')).toBeNull();
  });

  it('of their own zone ignore the zone of the session', () => {
    expect(until({ ...night, timezone: 'Asia/Tokyo' }, 'America/Lima', '2026-05-02T13:00:00Z')).toBe('2026-05-02T23:00:00.000Z');
  });

  it('that follow one another count as one', () => {
    const weekend = { from: '00:00', to: '00:00', days: ['sat', 'sun'] satisfies QuietHours['days'] };
    expect(until(weekend, 'UTC', '2026-05-02T12:00:00Z')).toBe('2026-05-04T00:00:00.000Z');
    expect(until(weekend, 'UTC', '2026-05-04T00:00:00Z')).toBeNull();
  });

  it('begin on the named days and end on the day after', () => {
    const fridays = { ...night, days: ['fri'] satisfies QuietHours['days'] };
    expect(until(fridays, 'UTC', '2026-05-02T07:00:00Z')).toBe('2026-05-02T08:00:00.000Z');
    expect(until(fridays, 'UTC', '2026-05-02T22:00:00Z')).toBeNull();
  });

  it('last until the second of two equal times, from the first of them, and to the change when clocks skip their end', () => {
    expect(until({ from: '22:00', to: '02:30' }, 'Europe/Berlin', '2026-10-25T00:45:00Z')).toBe('2026-10-25T01:30:00.000Z');
    expect(until({ from: '02:30', to: '05:00' }, 'Europe/Berlin', '2026-10-25T00:30:00Z')).toBe('2026-10-25T04:00:00.000Z');
    expect(until({ from: '22:00', to: '02:30' }, 'Europe/Berlin', '2026-03-29T00:59:00Z')).toBe('2026-03-29T01:00:00.000Z');
  });

  it('that would never end are refused', () => {
    const parse = (hours: object) => sessionSettings.shape.quietHours.safeParse(hours).success;
    expect(parse({ from: '08:00', to: '08:00' })).toBe(false);
    expect(parse({ from: '08:00', to: '08:00', days: [...weekdays] })).toBe(false);
    expect(parse({ from: '08:00', to: '08:00', days: ['sun'] })).toBe(true);
    expect(parse({ from: '24:00', to: '08:00' })).toBe(false);
    expect(parse({ ...night, timezone: 'Mars/Olympus' })).toBe(false);
  });
});
