import http from 'node:http';
import https from 'node:https';
import { AppError } from '@chasqui/shared';
import { parse as parseDisposition } from 'content-disposition';
import type { FileBytes, Spool } from './file-bytes.js';
import type { Egress } from '@chasqui/shared/egress';

/**
 * Fetches a file that a caller names. At most `maxRedirects` redirects are followed, each through the egress guard like the first address;
 * no header of the caller is sent along. The limits of time and bytes apply to the whole transfer, while it streams.
 */
export interface SafeFetch {
  /** Throws `URL_NOT_ALLOWED`, `MEDIA_URL_FAILED` (`details.statusCode` or `details.cause`), `FILE_TOO_LARGE`. */
  (url: string, limits: { maxBytes: number; timeoutMs: number }): Promise<FetchedFile>;
}

export interface FetchedFile {
  /** The caller drops it. */
  bytes: FileBytes;
  /** The server's `Content-Type`, without parameters. */
  mimetype: string | null;
  /** From `Content-Disposition`, otherwise the last part of the path. */
  filename: string | null;
}

const maxInterimAnswers = 20;
const maxRedirects = 5;
const redirects = new Set([301, 302, 303, 307, 308]);

/** Creates the fetcher. `spool` takes the bytes as they come. */
export function createSafeFetch(egress: Egress, spool: Spool): SafeFetch {
  return async (text, { maxBytes, timeoutMs }) => {
    const endsAt = performance.now() + timeoutMs;
    let url = egress.check(text);
    for (let hops = 0; ; hops += 1) {
      const answer = await fetchOnce({ egress, spool }, url, maxBytes, Math.max(1, endsAt - performance.now()));
      if (!('location' in answer)) return answer;
      if (hops === maxRedirects) throw failure('TOO_MANY_REDIRECTS');
      url = egress.check(resolved(answer.location, url));
    }
  };
}

function resolved(location: string, from: URL): string {
  try {
    return new URL(location, from).href;
  } catch {
    throw failure('INVALID_REDIRECT');
  }
}

/**
 * One request. Its promise settles at the first of these: the end of the file, a redirect, an error, the close of the connection, an
 * upgrade, the time limit. The connection is closed in each of these cases.
 */
function fetchOnce(
  { egress, spool }: { egress: Egress; spool: Spool },
  url: URL,
  maxBytes: number,
  timeoutMs: number,
): Promise<FetchedFile | { location: string }> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? https : http).request(url, {
      lookup: egress.lookup,
      agent: false,
      headers: { 'user-agent': 'Chasqui', accept: '*/*', 'accept-encoding': 'identity' },
    });
    const timer = setTimeout(() => fail(failure('TIMEOUT')), timeoutMs);
    /** The file has arrived; its last bytes may still be on the way to the disk. */
    let isComplete = false;
    let isOver = false;
    const end = (): void => {
      isOver = true;
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
    // Node hands over the socket with an upgrade, so this code must close it.
    request.on('upgrade', (_response, socket) => {
      socket.on('error', () => undefined);
      socket.destroy();
      fail(failure('UNEXPECTED_UPGRADE'));
    });
    // Covers requests that end without an error.
    request.on('close', () => void (isComplete || fail(failure('CLOSED_EARLY'))));
    request.on('response', (response) => {
      const { statusCode = 0, headers } = response;
      response.on('error', fail);
      response.on('aborted', () => fail(failure('CLOSED_EARLY')));
      if (redirects.has(statusCode) && headers.location !== undefined) {
        resolve({ location: headers.location });
        return end();
      }
      if (statusCode !== 200) return fail(new AppError('MEDIA_URL_FAILED', { statusCode }));
      // Bytes with a content encoding are not the file itself.
      if ((headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity') return fail(failure('CONTENT_ENCODED'));
      if (Number(headers['content-length'] ?? 0) > maxBytes) return fail(new AppError('FILE_TOO_LARGE', { limit: maxBytes }));
      response.on('end', () => (isComplete = response.complete));
      spool(response, maxBytes).then((bytes) => {
        if (isOver || !response.complete) return void (bytes.drop(), fail(failure('CLOSED_EARLY')));
        const mimetype = headers['content-type']?.split(';')[0]?.trim() || null;
        resolve({ bytes, mimetype, filename: nameOf(headers['content-disposition'], url) });
        end();
      }, fail);
    });
    egress.watch(request);
    request.end();
  });
}

/**
 * The name that a browser would save the file under: `filename*` before `filename` (RFC 6266, RFC 5987), then the path. Servers also write the
 * bytes of UTF-8 into the header as they are, which Node reads as Latin-1.
 */
function nameOf(disposition: string | undefined, url: URL): string | null {
  const { filename } = parametersOf(disposition);
  if (filename) return /[^\0-\u00ff]/.test(filename) ? filename : fromLatin1(filename);
  const last = url.pathname.split('/').at(-1) ?? '';
  return decodeURIComponentOr(last) || null;
}

function parametersOf(disposition: string | undefined): Partial<Record<string, string>> {
  try {
    return disposition ? parseDisposition(disposition).parameters : {};
  } catch {
    return {};
  }
}

function fromLatin1(text: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'latin1'));
  } catch {
    return text;
  }
}

const failure = (cause: string): AppError => new AppError('MEDIA_URL_FAILED', { cause });

function decodeURIComponentOr(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
