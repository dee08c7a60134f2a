import type { ServerResponse } from 'node:http';

/** How long a reader may take to read the end of a stream that was closed. */
const closeTimeoutMs = 1_000;

/** Begins a reply of Server-Sent Events: no cache, no transformation, no buffering by nginx. */
export const beginSse = (res: ServerResponse): ServerResponse =>
  res.writeHead(200, {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-store, no-transform',
    'X-Accel-Buffering': 'no',
  });

/** Resolves when the system has accepted the bytes, or the connection is gone. */
export const writeSse = (res: ServerResponse, text: string): Promise<void> =>
  new Promise((resolve) => {
    if (res.writableEnded || res.destroyed) return resolve();
    res.write(text, () => resolve());
  });

/** Ends the stream. A reader that does not read would keep the connection forever, so it is closed after a second. May be called again. */
export function endSse(res: ServerResponse, text = ''): void {
  if (res.writableEnded || res.destroyed) return;
  res.end(text);
  const timer = setTimeout(() => res.destroy(), closeTimeoutMs);
  res.once('close', () => clearTimeout(timer));
}
