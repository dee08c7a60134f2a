import type { IncomingMessage, Server } from 'node:http';
import { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { AppError, findUnfit, isErrorCode, validationError, type AnyRoute } from '@chasqui/shared';
import { keepConnection, pathAndQuery } from '@chasqui/shared/express';
import type { Express, Request, Response } from 'express';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Caller } from '../accounts/caller.js';
import type { CredentialRef } from '../accounts/credential-ref.js';
import { damageRefusal, databaseRefusal } from '../db/database-errors.js';
import { errorFields, type Log } from '../lib/log.js';
import { socket as socketRoute, socketFrame, type SocketFrame } from './contract.js';
import type { ReadingOf } from './routes.js';
import type { EndCode, Sink, Stream, Streams } from './streams.js';

/** The WebSocket framing of the streams. One subscription at a time; a new one replaces the one before. */

const socketPath = /^\/api\/v1\/ws\/?$/;
const maxBytesIn = 64 * 1024;
/** Frames that may wait for their answer. */
const maxFramesIn = 20;
/** Bytes that may be pending for a reader. Each frame but `unsubscribe` is answered, whether the answers are read or not. */
const maxBytesOut = 1024 * 1024;
/** Connections that are not authenticated yet. Each costs a handshake and a database read before it can be refused. */
const maxUnauthenticated = 200;
/** How long a client may take to answer a close frame. */
const closeTimeoutMs = 1_000;

export interface SocketParts {
  app: Express;
  streams: Streams;
  authenticate: (route: AnyRoute, req: Request, res: Response) => Promise<Caller>;
  streamCredentialOf: (caller: Caller, req: Request) => CredentialRef;
  readingOf: ReadingOf;
  log: Log;
  pingMs: number;
}

const closeCodes: Partial<Record<EndCode, number>> = {
  UNAUTHENTICATED: 4401,
  KEY_EXPIRED: 4401,
  TOKEN_EXPIRED: 4401,
  CONFLICTING_CREDENTIALS: 4401,
  PERMISSION_DENIED: 4403,
  ACCOUNT_INACTIVE: 4403,
  PASSWORD_CHANGE_REQUIRED: 4403,
  SESSION_NOT_FOUND: 4403,
  CURSOR_EXPIRED: 4410,
  SHUTTING_DOWN: 1001,
  TOO_SLOW: 1013,
  RATE_LIMITED: 1013,
  DATABASE_UNAVAILABLE: 1013,
  STORAGE_FULL: 1013,
  STORAGE_UNAVAILABLE: 1013,
  MALFORMED_REQUEST: 1008,
};

/** Answers WebSocket upgrades of `server`. Returns the function that ends all connections, for shutdown. */
export function serveSockets(server: Server, parts: SocketParts): () => Promise<void> {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxBytesIn, perMessageDeflate: false });
  let unauthenticated = 0;
  const open = (req: IncomingMessage, socket: Duplex, head: Buffer): void => {
    if (req.headers.upgrade?.toLowerCase() !== 'websocket') return withoutUpgrade(server, req, socket, head);
    if (!socketPath.test(pathAndQuery(req.url ?? '').path)) return refuseUpgrade(socket, '404 Not Found');
    if (unauthenticated >= maxUnauthenticated) return refuseUpgrade(socket, '503 Service Unavailable');
    keepConnection(server, socket);
    sockets.handleUpgrade(req, socket, head, (client) => {
      unauthenticated += 1;
      void welcome(parts, client, req).finally(() => (unauthenticated -= 1));
    });
  };
  /** Runs outside of every request, so an error that is thrown here would end the process. */
  const onUpgrade = (req: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // The server added the socket's error listener when it accepted the connection.
    try {
      open(req, socket, head);
    } catch (error) {
      parts.log.error('An upgrade request failed.', errorFields(error));
      socket.destroy();
    }
  };
  server.on('upgrade', onUpgrade);
  return async () => {
    server.off('upgrade', onUpgrade);
    await Promise.all([...sockets.clients].map((client) => end(client, 'SHUTTING_DOWN', 'The server is stopping.')));
    sockets.close();
  };
}

