import { describe, expect, it } from '@jest/globals';
import { newId } from '@chasqui/shared';
import fc from 'fast-check';
import { daysBetween, stretchesOf } from '../statistics/calendar.js';
import { bucketsOf } from './chart.js';
import { firstDay } from './views/usage-page.js';
import { dayStart, idFrom, knownZone } from './time.js';

const hour = 3_600_000;

/** Zones without summer time, with it in both halves of the year, at midnight, by half an hour, and with odd offsets. */
const zones = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'America/Havana',
  'America/Santiago',
  'Africa/Cairo',
  'Africa/Casablanca',
  'Asia/Beirut',
  'Asia/Kathmandu',
  'Australia/Lord_Howe',
  'Pacific/Chatham',
  'Pacific/Kiritimati',
] as const;
/** A moment within two days of a change of the clocks of the zone, or anywhere in the years. */
const moment = fc.constantFrom(...zones).chain((timezone) => {
  const [from, to] = [Date.parse('2025-01-01T00:00:00Z'), Date.parse('2028-01-01T00:00:00Z')];
  const changes = stretchesOf(from, to, timezone).map(({ to: end }) => end);
  const near = fc.tuple(fc.constantFrom(...changes), fc.integer({ min: -48 * hour, max: 48 * hour }));
  const at = fc.oneof(
    fc.integer({ min: from, max: to }),
    near.map(([change, gap]) => change + gap),
  );
  return at.map((time) => ({ timezone, time }));
});
/** What a clock of the zone shows, by the runtime's own rules. */
const shown = (time: number, timeZone: string): string =>
  new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' }).format(time);
const dayShown = (time: number, timeZone: string): string => shown(time, timeZone).slice(0, 10);

describe('days of a zone', () => {
  it('begin at its midnight, summer time and half hours included', () => {
    const evening = new Date('2026-07-01T22:30:00.500Z');
    expect(new Date(dayStart(evening, 'UTC')).toISOString()).toBe('2026-07-01T00:00:00.000Z');
    expect(new Date(dayStart(evening, 'Europe/Berlin')).toISOString()).toBe('2026-07-01T22:00:00.000Z');
    expect(new Date(dayStart(evening, 'America/New_York')).toISOString()).toBe('2026-07-01T04:00:00.000Z');
    expect(new Date(dayStart(evening, 'Asia/Kolkata')).toISOString()).toBe('2026-07-01T18:30:00.000Z');
  });
  it('begin at the first instant with their date, also on the day of a change of the clocks', () => {
    fc.assert(
      fc.property(moment, ({ timezone, time }) => {
        const start = dayStart(new Date(time), timezone);
        expect(start).toBeLessThanOrEqual(time);
        expect(dayShown(start, timezone)).toBe(dayShown(time, timezone));
        expect(dayShown(start - 1, timezone)).not.toBe(dayShown(time, timezone));
      }),
    );
  });
  it('are those of UTC where the zone is not known', () => {
    expect(knownZone('Nowhere/City')).toBe('UTC');
    expect(dayStart(new Date('2026-07-01T22:30:00Z'), 'Nowhere/City')).toBe(Date.parse('2026-07-01T00:00:00Z'));
  });
});

describe('the days of a usage report', () => {
  it('are as many as were asked for, today included', () => {
    fc.assert(
      fc.property(moment, fc.integer({ min: 1, max: 90 }), ({ timezone, time }, days) => {
        const first = firstDay(new Date(time), days, timezone);
        expect(daysBetween(first, dayShown(time, timezone))).toBe(days - 1);
      }),
    );
  });
});

describe('the buckets of a chart', () => {
  it('are the last fourteen days, each from its own midnight on', () => {
    fc.assert(
      fc.property(moment, ({ timezone, time }) => {
        const { starts, stretches } = bucketsOf(new Date(time), '14d', timezone);
        const days = starts.map((at) => dayShown(at, timezone));
        const today = Date.parse(`${dayShown(time, timezone)}T12:00:00Z`);
        expect(days).toEqual(
          Array.from({ length: 14 }, (_, index) => new Date(today - (13 - index) * 24 * hour).toISOString().slice(0, 10)),
        );
        for (const at of starts) expect(dayShown(at - 1, timezone)).not.toBe(dayShown(at, timezone));
        expect(stretches[0]!.from).toBe(starts[0]);
        expect(stretches.at(-1)!.to).toBeGreaterThan(time);
      }),
    );
  });
  it('are 24 hours of the clock, the last with the present moment, and none longer than an hour', () => {
    fc.assert(
      fc.property(moment, ({ timezone, time }) => {
        const { starts } = bucketsOf(new Date(time), '24h', timezone);
        expect(starts).toHaveLength(24);
        const changes = stretchesOf(starts[0]! - 2 * hour, time + 2 * hour, timezone).map(({ from }) => from);
        for (const at of starts) if (!changes.includes(at)) expect(shown(at, timezone).slice(14)).toBe('00:00');
        const lengths = starts.map((at, index) => (starts[index + 1] ?? time + 1) - at);
        expect(Math.min(...lengths)).toBeGreaterThan(0);
        expect(Math.max(...lengths)).toBeLessThanOrEqual(hour);
      }),
      // Clocks are set back by half an hour there.
      { examples: [[{ timezone: 'Australia/Lord_Howe', time: Date.parse('2026-04-04T18:10:00Z') }]] },
    );
  });
});

describe('the smallest id of a time', () => {
  it('is before every id made then and after every id made before', () => {
    const now = Date.now();
    expect(idFrom(now) <= newId(now)).toBe(true);
    expect(idFrom(now) > newId(now - 1)).toBe(true);
    expect(idFrom(now)).toHaveLength(36);
  });
});
