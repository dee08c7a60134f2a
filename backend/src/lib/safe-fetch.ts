import http from 'node:http';
import https from 'node:https';
import { AppError } from '@chasqui/shared';
import type { Egress } from './egress.js';

/** Fetches a file that a caller names, through the egress guard. No redirects; caps of time and bytes hold while it streams. */
export interface SafeFetch {
  /** Throws `URL_NOT_ALLOWED`, `MEDIA_URL_FAILED` (`details.statusCode` or `details.cause`), `FILE_TOO_LARGE`. */
  (
    url: string,
    limits: { maxBytes: number; timeoutMs: number },
  ): Promise<{ bytes: Buffer; mimetype: string | null; filename: string | null }>;
}

const maxInterimAnswers = 20;

/**
 * Creates the fetcher. Its promise is settled by whatever happens first: the end of the file, an error, the close of the connection, an
 * upgrade, the time limit. The connection is closed in each of these cases.
 */
export function createSafeFetch(egress: Egress): SafeFetch {
  return (text, { maxBytes, timeoutMs }) =>
    new Promise((resolve, reject) => {
      const url = egress.check(text);
      const request = (url.protocol === 'https:' ? https : http).request(url, {
        lookup: egress.lookup,
        agent: false,
        headers: { 'user-agent': 'Chasqui', accept: '*/*' },
      });
      const timer = setTimeout(() => fail(failure('TIMEOUT')), timeoutMs);
      const end = (): void => {
        clearTimeout(timer);
        request.destroy();
      };
      function fail(error: unknown): void {
        reject(error instanceof AppError ? error : failure((error as NodeJS.ErrnoException).code ?? 'FAILED'));
        end();
      }
      let interim = 0;
      request.on('error', fail);
      request.on('information', () => {
        interim += 1;
        if (interim > maxInterimAnswers) fail(failure('TOO_MANY_INTERIM_ANSWERS'));
      });
      // Node hands the socket over with an upgrade: nobody else closes it.
      request.on('upgrade', (_response, socket) => {
        socket.on('error', () => undefined);
        socket.destroy();
        fail(failure('UNEXPECTED_UPGRADE'));
      });
      // Covers what ends a request without an error.
      request.on('close', () => fail(failure('CLOSED_EARLY')));
      request.on('response', (response) => {
        const { statusCode = 0, headers } = response;
        response.on('error', fail);
        response.on('aborted', () => fail(failure('CLOSED_EARLY')));
        if (statusCode !== 200) return fail(new AppError('MEDIA_URL_FAILED', { statusCode }));
        if (Number(headers['content-length'] ?? 0) > maxBytes) return fail(new AppError('FILE_TOO_LARGE', { limit: maxBytes }));
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxBytes) return fail(new AppError('FILE_TOO_LARGE', { limit: maxBytes }));
          chunks.push(chunk);
        });
        response.on('end', () => {
          resolve({
            bytes: Buffer.concat(chunks),
            mimetype: headers['content-type']?.split(';')[0]?.trim() ?? null,
            filename: decodeURIComponentOr(url.pathname.split('/').at(-1) ?? '') || null,
          });
          end();
        });
      });
      egress.watch(request);
      request.end();
    });
}

const failure = (cause: string): AppError => new AppError('MEDIA_URL_FAILED', { cause });

function decodeURIComponentOr(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
