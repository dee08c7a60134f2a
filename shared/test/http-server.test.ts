import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import express from 'express';
import fc from 'fast-check';
import { once } from 'node:events';
import { Agent, request, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeWaitingConnections, keepConnection, listen, pathAndQuery } from '../src/express.js';
import type { ServerLimits } from '../src/http-server.js';

let server: Server | undefined;
const sockets: Socket[] = [];
/** Answers of `/slow` wait for this. */
let release = (): void => undefined;

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server?.closeAllConnections();
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(null)));
  server = undefined;
});

async function start(limits: Partial<ServerLimits>): Promise<void> {
  const app = express();
  const held = new Promise<void>((resolve) => (release = resolve));
  app.get('/', (req, res) => void res.json({ url: req.url }));
  app.post('/', (_req, res) => void res.status(401).json({}));
  app.post('/read', async (req, res) => {
    let read = 0;
    for await (const chunk of req) read += (chunk as Buffer).length;
    res.json({ read });
  });
  app.get('/slow', async (_req, res) => {
    await held;
    res.json({ slow: true });
  });
  app.post('/slow-body', async (req, res) => {
    req.resume();
    await held;
    res.json({ slow: true });
  });
  server = listen(app, 0, '127.0.0.1', limits);
  await once(server, 'listening');
}

/** Resolves with all bytes when the server closes the connection. */
function open(text: string): Promise<string> {
  const socket = connect({ port: (server!.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  sockets.push(socket);
  let answer = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => (answer += chunk));
  socket.on('error', () => undefined);
  socket.on('end', () => socket.end());
  socket.write(text);
  return new Promise((resolve) => socket.on('close', () => resolve(answer)));
}
async function connected(count: number): Promise<void> {
  const now = (): Promise<number> => new Promise((resolve) => server!.getConnections((_, open) => resolve(open)));
  while ((await now()) < count) await sleep(10);
}
const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

test('requests that are answered before their body has arrived leave nothing behind on a kept-alive connection', async () => {
  await start({});
  const sockets = new Set<Socket>();
  server!.on('connection', (socket) => void sockets.add(socket));
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const { port } = server!.address() as AddressInfo;
  const post = (): Promise<number> =>
    new Promise((resolve, reject) => {
      const sent = request({ agent, host: '127.0.0.1', port, method: 'POST', path: '/' }, (response) => {
        response.resume().on('end', () => resolve(response.statusCode!));
      });
      sent.on('error', reject);
      sent.write('x'.repeat(10_000));
      setImmediate(() => sent.end('x'.repeat(10_000)));
    });
  for (let number = 0; number < 30; number += 1) expect(await post()).toBe(401);
  expect(sockets.size).toBe(1);
  expect([...sockets][0]!.listenerCount('close')).toBeLessThan(10);
  agent.destroy();
});

test('a target of any text has a path and a query', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.webUrl().map((url) => url.replace('/', '//')),
      ),
      (target) => {
        const { path, query } = pathAndQuery(target);
        return typeof path === 'string' && query instanceof URLSearchParams;
      },
    ),
  );
  const parts = (target: string): string[] => [pathAndQuery(target).path, pathAndQuery(target).query.toString()];
  expect(parts('//')).toEqual(['//', '']);
  expect(parts('/api/v1/ws?ticket=a?b&c=%')).toEqual(['/api/v1/ws', 'ticket=a%3Fb&c=%25']);
  expect(parts('http://x:99999/a?b=c')).toEqual(['/a', 'b=c']);
});

