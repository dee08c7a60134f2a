import { open, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { AppError, type ErrorCode } from '@chasqui/shared';
import type { Response } from 'express';

export interface FileReply {
  headers: Record<string, string>;
  /** The request header `Range`. */
  range?: string | undefined;
}

/** A stored file that a person downloads under a name. The name has only ASCII characters and no quotation mark. */
export interface Download {
  path: string;
  name: string;
  type: string;
  /** The request header `Range`. */
  range: string | undefined;
  /** The error if the file is not there: it may be deleted after its row was read. */
  missing: ErrorCode;
}

/** Sends a file as a download that no cache keeps. Throws as `sendFile` does, and `missing`. */
export async function sendDownload(res: Response, { path, name, type, range, missing }: Download): Promise<void> {
  const handle = await open(path).catch(() => {
    throw new AppError(missing);
  });
  const headers = {
    'Content-Type': type,
    'Content-Disposition': `attachment; filename="${name}"`,
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
  };
  await sendFile(res, handle, { headers, range });
}

/**
 * Sends an open file, or the part that `range` requests, and always closes the file: the caller may leave at any byte, the
 * disk may fail, and a HEAD request wants no body. Resolves when the response is over; a failure on the way ends its connection. Throws
 * `RANGE_NOT_SATISFIABLE` before anything is sent.
 */
export async function sendFile(res: Response, file: FileHandle, { headers, range }: FileReply): Promise<void> {
  try {
    const { size } = await file.stat();
    // The file has no version to compare, so a condition on one is never met.
    const isWhole = range === undefined || res.req.method !== 'GET' || res.req.headers['if-range'] !== undefined;
    const part = isWhole ? null : partOf(range, size);
    if (part === 'outside') {
      res.set('Content-Range', `bytes */${size}`);
      throw new AppError('RANGE_NOT_SATISFIABLE', { size });
    }
    if (res.destroyed) return;
    const [start, end] = part ?? [0, size - 1];
    res.set({ ...headers, 'Accept-Ranges': 'bytes', 'Content-Length': String(end - start + 1) });
    // A compressed part would not match the whole file.
    res.set('Cache-Control', `${headers['Cache-Control'] ?? 'private'}, no-transform`);
    if (part) res.status(206).set('Content-Range', `bytes ${start}-${end}/${size}`);
    if (res.req.method === 'HEAD' || size === 0) return void res.end();
    await stream(res, file, start, end);
  } finally {
    await file.close();
  }
}

async function stream(res: Response, file: FileHandle, start: number, end: number): Promise<void> {
  try {
    await pipeline(file.createReadStream({ autoClose: false, start, end }), res);
  } catch {
    // The status is sent already. A body that is shorter than its Content-Length shows the caller that it is incomplete.
    res.destroy();
  }
}

/** First and last byte of a single range (RFC 9110, 14.1.2); null for an invalid range, which is ignored. */
function partOf(range: string, size: number): [start: number, end: number] | 'outside' | null {
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(range) ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) return null;
  if (from !== '' && to !== '' && Number(to) < Number(from)) return null;
  const start = from === '' ? Math.max(0, size - Number(to)) : Number(from);
  const end = from === '' || to === '' ? size - 1 : Math.min(size - 1, Number(to));
  return start >= size ? 'outside' : [start, end];
}
