import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import QRCode from 'qrcode';
import { bodyOf } from '../body.js';
import { Refusal } from '../refusal.js';
import type { Media } from '../media.js';
import type { ControlOperations } from './index.js';
import type { Operation } from './operation.js';
import { reference } from './reference.js';

const phonePage = join(import.meta.dirname, '../../page/phone.html');

/**
 * The control API and the phone page, over plain HTTP on loopback. `changed` is called after each operation; `listeners` are the phone
 * pages that are informed of changes.
 */
export function createControl(parts: {
  operations: ControlOperations;
  media: Media;
  changed: () => void;
  listeners: Set<ServerResponse>;
}) {
  const { media, changed, listeners } = parts;
  const operations: Record<string, Operation> = parts.operations as unknown as Record<string, Operation>;

  return async function control(req: IncomingMessage, res: ServerResponse): Promise<void> {
    // A page of another site must not call operations through a name that resolves to loopback.
    if (!/^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(req.headers.host ?? ''))
      return json(res, 403, { error: 'Ask for 127.0.0.1.' });
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost');
    if (req.method === 'GET') return void (await show(pathname, searchParams, req, res));
    const name = pathname.replace(/^\/api\//, '');
    const operation = Object.hasOwn(operations, name) ? operations[name] : undefined;
    if (req.method !== 'POST' || !operation) return json(res, 404, { error: `There is no ${req.method} ${pathname}` });
    // A page of another site must not call operations: JSON needs a preflight request, which is never granted.
    if (!req.headers['content-type']?.startsWith('application/json')) return json(res, 415, { error: 'Send application/json.' });
    try {
      const body = await bodyOf(req);
      if (!body) return;
      const input = operation.input.safeParse(JSON.parse(body.toString() || '{}'));
      if (!input.success)
        return json(res, 400, {
          error: input.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '),
        });
      const result = (await operation.run(input.data)) ?? null;
      changed();
      json(res, 200, { result });
    } catch (error) {
      if (error instanceof SyntaxError) return json(res, 400, { error: 'The body is not JSON.' });
      if (!(error instanceof Refusal)) throw error;
      json(res, error.status, { error: error.message });
    }
  };

  async function show(path: string, query: URLSearchParams, req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (path === '/' || path === '/phone') return page(res);
    if (path === '/changes') return listen(req, res);
    if (path === '/api') return json(res, 200, reference(parts.operations));
    if (path === '/qr.svg') {
      const svg = await QRCode.toString(query.get('text') || '-', { type: 'svg', margin: 1 });
      return void res.writeHead(200, { 'content-type': 'image/svg+xml' }).end(svg);
    }
    const bytes = path.startsWith('/mms/') ? media.get(path) : undefined;
    if (!bytes) return json(res, 404, { error: `There is no ${path}` });
    // Uploaded content: our page shows it as an image or offers it as a file. It must never be executed.
    res.writeHead(200, {
      'content-type': 'application/octet-stream',
      'x-content-type-options': 'nosniff',
      'content-disposition': 'attachment',
      'content-security-policy': 'sandbox',
    });
    res.end(bytes);
  }

  function page(res: ServerResponse): void {
    res.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy':
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src 'self' blob: data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    });
    res.end(readFileSync(phonePage));
  }

  function listen(req: IncomingMessage, res: ServerResponse): void {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    res.write('data: hello\n\n');
    listeners.add(res);
    req.on('close', () => listeners.delete(res));
  }
}

const json = (res: ServerResponse, status: number, body: unknown): void =>
  void res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
