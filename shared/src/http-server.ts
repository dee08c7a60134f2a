import { randomUUID } from 'node:crypto';
import { IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { createCollector, type Collector } from './body.js';
import { createConnectionRoom, type ConnectionRoom } from './connection-room.js';
import { AppError, type ErrorCode } from './errors.js';

/**
 * The HTTP server of both processes, below Express. It limits what a connection may use and answers bytes that are not a request.
 *
 * - Every socket, request and response has an error listener from its first moment. An `error` event without a listener ends the process.
 * - Every wait for the other side has an end: headers, the whole request, an idle connection, the rest of a body after its answer.
 * - The number of connections is limited, in total and for each address, and so is the number of requests that wait on one connection.
 * - A body in many tiny chunks ends its connection: each chunk costs as much as a kilobyte would.
 * - A request that Node cannot parse, or whose target Express cannot parse, is answered with the error envelope.
 */

export interface ServerLimits {
  /** The maximum number of open connections. A further one replaces one that waits (see connection-room.ts), or is closed before a byte is read. */
  maxConnections: number;
  /** Open connections of one address. Infinity where the address is a proxy's. */
  maxConnectionsPerAddress: number;
  /** Milliseconds for the request line and the headers. */
  headersMs: number;
  /** Milliseconds for the whole request, body included. */
  requestMs: number;
  /** Milliseconds without a byte in either direction before a connection is closed. Must exceed the longest wait for an answer. */
  idleMs: number;
  /** Milliseconds in which the rest of a body may still arrive after its request was answered. */
  lingerMs: number;
  /** Requests of one connection that may wait for their answers. Those behind them are not handled, and the connection is closed. */
  maxPipelined: number;
}

const defaults: ServerLimits = {
  maxConnections: 4_096,
  maxConnectionsPerAddress: Infinity,
  headersMs: 15_000,
  requestMs: 300_000,
  idleMs: 180_000,
  lingerMs: 5_000,
  maxPipelined: 64,
};

type Socket = IncomingMessage['socket'];

/** The open connections of a server, each with the requests that are not answered yet. */
type Connections = Map<Socket, Set<ServerResponse>>;
const connectionsOf = new WeakMap<Server, Connections>();
const roomOf = new WeakMap<Server, ConnectionRoom>();
/** How many connections above the limit are accepted from the system. Each of them closes another one or is closed. */
const surplus = 256;

/** How many requests beyond `maxPipelined` are read before their connection is closed. Reading them has a cost, even if they are not handled. */
const maxLeftOut = 1_000;

/** The number of chunks of a body that may have any size. */
const freeChunks = 4_096;
/** The minimum average size of chunks, in bytes, for bodies with more chunks. */
const minChunkBytes = 16;

/** Returns a new class of requests that end their connection when their body arrives in too many small chunks. */
export function createRequestClass() {
  return class GuardedRequest extends IncomingMessage {
    chunks = 0;
    chunkBytes = 0;

    override push(chunk: Buffer | string | null, encoding?: BufferEncoding): boolean {
      if (chunk === null) return super.push(chunk);
      this.chunks += 1;
      this.chunkBytes += chunk.length;
      if (this.chunks <= freeChunks || this.chunkBytes >= this.chunks * minChunkBytes) return super.push(chunk, encoding);
      this.socket.destroy();
      return false;
    }
  };
}

type Handle = (req: IncomingMessage, res: ServerResponse) => void;

/**
 * How long a connection may wait for its next request. Longer than proxies and clients keep theirs (nginx: 60 s): the side that closes first must be
 * the one that sends requests, because a request that crosses the close of the server fails, and a POST is not sent again.
 */
const keepAliveMs = 75_000;

/** Creates a server with these limits. `create` must call Node's `createServer` with the options and the handler that it gets; it may add classes. */
export function createGuardedServer(
  create: (options: ServerOptions, handle: Handle) => Server,
  handle: Handle,
  limits: Partial<ServerLimits>,
): Server {
  const { maxConnections, maxConnectionsPerAddress, headersMs, requestMs, idleMs, lingerMs, maxPipelined } = {
    ...defaults,
    ...limits,
  };
  const connections: Connections = new Map();
  const room = createConnectionRoom();
  /** Connections with more waiting requests than `maxPipelined`. They are closed after the last answer. */
  const crowded = new WeakMap<Socket, number>();
  const leaveOut = (socket: Socket): void => {
    const count = (crowded.get(socket) ?? 0) + 1;
    crowded.set(socket, count);
    // Bounds the cost of a caller that never stops sending; its pending answers are lost.
    if (count > maxLeftOut) socket.destroy();
    else socket.pause();
  };
  const server = create(
    {
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(5_000, headersMs),
      maxHeaderSize: 16_384,
    },
    (req, res) => {
      req.on('error', ignore);
      res.on('error', ignore);
      res.setMaxListeners(maxResponseListeners);
      const running = connections.get(req.socket);
      if (running && (crowded.has(req.socket) || running.size >= maxPipelined)) return leaveOut(req.socket);
      running?.add(res);
      room.began(req);
      res.once('close', () => {
        running?.delete(res);
        room.ended(req, running?.size === 0);
        if (running?.size === 0 && crowded.has(req.socket)) req.socket.destroySoon();
        if (!req.complete) limitTheRest(req, lingerMs);
      });
      const target = originForm(req.url ?? '');
      if (target === null) return refuse(res, new AppError('MALFORMED_REQUEST', {}, 'The request target is not a path.'));
      req.url = target;
      handle(req, res);
    },
  );
  connectionsOf.set(server, connections);
  roomOf.set(server, room);
  server.maxConnections = maxConnections + surplus;
  // `maxHeaderSize` bounds them. A limit by count silently drops the headers behind it, even Content-Length.
  server.maxHeadersCount = 0;
  server.timeout = idleMs;
  server.keepAliveTimeout = Math.min(keepAliveMs, idleMs);
  const perAddress = new Map<string, number>();
  server.on('connection', (socket) => {
    // A socket comes a second time when an upgrade that is not handled is put back to be read as a plain request.
    if (connections.has(socket)) return;
    socket.on('error', ignore);
    const address = socket.remoteAddress ?? '';
    const count = (perAddress.get(address) ?? 0) + 1;
    if (count > maxConnectionsPerAddress) return void socket.destroy();
    if (connections.size >= maxConnections) {
      const closed = room.make();
      if (!closed) return void socket.destroy();
      connections.delete(closed);
    }
    room.opened(socket);
    perAddress.set(address, count);
    connections.set(socket, new Set());
    socket.once('close', () => {
      connections.delete(socket);
      room.forget(socket);
      const left = (perAddress.get(address) ?? 1) - 1;
      if (left > 0) perAddress.set(address, left);
      else perAddress.delete(address);
    });
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => answerUnreadable(error, socket as Socket, connections));
  return server;
}

/** Closes every connection on which no request is being answered, half-received headers included. For shutdown. */
export function closeWaitingConnections(server: Server): void {
  for (const [socket, running] of connectionsOf.get(server) ?? []) if (running.size === 0) socket.destroy();
  server.closeIdleConnections();
}

/** For a connection that an upgrade takes over: it is not closed when the server is full. */
export function keepConnection(server: Server, socket: unknown): void {
  roomOf.get(server)?.forget(socket as Socket);
}

/** Node closes a connection after its error. The listener only prevents that the error ends the process. */
const ignore = (): void => undefined;

/** Ends a connection whose request was answered before its body had arrived, unless the rest arrives soon. */
function limitTheRest(req: IncomingMessage, lingerMs: number): void {
  const { socket } = req;
  if (socket.destroyed) return;
  const timer = setTimeout(() => void (req.complete || socket.destroy()), lingerMs);
  timer.unref();
  const clear = (): void => {
    clearTimeout(timer);
    // A kept-alive connection has any number of such requests, each of which would stay in memory with its listener.
    socket.off('close', clear);
  };
  req.once('end', clear);
  socket.once('close', clear);
}

/**
 * Returns the target of a request as a path with its query. Proxies and HTTP/1.1 clients may send an absolute URL; then the part after the authority
 * is returned. Null for anything else. Never throws, unlike `URL`, which reads `//` as an authority without a host.
 */
function originForm(target: string): string | null {
  if (target.startsWith('/')) return target;
  if (target === '*') return '/*';
  const absolute = /^https?:\/\/[^/?#]+/i.exec(target);
  if (!absolute) return null;
  const rest = target.slice(absolute[0].length);
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/** A boundary has at most 70 characters. A parser compares as many bytes as it has for each chunk, so a long one multiplies the cost of small chunks. */
const maxMultipartHeader = 256;

/** Throws `MALFORMED_REQUEST` if the boundary of a multipart request is longer than the standard allows. */
export function checkBoundary(req: IncomingMessage): void {
  if ((req.headers['content-type'] ?? '').length > maxMultipartHeader)
    throw new AppError('MALFORMED_REQUEST', {}, 'The multipart boundary is too long. At most 70 characters.');
}

/**
 * Writes the body of a request into a parser, as `pipe` does, but an exception of the parser goes to `fail` instead of ending the process, and so does
 * a connection that ends before the whole body was read. That the whole body has arrived (`req.complete`) is not enough: what was not read by then is lost.
 * Returns a function that stops it: the rest of the body is read and dropped, so that the caller can read the answer, and the parser is destroyed
 * after the current chunk, because destroying it within one of its own events breaks it.
 */
export function feed(req: IncomingMessage, parser: Writable, fail: (error: unknown) => void): () => void {
  let pending: Collector | null = null;
  let isStopped = false;
  const attempt = (step: () => boolean): void => {
    try {
      if (!step()) req.pause();
    } catch (error) {
      stop();
      fail(error);
    }
  };
  const flush = (): void => {
    if (!pending) return;
    const bytes = pending.bytes();
    pending = null;
    attempt(() => parser.write(bytes));
  };
  // Small chunks that arrive together are written together: a parser has a fixed price for each write.
  const onData = (chunk: Buffer): void => {
    if (!pending) {
      if (chunk.length >= 1_024) return attempt(() => parser.write(chunk));
      pending = createCollector();
      setImmediate(flush);
    }
    pending.add(chunk);
  };
  const onEnd = (): void => {
    flush();
    if (isStopped) return;
    attempt(() => {
      parser.end();
      return true;
    });
  };
  const onClose = (): void => {
    if (req.readableEnded || isStopped) return;
    stop();
    fail(new Error('The connection ended before the body was read.'));
  };
  const onDrain = (): void => void req.resume();
  const stop = (): void => {
    isStopped = true;
    pending = null;
    req.off('data', onData);
    req.off('end', onEnd);
    req.off('close', onClose);
    parser.off('drain', onDrain);
    req.resume();
    setImmediate(() => parser.destroy());
  };
  parser.on('drain', onDrain);
  req.on('data', onData);
  req.on('end', onEnd);
  req.on('close', onClose);
  // Its `close` has passed.
  if (req.destroyed) setImmediate(onClose);
  return stop;
}

/** Returns the path and the query of a request target. Never throws. */
export function pathAndQuery(target: string): { path: string; query: URLSearchParams } {
  const [path = '', ...query] = (originForm(target) ?? '').split('#', 1)[0]!.split('?');
  return { path, query: new URLSearchParams(query.join('?')) };
}

/** The answers to errors that Node finds before there is a request, by `error.code`. */
const unreadable: Record<string, [status: string, code: ErrorCode, message: string]> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'MALFORMED_REQUEST', 'The headers are too large. At most 16 KB.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'MALFORMED_REQUEST', 'The request did not arrive in time.'],
};

/** Sockets that received an error reply and are about to be closed. */
const answered = new WeakSet<Socket>();
/** How long the caller has to read the error before the connection is reset. */
const farewellMs = 1_000;

/**
 * Each part that watches a request (its slot, metrics, the log, the drain of a stop, a download) listens for the end of the response. Together they
 * are more than the ten for which Node suspects a leak; a response lives only as long as its request.
 */
const maxResponseListeners = 20;

/**
 * Answers what is not HTTP with the error envelope and closes the connection: what follows on it cannot be understood. Earlier requests on
 * the same connection get their answers first, and then it is closed without a refusal, which the caller would mistake for one of them.
 */
function answerUnreadable(error: NodeJS.ErrnoException, socket: Socket, connections: Connections): void {
  if (answered.has(socket)) return;
  const running = [...(connections.get(socket) ?? [])];
  const wasAnswered = running.some((res) => res.headersSent && !res.req.complete);
  if (!socket.writable || error.code === 'ECONNRESET' || wasAnswered) return void socket.destroy();
  answered.add(socket);
  const earlier = running.filter((res) => res.req.complete);
  for (const res of earlier)
    res.once('close', () => {
      if (connections.get(socket)?.size === 0) socket.destroySoon();
    });
  if (earlier.length > 0) return;
  const [status, code, message] = unreadable[error.code ?? ''] ?? [
    '400 Bad Request',
    'MALFORMED_REQUEST' as const,
    'This is not HTTP.',
  ];
  const body = envelopeOf(new AppError(code, {}, message));
  const head = [
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.end(`HTTP/1.1 ${status}\r\n${head.join('\r\n')}\r\n\r\n${body}`);
  const timer = setTimeout(() => socket.destroy(), farewellMs);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

function refuse(res: ServerResponse, error: AppError): void {
  const body = envelopeOf(error);
  res.writeHead(error.status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
  });
  res.end(body);
}

const envelopeOf = ({ code, message, details }: AppError): string =>
  JSON.stringify({ success: false, error: { code, message, details }, requestId: randomUUID() });
