import type { FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { Response } from 'express';

/**
 * Sends an open file as the body of a response whose headers are set, and closes the file whatever happens: the caller may leave at any
 * byte, the disk may fail, and a HEAD request wants no body. Resolves when the response is over; a failure on the way ends its connection.
 */
export async function sendFile(res: Response, file: FileHandle): Promise<void> {
  try {
    if (res.destroyed) return;
    if (res.req.method === 'HEAD') return void res.end();
    await pipeline(file.createReadStream({ autoClose: false }), res);
  } catch {
    // The status is sent already. A body that is shorter than its Content-Length tells the caller.
    res.destroy();
  } finally {
    await file.close();
  }
}
