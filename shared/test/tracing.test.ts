import { afterEach, describe, expect, test } from '@jest/globals';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageSpan, openTracing, parseTraceparent, type Tracing } from '../src/tracing.js';
import { newId } from '../src/ids.js';
import { startCollector, type Collector } from './collector.js';

/** What a collector that is away, slow or wrong may cost a process: nothing but its spans. */

let collector: Collector | undefined;
afterEach(async () => {
  await collector?.close();
  collector = undefined;
});

async function open(endpoint: string): Promise<{ tracing: Tracing; warnings: [string, Record<string, unknown>][] }> {
  const warnings: [string, Record<string, unknown>][] = [];
  const log = { warn: (sentence: string, fields = {}) => void warnings.push([sentence, fields]) };
  const options = { headers: { 'x-tenant': 'a b' }, serviceName: 'shop', process: 'backend' as const, version: '1', log };
  return { tracing: (await openTracing({ ...options, endpoint }))!, warnings };
}

function write(tracing: Tracing, count: number): void {
  for (let index = 0; index < count; index += 1) tracing.begin({ name: 'one', kind: 'internal' }).end();
}

async function until(what: string, check: () => boolean, withinMs = 60_000): Promise<void> {
  for (const end = Date.now() + withinMs; !check(); await sleep(20))
    if (Date.now() > end) throw new Error(`Waited in vain for ${what}.`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const failure = 'The collector of traces did not accept spans; they were dropped.';

describe('the collector', () => {
  test('gets spans with the name of the process, the headers, parents and links', async () => {
    collector = await startCollector();
    const { tracing, warnings } = await open(collector.url);
    const outer = tracing.begin({ name: 'outer', kind: 'server', attributes: { status: 200, isFirst: true } });
    const inner = tracing.begin({ name: 'inner', kind: 'client', parent: outer.ids });
    inner.link(outer.ids);
    inner.end();
    outer.end();
    outer.end({ attributes: { status: 500 } });
    await tracing.stop();
    expect(collector.requests.map(({ path, headers }) => [path, headers['x-tenant']])).toEqual([['/v1/traces', 'a b']]);
    expect(collector.spans).toEqual([
      expect.objectContaining({
        name: 'inner',
        service: 'shop-backend',
        ...outer.ids,
        spanId: inner.ids.spanId,
        parentSpanId: outer.ids.spanId,
        links: [outer.ids],
      }),
      expect.objectContaining({ name: 'outer', parentSpanId: undefined, links: [], attributes: { status: 200, isFirst: true } }),
    ]);
    expect(warnings).toEqual([]);
  });

  test.each(['away', 'hang', 400, 503] as const)(
    '%s: a stop takes at most two seconds, and one line says that spans were dropped',
    async (answer) => {
      collector = await startCollector(answer === 'away' ? 'ok' : answer);
      const { tracing, warnings } = await open(answer === 'away' ? `http://127.0.0.1:${await freePort()}` : collector.url);
      write(tracing, 600);
      await until('a line of the log', () => warnings.length > 0);
      write(tracing, 600);
      const began = performance.now();
      await tracing.stop();
      // One request may take five seconds. The rest is for a busy machine.
      expect(performance.now() - began).toBeLessThan(4_500);
      await sleep(300);
      expect(warnings).toEqual([[failure, { dropped: 512, cause: expect.any(String) }]]);
      // What the collector answered is not logged.
      expect(JSON.stringify(warnings)).not.toContain('not now');
    },
  );

  test('answers garbage: nothing is thrown', async () => {
    collector = await startCollector('garbage');
    const { tracing } = await open(collector.url);
    write(tracing, 600);
    await until('a request', () => collector!.requests.length > 0);
    await expect(tracing.stop()).resolves.toBeUndefined();
  });

  test('hangs: no more than 2,048 spans wait for it, and they arrive once it answers', async () => {
    collector = await startCollector('hang');
    const { tracing, warnings } = await open(collector.url);
    write(tracing, 10_000);
    await until('the first request', () => collector!.requests.length > 0);
    collector.answer = 'ok';
    await until('the end of the first request', () => warnings.length > 0);
    await until('the spans that waited', () => collector!.spans.length >= 2_048);
    await tracing.stop();
    expect(collector.spans).toHaveLength(2_048);
  });
});

describe('spans', () => {
  test('the current span is that of the work, until it has ended', async () => {
    collector = await startCollector();
    const { tracing } = await open(collector.url);
    const span = tracing.begin({ name: 'one', kind: 'internal' });
    const seen = await tracing.run(span, async () => {
      await sleep(1);
      return [tracing.current(), tracing.outside(() => tracing.current()), (span.end(), tracing.current())];
    });
    expect(seen).toEqual([span, null, null]);
    expect(tracing.current()).toBeNull();
    await tracing.stop();
  });

  test('the ids of a message’s first span follow from its id', () => {
    const id = newId();
    const ids = messageSpan(id)!;
    expect(ids).toEqual({ traceId: id.replaceAll('-', ''), spanId: id.replaceAll('-', '').slice(16) });
    expect(parseTraceparent(`00-${ids.traceId}-${ids.spanId}-00`)).toEqual(ids);
    expect(messageSpan('m1')).toBeNull();
    expect(messageSpan('00000000-0000-0000-0000-000000000000')).toBeNull();
  });

  test('a traceparent that is not valid is ignored', () => {
    const [trace, span] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
    expect(parseTraceparent(`01-${trace}-${span}-01-more`)).toEqual({ traceId: trace, spanId: span });
    const wrong = [undefined, '', 'x', `00-${trace}-${span}`, `00-${trace}-${span}-01-more`, `ff-${trace}-${span}-01`];
    const zeros = [`00-${'0'.repeat(32)}-${span}-01`, `00-${trace}-${'0'.repeat(16)}-01`, `00-${trace.toUpperCase()}-${span}-01`];
    expect([...wrong, ...zeros].map(parseTraceparent)).toEqual(Array(9).fill(null));
  });
});
