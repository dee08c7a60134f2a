import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { estimateEnds, gapAfter, isBefore, type Capacity, type EstimatedJob, type Outlook } from './estimate.js';
import { outlookOf } from './outlook.js';

const dayMs = 86_400_000;

describe('gaps', () => {
  test('lie within their bounds, differ, and are the same each time', () => {
    fc.assert(
      fc.property(fc.uuid(), fc.nat(20_000), fc.nat(60_000), fc.nat(60_000), (id, number, min, more) => {
        const job = { id, gapMinMs: min, gapMaxMs: min + more };
        const gap = gapAfter(job, number, 0);
        expect(gap).toBeGreaterThanOrEqual(min);
        expect(gap).toBeLessThanOrEqual(min + more);
        expect(gapAfter(job, number, 0)).toBe(gap);
      }),
    );
    const gaps = Array.from({ length: 5_000 }, (_, number) => gapAfter({ id: 'x', gapMinMs: 2_000, gapMaxMs: 6_000 }, number, 0));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    expect(Math.abs(mean - 4_000)).toBeLessThan(100);
    expect(new Set(gaps).size).toBeGreaterThan(2_000);
  });

  test('are never shorter than the pace of the session allows', () => {
    expect(gapAfter({ id: 'x', gapMinMs: 0, gapMaxMs: 0 }, 1, 30)).toBe(2_000);
    expect(gapAfter({ id: 'x', gapMinMs: 9_000, gapMaxMs: 9_000 }, 1, 30)).toBe(9_000);
  });
});

