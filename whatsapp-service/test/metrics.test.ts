import { describe, expect, test } from '@jest/globals';
import { metricTable, type MetricRow } from '@chasqui/shared';
import { metricOf, parseExposition, valueOf, type Point } from '../../shared/test/exposition.js';
import { until } from './engine/harness.js';
import { call, connect, it, key, put, useWorker } from './worker-rig.js';

useWorker();

async function scrape(): Promise<Point[]> {
  const answer = await fetch(`${it.worker.url}/metrics`, { headers: { 'x-api-key': key } });
  expect(answer.status).toBe(200);
  return parseExposition(await answer.text());
}
/** Scrapes until a condition is met: callers within a second share one read. */
async function scrapeUntil(what: string, check: (points: Point[]) => boolean): Promise<Point[]> {
  let points: Point[] = [];
  await until(what, async () => check((points = await scrape())), 20_000);
  return points;
}

describe('the metrics of a worker', () => {
  test('count sends by their outcome, and a repeat that the record answers not again', async () => {
    await connect();
    await put('m1');
    await put('m1');
    it.engine.answer.send = async () => ({ outcome: 'failed', reason: 'WHATSAPP_REFUSED', message: '', retryable: false });
    await put('m2');
    it.engine.answer.send = async () => ({ outcome: 'uncertain', reason: 'TIMEOUT_AFTER_HANDOVER', message: '' });
    await put('m3');
    const points = await scrapeUntil('three sends', (found) => valueOf(found, 'chasqui_send_duration_seconds_count') === 3);
    for (const outcome of ['sent', 'failed', 'uncertain'])
      expect([outcome, valueOf(points, 'chasqui_sends_total', { outcome })]).toEqual([outcome, 1]);
    expect(it.engine.sent).toHaveLength(3);
    expect(
      valueOf(points, 'chasqui_http_requests_total', {
        method: 'PUT',
        route: '/api/session/:id/messages/:messageId',
        status: '200',
      }),
    ).toBe(4);
  });

  test('show the sessions that run, and no series of one that has stopped', async () => {
    await connect();
    const running = await scrapeUntil(
      'the session',
      (found) => valueOf(found, 'chasqui_worker_sessions', { status: 'connected' }) === 1,
    );
    expect(valueOf(running, 'chasqui_worker_capacity')).toBe(2);
    expect(valueOf(running, 'chasqui_browser_processes', { session_id: 's1' })).not.toBeNull();
    await call('POST', '/api/session/disconnect', { sessionId: 's1' });
    const stopped = await scrapeUntil(
      'its end',
      (found) => valueOf(found, 'chasqui_worker_sessions', { status: 'disconnected' }) === 1,
    );
    expect(stopped.filter(({ labels }) => labels['session_id'] === 's1')).toEqual([]);
    it.worker.noteTrouble(new Error('trouble'));
    const degraded = await scrapeUntil('the problem', (found) => valueOf(found, 'chasqui_worker_degraded') === 1);
    expect(valueOf(degraded, 'chasqui_worker_problems_total', { code: 'UNHANDLED_REJECTION' })).toBe(1);
  });

  test('are what the reference documents, and are read with the service key alone while there is no token', async () => {
    const histograms = new Set(
      Object.entries<MetricRow>(metricTable).flatMap(([name, { kind }]) => (kind === 'histogram' ? [name] : [])),
    );
    for (const point of await scrape()) {
      const name = metricOf(point, histograms);
      expect([name, (metricTable as Record<string, MetricRow>)[name]?.process]).toEqual([
        name,
        expect.stringMatching(/^(worker|both)$/),
      ]);
    }
    for (const headers of [{}, { authorization: 'Bearer ' }, { 'x-api-key': 'wrong' }]) {
      const { status, body } = await call('GET', '/metrics', undefined, headers as Record<string, string>);
      expect([status, body.error.code]).toEqual([401, 'UNAUTHENTICATED']);
    }
  });
});
