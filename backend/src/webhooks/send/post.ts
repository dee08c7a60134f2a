import http from 'node:http';
import https from 'node:https';
import { AppError } from '@chasqui/shared';
import { createAgents } from '@chasqui/shared/http-agents';
import type { Egress } from '@chasqui/shared/egress';

export interface Posted {
  statusCode: number | null;
  /** The reason why there was no answer; null when there was one. */
  error: string | null;
  durationMs: number;
  /** The beginning of the answer's body. */
  response: string | null;
  /** The wait that the receiver requested. Milliseconds. */
  retryAfterMs: number;
}

/** Whether an answer says that the receiver has the event. */
export const isSuccess = ({ statusCode }: Pick<Posted, 'statusCode'>): boolean =>
  statusCode !== null && statusCode >= 200 && statusCode < 300;

export interface PostRequest {
  headers: Record<string, string>;
  body: string;
  timeoutMs: number;
  /** Ends the request at once; the result then has the error `ABORTED`. */
  signal?: AbortSignal | undefined;
}

/** Sends one request. Always resolves, within its time limit. */
export type Post = (url: string, request: PostRequest) => Promise<Posted>;

const excerptBytes = 2_048;
/** The longest answer that is read. A receiver that sends more gets its connection closed. */
const maxAnswerBytes = 65_536;
/** The most interim answers (status 1xx) that one request accepts. */
const maxInterimAnswers = 20;

/** The state that the requests of one process share. */
interface Connections {
  egress: Egress;
  agents: { 'http:': http.Agent; 'https:': https.Agent };
}

/** One request until its promise is settled. */
interface Exchange extends Connections {
  input: PostRequest;
  /** The request that is under way: the first one, or its repeat. */
  request: http.ClientRequest | null;
  isRepeated: boolean;
  isSettled: boolean;
  /** Settles the promise and ends the time limit. */
  finish: (result: Omit<Posted, 'durationMs'>) => void;
}

/**
 * Creates the function that posts to receivers, over connections that are kept open. Each request passes the egress guard; redirects are
 * not followed. The time limit covers the whole exchange, name resolution and the end of the answer included. The promise is settled
 * by the first of these (answer, error, close, upgrade, time limit, abort), never rejects, and its socket is free afterwards unless
 * the answer was complete and the connection can serve another request.
 */
export function createPost(egress: Egress): { post: Post; close: () => void } {
  // No limit for each host: tenants that share a host would wait for each other's slow requests. Lanes limit each endpoint.
  const { httpAgent, httpsAgent } = createAgents({ maxFreeSockets: 16 });
  const agents = { 'http:': httpAgent, 'https:': httpsAgent };
  return {
    post: (url, input) => new Promise((resolve) => begin({ egress, agents }, url, input, resolve)),
    close() {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

function begin(connections: Connections, text: string, input: PostRequest, resolve: (posted: Posted) => void): void {
  const { timeoutMs, signal, body } = input;
  const started = performance.now();
  const exchange: Exchange = { ...connections, input, request: null, isRepeated: false, isSettled: false, finish };
  const onAbort = (): void => fail(exchange, new Error('ABORTED'));
  const timer = setTimeout(() => fail(exchange, new Error('TIMEOUT')), timeoutMs);

  function finish(result: Omit<Posted, 'durationMs'>): void {
    exchange.isSettled = true;
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    resolve({ ...result, durationMs: Math.round(performance.now() - started) });
  }

  if (signal?.aborted) return onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    send(exchange, exchange.egress.check(text), Buffer.from(body));
  } catch (error) {
    fail(exchange, error);
  }
}

function fail(exchange: Exchange, error: unknown): void {
  if (exchange.isSettled) return;
  exchange.finish({ statusCode: null, error: reasonOf(error), response: null, retryAfterMs: 0 });
  exchange.request?.destroy();
}

function succeed(exchange: Exchange, answer: Pick<Posted, 'statusCode' | 'response' | 'retryAfterMs'>): void {
  if (!exchange.isSettled) exchange.finish({ ...answer, error: null });
  // A receiver that answered before it read the whole body would keep the socket.
  if (!exchange.request?.writableFinished) exchange.request?.destroy();
}

/** A connection that was kept open may be closed by the receiver just when it is used again: that says nothing about the receiver. */
const mayRepeat = ({ isSettled, isRepeated, request }: Exchange, { code }: NodeJS.ErrnoException): boolean =>
  !isSettled && !isRepeated && request!.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(code ?? '');

function send(exchange: Exchange, url: URL, bytes: Buffer): void {
  const { egress, agents, isRepeated, input } = exchange;
  const isSecure = url.protocol === 'https:';
  const request = (isSecure ? https : http).request(url, {
    method: 'POST',
    // A repeat uses a new connection.
    agent: isRepeated ? false : agents[isSecure ? 'https:' : 'http:'],
    lookup: egress.lookup,
    headers: { ...input.headers, 'content-length': String(bytes.length) },
  });
  exchange.request = request;
  let interimAnswers = 0;
  let isAnswered = false;
  request.on('error', (error) => {
    if (request !== exchange.request) return;
    if (isAnswered || !mayRepeat(exchange, error)) return fail(exchange, error);
    exchange.isRepeated = true;
    try {
      send(exchange, url, bytes);
    } catch (cause) {
      fail(exchange, cause);
    }
  });
  request.on('information', () => {
    isAnswered = true;
    interimAnswers += 1;
    if (interimAnswers > maxInterimAnswers) fail(exchange, new Error('TOO_MANY_INTERIM_ANSWERS'));
  });
  // Node hands over the socket with an upgrade, so this code must close it.
  request.on('upgrade', (_response, socket) => {
    socket.on('error', () => undefined);
    socket.destroy();
    fail(exchange, new Error('UNEXPECTED_UPGRADE'));
  });
  request.on('response', (response) => {
    isAnswered = true;
    readAnswer(exchange, response);
  });
  // Covers requests that end without an error.
  request.on('close', () => {
    if (request === exchange.request) fail(exchange, new Error('CLOSED_EARLY'));
  });
  egress.watch(request);
  request.end(bytes);
}

function readAnswer(exchange: Exchange, response: http.IncomingMessage): void {
  const chunks: Buffer[] = [];
  let size = 0;
  response.on('error', (error) => fail(exchange, error));
  response.on('aborted', () => fail(exchange, new Error('CLOSED_EARLY')));
  response.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= excerptBytes * 2) chunks.push(chunk);
    if (size > maxAnswerBytes) fail(exchange, new Error('ANSWER_TOO_LARGE'));
  });
  response.on('end', () =>
    succeed(exchange, {
      statusCode: response.statusCode ?? null,
      response: Buffer.concat(chunks).subarray(0, excerptBytes).toString('utf8').replaceAll('\0', ''),
      retryAfterMs: retryAfter(response.headers['retry-after']),
    }),
  );
}

/** Returns the short code that the delivery log shows for an error. */
function reasonOf(error: unknown): string {
  if (error instanceof AppError) return error.code;
  const { code, message } = error as NodeJS.ErrnoException;
  return String(code ?? message).slice(0, 200);
}

/** Parses `Retry-After`: seconds or a date (RFC 9110, 10.2.3). Returns milliseconds. */
function retryAfter(header: string | undefined): number {
  if (!header) return 0;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}
