import http from 'node:http';
import https from 'node:https';
import { AppError } from '@chasqui/shared';
import type { Egress } from '../../lib/egress.js';

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

/**
 * Creates the function that posts to receivers, over connections that are kept open. Each request passes the egress guard; redirects are
 * not followed. The time limit covers the whole exchange, name resolution and the end of the answer included. The promise is settled
 * by the first of these (answer, error, close, upgrade, time limit, abort), never rejects, and its socket is free afterwards unless
 * the answer was complete and the connection can serve another request.
 */
export function createPost(egress: Egress): { post: Post; close: () => void } {
  // No limit for each host: tenants that share a host would wait for each other's slow requests. Lanes limit each endpoint.
  const options = { keepAlive: true, keepAliveMsecs: 10_000, maxFreeSockets: 16, timeout: 60_000 };
  const agents = { 'http:': new http.Agent(options), 'https:': new https.Agent(options) };

  const post: Post = (text, { headers, body, timeoutMs, signal }) =>
    new Promise((resolve) => {
      const started = performance.now();
      let request: http.ClientRequest | null = null;
      let isRepeated = false;
      const timer = setTimeout(() => fail(new Error('TIMEOUT')), timeoutMs);
      let isSettled = false;

      const settle = (
        statusCode: number | null,
        error: string | null,
        response: string | null = null,
        retryAfterMs = 0,
      ): void => {
        if (isSettled) return;
        isSettled = true;
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        resolve({ statusCode, error, response, retryAfterMs, durationMs: Math.round(performance.now() - started) });
      };
      const fail = (error: unknown): void => {
        if (isSettled) return;
        settle(null, reasonOf(error));
        request?.destroy();
      };
      /** A connection that was kept open may be closed by the receiver just when it is used again: that says nothing about the receiver. */
      const mayRepeat = (error: NodeJS.ErrnoException): boolean =>
        !isSettled && !isRepeated && request!.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code ?? '');
      const succeed = (statusCode: number | null, response: string, retryAfterMs: number): void => {
        settle(statusCode, null, response, retryAfterMs);
        // A receiver that answered before it read the whole body would keep the socket.
        if (!request?.writableFinished) request?.destroy();
      };
      const onAbort = (): void => fail(new Error('ABORTED'));

      if (signal?.aborted) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      try {
        send(egress.check(text), Buffer.from(body));
      } catch (error) {
        fail(error);
      }

      function send(url: URL, bytes: Buffer): void {
        const sent = (url.protocol === 'https:' ? https : http).request(url, {
          method: 'POST',
          // A repeat uses a new connection.
          agent: isRepeated ? false : url.protocol === 'https:' ? agents['https:'] : agents['http:'],
          lookup: egress.lookup,
          headers: { ...headers, 'content-length': String(bytes.length) },
        });
        request = sent;
        let interim = 0;
        let isAnswered = false;
        sent.on('error', (error) => {
          if (sent !== request) return;
          if (isAnswered || !mayRepeat(error)) return fail(error);
          isRepeated = true;
          try {
            send(url, bytes);
          } catch (cause) {
            fail(cause);
          }
        });
        sent.on('information', () => {
          isAnswered = true;
          interim += 1;
          if (interim > maxInterimAnswers) fail(new Error('TOO_MANY_INTERIM_ANSWERS'));
        });
        // Node hands over the socket with an upgrade, so this code must close it.
        sent.on('upgrade', (_response, socket) => {
          socket.on('error', () => undefined);
          socket.destroy();
          fail(new Error('UNEXPECTED_UPGRADE'));
        });
        sent.on('response', (response) => {
          isAnswered = true;
          readAnswer(response, succeed, fail);
        });
        // Covers requests that end without an error.
        sent.on('close', () => {
          if (sent === request) fail(new Error('CLOSED_EARLY'));
        });
        egress.watch(sent);
        sent.end(bytes);
      }
    });

  return {
    post,
    close() {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

function readAnswer(
  response: http.IncomingMessage,
  succeed: (statusCode: number | null, response: string, retryAfterMs: number) => void,
  fail: (error: unknown) => void,
): void {
  const chunks: Buffer[] = [];
  let size = 0;
  response.on('error', fail);
  response.on('aborted', () => fail(new Error('CLOSED_EARLY')));
  response.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= excerptBytes * 2) chunks.push(chunk);
    if (size > maxAnswerBytes) fail(new Error('ANSWER_TOO_LARGE'));
  });
  response.on('end', () => {
    const said = Buffer.concat(chunks).subarray(0, excerptBytes).toString('utf8').replaceAll('\0', '');
    succeed(response.statusCode ?? null, said, retryAfter(response.headers['retry-after']));
  });
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
