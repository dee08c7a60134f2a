import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { messageStatuses, metricTable, type MetricRow } from '@chasqui/shared';
import { metricOf, parseExposition, valueOf, type Point } from '../../shared/test/exposition.js';
import { runStatement } from '../src/db/statement.js';
import { databases, migratedDatabase, serviceKey, type Rig } from './support/backend.js';
import { ana, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startSink, type Sink } from './support/sink.js';

const token = 'metrics-token-0123456789-0123456789';
const settings = { METRICS_TOKEN: token, EGRESS_ALLOW: '127.0.0.1/32', WEBHOOK_RETRY_DELAYS: '60000' };

async function scrape({ url }: Rig): Promise<Point[]> {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
  return parseExposition(await answer.text());
}

describe.each(await databases())('the metrics of a backend on %s', (database) => {
  let core: Core | null = null;
  let sink: Sink | null = null;
  afterEach(async () => {
    await core?.close();
    await sink?.close();
    core = sink = null;
  });
  /** Counts of the database by one column. */
  const counted = async (sql: string): Promise<Record<string, number>> => {
    const { rows } = await runStatement<{ k: string; n: number | string }>(core!.rig.database.reader, sql);
    return Object.fromEntries(rows.map(({ k, n }) => [k, Number(n)]));
  };
  const byLabel = (points: readonly Point[], name: string, label: string): Record<string, number> => {
    const found: Record<string, number> = {};
    for (const point of points)
      if (point.name === name && point.value > 0) found[point.labels[label]!] = (found[point.labels[label]!] ?? 0) + point.value;
    return found;
  };

  /** Three sent, one failed, one uncertain, two queued for a session without a phone, one received; two kinds of endpoints. */
  async function makeTraffic(place: { dataDir?: string; databaseUrl?: string } = {}): Promise<void> {
    core = await startCore({ database, settings, ...place });
    sink = await startSink();
    const { worker } = core;
    await core.post('/webhooks', { url: sink.url, events: ['message.sent'] });
    await core.post('/webhooks', { url: 'http://127.0.0.1:9/none', events: ['message.failed'] });
    const before = sink;
    for (const text of ['one', 'two', 'three']) expect((await core.send(text)).status).toBeLessThan(300);
    worker.script({ do: 'fail', reason: 'WHATSAPP_REFUSED', retryable: false });
    const failed = await core.send('four', { async: true });
    await core.reaches((failed.body.data as { id: string }).id, 'failed');
    const { id } = (await core.post('/sessions', { name: 'offline' })).body.data as { id: string };
    for (const text of ['five', 'six'])
      await core.post('/messages/send-text', { sessionId: id, recipient: ana, message: text, async: true, queueIfOffline: true });
    await worker.emit(core.sessionId, 'message.observed', { message: core.inbound('hello'), origin: 'live' });
    await eventually('the deliveries', async () => before.taken.length >= 3);
  }

  test('say what happened: each figure equals the rows of the database', async () => {
    await makeTraffic();
    const points = await eventually('all attempts and outcomes', async () => {
      const found = await scrape(core!.rig);
      return valueOf(found, 'chasqui_webhook_attempts_total', { outcome: 'unreachable' }) === 1 ? found : null;
    });
    expect(byLabel(points, 'chasqui_events_total', 'type')).toEqual(
      await counted('SELECT type AS k, COUNT(*) AS n FROM events GROUP BY type'),
    );
    const statuses = await counted(
      `SELECT status AS k, COUNT(*) AS n FROM messages WHERE direction = 'outbound' GROUP BY status`,
    );
    expect(statuses).toEqual({ sent: 3, failed: 1, queued: 2 });
    expect(byLabel(points, 'chasqui_message_outcomes_total', 'outcome')).toEqual({ sent: 3, failed: 1 });
    expect(valueOf(points, 'chasqui_message_outcomes_total', { outcome: 'failed', reason: 'WHATSAPP_REFUSED' })).toBe(1);
    expect(valueOf(points, 'chasqui_message_send_duration_seconds_count')).toBe(3);
    expect(byLabel(points, 'chasqui_messages_open', 'status')).toEqual({ queued: 2 });
    expect(byLabel(points, 'chasqui_queue_messages', 'session_id')).toEqual(
      await counted(`SELECT "sessionId" AS k, COUNT(*) AS n FROM messages WHERE status = 'queued' GROUP BY "sessionId"`),
    );
    expect(byLabel(points, 'chasqui_queue_due_messages', 'session_id')).toEqual(
      byLabel(points, 'chasqui_queue_messages', 'session_id'),
    );
    const [oldest] = Object.values(byLabel(points, 'chasqui_queue_oldest_age_seconds', 'session_id'));
    const first = (await counted(`SELECT 'at' AS k, MIN("createdAt") AS n FROM messages WHERE status = 'queued'`))['at']!;
    expect(oldest).toBeGreaterThan(0);
    expect(oldest).toBeLessThanOrEqual((Date.now() - first) / 1000);
    expect(byLabel(points, 'chasqui_sessions', 'status')).toEqual(
      await counted('SELECT status AS k, COUNT(*) AS n FROM sessions WHERE "deletedAt" IS NULL GROUP BY status'),
    );
    expect(byLabel(points, 'chasqui_workers', 'state')).toEqual({ ok: 1 });
    expect(byLabel(points, 'chasqui_webhook_attempts_total', 'outcome')).toEqual({ delivered: 3, unreachable: 1 });
    expect(byLabel(points, 'chasqui_webhook_deliveries_open', 'status')).toEqual(
      await counted(
        `SELECT status AS k, COUNT(*) AS n FROM webhook_deliveries WHERE status IN ('pending', 'sending', 'held') GROUP BY status`,
      ),
    );
    expect(valueOf(points, 'chasqui_webhook_oldest_age_seconds')).toBeGreaterThan(0);
    expect(valueOf(points, 'chasqui_database_size_bytes')).toBeGreaterThan(10_000);
    expect(valueOf(points, 'chasqui_database_transactions_total', { outcome: 'committed' })).toBeGreaterThan(7);
    expect(points.filter(({ name, value }) => name === 'chasqui_collector_up' && value !== 1)).toEqual([]);
  });

  test('count each request under the pattern of its route, whatever its path and query say', async () => {
    core = await startCore({ database, settings });
    const { rig } = core;
    const numbers = ['5511988880001', '5511988880002', '5511988880003'];
    for (const number of numbers) {
      await rig.call('GET', `/messages/${number}?recipient=${number}`);
      await rig.call('GET', `/no-such-${number}`);
      await rig.call('GET', `/sessions`, { key: `chq_${number}` });
    }
    const requests = async (): Promise<Point[]> => scrape(rig);
    const points = await eventually('the requests', async () => {
      const found = await requests();
      return valueOf(found, 'chasqui_http_requests_total', { method: 'GET', route: '/sessions', status: '401' }) === 3
        ? found
        : null;
    });
    expect(valueOf(points, 'chasqui_http_requests_total', { method: 'GET', route: '/messages/:messageId', status: '422' })).toBe(
      3,
    );
    expect(valueOf(points, 'chasqui_http_requests_total', { method: 'GET', route: 'unmatched', status: '404' })).toBe(3);
    expect(valueOf(points, 'chasqui_errors_total', { code: 'ROUTE_NOT_FOUND' })).toBe(3);
    const texts = JSON.stringify(points);
    expect(numbers.filter((number) => texts.includes(number))).toEqual([]);
  });

  test('begin again with the process, while what is read from the database stays', async () => {
    const own = database === 'postgres' ? await migratedDatabase() : null;
    const place = { dataDir: await mkdtemp(join(tmpdir(), 'chasqui-metrics-')), ...(own ? { databaseUrl: own.url } : {}) };
    await makeTraffic(place);
    const before = await scrape(core!.rig);
    await core!.close();
    core = await startCore({ database, settings, linked: false, ...place });
    const after = await scrape(core.rig);
    await core.close();
    core = null;
    await own?.drop();
    await rm(place.dataDir, { recursive: true });
    expect(byLabel(after, 'chasqui_message_outcomes_total', 'outcome')).toEqual({});
    expect(byLabel(after, 'chasqui_queue_messages', 'session_id')).toEqual(
      byLabel(before, 'chasqui_queue_messages', 'session_id'),
    );
    expect(valueOf(after, 'process_start_time_seconds')).toBeGreaterThan(0);
  });
});

