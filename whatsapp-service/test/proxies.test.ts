import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createServer as createTlsServer } from 'node:tls';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { inspect } from 'node:util';
import { createEgress } from '@chasqui/shared/egress';
import { makeCertificate, openProxy, type Proxy, type ProxyOptions } from '@chasqui/simulator';
import type { EngineError } from '../src/engine/engine.js';
import { createProxyConnector, type ConnectorOptions } from '../src/proxy/connect.js';
import { openForwarder, type Forwarder } from '../src/proxy/forwarder.js';
import { createProxies } from '../src/proxy/proxies.js';
import { sessionProxy } from '../src/proxy/session-proxy.js';
import { until } from './engine/harness.js';

/** Connections through the four kinds of proxies, and the local proxy of a browser. */

const password = 'pa:ss w\u00f6rd%40';
const whatsapp = { host: 'web.whatsapp.com', port: 443 };
let closings: (() => Promise<unknown> | void)[] = [];
let echo: Server;
beforeEach(async () => {
  echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
  await listen(echo);
});
afterEach(async () => {
  for (const close of closings.reverse()) await close();
  closings = [];
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => open.add(socket));
  closings.push(() => {
    for (const socket of open) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return (server.address() as AddressInfo).port;
}
const open = async (options: ProxyOptions = {}): Promise<Proxy> => {
  const proxy = await openProxy((echo.address() as AddressInfo).port, options);
  closings.push(() => proxy.close());
  return proxy;
};

const local = createEgress({ allow: ['127.0.0.0/8'] });
const connector = (more: Partial<ConnectorOptions> = {}) => createProxyConnector({ egress: local, timeoutMs: 3_000, ...more });
const proxyAt = (url: string, username: string | null = null, secret: string | null = null) =>
  sessionProxy({ url, username, password: secret });
const never = new AbortController().signal;
const failureOf = (work: Promise<unknown>): Promise<EngineError> =>
  work.then(
    () => Promise.reject(new Error('The connection was opened.')),
    (error: EngineError) => error,
  );

async function echoes(socket: Socket): Promise<string> {
  const answer = new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
  socket.write('hello');
  return answer.finally(() => socket.destroy());
}

describe.each(['http', 'socks4', 'socks5'] as const)('a proxy with %s', (protocol) => {
  const secret = protocol === 'socks4' ? null : password;
  const login: ProxyOptions = { protocol, username: 'shop', ...(secret ? { password: secret } : {}) };

  test('opens a connection without a login, and resolves the name itself', async () => {
    const proxy = await open({ protocol });
    expect(await echoes(await connector().connect(proxyAt(proxy.url), whatsapp, never))).toBe('hello');
    expect(proxy.asked()).toEqual(['web.whatsapp.com:443']);
  });

  test('opens a connection with a login', async () => {
    const proxy = await open(login);
    expect(await echoes(await connector().connect(proxyAt(proxy.url, 'shop', secret), whatsapp, never))).toBe('hello');
    expect(proxy.refused()).toBe(0);
  });

  test.each<[string, string | null, string | null]>([
    ['wrong', protocol === 'socks4' ? 'other' : 'shop', protocol === 'socks4' ? null : 'wrong'],
    ['missing', null, null],
  ])('a %s login is PROXY_AUTH_FAILED', async (_which, username, wrong) => {
    const proxy = await open(login);
    const failure = await failureOf(connector().connect(proxyAt(proxy.url, username, wrong), whatsapp, never));
    expect([failure.reason, proxy.refused(), proxy.tunnels()]).toEqual(['PROXY_AUTH_FAILED', 1, []]);
  });

  test('a target that it refuses is PROXY_UNREACHABLE', async () => {
    const proxy = await open({ protocol });
    const failure = await failureOf(connector().connect(proxyAt(proxy.url), { host: 'example.com', port: 443 }, never));
    expect(failure.reason).toBe('PROXY_UNREACHABLE');
  });

  test('one that is gone, is silent or speaks another protocol is PROXY_UNREACHABLE, within the time limit', async () => {
    const gone = await open({ protocol });
    await gone.close();
    const silent = createServer((socket) => socket.on('error', () => undefined));
    const garbage = createServer((socket) => socket.on('error', () => undefined).end('SSH-2.0-OpenSSH_9.6\r\n'));
    const ports = [gone.port, await listen(silent), await listen(garbage)];
    for (const port of ports) {
      const before = performance.now();
      const proxy = proxyAt(`${protocol}://127.0.0.1:${port}`, 'shop', password);
      const failure = await failureOf(connector({ timeoutMs: 400 }).connect(proxy, whatsapp, never));
      expect(failure.reason).toBe('PROXY_UNREACHABLE');
      expect(performance.now() - before).toBeLessThan(3_000);
    }
  });

  test('an answer that is cut off anywhere, comes byte by byte or is no answer ends within the time limit, and says so in words', async () => {
    const answers = {
      http: [[...Buffer.from('HTTP/1.1 200 OK\r\n\r\n')]],
      socks4: [[0, 90, 0, 0, 0, 0, 0, 0]],
      socks5: [
        [5, 0],
        [5, 0, 0, 1, 127, 0, 0, 1, 1, 2],
      ],
    };
    const stages = answers[protocol];
    const total = stages.flat().length;
    /** Answers with the first bytes of a good answer, one at a time, then goes on as `then` does. */
    const cut = (bytes: number, then: (socket: Socket) => void) => (socket: Socket) => {
      let left = bytes;
      let stage = 0;
      socket
        .on('error', () => undefined)
        .on('data', () => {
          for (const byte of (stages[stage++] ?? []).slice(0, left)) {
            socket.write(Buffer.from([byte]));
            left -= 1;
          }
          if (left <= 0) then(socket);
        });
    };
    const ends = [(socket: Socket) => void socket.end(), (socket: Socket) => void socket.resetAndDestroy(), () => undefined];
    const attempt = async (onSocket: (socket: Socket) => void): Promise<string> => {
      const server = createServer({ allowHalfOpen: true }, onSocket);
      const proxy = proxyAt(`${protocol}://127.0.0.1:${await listen(server)}`);
      return connector({ timeoutMs: 150 })
        .connect(proxy, whatsapp, never)
        .then(
          (socket) => (socket.destroy(), 'opened'),
          ({ reason, message }: EngineError) => `${reason} ${message}`,
        );
    };
    for (let bytes = 0; bytes < total; bytes += 1)
      for (const then of ends) expect(await attempt(cut(bytes, then))).toMatch(/^PROXY_UNREACHABLE (?!.*undefined)/);
    expect(await attempt(cut(total, () => undefined))).toBe('opened');
    for (let code = 1; code < 256; code += 17) {
      const bytes = Buffer.from(protocol === 'socks5' ? [5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0] : [0, code, 0, 0, 0, 0, 0, 0]);
      expect(await attempt((socket) => void socket.on('error', () => undefined).end(bytes))).toMatch(/^PROXY_(?!.*undefined)/);
    }
  }, 60_000);

  test('a start that is cancelled ends at once', async () => {
    const port = await listen(createServer((socket) => socket.on('error', () => undefined)));
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 50);
    const failure = failureOf(connector().connect(proxyAt(`${protocol}://127.0.0.1:${port}`), whatsapp, abort.signal));
    expect((await failure).reason).toBe('USER_STOPPED');
  });
});

test('a proxy with https is connected to with TLS, and its certificate is checked', async () => {
  const { key, cert } = await makeCertificate();
  const proxy = await open({ username: 'shop', password });
  const tls = createTlsServer({ key, cert }, (socket) => {
    const inner = connect(proxy.port, '127.0.0.1');
    for (const end of [socket, inner]) end.on('error', () => (socket.destroy(), inner.destroy()));
    socket.pipe(inner).pipe(socket);
  });
  const port = await listen(tls);
  // The certificate is that of WhatsApp's names.
  const egress = createEgress({
    allow: ['127.0.0.0/8'],
    resolve: (_name, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
  });
  const at = (host: string) => proxyAt(`https://${host}:${port}`, 'shop', password);
  const opened = await connector({ egress, ca: cert }).connect(at('web.whatsapp.com'), whatsapp, never);
  expect(await echoes(opened)).toBe('hello');
  const before = proxy.asked().length;
  const distrusted = [
    connector({ egress }).connect(at('web.whatsapp.com'), whatsapp, never),
    connector({ egress, ca: cert }).connect(at('proxy.example.com'), whatsapp, never),
  ];
  for (const work of distrusted) expect((await failureOf(work)).reason).toBe('PROXY_UNREACHABLE');
  expect(proxy.asked()).toHaveLength(before);
});

describe('the address of a proxy', () => {
  test.each([
    ['a private address', '127.0.0.1'],
    ['a name of this machine', 'localhost'],
    ['a name that has a private address', 'inside.example'],
  ])('%s is refused without a connection, unless EGRESS_ALLOW names it', async (_which, host) => {
    const proxy = await open();
    const egressOf = (allow: string[]) =>
      createEgress({ allow, resolve: (_name, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]) });
    const at = proxyAt(`http://${host}:${proxy.port}`);
    const failure = await failureOf(connector({ egress: egressOf([]) }).connect(at, whatsapp, never));
    expect([failure.reason, proxy.asked()]).toEqual(['PROXY_UNREACHABLE', []]);
    (await connector({ egress: egressOf(['127.0.0.1/32']) }).connect(at, whatsapp, never)).destroy();
    expect(proxy.asked()).toHaveLength(1);
  });

  test('one that cannot be read is a proxy that no connection reaches, and never none', async () => {
    const failure = await failureOf(connector().connect(proxyAt('nonsense', 'shop', password), whatsapp, never));
    expect(failure.reason).toBe('PROXY_UNREACHABLE');
  });
});

test('neither the proxy nor an error shows the password', async () => {
  const shown: string[] = [];
  const show = (value: unknown): void => void shown.push(inspect(value, { depth: 9 }), JSON.stringify(value), String(value));
  for (const protocol of ['http', 'socks5'] as const) {
    const proxy = await open({ protocol, username: 'shop', password: 'right' });
    const at = proxyAt(proxy.url, 'shop', 'very-secret');
    show(at);
    show({ ...at });
    show(await failureOf(connector().connect(at, whatsapp, never)));
    await proxy.close();
    show(await failureOf(connector().connect(at, whatsapp, never)));
  }
  const basic = Buffer.from('shop:very-secret').toString('base64');
  for (const text of shown) expect(text.includes('very-secret') || text.includes(basic)).toBe(false);
});

describe('the local proxy of a browser', () => {
  const deaths: EngineError[] = [];
  const openLocal = async (proxy: Proxy): Promise<Forwarder> => {
    deaths.length = 0;
    const proxies = createProxies(connector({ timeoutMs: 1_000 }));
    const forwarder = await proxies.open(proxyAt(proxy.url), (failure) => deaths.push(failure));
    closings.push(() => forwarder.close());
    return forwarder;
  };
  /** Asks the local proxy for a connection, as a browser does. */
  const ask = async ({ port }: Forwarder, target: string): Promise<{ status: number; socket: Socket }> => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    const answer = await new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
    return { status: Number(answer.split(' ')[1]), socket };
  };

  test('passes bytes on in both directions, and ends a connection with its other half', async () => {
    const proxy = await open({ protocol: 'socks5' });
    const forwarder = await openLocal(proxy);
    const { status, socket } = await ask(forwarder, 'web.whatsapp.com:443');
    expect([status, await echoes(socket)]).toEqual([200, 'hello']);
    const { socket: other } = await ask(forwarder, 'web.whatsapp.com:443');
    const ended = new Promise((resolve) => other.once('close', resolve));
    await proxy.close();
    await ended;
  });

  test('closes both sides of a connection that the browser has closed, also if the proxy never does', async () => {
    const held: Socket[] = [];
    const port = await listen(
      createServer({ allowHalfOpen: true }, (socket) => {
        held.push(socket.on('error', () => undefined));
        socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
      }),
    );
    const forwarder = await openForwarder({
      connector: connector(),
      proxy: proxyAt(`http://127.0.0.1:${port}`),
      check: () => Promise.resolve(),
      onDead: (failure) => deaths.push(failure),
      lingerMs: 50,
    });
    closings.push(() => forwarder.close());
    const openSockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const before = openSockets();
    for (let count = 0; count < 5; count += 1) {
      const { status, socket } = await ask(forwarder, 'web.whatsapp.com:443');
      expect(status).toBe(200);
      socket.destroy();
    }
    // What is left are the proxy's own ends.
    await until('the ends', () => openSockets() <= before + held.length);
    expect(held.filter((socket) => !socket.destroyed)).toHaveLength(5);
  });

  test('a server that the proxy does not reach is not the end of the proxy', async () => {
    const proxy = await open();
    const forwarder = await openLocal(proxy);
    expect((await ask(forwarder, 'example.com:443')).status).toBe(502);
    expect(forwarder.failure()?.reason).toBe('PROXY_UNREACHABLE');
    await until('the check of the proxy', () => forwarder.failure() === null);
    expect([deaths, proxy.asked()]).toEqual([[], ['example.com:443', 'web.whatsapp.com:443']]);
  });

  test('a proxy that dies is reported once, and one that is back before the last check is not', async () => {
    const proxy = await open();
    const forwarder = await openLocal(proxy);
    await proxy.close();
    expect((await ask(forwarder, 'web.whatsapp.com:443')).status).toBe(502);
    const back = await open({ port: proxy.port });
    await until('the check of the proxy', () => forwarder.failure() === null);
    expect(deaths).toEqual([]);
    await back.close();
    const answers = await Promise.all([1, 2, 3].map(() => ask(forwarder, 'web.whatsapp.com:443')));
    expect(answers.map(({ status }) => status)).toEqual([502, 502, 502]);
    await until('the report', () => deaths.length > 0);
    expect(deaths.map(({ reason }) => reason)).toEqual(['PROXY_UNREACHABLE']);
  });

  test('a request without encryption is refused, and nothing is sent', async () => {
    const proxy = await open();
    const forwarder = await openLocal(proxy);
    const socket = connect(forwarder.port, '127.0.0.1');
    socket.write('GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n');
    const answer = await new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
    expect([answer.split(' ')[1], proxy.asked()]).toEqual(['403', []]);
  });

  test('closing it ends its connections, and a start of one that has just begun', async () => {
    const port = await listen(createServer((socket) => socket.on('error', () => undefined)));
    const silent = { url: `http://127.0.0.1:${port}` } as Proxy;
    const forwarder = await openLocal(silent);
    const socket = connect(forwarder.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write('CONNECT web.whatsapp.com:443 HTTP/1.1\r\n\r\n');
    const ended = new Promise((resolve) => socket.once('close', resolve));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await forwarder.close();
    await ended;
    expect(deaths).toEqual([]);
  });
});
