import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { AppError } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import { DeadlineError, within } from './deadline.js';
import type { PageDownload, PageFile } from './page/download.js';
import { limitTransfer, type TransferLimit } from './transfer-limit.js';

export interface Downloaded {
  /** Reads the bytes from the page as they are consumed. Fails if the page loses them or the deadline passes. */
  bytes: Readable;
  size: number;
  mimetype: string;
  filename: string | null;
}

/** Bytes of one piece. A multiple of three, so that base64 has no padding between pieces; small, so that probes run in between. */
const pieceBytes = 393_216;

/** How long the page may take to abort a download. Then everything that it loads is stopped. */
const abortMs = 250;

interface DownloadRequest {
  whatsappId: string;
  maxBytes: number;
  deadlineMs: number;
}

/**
 * Fetches the file of a message. Throws `AppError` MEDIA_NOT_FOUND, MEDIA_EXPIRED, FILE_TOO_LARGE (`details.size`, `details.limit`), or a
 * `DeadlineError`.
 *
 * A file above `maxBytes` is refused by its declared size without a download, by the length that the server announces before the first
 * byte, or while it arrives: a sender may declare any size, and the page keeps the whole file in memory.
 */
export async function downloadMedia(page: () => Page, request: DownloadRequest): Promise<Downloaded> {
  const { whatsappId, maxBytes, deadlineMs } = request;
  const endsAt = performance.now() + deadlineMs;
  const left = (): number => {
    const ms = endsAt - performance.now();
    if (ms <= 0) throw new DeadlineError('The download', deadlineMs);
    return ms;
  };
  const file = await callPage<PageFile>(page(), 'downloadFind', { whatsappId, maxBytes }, left());
  if (file.stage !== 'found') throw refusal(file, request);
  const token = randomUUID();
  const found = await downloadInPage(page, file.path, token, request, left);
  const bytes = Readable.from(piecesOf(page, { token, size: found.size, whatsappId }, left), { objectMode: false });
  // Also a caller that never reads frees the page.
  bytes.once('close', () => notifyPage(page, 'downloadEnd', token));
  return { bytes, size: found.size, mimetype: found.mimetype || 'application/octet-stream', filename: found.filename };
}

async function* piecesOf(
  page: () => Page,
  { token, size, whatsappId }: { token: string; size: number; whatsappId: string },
  left: () => number,
): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < size;) {
    const piece = await callPage<string | null>(page(), 'downloadPiece', { token, offset, length: pieceBytes }, left());
    if (piece === null) throw new AppError('MEDIA_EXPIRED', { whatsappId });
    const bytes = Buffer.from(piece, 'base64');
    if (bytes.length !== Math.min(pieceBytes, size - offset))
      throw new Error('The page returned a different number of bytes than it announced.');
    offset += bytes.length;
    yield bytes;
  }
}

/** Makes the page download the file, at most `maxBytes` of it. */
async function downloadInPage(
  page: () => Page,
  path: string,
  token: string,
  request: DownloadRequest,
  left: () => number,
): Promise<Extract<PageDownload, { stage: 'ready' }>> {
  const { whatsappId, maxBytes } = request;
  const limit = await within(limitTransfer(page(), path, maxBytes), left(), 'Limiting the download');
  let ended = false;
  try {
    const arrived = callPage<PageDownload>(page(), 'download', { whatsappId, maxBytes, deadlineMs: left(), token }, left());
    const found = await Promise.race([limit.exceeded, arrived]);
    // After the limit was exceeded the result of the page does not count.
    const size = limit.size();
    if (typeof found === 'number' || size !== null) throw refusal({ stage: 'too_large', size: size ?? Number(found) }, request);
    if (found.stage !== 'ready') throw refusal(found, request);
    // The size that the page reports is not trusted.
    if (!(found.size <= maxBytes)) throw refusal({ stage: 'too_large', size: found.size }, request);
    ended = true;
    return found;
  } finally {
    if (!ended) await endDownload(page, token, limit);
    await limit.release();
  }
}

/** Aborts a download that still runs in the page. */
async function endDownload(page: () => Page, token: string, limit: TransferLimit): Promise<void> {
  notifyPage(page, 'downloadAbort', token);
  notifyPage(page, 'downloadEnd', token);
  await within(limit.idle(), abortMs, 'The end of the download').catch(() => limit.stopLoading());
}

/** Calls the page without waiting. Failures are ignored: either the page is gone, and the file with it, or the page discards the file later. */
function notifyPage(page: () => Page, call: 'downloadAbort' | 'downloadEnd', token: string): void {
  Promise.resolve()
    .then(() => callPage(page(), call, { token }, 5_000))
    .catch(() => undefined);
}

function refusal(found: Exclude<PageFile | PageDownload, { stage: 'found' | 'ready' }>, request: DownloadRequest): Error {
  const { whatsappId, maxBytes, deadlineMs } = request;
  switch (found.stage) {
    case 'missing':
      return new AppError('MEDIA_NOT_FOUND', { whatsappId });
    case 'expired':
      return new AppError('MEDIA_EXPIRED', { whatsappId });
    case 'aborted':
      return new DeadlineError('The download', deadlineMs);
    case 'too_large':
      return new AppError('FILE_TOO_LARGE', { size: Number(found.size) || null, limit: maxBytes });
  }
}
