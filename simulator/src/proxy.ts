import { createServer as createHttpServer } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { ProxyContext, ProxyOptions } from './proxy-options.js';
import { acceptSocks } from './socks.js';

/** A proxy on loopback for tests of sessions behind a proxy. It connects WhatsApp's hosts to the simulator and refuses all others. */
export async function openProxy(httpsPort: number, options: ProxyOptions = {}) {
  const tunnels: string[] = [];
  const outgoing = new Set<number>();
  const open = new Set<Socket>();
  const track = (socket: Socket): void => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => open.delete(socket));
  };
  const context: ProxyContext = {
    options,
    asked: [],
    refused: 0,
    connect(target, near, answer) {
      context.asked.push(target);
      if (!/\.whatsapp\.(com|net):443$/.test(target)) return answer(null);
      tunnels.push(target);
      const far = connect(httpsPort, '127.0.0.1', () => {
        outgoing.add(far.localPort!);
        answer(far);
        far.pipe(near);
        near.pipe(far);
      });
      track(far);
      far.once('close', () => near.destroy());
      near.once('close', () => far.destroy());
    },
  };
  const server = options.protocol?.startsWith('socks') ? createSocksServer(context) : createConnectServer(context);
  server.on('connection', track);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `${options.protocol ?? 'http'}://127.0.0.1:${port}`,
    port,
    /** Hosts that were connected to, in order. */
    tunnels: (): string[] => [...tunnels],
    /** Hosts that a connection was asked for, also refused ones. */
    asked: (): string[] => [...context.asked],
    /** The ports from which the proxy connected to the simulator. See `Simulator.connections`. */
    outgoing: (): Set<number> => new Set(outgoing),
    /** The number of requests with a wrong or missing name or password. */
    refused: (): number => context.refused,
    /** Ends the proxy and all its connections. */
    close: (): Promise<void> =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const end of open) end.destroy();
      }),
  };
}
export type Proxy = Awaited<ReturnType<typeof openProxy>>;

function createConnectServer(context: ProxyContext): Server {
  const { username, password } = context.options;
  const expected = username === undefined ? null : `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}`;
  const server = createHttpServer((_, res) => void res.writeHead(405).end());
  server.on('connect', (req, socket: Socket) => {
    if (expected !== null && req.headers['proxy-authorization'] !== expected) {
      context.refused += 1;
      socket.end(
        'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="simulator"\r\nContent-Length: 0\r\n\r\n',
      );
      return;
    }
    context.connect(req.url ?? '', socket, (far) => {
      if (far) socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      else socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
    });
  });
  return server;
}

const createSocksServer = (context: ProxyContext): Server =>
  createTcpServer((socket) => void acceptSocks(context, socket).catch(() => socket.destroy()));
