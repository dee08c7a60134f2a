import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EventEmitter, once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { createBodyBudget, createCollector, readJson } from '../src/body.js';
import type { AppError } from '../src/errors.js';

const limit = 10_000;
let server: Server;

beforeAll(async () => {
  server = createServer((req, res) => {
    readJson(req, { limit, countBytes: () => undefined, verify: () => undefined }).then(
      (value) => res.end(JSON.stringify({ value })),
      (error: AppError) => res.writeHead(error.status).end(JSON.stringify(error.details)),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

async function post(pieces: readonly (Buffer | string)[], headers: Record<string, string> = {}): Promise<[number, string]> {
  const asked = request({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    method: 'POST',
    headers,
    agent: false,
  });
  for (const piece of pieces) asked.write(piece);
  asked.end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of answer.setEncoding('utf8')) text += chunk as string;
  return [answer.statusCode!, text];
}

describe('a JSON body', () => {
  test('is the same whatever its chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue({ maxDepth: 2 }),
        fc.array(fc.integer({ min: 1, max: 9_000 }), { maxLength: 8 }),
        async (value, cuts) => {
          const bytes = Buffer.from(JSON.stringify([value]));
          fc.pre(bytes.length <= limit);
          const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
          const pieces = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
          const [status, text] = await post(pieces.filter(({ length }) => length > 0));
          expect([status, JSON.parse(text)]).toEqual([200, { value: JSON.parse(bytes.toString()) as unknown }]);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('is inflated up to its limit, once, and refused beyond', async () => {
    const small = JSON.stringify({ a: 'x'.repeat(5_000) });
    const bomb = JSON.stringify({ a: 'x'.repeat(5_000_000) });
    for (const [encoding, compress] of [
      ['gzip', gzipSync],
      ['deflate', deflateSync],
      ['br', brotliCompressSync],
    ] as const) {
      const statuses = await Promise.all(
        [compress(small), compress(bomb), compress(small).subarray(0, 20), Buffer.from(small)].map(
          async (bytes) => (await post([bytes], { 'content-encoding': encoding }))[0],
        ),
      );
      expect([encoding, statuses]).toEqual([encoding, [200, 413, 400, 400]]);
    }
    expect((await post([gzipSync(gzipSync(small))], { 'content-encoding': 'gzip, gzip' }))[0]).toBe(400);
  });

  test.each([
    ['nothing', '', {}, 200],
    ['a byte order mark', '\ufeff{}', {}, 200],
    ['a number', '1', {}, 400],
    ['half an object', '{', {}, 400],
    ['another character set', '{}', { 'content-type': 'application/json; charset=utf-16' }, 400],
    ['a quoted character set', '{}', { 'content-type': 'application/json; charset="UTF-8"' }, 200],
    ['more than the limit', `["${'x'.repeat(limit)}"]`, {}, 413],
    ['more than the limit without a length', `["${'x'.repeat(limit)}"]`, { 'transfer-encoding': 'chunked' }, 413],
  ])('of %s is answered as it should be', async (_, body, headers, status) => {
    expect((await post(body ? [body] : [], headers as Record<string, string>))[0]).toBe(status);
  });
});

test('joined chunks are the bytes that came, and tiny ones share their memory', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 12_000 }), { maxLength: 20 }), (chunks) => {
      const collector = createCollector();
      for (const chunk of chunks) collector.add(Buffer.from(chunk));
      expect(collector.bytes().equals(Buffer.concat(chunks))).toBe(true);
    }),
  );
  const collector = createCollector();
  for (let index = 0; index < 300_000; index += 1) collector.add(Buffer.from([index % 256]));
  expect(collector.bytes()).toHaveLength(300_000);
});

describe('the budget of bodies', () => {
  const response = (): ServerResponse => Object.assign(new EventEmitter(), { closed: false }) as unknown as ServerResponse;
  const codeOf = (run: () => void): string => {
    try {
      run();
      return 'counted';
    } catch (error) {
      return (error as AppError).code;
    }
  };

  test('refuses one owner at its share and everybody at the total, and gets back what ended', () => {
    const budget = createBodyBudget({ totalBytes: 400_000, ownerBytes: 250_000 });
    const [first, second] = [response(), response()];
    const [ofA, moreOfA, ofB] = [budget.open('a', first), budget.open('a', second), budget.open('b', response())];
    expect(codeOf(() => ofA(65_536 + 200_000))).toBe('counted');
    expect(codeOf(() => moreOfA(65_536))).toBe('counted');
    expect(codeOf(() => moreOfA(100_000))).toBe('RATE_LIMITED');
    expect(codeOf(() => ofB(65_536 + 200_000))).toBe('counted');
    expect(codeOf(() => budget.open('c', response())(65_537))).toBe('OVERLOADED');
    expect(codeOf(() => budget.open('c', response())(65_536))).toBe('counted');
    first.emit('close');
    expect(codeOf(() => budget.open('a', response())(65_536 + 200_000))).toBe('counted');
    expect(codeOf(() => budget.open('c', response())(65_537))).toBe('OVERLOADED');
  });
});

test.each([
  ['Latin-1', Buffer.from('{"message":"caf\u00e9"}', 'latin1')],
  ['UTF-16', Buffer.from('\ufeff{"message":"x"}', 'utf16le')],
  ['half a character', Buffer.from([...Buffer.from('{"message":"'), 0xf0, 0x9f, 0x98, ...Buffer.from('"}')])],
  ['a surrogate in UTF-8', Buffer.from([...Buffer.from('{"message":"'), 0xed, 0xa0, 0x80, ...Buffer.from('"}')])],
])('a body that is no UTF-8 is refused, not read with other characters: %s', async (_what, bytes) => {
  expect((await post([bytes]))[0]).toBe(400);
});