/** Answers without a body and closes the connection, also when the other side never does. */
function refuseUpgrade(socket: Duplex, status: string): void {
  const timer = setTimeout(() => socket.destroy(), closeTimeoutMs);
  socket.once('close', () => clearTimeout(timer));
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

/**
 * Node passes every request with an Upgrade header to the upgrade listeners, and some clients offer `h2c` with each request.
 * Such a request is passed to the server again without that header, and is answered like any other.
 */
function withoutUpgrade(server: Server, req: IncomingMessage, socket: Duplex, head: Buffer): void {
  const lines = [`${req.method} ${req.url} HTTP/${req.httpVersion}`];
  for (let index = 0; index < req.rawHeaders.length; index += 2) {
    const name = req.rawHeaders[index]!;
    if (!['upgrade', 'connection', 'http2-settings'].includes(name.toLowerCase()))
      lines.push(`${name}: ${req.rawHeaders[index + 1]}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit('connection', socket);
}

/** Authenticates after the handshake: a browser can read a close code, but not the status of a refused handshake. */
async function welcome(parts: SocketParts, client: WebSocket, raw: IncomingMessage): Promise<void> {
  client.on('error', () => client.terminate());
  const endIfUnread = (): void => {
    if (client.bufferedAmount > maxBytesOut) client.terminate();
  };
  client.on('ping', endIfUnread).on('message', endIfUnread);
  const queue = createQueue(client);
  try {
    // Builds the request as Express does; authentication reads the headers and the address from it.
    const req = Object.setPrototypeOf(raw, parts.app.request) as Request;
    const res = Object.setPrototypeOf(new ServerResponse(raw), parts.app.response) as Response;
    Object.assign(req, { res });
    Object.assign(res, { req, locals: {} });
    const caller = await parts.authenticate(socketRoute, req, res);
    const credential = parts.streamCredentialOf(caller, req);
    const leave = parts.streams.enter(credential, (code, message = '') => void end(client, code, message));
    client.once('close', leave);
    if (client.readyState !== client.OPEN) return leave();
    converse(parts, client, { caller, credential }, queue);
  } catch (error) {
    await refuse(parts.log, client, error);
  }
}

/** Starts to handle the frames of a client, one after another: those that have arrived, and those that follow. */
type Listen = (handler: (text: string) => Promise<void>) => void;

interface FrameQueue {
  waiting: string[];
  waitingBytes: number;
  /** Null until the caller is authenticated. */
  handler: ((text: string) => Promise<void>) | null;
  isBusy: boolean;
}

/** Queues the frames that arrive before the caller is authenticated. */
function createQueue(client: WebSocket): Listen {
  const queue: FrameQueue = { waiting: [], waitingBytes: 0, handler: null, isBusy: false };
  client.on('message', (bytes, isBinary) => {
    // After the close frame the client may still send for a moment.
    if (client.readyState !== client.OPEN) return;
    queue.waitingBytes += Buffer.isBuffer(bytes) ? bytes.length : 0;
    if (queue.waiting.length >= maxFramesIn || queue.waitingBytes > maxBytesIn) {
      queue.waiting.length = 0;
      return void end(client, 'MALFORMED_REQUEST', 'Too many frames at once.');
    }
    queue.waiting.push(isBinary || !Buffer.isBuffer(bytes) ? '' : bytes.toString('utf8'));
    void work(queue);
  });
  return (handler) => {
    queue.handler = handler;
    void work(queue);
  };
}

async function work(queue: FrameQueue): Promise<void> {
  if (queue.isBusy || !queue.handler) return;
  queue.isBusy = true;
  for (let text = queue.waiting.shift(); text !== undefined; text = queue.waiting.shift()) {
    queue.waitingBytes -= Buffer.byteLength(text);
    await queue.handler(text);
  }
  queue.waitingBytes = 0;
  queue.isBusy = false;
}

function converse(
  parts: SocketParts,
  client: WebSocket,
  { caller, credential }: { caller: Caller; credential: CredentialRef },
  listen: Listen,
): void {
  let stream: Stream | null = null;
  const sink = sinkOf(client, parts.pingMs);
  // A stream pings by its own beat. Without one, a connection that is dead would keep its place.
  const beat = setInterval(() => stream ?? sink.beat(), parts.pingMs);
  const unsubscribe = (): void => {
    stream?.close();
    stream = null;
  };
  client.on('close', () => {
    clearInterval(beat);
    unsubscribe();
  });

  async function handle(frame: SocketFrame): Promise<void> {
    if (frame.type === 'ping') return send(client, { type: 'pong', ...(stream ? { cursor: stream.cursor() } : {}) });
    if (frame.type === 'unsubscribe') return unsubscribe();
    // A subscription that is refused leaves the one before as it is.
    const reading = await parts.readingOf(caller, { types: frame.types, sessionId: frame.sessionId });
    const cursor = await parts.streams.start(caller.accountId, frame.after ?? null);
    unsubscribe();
    if (client.readyState !== client.OPEN) return;
    send(client, { type: 'ready', cursor });
    stream = parts.streams.follow(reading, credential, cursor, sink);
  }

  listen(async (text) => {
    try {
      await handle(parseFrame(text));
    } catch (error) {
      if (error instanceof AppError && error.code !== 'CURSOR_EXPIRED')
        send(client, errorFrame(error.code, error.message, error.details));
      else await refuse(parts.log, client, error);
    }
  });
}

function parseFrame(text: string): SocketFrame {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new AppError('MALFORMED_REQUEST', {}, 'A frame must be JSON in a text frame.');
  }
  const unfit = findUnfit(value);
  if (unfit) throw validationError([unfit]);
  const frame = socketFrame.safeParse(value);
  if (frame.success) return frame.data;
  const [issue] = frame.error.issues;
  throw new AppError('VALIDATION_FAILED', {}, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}`);
}

function sinkOf(client: WebSocket, pingMs: number): Sink & { beat(): void } {
  let isAlive = true;
  client.on('pong', () => (isAlive = true));
  return {
    beatMs: pingMs,
    frame: (event) => JSON.stringify({ type: 'event', event }),
    write: (text) =>
      new Promise((resolve) => {
        client.send(text, () => resolve());
      }),
    beat() {
      // No pong since the last ping: the connection is dead, whatever TCP reports.
      if (!isAlive) return client.terminate();
      isAlive = false;
      client.ping();
    },
    end: (code, message) => void end(client, code, message),
  };
}

const send = (client: WebSocket, frame: object): void => client.send(JSON.stringify(frame));

const errorFrame = (code: string, message: string, details: object): object => ({
  ...{ type: 'error', code, message },
  ...(Object.keys(details).length > 0 ? { details } : {}),
});

async function refuse(log: Log, client: WebSocket, error: unknown): Promise<void> {
  const known = error instanceof AppError ? error : (databaseRefusal(error) ?? damageRefusal(error));
  if (!known) log.error('A WebSocket failed.', errorFields(error));
  await end(client, known?.code ?? 'INTERNAL_ERROR', known?.message ?? '', known);
}

/** Closes in progress. Further reasons to close the same connection must cost nothing. */
const ending = new WeakMap<WebSocket, Promise<void>>();

/** Closes with the code, and terminates the connection when the client does not answer in time. Joins a close in progress. */
function end(client: WebSocket, code: EndCode, message: string, error?: unknown): Promise<void> {
  const begun = ending.get(client) ?? close(client, code, message, error);
  ending.set(client, begun);
  return begun;
}

function close(client: WebSocket, code: EndCode, message: string, error?: unknown): Promise<void> {
  return new Promise((resolve) => {
    if (client.readyState === client.CLOSED) return resolve();
    const timer = setTimeout(() => client.terminate(), closeTimeoutMs);
    client.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    if (client.readyState !== client.OPEN) return;
    const details = error instanceof AppError ? error.details : {};
    if (isErrorCode(code)) send(client, errorFrame(code, message, details));
    client.close(closeCodes[code] ?? 1011, code);
  });
}
