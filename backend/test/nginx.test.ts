import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isErrorCode } from '@chasqui/shared';
import { freePort } from '../../bench/src/ports.js';
import { startRig, type Rig } from './support/backend.js';

/**
 * A real nginx with the configuration of the images, before a real backend or before receivers that misbehave. Changed are only ports, paths, the
 * addresses of the backends, and the read time limits, which would make the tests last minutes.
 */

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const hasNginx = spawnSync('nginx', ['-v']).status === 0;
if (!hasNginx) process.stderr.write('SKIPPED: the tests with a real nginx, because there is none on this machine.\n');
const withNginx = hasNginx ? test : test.skip;

let dir: string;
let closing: (() => unknown)[] = [];
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-nginx-'));
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Starts nginx before these ports; resolves to its own port. */
async function startNginx(backends: readonly number[], readSeconds = 1, http2Port?: number): Promise<number> {
  const [port, healthPort] = [await freePort(), await freePort()];
  const place = mkdtempSync(join(dir, 'run-'));
  const conf = (name: string): string => readFileSync(join(root, 'docker', name), 'utf8');
  const changed = (text: string, from: RegExp, to: string): string => {
    expect(text).toMatch(from);
    return text.replace(from, to);
  };
  const upstream = changed(conf('nginx-upstream.conf'), /^resolver .*\n/m, '');
  const servers = backends.map((one) => `server 127.0.0.1:${one} $1;`).join('\n  ');
  writeFileSync(join(place, 'upstream.conf'), changed(upstream, /server backend:8000 resolve (.*);/, servers));
  writeFileSync(
    join(place, 'routes.conf'),
    changed(conf('nginx-routes.conf'), /proxy_read_timeout \d+s;/g, `proxy_read_timeout ${readSeconds}s;`),
  );
  let main = changed(
    conf('nginx.conf'),
    /listen 8080;/,
    `listen 127.0.0.1:${port};${http2Port ? `listen 127.0.0.1:${http2Port} http2;` : ''}`,
  );
  main = changed(main, /listen 127\.0\.0\.1:8081;/, `listen 127.0.0.1:${healthPort};`);
  main = changed(main.replaceAll('/tmp/', `${place}/`), /\/etc\/nginx\//g, `${place}/`);
  main = changed(main, /worker_processes auto;/, `daemon off; worker_processes 1; error_log ${place}/error.log;`);
  writeFileSync(join(place, 'nginx.conf'), main);
  const nginx: ChildProcess = spawn('nginx', ['-e', `${place}/error.log`, '-c', join(place, 'nginx.conf')], { stdio: 'inherit' });
  closing.push(async () => {
    if (nginx.exitCode !== null) return;
    const ended = once(nginx, 'exit');
    nginx.kill('SIGTERM');
    await ended;
  });
  for (;;) {
    const health = await fetch(`http://127.0.0.1:${healthPort}/`).catch(() => null);
    if (health?.ok) return port;
    if (nginx.exitCode !== null) throw new Error(readFileSync(`${place}/error.log`, 'utf8'));
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** A backend that answers 200, or never. Counts what came. */
async function startBackendLike(
  first: 'answers' | 'silent' | 'breaks off',
): Promise<{ port: number; seen: string[]; server: Server; recover: () => void }> {
  const seen: string[] = [];
  let kind = first;
  const server = createServer((req, res) => {
    let body = '';
    req.on('data', (piece: Buffer) => (body += piece.toString()));
    req.on('end', () => {
      seen.push(`${req.method} ${body}`);
      if (kind === 'answers') res.end('ok');
      if (kind === 'breaks off') req.socket.destroy();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  });
  const recover = (): void => void (kind = 'answers');
  return { port: (server.address() as AddressInfo).port, seen, server, recover };
}

interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  body: string;
}
function ask(
  port: number,
  method: string,
  path: string,
  more: { from?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return new Promise((done, failed) => {
    const sent = request({ host: '127.0.0.1', port, method, path, localAddress: more.from, headers: more.headers, agent: false });
    sent.on('error', failed);
    sent.on('response', (res) => {
      let body = '';
      res.on('data', (piece: Buffer) => (body += piece.toString()));
      res.on('end', () => done({ status: res.statusCode!, headers: res.headers, body }));
    });
    sent.end(more.body);
  });
}

/** Every answer of nginx itself has the form and a code of the API. */
function expectEnvelope(answer: Answer, status: number, code: string): void {
  expect([answer.status, answer.headers['content-type']]).toEqual([status, 'application/json']);
  const body = JSON.parse(answer.body) as { success: boolean; error: { code: string }; requestId: string };
  expect(body).toMatchObject({ success: false, error: { code, message: expect.stringMatching(/\w\.$/), details: {} } });
  expect(isErrorCode(body.error.code)).toBe(true);
  expect(body.requestId).toMatch(/^\w{32}$/);
}

withNginx('callers behind nginx are separate addresses, whatever X-Forwarded-For they send', async () => {
  // As in docker-compose.yml, with the host name that nginx has here.
  const rig: Rig = await startRig({ settings: { IP_RATE_LIMIT: '4', IP_RATE_WINDOW: '600000', TRUST_PROXY: 'localhost' } });
  closing.push(() => rig.close());
  const port = await startNginx([Number(new URL(rig.url).port)], 60);
  const statuses = async (from: string): Promise<number[]> => {
    const found: number[] = [];
    for (let each = 0; each < 6; each += 1) {
      const headers = { 'x-forwarded-for': `203.0.113.${each}, 198.51.100.${each}`, authorization: 'ApiKey wrong' };
      found.push((await ask(port, 'GET', '/api/v1/sessions', { from, headers })).status);
    }
    return found;
  };
  expect(await statuses('127.0.0.2')).toEqual([401, 401, 401, 401, 429, 429]);
  expect(await statuses('127.0.0.3')).toEqual([401, 401, 401, 401, 429, 429]);
});

withNginx('a backend that stands still keeps no read: the other one answers; writes are not repeated', async () => {
  const silent = await startBackendLike('silent');
  const good = await startBackendLike('answers');
  const port = await startNginx([silent.port, good.port]);
  const bodies = { body: '{"a":1}', headers: { 'content-type': 'application/json', 'content-length': '7' } };
  const reads = await Promise.all(Array.from({ length: 4 }, () => ask(port, 'GET', '/api/v1/sessions')));
  expect(reads.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
    const before = silent.seen.length + good.seen.length;
    const answer = await ask(port, method, '/api/v1/messages/send-text', bodies);
    if (answer.status === 200) expect(good.seen.at(-1)).toBe(`${method} {"a":1}`);
    else expectEnvelope(answer, 503, 'BACKEND_UNAVAILABLE');
    expect(silent.seen.length + good.seen.length).toBe(before + 1);
  }
});

withNginx.each(['breaks off', 'silent'] as const)('a write to a backend that %s reaches no second one', async (kind) => {
  const one = await startBackendLike(kind);
  const two = await startBackendLike(kind);
  const port = await startNginx([one.port, two.port]);
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
    const before = one.seen.length + two.seen.length;
    const answer = await ask(port, method, '/api/v1/x', { body: 'b', headers: { 'content-type': 'text/plain' } });
    expectEnvelope(answer, 503, 'BACKEND_UNAVAILABLE');
    expect(answer.headers['retry-after']).toBe('5');
    expect(one.seen.length + two.seen.length).toBe(before + 1);
  }
  const before = one.seen.length + two.seen.length;
  expect((await ask(port, 'GET', '/api/v1/x')).status).toBe(503);
  expect(one.seen.length + two.seen.length).toBeLessThanOrEqual(before + 2);
});

withNginx(
  'backends that failed all at once are asked again within 15 s of their return',
  async () => {
    const backends = [await startBackendLike('breaks off'), await startBackendLike('breaks off')];
    const port = await startNginx(backends.map((one) => one.port));
    for (let each = 0; each < 12; each += 1) expectEnvelope(await ask(port, 'GET', '/api/v1/x'), 503, 'BACKEND_UNAVAILABLE');
    for (const { recover } of backends) recover();
    const from = performance.now();
    while ((await ask(port, 'POST', '/api/v1/x', { body: 'b' })).status !== 200) {
      expect(performance.now() - from).toBeLessThan(15_000);
      await new Promise((done) => setTimeout(done, 100));
    }
  },
  60_000,
);

withNginx('a send that could not be begun at a dead backend is passed to the other one', async () => {
  const good = await startBackendLike('answers');
  const port = await startNginx([await freePort(), good.port]);
  const answers = await Promise.all(Array.from({ length: 6 }, () => ask(port, 'POST', '/api/v1/x', { body: 'b' })));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200]);
  expect(good.seen).toHaveLength(6);
});

withNginx('what nginx answers by itself has the form of the API', async () => {
  const good = await startBackendLike('answers');
  const port = await startNginx([good.port]);
  for (const path of ['/internal', '/internal/events', '//INTERNAL/x', '/metrics', '/%69nternal/x', '/a/../internal/x'])
    expectEnvelope(await ask(port, 'GET', path), 404, 'ROUTE_NOT_FOUND');
  expectEnvelope(await ask(port, 'POST', '/.nginx/no-backend'), 404, 'ROUTE_NOT_FOUND');
  expectEnvelope(
    await ask(port, 'POST', '/x', { headers: { 'content-length': '120000000' } }).catch(tooLarge(port)),
    413,
    'BODY_TOO_LARGE',
  );
  for (const raw of [
    'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET / HTTP/1.1\r\n\r\n',
    'NONSENSE\r\n\r\n',
    'GET / HTTP/9.9\r\nHost: a\r\n\r\n',
    `GET /${'a'.repeat(40_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(40_000)}\r\n\r\n`,
  ])
    expect(await speak(port, raw)).toMatch(/^HTTP\/1\.1 400 [^]*application\/json[^]*"code":"MALFORMED_REQUEST"/);
  expect(good.seen).toEqual([]);
});

withNginx('with HTTP/2, too, what nginx answers by itself has the form of the API', async () => {
  const good = await startBackendLike('answers');
  const port = await freePort();
  await startNginx([good.port], 1, port);
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  closing.push(() => session.destroy());
  const send = async (headers: Record<string, string>, body = ''): Promise<Answer> => {
    const stream = session.request(headers, { endStream: false });
    const replied = once(stream, 'response') as Promise<[Record<string, string>]>;
    stream.end(body);
    const [found] = await replied;
    let text = '';
    for await (const piece of stream) text += String(piece);
    return { status: Number(found[':status']), headers: { 'content-type': found['content-type'] }, body: text };
  };
  for (const method of ['POST', 'PUT', 'GET'])
    expectEnvelope(
      await send({ ':method': method, ':path': '/api/v1/x', 'content-length': '120000000' }, 'x'),
      413,
      'BODY_TOO_LARGE',
    );
  expectEnvelope(await send({ ':method': 'POST', ':path': '/x', 'content-length': '5000' }, 'x'), 400, 'MALFORMED_REQUEST');
  expectEnvelope(await send({ ':method': 'GET', ':path': '/internal/x' }), 404, 'ROUTE_NOT_FOUND');
  expect(good.seen).toEqual([]);
});

/** nginx answers before the body has come and closes; Node then reports the closed connection first. */
const tooLarge = (port: number) => async (): Promise<Answer> => {
  const raw = await speak(port, 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 120000000\r\n\r\n');
  const [head = '', body = ''] = raw.split('\r\n\r\n');
  const type = /content-type: (.*)\r/i.exec(head)?.[1];
  return { status: Number(head.split(' ')[1]), headers: { 'content-type': type }, body };
};

function speak(port: number, text: string): Promise<string> {
  return new Promise((done) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    const timer = setTimeout(() => socket.end(), 1_000);
    socket.on('data', (piece) => (answer += piece.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      done(answer);
    });
  });
}
