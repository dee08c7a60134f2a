import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { messageSpan, parseTraceparent } from '@chasqui/shared/tracing';
import { startCollector, type Collector, type ReceivedSpan } from '../../shared/test/collector.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { databases } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { startSink, type Sink } from './support/sink.js';

/** One trace for each message, from its accept through the worker to the webhooks, linked with the requests. */

const caller = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' };
const callersHeader = `00-${caller.traceId}-${caller.spanId}-01`;
const words = 'The parcel is at the gate.';
const numbers = { client: 3, server: 2, producer: 4, consumer: 5 };

const idsOf = ({ traceId, spanId }: ReceivedSpan) => ({ traceId, spanId });

describe.each(await databases())('traces on %s', (database) => {
  let collector: Collector;
  let sink: Sink;
  let core: Core;
  let secret: string;

  beforeAll(async () => {
    collector = await startCollector();
    sink = await startSink();
    const otel = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_SERVICE_NAME: 'shop' };
    core = await startCore({ database, settings: { ...otel, EGRESS_ALLOW: '127.0.0.1/32' } });
    const { body } = await core.post('/webhooks', { url: sink.url, events: ['message.sent', 'message.received'] });
    secret = (body.data as { secret: string }).secret;
  });
  afterAll(async () => {
    await core.close();
    await sink.close();
    await collector.close();
  });

  const spanOf = (name: string, messageId: string): Promise<ReceivedSpan> =>
    eventually(`the span ${name}`, async () =>
      collector.named(name).find(({ attributes }) => attributes['chasqui.message.id'] === messageId),
    );

  test('a send is one chain: the request, the accept, the worker and the webhook', async () => {
    const reply = await core.send(words, {}, { traceparent: callersHeader, 'x-request-id': 'request-7' });
    const { id } = dataOf(reply);
    const accept = await spanOf('message accept', id);
    const send = await spanOf('message send', id);
    const deliver = await spanOf('webhook deliver', id);
    const request = await eventually('the span of the request', async () => collector.named('POST /messages/send-text')[0]);

    expect(request).toMatchObject({
      service: 'shop-backend',
      kind: numbers.server,
      traceId: caller.traceId,
      parentSpanId: caller.spanId,
    });
    expect(request.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/messages/send-text',
      'http.response.status_code': reply.status,
      'chasqui.request.id': 'request-7',
    });
    expect(accept).toMatchObject({ ...messageSpan(id), kind: numbers.producer, links: [idsOf(request)] });
    expect(request.links).toEqual([idsOf(accept)]);
    expect(send).toMatchObject({ kind: numbers.client, traceId: accept.traceId, parentSpanId: accept.spanId });
    expect(send.attributes).toMatchObject({
      'chasqui.outcome': 'sent',
      'chasqui.attempt': 1,
      'chasqui.session.id': core.sessionId,
    });
    const call = core.worker.calls.find(({ path }) => path.endsWith(`/messages/${id}`))!;
    expect(parseTraceparent(call.traceparent)).toEqual(idsOf(send));
    expect(deliver).toMatchObject({ kind: numbers.client, traceId: accept.traceId, parentSpanId: accept.spanId });
    expect(deliver.attributes).toMatchObject({ 'chasqui.event.type': 'message.sent', 'http.response.status_code': 204 });
    expect(parseTraceparent(sink.seen.at(-1)!.headers['traceparent'] as string)).toEqual(idsOf(deliver));
  });

  test('a received message begins a trace, which is linked with the batch of the worker, also in a shared commit', async () => {
    // Written in one group with the batch: on SQLite the group runs in the context of its first writer.
    const writes = setInterval(() => void core.rig.database.write.run(async () => undefined), 1);
    core.worker.eventHeaders['traceparent'] = callersHeader;
    await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound(words), origin: 'live' });
    delete core.worker.eventHeaders['traceparent'];
    clearInterval(writes);
    const receive = await eventually('the span of the message', async () => collector.named('message receive')[0]);
    const id = String(receive.attributes['chasqui.message.id']);
    expect(receive).toMatchObject({ ...messageSpan(id), kind: numbers.consumer, parentSpanId: undefined });
    const ingest = await eventually('the span of the batch', async () =>
      collector.named('events ingest').find(({ links }) => links.some(({ traceId }) => traceId === receive.traceId)),
    );
    expect(ingest.traceId).toBe(caller.traceId);
    expect(receive.links).toEqual([idsOf(ingest)]);
    const request = await eventually('the span of the call', async () => collector.named('POST /internal/events')[0]);
    expect([ingest.parentSpanId, request.parentSpanId]).toEqual([request.spanId, caller.spanId]);
    expect(await spanOf('webhook deliver', id)).toMatchObject({ traceId: receive.traceId, parentSpanId: receive.spanId });
  });

  test('probes, scrapes and heartbeats have no span, and no span contains words, numbers, names or keys', async () => {
    const before = collector.named('GET /sessions/status').length;
    await core.rig.call('GET', '//health', { headers: { traceparent: callersHeader } });
    await core.worker.beat();
    await core.get('/sessions/status');
    await eventually('a later span', async () => collector.named('GET /sessions/status').length > before);
    expect(collector.spans.filter(({ name }) => /health|metrics|heartbeat/.test(name))).toEqual([]);
    const sent = collector.requests.map(({ body }) => body).join('\n');
    expect(sent).toContain(core.sessionId);
    const own = [words, ana, ana.slice(-8), '5511988887777', 'Ana', 'Shop', core.rig.apiKey, secret, sink.url, '/hook'];
    expect(own.filter((text) => sent.includes(text))).toEqual([]);
  });
});
