import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { EngineError } from '../engine/engine.js';
import type { ProxyConnector, Target } from './connect.js';
import type { SessionProxy } from './session-proxy.js';

/**
 * The proxy that one browser uses: a server on loopback that passes each connection on to the session's proxy. So the browser, its command line and
 * its environment know no credentials, and SOCKS proxies with a password work, which Chromium cannot use. When a connection fails, the
 * session's proxy is checked; if it does not lead to WhatsApp any more, `onDead` is called once. No connection is ever made past the proxy.
 */
export interface Forwarder {
  readonly port: number;
  /** The failure of the newest connection; null after one that succeeded. */
  failure(): EngineError | null;
  /** Ends all connections. Idempotent. */
  close(): Promise<void>;
}

export interface ForwarderOptions {
  connector: ProxyConnector;
  proxy: SessionProxy;
  /** Throws an EngineError if the proxy does not lead to WhatsApp. */
  check: (signal: AbortSignal) => Promise<void>;
  onDead: (failure: EngineError) => void;
  /** How long one side of a connection may go on after the other has ended. */
  lingerMs?: number;
}

interface Context extends ForwarderOptions {
  readonly closing: AbortController;
  readonly sockets: Set<Socket>;
  failure: EngineError | null;
  isChecking: boolean;
}

const defaultLingerMs = 10_000;
/** A proxy that fails for a moment is checked again after these pauses. */
const checkPausesMs = [500, 1_500];

export async function openForwarder(options: ForwarderOptions): Promise<Forwarder> {
  const context: Context = {
    ...options,
    closing: new AbortController(),
    sockets: new Set(),
    failure: null,
    isChecking: false,
  };
  // Requests without encryption are refused: WhatsApp Web makes none.
  const server = createServer((_req, res) => void res.writeHead(403, { connection: 'close' }).end());
  server.on('connection', (socket) => track(context, socket));
  server.on('connect', (req: IncomingMessage, socket: Socket, head: Buffer) => void forward(context, req, socket, head));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    failure: () => context.failure,
    async close() {
      context.closing.abort();
      for (const socket of context.sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function track({ sockets }: Context, socket: Socket): void {
  sockets.add(socket);
  socket.on('error', () => socket.destroy());
  socket.once('close', () => sockets.delete(socket));
}

async function forward(context: Context, req: IncomingMessage, near: Socket, head: Buffer): Promise<void> {
  const target = targetOf(req.url ?? '');
  if (!target) return void near.end('HTTP/1.1 400 Bad Request\r\n\r\n');
  try {
    const far = await context.connector.connect(context.proxy, target, context.closing.signal);
    track(context, far);
    context.failure = null;
    if (near.destroyed || context.closing.signal.aborted) return void far.destroy();
    near.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) far.write(head);
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroy());
    endTogether(near, far, context.lingerMs ?? defaultLingerMs);
    far.pipe(near);
    near.pipe(far);
  } catch (error) {
    near.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
    if (context.closing.signal.aborted) return;
    context.failure = asEngineError(error);
    void checkProxy(context);
  }
}

/**
 * Ends both sides some time after one has ended. A browser that closes a connection only ends its side of this one; a proxy that never answers to that
 * would otherwise keep two sockets open for each connection of the page.
 */
function endTogether(near: Socket, far: Socket, lingerMs: number): void {
  const linger = (): void => void setTimeout(() => far.destroy(), lingerMs).unref();
  near.once('end', linger);
  far.once('end', linger);
}

function targetOf(authority: string): Target | null {
  const [, host = '', digits = ''] = /^\[?([^\s\]]+?)\]?:(\d{1,5})$/.exec(authority) ?? [];
  const port = Number(digits);
  return host === '' || port < 1 || port > 65_535 ? null : { host, port };
}

/** Finds whether the proxy itself is dead, or only one server behind it cannot be reached. One check at a time. */
async function checkProxy(context: Context): Promise<void> {
  if (context.isChecking) return;
  context.isChecking = true;
  const { signal } = context.closing;
  try {
    for (const pauseMs of [...checkPausesMs, null]) {
      const failure = await context.check(signal).then(() => null, asEngineError);
      if (signal.aborted) return;
      context.failure = failure;
      if (failure === null) return;
      if (pauseMs === null) return context.onDead(failure);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      if (signal.aborted) return;
    }
  } finally {
    context.isChecking = false;
  }
}

const asEngineError = (error: unknown): EngineError =>
  error instanceof EngineError ? error : new EngineError('PROXY_UNREACHABLE', 'The proxy could not be used.');
