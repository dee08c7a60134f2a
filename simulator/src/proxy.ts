import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';

export interface ProxyOptions {
  /** Required if both are set. */
  username?: string;
  password?: string;
}

/** An HTTP proxy on loopback for tests of sessions behind a proxy. It connects WhatsApp's hosts to the simulator and refuses all others. */
export async function openProxy(httpsPort: number, { username, password }: ProxyOptions = {}) {
  const expected = username === undefined ? null : `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}`;
  const tunnels: string[] = [];
  const open = new Set<Socket>();
  let refused = 0;
  const server = createServer((_, res) => void res.writeHead(405).end());
  server.on('connect', (req, socket: Socket) => {
    socket.on('error', () => socket.destroy());
    if (expected !== null && req.headers['proxy-authorization'] !== expected) {
      refused += 1;
      socket.end(
        'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="simulator"\r\nContent-Length: 0\r\n\r\n',
      );
      return;
    }
    if (!/\.whatsapp\.(com|net):443$/.test(req.url ?? ''))
      return void socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
    tunnels.push(req.url!);
    const inner = connect(httpsPort, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      inner.pipe(socket);
      socket.pipe(inner);
    });
    for (const end of [socket, inner]) {
      open.add(end);
      end.on('close', () => {
        open.delete(end);
        socket.destroy();
        inner.destroy();
      });
    }
    inner.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Hosts that were connected to, in order. */
    tunnels: (): string[] => [...tunnels],
    /** The number of requests with a wrong or missing name or password. */
    refused: (): number => refused,
    close: (): Promise<void> =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const end of open) end.destroy();
        server.closeAllConnections();
      }),
  };
}
export type Proxy = Awaited<ReturnType<typeof openProxy>>;
