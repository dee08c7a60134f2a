import { afterEach, describe, expect, test } from '@jest/globals';
import { METHODS } from 'node:http';
import { metricTable, type MetricRow } from '../src/index.js';
import { countAnswered, createMeter, type Meter, type MeterOptions } from '../src/meter.js';
import { parseExposition, valueOf, type Point } from './exposition.js';

const meters: Meter[] = [];
afterEach(() => meters.splice(0).forEach((meter) => meter.stop()));
const open = (more: Partial<MeterOptions> = {}): Meter => {
  const meter = createMeter({ process: 'backend', version: '1.2.3', cacheMs: 0, collectMs: 50, ...more });
  meters.push(meter);
  return meter;
};
const read = async (meter: Meter): Promise<Point[]> => parseExposition(await meter.text());

describe('a meter', () => {
  test('shows a gauge only while its source has a value for it', async () => {
    const meter = open();
    let sessions = ['a', 'b'];
    meter.collect('queues', ['chasqui_queue_messages'], (set) => {
      for (const session_id of sessions) set('chasqui_queue_messages', { session_id }, 7);
    });
    expect(valueOf(await read(meter), 'chasqui_queue_messages', { session_id: 'a' })).toBe(7);
    sessions = ['b'];
    const points = await read(meter);
    expect(points.filter(({ name }) => name === 'chasqui_queue_messages').map(({ labels }) => labels['session_id'])).toEqual([
      'b',
    ]);
  });

  test('a source that fails hides its gauges and names itself; the others are shown', async () => {
    const meter = open();
    let fails = false;
    meter.collect('failures', ['chasqui_failures_recent'], (set) => {
      set('chasqui_failures_recent', {}, 3);
      if (fails) throw new Error('The database is away.');
    });
    meter.collect('disk', ['chasqui_disk_free_bytes'], (set) => set('chasqui_disk_free_bytes', {}, 5));
    const shown = async (): Promise<(number | null)[]> => {
      const points = await read(meter);
      return [
        valueOf(points, 'chasqui_failures_recent'),
        valueOf(points, 'chasqui_collector_up', { collector: 'failures' }),
        valueOf(points, 'chasqui_disk_free_bytes'),
      ];
    };
    expect(await shown()).toEqual([3, 1, 5]);
    fails = true;
    expect(await shown()).toEqual([null, 0, 5]);
    fails = false;
    expect(await shown()).toEqual([3, 1, 5]);
  });

  test('a source that hangs delays a scrape only up to its limit, and is not asked again while it hangs', async () => {
    const meter = open();
    let asked = 0;
    let answer = (): void => undefined;
    meter.collect('failures', ['chasqui_failures_recent'], async (set) => {
      asked += 1;
      await new Promise<void>((resolve) => (answer = resolve));
      set('chasqui_failures_recent', {}, asked);
    });
    for (let scrape = 0; scrape < 3; scrape += 1) expect(valueOf(await read(meter), 'chasqui_failures_recent')).toBeNull();
    expect(asked).toBe(1);
    const next = read(meter);
    answer();
    expect(valueOf(await next, 'chasqui_failures_recent')).toBe(1);
  });

  test('callers at the same time, and within the cache time, share one read', async () => {
    const meter = open({ cacheMs: 60_000 });
    let reads = 0;
    meter.collect('failures', ['chasqui_failures_recent'], () => void (reads += 1));
    await Promise.all([meter.text(), meter.text()]);
    await meter.text();
    expect(reads).toBe(1);
  });

  test('a caller creates no series with the methods that it sends', async () => {
    const meter = open();
    const unknown = { requestId: 'r', keyId: null, accountId: null, isStream: false };
    const answered = { ...unknown, route: 'unmatched', status: 404, ms: 1, code: 'ROUTE_NOT_FOUND' };
    for (const method of METHODS) countAnswered(meter, { ...answered, method });
    const points = (await read(meter)).filter(({ name }) => name === 'chasqui_http_requests_total');
    const shown = points.map(({ labels, value }) => [labels['method'], value]).sort();
    const named = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT'];
    expect(shown).toEqual([...named.map((method) => [method, 1]), ['OTHER', METHODS.length - named.length]].sort());
  });

  test.each(['backend', 'worker'] as const)('of a %s publishes its own rows, with help and type, and no other', async (owner) => {
    const text = await open({ process: owner }).text();
    const own = Object.entries<MetricRow>(metricTable).filter(([, { process }]) => process === owner || process === 'both');
    const published = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, kind]) => [name, kind]);
    expect(published.sort()).toEqual(own.map(([name, { kind }]) => [name, kind]).sort());
  });
});

describe('the table of metrics', () => {
  test('follows the conventions of names: units, and _total for counters alone', () => {
    for (const [name, { kind, labels, doc, buckets }] of Object.entries<MetricRow>(metricTable)) {
      expect([name, name.endsWith('_total')]).toEqual([name, kind === 'counter']);
      expect([name, buckets !== undefined && name.endsWith('_seconds')]).toEqual([name, kind === 'histogram']);
      expect(name).toMatch(/^(chasqui|process|nodejs)_[a-z0-9_]+$/);
      expect(labels.filter((label) => !/^[a-z][a-z_]*$/.test(label))).toEqual([]);
      expect([name, doc]).toEqual([name, expect.stringMatching(/^[A-Z0-9].{9,}\.$/)]);
    }
  });
});
