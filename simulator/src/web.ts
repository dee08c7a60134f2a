import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { bodyOf } from './body.js';
import type { Faults } from './faults.js';
import type { MadeFile, Media } from './media.js';
import type { PageOptions } from './wire.js';

/** The path is the same from `src` and from `dist`. */
const pageFolder = join(import.meta.dirname, '../page');

/** Serves web.whatsapp.com to browsers: the page, its script, and files. */
export function createWeb({ page, media, faults }: { page: PageOptions; media: Media; faults: Faults }) {
  const files = readdirSync(pageFolder)
    .filter((name) => name.endsWith('.js'))
    .sort()
    .map((name) => readFileSync(join(pageFolder, name), 'utf8'));
  /** All page files in the order of their names, as one script. */
  const script = (): string => `'use strict';(() => {\nconst options = ${JSON.stringify(page)};\n${files.join('\n')}\n})();`;

  return function web(req: IncomingMessage, res: ServerResponse): void {
    const { pathname } = new URL(req.url ?? '/', 'https://web.whatsapp.com');
    if (pathname.startsWith('/mms/')) return void serveMedia(req, res, pathname);
    if (pathname === '/app.js') {
      res.writeHead(200, { 'content-type': 'text/javascript', 'cache-control': 'no-store' });
      return void res.end(script());
    }
    if (pathname !== '/') return void res.writeHead(404).end();
    res.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
    res.end('<!doctype html><title>WhatsApp</title><body><div id="app"></div><script src="/app.js"></script>');
  };

  async function serveMedia(req: IncomingMessage, res: ServerResponse, path: string): Promise<void> {
    const fault = faults.next(req.method === 'GET' ? 'download' : 'upload', null);
    if (fault?.mode === 'drop') return;
    if (fault?.mode === 'delay') await new Promise((done) => setTimeout(done, fault.delayMs ?? 1000));
    if (fault?.mode === 'fail') return void res.writeHead(fault.status ?? 500).end();
    if (req.method === 'GET') {
      const made = media.made.get(path);
      if (made) return sendMade(res, made);
      const bytes = media.get(path);
      if (!bytes) return void res.writeHead(404).end();
      const headers = { 'content-type': 'application/octet-stream', 'content-length': bytes.length };
      return void res.writeHead(200, headers).end(bytes);
    }
    const body = await bodyOf(req);
    if (!body) return;
    const kept = media.put(body);
    if (fault?.mode === 'dropReply') return;
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(kept));
  }
}

/** Sends zeros until the file is complete or the connection ends. */
async function sendMade(res: ServerResponse, file: MadeFile): Promise<void> {
  const piece = Buffer.alloc(262_144);
  res.writeHead(200, {
    'content-type': 'application/octet-stream',
    ...(file.announced ? { 'content-length': file.size } : {}),
  });
  for (let left = file.size; left > 0 && !res.destroyed; left -= piece.length) {
    const bytes = piece.subarray(0, Math.min(left, piece.length));
    file.sent += bytes.length;
    if (!res.write(bytes)) await Promise.race([once(res, 'drain'), once(res, 'close')]);
  }
  res.end();
}
