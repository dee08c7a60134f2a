import http from 'node:http';
import https from 'node:https';
import { AppError } from '@chasqui/shared';
import type { Egress } from '../lib/egress.js';

export interface Posted {
  statusCode: number | null;
  /** What went wrong before there was an answer; null when there was one. */
  error: string | null;
  durationMs: number;
  /** The beginning of the answer's body. */
  response: string | null;
  /** What the receiver asked to wait. Milliseconds. */
  retryAfterMs: number;
}

const excerptBytes = 2_048;
/** More of an answer is not read: whoever sends more gets its line closed. */
const mostBytes = 65_536;

export type Post = (
  url: string,
  request: { headers: Record<string, string>; body: string; timeoutMs: number },
) => Promise<Posted>;

/**
 * One POST to a receiver, over kept lines. Passes the egress guard each time; no redirects. The time limit is for all of it, so that an
 * answer that drips does not hold a lane. Never rejects.
 */
export function createPost(egress: Egress): { post: Post; close: () => void } {
  const options = { keepAlive: true, keepAliveMsecs: 10_000, maxSockets: 64, maxFreeSockets: 16, timeout: 60_000 };
  const agents = { 'http:': new http.Agent(options), 'https:': new https.Agent(options) };

  const post: Post = (text, { headers, body, timeoutMs }) =>
    new Promise((resolve) => {
      const started = performance.now();
      const done = (statusCode: number | null, error: string | null, response: string | null = null, retryAfterMs = 0): void =>
        resolve({ statusCode, error, response, retryAfterMs, durationMs: Math.round(performance.now() - started) });
      let url: URL;
      try {
        url = egress.check(text);
      } catch {
        return done(null, 'URL_NOT_ALLOWED');
      }
      const agent = url.protocol === 'https:' ? agents['https:'] : agents['http:'];
      const client = url.protocol === 'https:' ? https : http;
      const bytes = Buffer.from(body);
      const request = client.request(
        url,
        { method: 'POST', agent, lookup: egress.lookup, headers: { ...headers, 'content-length': String(bytes.length) } },
        (response) => {
          const chunks: Buffer[] = [];
          let size = 0;
          response.on('data', (chunk: Buffer) => {
            size += chunk.length;
            if (size <= excerptBytes * 2) chunks.push(chunk);
            if (size > mostBytes) request.destroy(new Error('ANSWER_TOO_LARGE'));
          });
          response.on('end', () => {
            clearTimeout(timer);
            const said = Buffer.concat(chunks).subarray(0, excerptBytes).toString('utf8').replaceAll('\0', '');
            done(response.statusCode ?? null, null, said, retryAfter(response.headers['retry-after']));
          });
          response.on('error', fail);
          response.on('aborted', () => fail(new Error('CLOSED_EARLY')));
        },
      );
      const timer = setTimeout(() => request.destroy(new Error('TIMEOUT')), timeoutMs);
      function fail(error: unknown): void {
        clearTimeout(timer);
        const { code, message } = error as NodeJS.ErrnoException;
        done(null, error instanceof AppError ? error.code : (code ?? message).slice(0, 200));
      }
      egress.watch(request);
      request.on('error', fail);
      request.end(bytes);
    });

  return {
    post,
    close() {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

/** Seconds or a date (RFC 9110, 10.2.3). */
function retryAfter(header: string | undefined): number {
  if (!header) return 0;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}
