import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createEgress } from '@chasqui/shared/egress';
import { createSpool } from '../src/lib/file-bytes.js';
import { createSafeFetch } from '../src/lib/safe-fetch.js';
import { createPost } from '../src/webhooks/send/post.js';
import { eventually } from './support/eventually.js';

/** Receivers and file servers that misbehave, on raw sockets: whatever they do, the caller goes on in time. */

interface Misbehaviour {
  name: string;
  /** What is written, piece by piece, once a request begins to arrive. */
  pieces: readonly (string | Buffer)[];
  /** Repeats the last piece until the other side is gone. */
  isEndless: boolean;
  end: 'fin' | 'reset' | 'open';
  /** Does not read what it is sent. */
  isDeaf: boolean;
}

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello';
const bomb = gzipSync(Buffer.alloc(4_000_000));
const openings: Record<string, readonly (string | Buffer)[]> = {
  'upgrade 101': ['HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'],
  'upgrade 101 and bytes': ['HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n', Buffer.alloc(5_000, 1)],
  '101 without upgrade': ['HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  'one 102 after another': ['HTTP/1.1 102 Processing\r\n\r\n'],
  'many 100, then an answer': [...Array<string>(60).fill('HTTP/1.1 100 Continue\r\n\r\n'), ok],
  garbage: ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http at all \r\n\r\n'],
  nothing: [],
  'half a status line': ['HTTP/1.1 20'],
  'half headers': ['HTTP/1.1 200 OK\r\ncontent-len'],
  'header flood': ['HTTP/1.1 200 OK\r\n', 'x-flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n'],
  'one endless header': ['HTTP/1.1 200 OK\r\nx-long: ', 'a'.repeat(1_000)],
  'endless body': ['HTTP/1.1 200 OK\r\n\r\n', Buffer.alloc(20_000, 97)],
  'endless chunks': ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '3e8\r\n' + 'b'.repeat(1_000) + '\r\n'],
  'endless trailers': ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n', 'x-t: 1\r\n'],
  'bad chunk size': ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n'],
  'too short a body': ['HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'],
  'too long a body': ['HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhello and more of it'],
  'two lengths': ['HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 9\r\n\r\nhi'],
  'negative length': ['HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n'],
  'gzip bomb': [`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`, bomb],
  'two answers': [ok, ok],
  'an answer': [ok],
  'an answer without length': ['HTTP/1.1 500 Internal\r\n\r\nbody'],
  'bad retry-after': ['HTTP/1.1 503 X\r\nretry-after: Infinity\r\ncontent-length: 0\r\n\r\n'],
};
const drops = ['nothing', 'half headers', 'an answer', 'two answers', 'upgrade 101'];

const misbehaviour: fc.Arbitrary<Misbehaviour> = fc
  .record({
    name: fc.constantFrom(...Object.keys(openings)),
    isEndless: fc.boolean(),
    end: fc.constantFrom('fin', 'reset', 'open' as const),
    isDeaf: fc.boolean(),
    /** Cut at a byte of what would be written. */
    cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: null }),
  })
  .map(({ name, cut, ...rest }) => {
    const whole = openings[name]!;
    if (cut === null) return { name, pieces: whole, ...rest };
    const bytes = Buffer.concat(whole.map((piece) => Buffer.from(piece)));
    return { name, pieces: [bytes.subarray(0, Math.floor(bytes.length * cut))], ...rest, isEndless: false };
  }) as fc.Arbitrary<Misbehaviour>;

let server: Server;
let present: Misbehaviour;
const sockets = new Set<Socket>();
let port = 0;

