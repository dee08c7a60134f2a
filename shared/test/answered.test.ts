import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { afterEach, describe, expect, test } from '@jest/globals';
import express from 'express';
import fc from 'fast-check';
import { createAnsweredFormat, identify, logAnswered, type Answered, type LoggedRequest } from '../src/express.js';
import { createLineWriter, limitLines, omittedSentence } from '../src/process.js';

let server: Server | null = null;
afterEach(() => {
  server?.close();
  server?.closeAllConnections();
  server = null;
});

/** A server whose requests are recorded as they end. */
async function serve(handle: express.RequestHandler): Promise<{ url: string; answered: Answered[] }> {
  const answered: Answered[] = [];
  const app = express();
  app.use(identify((one) => answered.push(one)));
  app.use(handle);
  server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, answered };
}
async function until(check: () => boolean): Promise<void> {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('an answered request', () => {
  test('is reported once, also if the caller disconnects before the reply', async () => {
    let isWaiting = false;
    const { url, answered } = await serve((req, res) => {
      if (req.url === '/slow') isWaiting = true;
      else res.status(201).end('done');
    });
    await fetch(`${url}/quick`);
    await until(() => answered.length === 1);
    expect(answered[0]).toMatchObject({ status: 201, route: 'unmatched', method: 'GET', code: null });
    const aborted = new AbortController();
    const slow = fetch(`${url}/slow`, { signal: aborted.signal }).catch(() => 'aborted');
    await until(() => isWaiting);
    aborted.abort();
    expect(await slow).toBe('aborted');
    await until(() => answered.length === 2);
    expect(answered[1]).toMatchObject({ status: 499 });
  });

  test('has a request id from the caller only if that is safe in a log', async () => {
    const { url, answered } = await serve((_req, res) => void res.end());
    const ids = ['abc-1', 'a"b', 'x'.repeat(129), '{"a":1}', 'a b'];
    for (const id of ids) await fetch(url, { headers: { 'x-request-id': id } });
    await until(() => answered.length === ids.length);
    expect(answered.map(({ requestId }) => requestId)).toEqual([
      'abc-1',
      ...Array.from({ length: 4 }, () => expect.stringMatching(/^[0-9a-f-]{36}$/)),
    ]);
  });

  test('becomes one line of JSON with exactly its fields', () => {
    const id = fc.uuid();
    const format = createAnsweredFormat('backend');
    const request = fc.record({
      requestId: fc.stringMatching(/^[A-Za-z0-9._-]{1,128}$/),
      method: fc.constantFrom('GET', 'POST', 'M-SEARCH'),
      route: fc.constantFrom('/messages/:messageId', 'unmatched', '/'),
      status: fc.integer({ min: 100, max: 599 }),
      ms: fc.integer({ min: 0, max: 600_000 }).map((tenths) => tenths / 10),
      code: fc.option(fc.constantFrom('QUOTA_EXCEEDED', 'INTERNAL_ERROR')),
      accountId: fc.option(id),
      keyId: fc.option(id),
    });
    fc.assert(
      fc.property(request, (one: LoggedRequest) => {
        const line = format(one);
        expect(line).not.toContain('\n');
        const { timestamp, ...rest } = JSON.parse(line) as Record<string, unknown>;
        expect(rest).toEqual({ level: 'info', message: 'A request was answered.', process: 'backend', ...one });
        expect(Math.abs(Date.now() - Date.parse(String(timestamp)))).toBeLessThan(60_000);
      }),
    );
  });

  test('is logged at debug if it is a probe, a scrape or a call between our processes', () => {
    const lines: string[] = [];
    const log = { isDebug: true, debug: () => void lines.push('debug') };
    const base: Answered = {
      requestId: 'r',
      method: 'GET',
      route: '/',
      status: 200,
      ms: 1,
      code: null,
      accountId: null,
      keyId: null,
      isStream: false,
    };
    const routes = [
      '/health',
      '/metrics',
      '/internal/events',
      '/internal',
      '/sessions',
      '/sessions/:sessionId/metrics',
      '/healthy',
      'unmatched',
    ];
    for (const route of routes) logAnswered(log, () => void lines.push('info'), { ...base, route });
    expect(lines).toEqual(['debug', 'debug', 'debug', 'debug', 'info', 'info', 'info', 'info']);
    logAnswered({ ...log, isDebug: false }, () => void lines.push('info'), { ...base, route: '/health' });
    expect(lines).toHaveLength(8);
  });
});

test('lines of one turn of the event loop are written at once, in order, and none is lost', async () => {
  const written: string[] = [];
  const output = new Writable({ write: (chunk: Buffer, _encoding, done) => (written.push(String(chunk)), done()) });
  const write = createLineWriter(output);
  for (let line = 0; line < 3; line += 1) write(`a${line}`);
  await new Promise((resolve) => setImmediate(resolve));
  write('b');
  await new Promise((resolve) => setImmediate(resolve));
  expect(written).toEqual(['a0\na1\na2\n', 'b\n']);
});

test('a fault that returns with every item writes a bounded number of lines, says how many were omitted, and hides no other line', async () => {
  const lines: { sentence: string; fields: Record<string, unknown> | undefined }[] = [];
  const write = (sentence: string, fields?: Record<string, unknown>): void => void lines.push({ sentence, fields });
  const log = limitLines({ error: write, warn: write, info: write }, { perWindow: 3, windowMs: 50 });
  for (let item = 0; item < 1_000; item += 1) log.error('It failed.', { item });
  log.error('Another fault.');
  log.warn('It failed.', { level: 'warn' });
  for (let item = 0; item < 10; item += 1) log.info('It was done.');
  const sentences = lines.map(({ sentence }) => sentence);
  expect(sentences.filter((sentence) => sentence === 'It failed.')).toHaveLength(4);
  expect(sentences.filter((sentence) => sentence === 'It was done.')).toHaveLength(10);
  expect(sentences).toContain('Another fault.');
  while (!lines.some(({ sentence }) => sentence === omittedSentence)) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(lines.at(-1)).toEqual({ sentence: omittedSentence, fields: { sentence: 'It failed.', omitted: 997, withinMs: 50 } });
  log.error('It failed.');
  expect(lines.at(-1)?.sentence).toBe('It failed.');
  // Sentences are constants; those that are made of data by mistake are bounded together.
  const before = lines.length;
  for (let item = 0; item < 5_000; item += 1) log.warn(`Item ${item} failed.`);
  expect(lines.length - before).toBeLessThan(510);
});
