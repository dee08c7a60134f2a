import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseTraceparent } from '@chasqui/shared/tracing';
import { startCollector, type Collector } from '../../shared/test/collector.js';
import { until } from './engine/harness.js';
import { call, command, connect, it, key, start, useWorker } from './worker-rig.js';

/** The worker's part of a message's trace, with the worker rig and a collector. */

useWorker();

const caller = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' };
const traceparent = `00-${caller.traceId}-${caller.spanId}-01`;

let collector: Collector;
let proxy: Server;
let reported: IncomingHttpHeaders[];

/** Passes the worker's calls on to the backend of the rig, and stores the headers of events. */
async function startProxy(): Promise<string> {
  const target = `http://127.0.0.1:${(it.backend.address() as AddressInfo).port}`;
  proxy = createServer((req, res) => {
    if (req.url === '/internal/events') reported.push(req.headers);
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const headers = { 'x-api-key': key, 'content-type': 'application/json' };
      fetch(target + req.url!, { method: 'POST', headers, body: Buffer.concat(chunks) })
        .then(async (answer) => res.setHeader('content-type', 'application/json').end(await answer.text()))
        .catch(() => req.socket.destroy());
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
}

describe('traces of the worker', () => {
  beforeEach(async () => {
    await it.worker.close();
    reported = [];
    collector = await startCollector();
    await start(await startProxy(), { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    await connect();
  });
  afterEach(async () => {
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
    await collector.close();
  });

  test('a send is below the call of the backend, and the events that follow have a trace of their own', async () => {
    const headers = { 'X-API-Key': key, traceparent };
    const reply = await call('PUT', '/api/session/s1/messages/m1', command(), headers);
    expect(reply.body.data['outcome']).toBe('sent');
    await until('the span of the send', () => collector.named('whatsapp send').length > 0);
    const [request] = collector.named('PUT /api/session/:id/messages/:messageId');
    const [send] = collector.named('whatsapp send');
    expect(request).toMatchObject({ service: 'chasqui-worker', traceId: caller.traceId, parentSpanId: caller.spanId });
    expect(send).toMatchObject({ traceId: caller.traceId, parentSpanId: request!.spanId });
    expect(send!.attributes).toEqual({
      'chasqui.message.id': 'm1',
      'chasqui.session.id': 's1',
      'chasqui.message.type': 'text',
      'chasqui.attempt': 1,
      'chasqui.outcome': 'sent',
    });
    await until('the span of events', () => collector.named('events deliver').length > 0);
    const delivered = collector.named('events deliver').map(({ traceId, spanId }) => ({ traceId, spanId }));
    expect(reported.map((each) => parseTraceparent(each['traceparent'] as string))).toEqual(expect.arrayContaining(delivered));
    expect(delivered.map(({ traceId }) => traceId)).not.toContain(caller.traceId);
    const sent = collector.requests.map(({ body }) => body).join('\n');
    expect(['hello', '5511999990001', key].filter((text) => sent.includes(text))).toEqual([]);
  });

  test('a call that belongs to no trace has no span: probes of sessions would fill the collector', async () => {
    await call('GET', '/api/session/status/s1');
    await call('PUT', '/api/session/s1/messages/m2', command(), { 'X-API-Key': key, traceparent });
    await until('the span of the send', () => collector.named('whatsapp send').length > 0);
    expect(collector.spans.filter(({ name }) => /status|heartbeat/.test(name))).toEqual([]);
  });
});