describe('the estimate', () => {
  /** Applies the rules one message at a time, without the shortcuts of the estimate. Returns the times of all messages, by job. */
  function simulate({ now, nextAt, perMinute, jobs, closedUntil, capacities }: Outlook): Map<string, number[]> {
    const left = jobs.map((job) => ({ ...job, times: [] as number[] }));
    const quotas = capacities.map((one) => ({ ...one }));
    let time = Math.max(now, nextAt);
    for (;;) {
      const waiting = left.filter(({ pending }) => pending > 0);
      if (waiting.length === 0) return new Map(left.map(({ id, times }) => [id, times]));
      for (const quota of quotas)
        for (; quota.resetAt <= time; quota.resetAt = quota.resetAfter(quota.resetAt))
          quota.remaining = quota.limitFrom(quota.resetAt);
      const ready = waiting.filter(({ startsAt }) => startsAt <= time).sort((one, other) => (isBefore(one, other) ? -1 : 1));
      const blocked = [
        closedUntil(time),
        ...quotas.map(({ remaining, resetAt }) => (remaining <= 0 ? resetAt : null)),
        ready.length === 0 ? Math.min(...waiting.map(({ startsAt }) => startsAt)) : null,
      ].filter((one) => one !== null);
      if (blocked.length > 0) {
        time = Math.max(...blocked, time + 1);
        continue;
      }
      const [job] = ready;
      job!.times.push(time);
      job!.pending -= 1;
      job!.fedAt = time;
      for (const quota of quotas) quota.remaining -= 1;
      time += gapAfter(job!, job!.fed, perMinute);
      job!.fed += 1;
    }
  }

  const job = (index: number): fc.Arbitrary<EstimatedJob> =>
    fc.record({
      id: fc.constant(`job-${index}`),
      gapMinMs: fc.nat(5_000),
      gapMaxMs: fc.integer({ min: 5_000, max: 9_000 }),
      fed: fc.nat(100),
      pending: fc.nat(60),
      startsAt: fc.oneof(fc.constant(0), fc.nat(200_000)),
      fedAt: fc.oneof(fc.constant(null), fc.nat(1_000)),
    });
  const capacity: fc.Arbitrary<Capacity> = fc
    .record({
      limit: fc.integer({ min: 1, max: 40 }),
      growth: fc.constantFrom(1, 1, 1.5, 3),
      unlimitedAfter: fc.constantFrom(Infinity, Infinity, 400_000),
      used: fc.nat(40),
      period: fc.integer({ min: 20_000, max: 200_000 }),
    })
    .map(({ limit, growth, unlimitedAfter, used, period }) => ({
      remaining: Math.max(0, limit - used),
      limitFrom: (at) => (at > unlimitedAfter ? Infinity : Math.floor(limit * growth ** (at / period))),
      resetAt: period,
      resetAfter: (at) => at + period,
    }));
  const outlook: fc.Arbitrary<Outlook> = fc
    .record({
      now: fc.nat(50_000),
      nextAt: fc.nat(60_000),
      perMinute: fc.constantFrom(0, 10, 30, 60),
      jobs: fc.tuple(job(0), job(1), job(2)),
      capacities: fc.array(capacity, { maxLength: 2 }),
      closed: fc.record({ every: fc.integer({ min: 50_000, max: 300_000 }), length: fc.nat(40_000) }),
    })
    .map(({ closed: { every, length }, ...rest }) => ({
      ...rest,
      closedUntil: (at) => (at % every < length ? at - (at % every) + length : null),
      openUntil: (at) => at - (at % every) + every,
    }));

  test('is when the last message is queued if every rule is followed one message at a time', () => {
    fc.assert(
      fc.property(outlook, (input) => {
        const times = simulate(input);
        const ends = estimateEnds(input);
        for (const { id, pending } of input.jobs)
          expect([id, ends.get(id)]).toEqual([id, pending > 0 ? times.get(id)!.at(-1) : undefined]);
      }),
    );
  });

  test('of a job that would take longer than a year is left out', () => {
    const endless: Outlook = {
      now: 0,
      nextAt: 0,
      perMinute: 0,
      jobs: [{ id: 'x', gapMinMs: 0, gapMaxMs: 0, fed: 0, pending: 10_000, startsAt: 0, fedAt: null }],
      closedUntil: () => null,
      openUntil: () => Infinity,
      capacities: [{ limitFrom: () => 1, remaining: 1, resetAt: dayMs, resetAfter: (at) => at + dayMs }],
    };
    expect(estimateEnds(endless).size).toBe(0);
  });

  const plain: Outlook = {
    now: Date.parse('2026-11-29T12:00:00Z'),
    nextAt: 0,
    perMinute: 0,
    jobs: [],
    closedUntil: () => null,
    openUntil: () => Infinity,
    capacities: [],
  };
  const jobsOf = (count: number, gapMinMs: number, gapMaxMs = gapMinMs): EstimatedJob[] =>
    Array.from({ length: count }, (_, index) => ({
      id: `job-${String(index).padStart(3, '0')}`,
      ...{ gapMinMs, gapMaxMs, fed: 0, pending: 10_000, startsAt: 0, fedAt: null },
    }));
  /** Processor time in milliseconds: other work on the machine does not count. */
  const costOf = (run: () => void): number => {
    const began = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1_000;
  };

  test('of 10,000 recipients takes a few milliseconds', () => {
    const cost = costOf(() =>
      expect(estimateEnds({ ...plain, perMinute: 30, jobs: jobsOf(1, 2_000, 6_000) }).get('job-000')).toBeGreaterThan(
        plain.now + 9_999 * 2_000,
      ),
    );
    expect(cost).toBeLessThan(1_000);
  });

  test('of as many jobs and recipients as a session can have ends within a bounded time, and leaves out what is further ahead', () => {
    const [short, ...others] = jobsOf(100, 0);
    const jobs = [{ ...short!, pending: 10 }, ...others];
    for (const gap of [0, 1_000]) {
      let ends = new Map<string, number>();
      const gaps = jobs.map((one) => ({ ...one, gapMinMs: gap, gapMaxMs: gap }));
      const cost = costOf(() => (ends = estimateEnds({ ...plain, jobs: gaps })));
      // A million messages are not computed one by one: they would take several seconds.
      expect(cost).toBeLessThan(1_000);
      expect(ends.has(short!.id)).toBe(true);
      expect(ends.size).toBeLessThan(20);
    }
  });

  test.each([
    ['03:00', '03:01', undefined],
    ['21:00', '08:00', undefined],
    ['12:00', '12:30', ['sun'] as const],
  ])(
    'with quiet hours from %s to %s, of a job that takes more than two months, is computed in a fraction of a second',
    (from, to, days) => {
      const quietHours = { from, to, timezone: 'America/New_York', ...(days ? { days: [...days] } : {}) };
      const session = { settings: { quietHours, pacing: { perMinute: 30 } }, throttle: null } as never;
      const stored = jobsOf(1, 600_000).map((one) => ({ ...one, status: 'running', scheduledAt: null, fedAt: null }));
      const now = new Date(plain.now);
      const input = { session, jobs: stored as never, now, nextAt: null, quotas: [], timezone: 'UTC' };
      const outlook = outlookOf({ ...input, resetAfter: () => now, warmUpAt: () => null });
      let end: number | undefined;
      const cost = costOf(() => (end = estimateEnds(outlook).get('job-000')));
      expect((end! - plain.now) / dayMs).toBeGreaterThan(69);
      expect(cost).toBeLessThan(1_000);
    },
  );
});
