import http from 'node:http';
import https from 'node:https';
import { AppError } from '@chasqui/shared';
import type { Egress } from './egress.js';

/** Fetches a file that a caller names, through the egress guard. No redirects; caps of time and bytes hold while it streams. */
export interface SafeFetch {
  /** Throws `URL_NOT_ALLOWED`, `MEDIA_URL_FAILED` (`details.statusCode`), `FILE_TOO_LARGE`. */
  (
    url: string,
    limits: { maxBytes: number; timeoutMs: number },
  ): Promise<{ bytes: Buffer; mimetype: string | null; filename: string | null }>;
}

export function createSafeFetch(egress: Egress): SafeFetch {
  return (text, { maxBytes, timeoutMs }) =>
    new Promise((resolve, reject) => {
      const url = egress.check(text);
      const fail = (error: unknown): void =>
        reject(
          error instanceof AppError
            ? error
            : new AppError('MEDIA_URL_FAILED', { cause: (error as NodeJS.ErrnoException).code ?? 'FAILED' }),
        );
      const client = url.protocol === 'https:' ? https : http;
      const request = client.get(
        url,
        {
          lookup: egress.lookup,
          agent: false,
          signal: AbortSignal.timeout(timeoutMs),
          headers: { 'user-agent': 'Chasqui', accept: '*/*' },
        },
        (response) => {
          const { statusCode = 0, headers } = response;
          const declared = Number(headers['content-length'] ?? 0);
          if (statusCode !== 200) return void request.destroy(new AppError('MEDIA_URL_FAILED', { statusCode }));
          if (declared > maxBytes) return void request.destroy(new AppError('FILE_TOO_LARGE', { limit: maxBytes }));
          const chunks: Buffer[] = [];
          let size = 0;
          response.on('data', (chunk: Buffer) => {
            size += chunk.length;
            if (size > maxBytes) return void request.destroy(new AppError('FILE_TOO_LARGE', { limit: maxBytes }));
            chunks.push(chunk);
          });
          response.on('end', () =>
            resolve({
              bytes: Buffer.concat(chunks),
              mimetype: headers['content-type']?.split(';')[0]?.trim() ?? null,
              filename: decodeURIComponentOr(url.pathname.split('/').at(-1) ?? '') || null,
            }),
          );
          response.on('error', fail);
        },
      );
      egress.watch(request);
      request.on('error', fail);
    });
}

function decodeURIComponentOr(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