beforeAll(async () => {
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    const act = present;
    if (act.isDeaf) {
      socket.pause();
      return void play(socket, act);
    }
    socket.once('data', () => {
      play(socket, act);
      socket.resume();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

function play(socket: Socket, { pieces, isEndless, end }: Misbehaviour): void {
  for (const piece of pieces) socket.write(piece);
  const last = pieces.at(-1);
  if (isEndless && last !== undefined && last.length > 0) {
    const timer = setInterval(() => {
      if (!socket.writable || socket.writableLength > 1_000_000) return;
      socket.write(last);
    }, 1);
    return void socket.on('close', () => clearInterval(timer));
  }
  if (end === 'fin') socket.end();
  if (end === 'reset') setImmediate(() => socket.resetAndDestroy());
}

const timeoutMs = 250;
/** On a machine that is busy a timer comes late; without its defence the promise never comes. */
const marginMs = 4_000;
const within = async <T>(what: string, promise: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} was not settled in time`)), timeoutMs + marginMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
/** A socket that is not read does not notice that the other side has gone: then it is read, also one that is accepted late. */
const noSockets = () =>
  eventually('all sockets to be free', async () => {
    for (const socket of sockets) socket.resume();
    return sockets.size === 0;
  });
const named = (name: string, more: Partial<Misbehaviour> = {}): Misbehaviour => ({
  name,
  pieces: openings[name]!,
  isEndless: false,
  end: 'open',
  isDeaf: false,
  ...more,
});
const always = [
  ...Object.keys(openings).flatMap((name) => [named(name), named(name, { isEndless: true })]),
  ...drops.flatMap((name) => [named(name, { end: 'reset' }), named(name, { isDeaf: true })]),
].map((one): [Misbehaviour] => [one]);

test('a request to a receiver is settled in time and frees its socket, whatever the receiver does', async () => {
  const egress = createEgress({ allow: ['127.0.0.1/32'] });
  await fc.assert(
    fc.asyncProperty(misbehaviour, async (act) => {
      present = act;
      const { post, close } = createPost(egress);
      const body = act.isDeaf ? 'x'.repeat(8_000_000) : '{"a":1}';
      const result = await within(act.name, post(`http://127.0.0.1:${port}/`, { headers: {}, body, timeoutMs }));
      expect(result.statusCode === null).toBe(result.error !== null);
      expect(result.retryAfterMs).toBeGreaterThanOrEqual(0);
      expect((result.response ?? '').length).toBeLessThanOrEqual(2_048);
      close();
      await noSockets();
    }),
    { numRuns: 150, examples: always },
  );
}, 60_000);

test('a file is fetched or refused in time, and its socket is free, whatever the server does', async () => {
  const egress = createEgress({ allow: ['127.0.0.1/32'] });
  const safeFetch = createSafeFetch(egress, createSpool(tmpdir()));
  await fc.assert(
    fc.asyncProperty(misbehaviour, async (act) => {
      present = act;
      const outcome = await within(
        act.name,
        safeFetch(`http://127.0.0.1:${port}/a`, { maxBytes: 100_000, timeoutMs }).then(
          ({ bytes }) => bytes.size,
          (error: Error) => error.name,
        ),
      );
      expect(typeof outcome === 'number' ? outcome <= 100_000 : outcome === 'AppError').toBe(true);
      await noSockets();
    }),
    { numRuns: 120, examples: always },
  );
}, 60_000);

test('a request that cannot be made is an answer like any other, never a rejection', async () => {
  const { post, close } = createPost(createEgress({ allow: ['127.0.0.1/32'] }));
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(
        fc.oneof(fc.constantFrom('x-a', 'trailer', 'expect', 'upgrade', 'te', 'connection'), fc.string()),
        fc.string(),
      ),
      async (headers) => {
        present = named('an answer', { end: 'fin' });
        const url = `http://127.0.0.1:${port}/`;
        const result = await within('post', post(url, { headers, body: '{}', timeoutMs }));
        expect(result.statusCode === null).toBe(result.error !== null);
      },
    ),
    { numRuns: 60, examples: [[{ 'x-webhook-event': 'Nachricht – empfangen' }], [{ trailer: 'x' }], [{ 'bad name': '1' }]] },
  );
  close();
});

test('an abort settles at once and frees the socket', async () => {
  const { post, close } = createPost(createEgress({ allow: ['127.0.0.1/32'] }));
  present = named('nothing');
  const abort = new AbortController();
  const posting = post(`http://127.0.0.1:${port}/`, { headers: {}, body: '{}', timeoutMs: 60_000, signal: abort.signal });
  await eventually('the connection', async () => sockets.size === 1);
  abort.abort();
  expect(await posting).toMatchObject({ statusCode: null, error: 'ABORTED' });
  await noSockets();
  close();
});

test('a connection that the receiver closes just when it is used again is no failure: the request goes over a new one', async () => {
  let connections = 0;
  const closing = createServer((socket) => {
    connections += 1;
    const isFirst = connections === 1;
    let requests = 0;
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      if (!bytes.includes('POST ')) return;
      requests += 1;
      if (isFirst && requests === 2) socket.resetAndDestroy();
      else socket.write(ok);
    });
  });
  await new Promise<void>((resolve) => closing.listen(0, '127.0.0.1', resolve));
  const { post, close } = createPost(createEgress({ allow: ['127.0.0.1/32'] }));
  const url = `http://127.0.0.1:${(closing.address() as AddressInfo).port}/`;
  try {
    for (let n = 0; n < 3; n += 1)
      expect(await post(url, { headers: {}, body: `${n}`, timeoutMs: 20_000 })).toMatchObject({ statusCode: 200, error: null });
    expect(connections).toBeGreaterThan(1);
  } finally {
    close();
    await new Promise((resolve) => closing.close(resolve));
  }
});
