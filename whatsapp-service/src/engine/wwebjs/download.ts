import { randomUUID } from 'node:crypto';
import { AppError } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import { DeadlineError, within } from './deadline.js';
import type { PageDownload, PageFile } from './page/download.js';
import { limitTransfer, type TransferLimit } from './transfer-limit.js';

export interface Downloaded {
  bytes: Buffer;
  mimetype: string;
  filename: string | null;
}

/** Bytes of one piece. A multiple of three, so that base64 has no padding between pieces; small, so that probes get through in between. */
const pieceBytes = 786_432;

/** How long a page may take to end a download that it was told to end. Then everything that it loads is ended. */
const abortMs = 250;

interface Wanted {
  whatsappId: string;
  maxBytes: number;
  deadlineMs: number;
}

/**
 * Fetches the file of a message. Throws `AppError` MEDIA_NOT_FOUND, MEDIA_EXPIRED, FILE_TOO_LARGE (`details.size`, `details.limit`), or a
 * `DeadlineError`.
 *
 * A file above `maxBytes` is refused by its declared size without a download, by the length that the server announces before its first
 * byte, and otherwise while it arrives: a sender may declare anything, and the page would hold the whole file in its memory.
 */
export async function downloadMedia(page: () => Page, wanted: Wanted): Promise<Downloaded> {
  const { whatsappId, maxBytes, deadlineMs } = wanted;
  const endsAt = performance.now() + deadlineMs;
  const left = (): number => {
    const ms = endsAt - performance.now();
    if (ms <= 0) throw new DeadlineError('The download', deadlineMs);
    return ms;
  };
  const file = await callPage<PageFile>(page(), 'downloadFind', { whatsappId, maxBytes }, left());
  if (file.stage !== 'found') throw refusal(file, wanted);
  const token = randomUUID();
  const found = await intoThePage(page, file.path, token, wanted, left);
  try {
    const pieces: Buffer[] = [];
    for (let offset = 0; offset < found.size; offset += pieceBytes) {
      const piece = await callPage<string | null>(page(), 'downloadPiece', { token, offset, length: pieceBytes }, left());
      if (piece === null) throw new AppError('MEDIA_EXPIRED', { whatsappId });
      pieces.push(Buffer.from(piece, 'base64'));
    }
    const bytes = Buffer.concat(pieces);
    if (bytes.length !== found.size) throw new Error('The page gave another number of bytes than it announced.');
    return { bytes, mimetype: found.mimetype || 'application/octet-stream', filename: found.filename };
  } finally {
    tellPage(page, 'downloadEnd', token);
  }
}

/** Has the page download the file, and no more of it than `maxBytes`. */
async function intoThePage(
  page: () => Page,
  path: string,
  token: string,
  wanted: Wanted,
  left: () => number,
): Promise<Extract<PageDownload, { stage: 'ready' }>> {
  const { whatsappId, maxBytes } = wanted;
  const limit = await within(limitTransfer(page(), path, maxBytes), left(), 'Limiting the download');
  let ended = false;
  try {
    const arrived = callPage<PageDownload>(page(), 'download', { whatsappId, maxBytes, deadlineMs: left(), token }, left());
    const found = await Promise.race([limit.exceeded, arrived]);
    // What the page makes of a download that was ended is no news.
    const size = limit.size();
    if (typeof found === 'number' || size !== null) throw refusal({ stage: 'too_large', size: size ?? Number(found) }, wanted);
    if (found.stage !== 'ready') throw refusal(found, wanted);
    // What the page says of a size may be anything.
    if (!(found.size <= maxBytes)) throw refusal({ stage: 'too_large', size: found.size }, wanted);
    ended = true;
    return found;
  } finally {
    if (!ended) await endDownload(page, token, limit);
    await limit.release();
  }
}

/** Ends what the page still loads of the file. */
async function endDownload(page: () => Page, token: string, limit: TransferLimit): Promise<void> {
  tellPage(page, 'downloadAbort', token);
  tellPage(page, 'downloadEnd', token);
  await within(limit.idle(), abortMs, 'The end of the download').catch(() => limit.stopLoading());
}

/** Where this fails the page is gone, and the file with it; otherwise the page forgets it by itself. */
function tellPage(page: () => Page, call: 'downloadAbort' | 'downloadEnd', token: string): void {
  Promise.resolve()
    .then(() => callPage(page(), call, { token }, 5_000))
    .catch(() => undefined);
}

function refusal(found: Exclude<PageFile | PageDownload, { stage: 'found' | 'ready' }>, wanted: Wanted): Error {
  const { whatsappId, maxBytes, deadlineMs } = wanted;
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
