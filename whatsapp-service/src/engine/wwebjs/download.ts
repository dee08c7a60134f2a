import { randomUUID } from 'node:crypto';
import { AppError } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import { DeadlineError } from './deadline.js';
import type { PageDownload } from './page/download.js';

export interface Downloaded {
  bytes: Buffer;
  mimetype: string;
  filename: string | null;
}

/** Bytes of one piece. A multiple of three, so that base64 has no padding between pieces; small, so that probes get through in between. */
const pieceBytes = 786_432;

/**
 * Fetches the file of a message. Throws `AppError` MEDIA_NOT_FOUND, MEDIA_EXPIRED, FILE_TOO_LARGE (`details.size`, `details.limit`), or a
 * `DeadlineError`.
 */
export async function downloadMedia(
  page: () => Page,
  { whatsappId, maxBytes, deadlineMs }: { whatsappId: string; maxBytes: number; deadlineMs: number },
): Promise<Downloaded> {
  const endsAt = performance.now() + deadlineMs;
  const left = (): number => {
    const ms = endsAt - performance.now();
    if (ms <= 0) throw new DeadlineError('The download', deadlineMs);
    return ms;
  };
  const token = randomUUID();
  const found = await callPage<PageDownload>(page(), 'download', { whatsappId, maxBytes, deadlineMs, token }, left());
  switch (found.stage) {
    case 'missing':
      throw new AppError('MEDIA_NOT_FOUND', { whatsappId });
    case 'expired':
      throw new AppError('MEDIA_EXPIRED', { whatsappId });
    case 'too_large':
      throw new AppError('FILE_TOO_LARGE', { size: found.size, limit: maxBytes });
    case 'ready':
      break;
  }
  // What the page says of a size may be anything.
  if (!(found.size <= maxBytes)) throw new AppError('FILE_TOO_LARGE', { size: Number(found.size) || null, limit: maxBytes });
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
    // Where this fails the page is gone, and the file with it; otherwise the page forgets it by itself.
    Promise.resolve()
      .then(() => callPage(page(), 'downloadEnd', { token }, 5_000))
      .catch(() => undefined);
  }
}