test('the absolute form is answered like the path in it, and what is no target with the envelope', async () => {
  await start({});
  expect(await open('GET http://x/?a=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toContain('{"url":"/?a=1"}');
  expect(await open('GET ftp://x HTTP/1.1\r\nHost: x\r\n\r\n')).toMatch(/^HTTP\/1.1 400 [^]*MALFORMED_REQUEST/);
});

test('connections of one address are counted, and one that closes makes room', async () => {
  await start({ maxConnectionsPerAddress: 3 });
  const kept = [open(get), open(get), open(get)];
  await connected(3);
  expect(await open(get)).toBe('');
  sockets[0]!.destroy();
  await kept[0];
  const again = (): Promise<string> => open('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  let answer = '';
  for (let attempt = 0; attempt < 100 && answer === ''; attempt += 1) answer = await again();
  expect(answer).toContain('200 OK');
});

describe('a full server', () => {
  const closing = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
  /** Numbers of connections in the order in which the server closed them. */
  let closed: number[] = [];
  const keep = (text: string): void => {
    const [index, closings] = [sockets.length, closed];
    void open(text).then(() => closings.push(index));
  };
  beforeEach(() => void (closed = []));

  test.each([
    ['nothing', ''],
    ['half the headers', 'GET / HTTP/1.1\r\nHost'],
  ])('closes connections that sent %s, the oldest first, and a new caller is answered', async (_name, text) => {
    await start({ maxConnections: 3 });
    for (let count = 1; count <= 3; count += 1) {
      keep(text);
      await connected(count);
    }
    expect(await open(closing)).toContain('200 OK');
    while (closed.length < 1) await sleep(10);
    keep(text);
    await connected(3);
    expect(await open(closing)).toContain('200 OK');
    while (closed.length < 2) await sleep(10);
    expect(closed).toEqual([0, 1]);
  });

  test('closes those that wait for their next request before it refuses anybody, those with a request never', async () => {
    await start({ maxConnections: 3 });
    const slow = open('GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await once(server!, 'request');
    keep(get);
    await once(server!, 'request');
    keep(get);
    await once(server!, 'request');
    expect(await open(closing)).toContain('200 OK');
    while (closed.length < 1) await sleep(10);
    expect(closed).toEqual([1]);
    const others = [open('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n'), open('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')];
    while (closed.length < 2) await sleep(10);
    expect(await open(closing)).toBe('');
    release();
    expect(await slow).toContain('{"slow":true}');
    for (const socket of sockets) socket.destroy();
    await Promise.all(others);
  });

  test('closes a request whose body drips, and not one that is being answered', async () => {
    await start({ maxConnections: 2 });
    const slow = open('POST /slow-body HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab');
    await once(server!, 'request');
    keep('POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na');
    await once(server!, 'request');
    expect(await open(closing)).toContain('200 OK');
    while (closed.length < 1) await sleep(10);
    expect(closed).toEqual([1]);
    release();
    expect(await slow).toContain('{"slow":true}');
  });

  test('leaves a connection alone that an upgrade took over', async () => {
    await start({ maxConnections: 1 });
    server!.on('upgrade', (_req, socket) => {
      keepConnection(server!, socket);
      socket.on('end', () => socket.destroy()).resume();
      socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
    });
    keep('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    await once(server!, 'upgrade');
    expect(await open(closing)).toBe('');
    expect(closed).toEqual([]);
  });
});

test('headers that do not come are answered with 408, and the connection is closed though the caller keeps it open', async () => {
  await start({ headersMs: 200 });
  expect(await open('GET / HTTP/1.1\r\nHost: x\r\nX-Slow')).toMatch(/^HTTP\/1.1 408 /);
});

test('a connection on which nothing moves is closed', async () => {
  await start({ idleMs: 200 });
  expect(await open('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')).toBe('');
});

test('the rest of a body is read for a moment after its answer, and then the connection is closed', async () => {
  await start({ lingerMs: 200 });
  const answer = open('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhalf');
  // A caller that goes on sending a little now and then keeps every timeout for idle connections away.
  const drip = setInterval(() => sockets[0]!.write('x'), 50);
  expect(await answer.finally(() => clearInterval(drip))).toMatch(/^HTTP\/1.1 401 /);
});

test('garbage behind a request does not take its answer away, and gets none of its own', async () => {
  await start({});
  const answer = open('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n\0garbage\r\n\r\n');
  const started = once(server!, 'clientError');
  await started;
  release();
  const text = await answer;
  expect(text).toMatch(/^HTTP\/1.1 200 OK/);
  expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  expect(text).toContain('{"slow":true}');
});

test('requests beyond those that may wait on one connection are not handled, and it is closed behind the last answer', async () => {
  await start({ maxPipelined: 5 });
  const answer = open('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n' + get.repeat(500));
  await once(server!, 'request');
  release();
  const text = await answer;
  expect(text).toContain('{"slow":true}');
  expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(5);
});

test('a connection on which requests do not end is cut', async () => {
  await start({ maxPipelined: 5 });
  expect(await open('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n' + get.repeat(5_000))).toBe('');
});

test('a body in tiny chunks ends its connection, and one in a few does not', async () => {
  await start({});
  const head = 'POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n';
  expect(await open(`${head}${'1\r\na\r\n'.repeat(4_000)}0\r\n\r\n`)).toContain('{"read":4000}');
  expect(await open(`${head}${'1\r\na\r\n'.repeat(200_000)}0\r\n\r\n`)).not.toContain('{"read":');
});

test('no header is dropped, however many there are', async () => {
  await start({});
  const many = 'a:\r\n'.repeat(2_500);
  const head = `POST /read HTTP/1.1\r\nHost: x\r\n${many}Connection: close\r\nX-Last: 1\r\nContent-Length: 3\r\n\r\nabc`;
  const seen = once(server!, 'request') as Promise<[{ headers: Record<string, string> }]>;
  expect(await open(head)).toContain('{"read":3}');
  expect((await seen)[0].headers).toMatchObject({ 'x-last': '1', 'content-length': '3' });
});

test('a stop closes connections without a running request, and leaves the others their answer', async () => {
  await start({});
  const running = open('GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  await once(server!, 'request');
  const halves = open('GET / HTTP/1.1\r\nHo');
  const nothing = open('');
  await connected(3);
  closeWaitingConnections(server!);
  expect(await Promise.all([halves, nothing])).toEqual(['', '']);
  release();
  expect(await running).toContain('{"slow":true}');
});
