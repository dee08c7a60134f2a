import type { ServerResponse } from 'node:http';

/** A reader whose stream was ended has so long to take the last of it. */
const goodbyeMs = 1_000;

/** Begins a reply of Server-Sent Events: no cache, no transformation, no buffering by nginx. */
export const beginSse = (res: ServerResponse): ServerResponse =>
  res.writeHead(200, {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-store, no-transform',
    'X-Accel-Buffering': 'no',
  });

/** Resolves when the system has taken the bytes, or the connection is gone. */
export const writeSse = (res: ServerResponse, text: string): Promise<void> =>
  new Promise((resolve) => {
    if (res.writableEnded || res.destroyed) return resolve();
    res.write(text, () => resolve());
  });

/** Ends the stream. A reader that takes nothing would keep the connection for ever, so it is closed after a second. May be called again. */
export function endSse(res: ServerResponse, text = ''): void {
  if (res.writableEnded || res.destroyed) return;
  res.end(text);
  const timer = setTimeout(() => res.destroy(), goodbyeMs);
  res.once('close', () => clearTimeout(timer));
}
