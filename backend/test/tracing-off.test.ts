import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startSink, type Sink } from './support/sink.js';

/** Without a collector nothing of OpenTelemetry is loaded, and no call has a header of it. */

let loads = 0;
jest.unstable_mockModule('../../shared/src/tracing-sdk.ts', () => {
  loads += 1;
  return { createTracing: () => ({ stop: async () => undefined }) };
});

let core: Core;
let sink: Sink;
beforeAll(async () => {
  sink = await startSink();
  core = await startCore({ settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
});
afterAll(async () => {
  await core.close();
  await sink.close();
});

test('without a collector no library is loaded and no call has a traceparent, also if the caller sent one', async () => {
  await core.post('/webhooks', { url: sink.url, events: ['message.sent'] });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const { id } = dataOf(await core.send('Hello', {}, { traceparent }));
  await core.reaches(id, 'sent');
  await eventually('the delivery', async () => sink.taken.length > 0);
  expect(core.worker.calls.filter(({ path }) => path.endsWith(id))).toEqual([
    expect.objectContaining({ traceparent: undefined }),
  ]);
  expect(sink.seen.map(({ headers }) => headers['traceparent'])).toEqual([undefined]);
  expect(loads).toBe(0);
  // The count would notice it.
  const { openTracing } = await import('@chasqui/shared/tracing');
  const options = { headers: {}, serviceName: 'shop', process: 'backend' as const, version: '1', log: { warn: () => undefined } };
  await openTracing({ ...options, endpoint: 'http://127.0.0.1:9' });
  expect(loads).toBe(1);
});