describe('GET /metrics', () => {
  let core: Core | null = null;
  afterEach(async () => {
    await core?.close();
    core = null;
  });
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await fetch(`${core!.rig.url}/metrics`, { headers })).status;

  test('answers the token and the service key, and no other caller, also from this machine', async () => {
    core = await startCore({ settings, linked: false });
    expect(await status({ authorization: `Bearer ${token}` })).toBe(200);
    expect(await status({ 'x-api-key': token })).toBe(200);
    expect(await status({ 'x-api-key': serviceKey })).toBe(200);
    expect(await status({ authorization: `ApiKey ${serviceKey}` })).toBe(200);
    for (const wrong of ['', 'x', `${token}x`, token.slice(1), core.rig.apiKey, serviceKey.toUpperCase()])
      expect([wrong, await status({ authorization: `Bearer ${wrong}` })]).toEqual([wrong, 401]);
    expect(await status({})).toBe(401);
    expect(await status({ authorization: `Basic ${token}` })).toBe(401);
  });

  test('without METRICS_TOKEN answers the service key alone', async () => {
    core = await startCore({ linked: false });
    expect([await status({ 'x-api-key': serviceKey }), await status({ authorization: 'Bearer ' }), await status({})]).toEqual([
      200, 401, 401,
    ]);
  });

  test('publishes only what the reference documents', async () => {
    core = await startCore({ settings });
    await core.send('one');
    const histograms = new Set(
      Object.entries<MetricRow>(metricTable).flatMap(([name, { kind }]) => (kind === 'histogram' ? [name] : [])),
    );
    for (const point of await scrape(core.rig)) {
      const name = metricOf(point, histograms);
      const row = (metricTable as Record<string, MetricRow>)[name];
      expect([name, row?.process]).toEqual([name, expect.stringMatching(/^(backend|both)$/)]);
      expect([
        name,
        Object.keys(point.labels)
          .filter((label) => label !== 'le')
          .sort(),
      ]).toEqual([name, [...row!.labels].sort()]);
    }
    expect(messageStatuses).toEqual(expect.arrayContaining(['scheduled', 'queued', 'sending', 'uncertain']));
  });
});
