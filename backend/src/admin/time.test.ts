import { describe, expect, it } from '@jest/globals';
import { newId } from '@chasqui/shared';
import { dayStart, idFrom, knownZone, offsetMs } from './time.js';

const hour = 3_600_000;

describe('days of a zone', () => {
  it('begin at its midnight, summer time and half hours included', () => {
    const evening = new Date('2026-07-01T22:30:00.500Z');
    expect(new Date(dayStart(evening, 'UTC')).toISOString()).toBe('2026-07-01T00:00:00.000Z');
    expect(new Date(dayStart(evening, 'Europe/Berlin')).toISOString()).toBe('2026-07-01T22:00:00.000Z');
    expect(new Date(dayStart(evening, 'America/New_York')).toISOString()).toBe('2026-07-01T04:00:00.000Z');
    expect(offsetMs(evening, 'Asia/Kolkata')).toBe(5.5 * hour);
    expect(offsetMs(new Date('2026-01-01T00:00:00Z'), 'Europe/Berlin')).toBe(hour);
  });
  it('are those of UTC where the zone is not known', () => {
    expect(knownZone('Nowhere/City')).toBe('UTC');
    expect(offsetMs(new Date(), 'Nowhere/City')).toBe(0);
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
