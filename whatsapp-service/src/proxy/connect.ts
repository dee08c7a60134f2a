import { request as httpRequest } from 'node:http';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Egress } from '@chasqui/shared/egress';
import { SocksClient } from 'socks';
import { EngineError } from '../engine/engine.js';
import type { SessionProxy } from './session-proxy.js';

/** A server behind the proxy. Its name is resolved by the proxy, never here. */
export interface Target {
  host: string;
  port: number;
}

/**
 * Opens connections through the proxies of sessions. A customer names the proxy, so its address passes the egress guard, at the moment of connecting
 * too. Errors are EngineErrors with `PROXY_UNREACHABLE`, `PROXY_AUTH_FAILED` or, after `signal`, `USER_STOPPED`; their texts contain codes only: the
 * errors of the libraries carry the password.
 */
export interface ProxyConnector {
  connect(proxy: SessionProxy, target: Target, signal: AbortSignal): Promise<Socket>;
}

export interface ConnectorOptions {
  egress: Pick<Egress, 'checkHost' | 'lookup'>;
  /** The time limit of the connection and its handshakes together. */
  timeoutMs?: number;
  /** The certificate that signs those of `https` proxies, instead of the system's. For tests. */
  ca?: string;
}

type Context = Required<Omit<ConnectorOptions, 'ca'>> & Pick<ConnectorOptions, 'ca'>;

const defaultTimeoutMs = 10_000;
/** After this time without data the system asks whether the proxy is still there. */
const keepAliveMs = 30_000;

export function createProxyConnector({ timeoutMs = defaultTimeoutMs, ...options }: ConnectorOptions): ProxyConnector {
  const context: Context = { ...options, timeoutMs };
  return { connect: (proxy, target, signal) => connectThrough(context, proxy, target, signal) };
}

async function connectThrough(context: Context, proxy: SessionProxy, target: Target, signal: AbortSignal): Promise<Socket> {
  const socket = openSocket(context, proxy);
  const refuse = (error: EngineError): void => void socket.destroy(error);
  const onAbort = (): void => refuse(new EngineError('USER_STOPPED', 'The start was cancelled.'));
  const timer = setTimeout(() => refuse(unreachable('The proxy did not answer in time.')), context.timeoutMs);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await opened(socket, proxy);
    return await (proxy.protocol.startsWith('socks')
      ? connectSocks(context, socket, proxy, target)
      : connectHttp(socket, proxy, target));
  } catch (error) {
    socket.destroy();
    // The reason for which the socket was destroyed, if that caused the failure.
    const cause = socket.errored instanceof EngineError ? socket.errored : error;
    throw cause instanceof EngineError ? cause : unreachable(`The proxy could not be used: ${codeOf(cause)}.`);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function openSocket({ egress, ca }: Context, { protocol, host, port }: SessionProxy): Socket {
  if (host === '') throw unreachable('The address of the proxy cannot be read.');
  try {
    egress.checkHost(host, port);
  } catch {
    throw unreachable('The address of the proxy is not allowed.');
  }
  const options = { host, port, lookup: egress.lookup };
  const socket =
    protocol === 'https'
      ? connectTls({ ...options, ...(isIP(host) === 0 ? { servername: host } : {}), ...(ca ? { ca } : {}) })
      : connectTcp(options);
  // `opened` and the handshakes report errors; one that comes later ends the connection.
  socket.on('error', () => socket.destroy());
  return socket.setNoDelay(true).setKeepAlive(true, keepAliveMs);
}

const opened = (socket: Socket, { protocol }: SessionProxy): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once(protocol === 'https' ? 'secureConnect' : 'connect', resolve);
    socket.once('error', reject);
    socket.once('close', () => reject(unreachable('The proxy closed the connection.')));
  });

/** The method CONNECT of HTTP. */
function connectHttp(socket: Socket, { username, password }: SessionProxy, { host, port }: Target): Promise<Socket> {
  const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const credentials = Buffer.from(`${username ?? ''}:${password ?? ''}`).toString('base64');
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, ...(username === null ? {} : { 'proxy-authorization': `Basic ${credentials}` }) },
      createConnection: () => socket,
    });
    request.once('error', reject);
    socket.once('close', () => reject(unreachable('The proxy closed the connection.')));
    request.once('connect', ({ statusCode = 0 }, _socket, head) => {
      if (statusCode !== 200)
        return reject(
          statusCode === 407 || statusCode === 401
            ? new EngineError('PROXY_AUTH_FAILED', `The proxy answered with ${statusCode}.`)
            : unreachable(`The proxy answered with ${statusCode}.`),
        );
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.end();
  });
}

/** SOCKS 4a and 5. Both pass the name of the target to the proxy. */
async function connectSocks(
  { timeoutMs }: Context,
  socket: Socket,
  { protocol, host, port, username, password }: SessionProxy,
  destination: Target,
): Promise<Socket> {
  const proxy = { host, port, type: protocol === 'socks4' ? (4 as const) : (5 as const) };
  const credentials = username === null ? {} : { userId: username, password: password ?? '' };
  try {
    await SocksClient.createConnection({
      proxy: { ...proxy, ...credentials },
      command: 'connect',
      destination,
      existing_socket: socket,
      timeout: timeoutMs,
    });
    return socket;
  } catch (error) {
    const text = error instanceof Error ? error.message : '';
    if (refusedLogin.test(text)) throw new EngineError('PROXY_AUTH_FAILED', 'The SOCKS proxy refused the login.');
    // The library names a code that it does not know `undefined`.
    const [, answer = 'no valid answer'] = /- \(?(?!undefined)(\w+)\)?$/.exec(text) ?? [];
    throw unreachable(`The SOCKS proxy did not open the connection: ${answer}.`);
  }
}

/** The library reports the refusals of a login only as text: of SOCKS 5 (no accepted method, wrong password) and of SOCKS 4 (unknown user). */
const refusedLogin = /no accepted authentication type|Authentication failed|RejectedIdent|- \(Rejected\)$/;

const unreachable = (detail: string): EngineError => new EngineError('PROXY_UNREACHABLE', detail);

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'no valid answer';
