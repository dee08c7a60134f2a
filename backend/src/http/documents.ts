import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openapi, postmanCollection, withSoon, type AnyRoute } from '@chasqui/shared';
import express, { type Express } from 'express';
import { version } from '../version.js';
import { mountGuides } from './guides.js';
import { docsPage, docsScript, docsStyle, indexPage, pagePolicy } from './pages.js';

const description = [
  'Self-hosted WhatsApp gateway. An accepted message is never lost, never silently doubled, and its state is always told truthfully.',
  '**Start here:** press Authorize and paste your API key. Then `POST /sessions/init` and scan the code of `GET /sessions/{sessionId}/qr`, then `POST /messages/send-text`.',
  'Every example can be sent as it is. Guides: [/docs](/docs). For programs that read text: [/llms.txt](/llms.txt). For Postman and Bruno: [/api/docs/postman.json](/api/docs/postman.json).',
].join('\n\n');

/** `src/http` and `dist/http` are equally deep: the package folder is two levels above both. */
const packageRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** What a backend answered to the examples of requests (backend/test/route-examples.test.ts). Without the file, examples are made from schemas. */
function readReplyExamples(): Record<string, unknown> {
  const file = join(packageRoot, 'static', 'reply-examples.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>) : {};
}

/**
 * Serves what needs no key: the indexes, the OpenAPI document and its page, and the guides. `publicUrl` (setting PUBLIC_URL) is the server that
 * the document names; without it the address is relative.
 */
export function mountDocuments(app: Express, routes: () => readonly AnyRoute[], publicUrl = ''): void {
  const about = { title: 'Chasqui', version, description };
  const document = textOfDay(() => openapi(routes(), { ...about, base: `${publicUrl}/api/v1`, replies: readReplyExamples() }));
  const collection = textOfDay(() => postmanCollection(routes(), { ...about, base: `${originToken}/api/v1` }));
  app.get('/api/v1/openapi.json', (_req, res) => void res.type('json').send(document(new Date())));
  app.get('/api/docs/postman.json', (req, res) => {
    // A program that imports the file needs a whole address.
    const origin = publicUrl || `${req.protocol}://${req.get('host') ?? 'localhost'}`;
    res.attachment('chasqui.postman_collection.json').type('json');
    res.send(collection(new Date()).replace(originToken, () => JSON.stringify(origin).slice(1, -1)));
  });
  app.get('/api/v1', (_req, res) => void res.json(apiIndex(routes())));
  const assets = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  app.get('/api/docs/start.js', (_req, res) => void res.type('js').send(docsScript));
  app.get('/api/docs/page.css', (_req, res) => void res.type('css').send(docsStyle));
  app.get('/api/docs', (_req, res) => void res.set('Content-Security-Policy', pagePolicy).type('html').send(docsPage));
  app.use('/api/docs', express.static(assets, { index: false, maxAge: '1h' }));
  app.get('/api-docs', (_req, res) => res.redirect(302, '/api/docs'));
  mountGuides(app, routes);
  app.get('/', (req, res) => {
    const index = {
      name: 'Chasqui',
      version,
      panel: '/admin',
      documents: '/api/docs',
      guides: '/docs',
      openapi: '/api/v1/openapi.json',
      health: '/health',
      api: '/api/v1',
    };
    if (!req.accepts(['json', 'html']) || req.accepts(['json', 'html']) === 'json') return void res.json(index);
    res.set('Content-Security-Policy', pagePolicy).type('html').send(indexPage);
  });
}

const originToken = '@origin@';

/**
 * Returns a function that returns a document as JSON. The document is built once, because an unauthenticated request must not make the process
 * build a megabyte. Its examples have dates of the near future, which change with the day.
 */
function textOfDay(build: () => object): (now: Date) => string {
  let built: string | null = null;
  let shown = { day: '', text: '' };
  return (now) => {
    const day = now.toISOString().slice(0, 10);
    built ??= JSON.stringify(build());
    if (shown.day !== day) shown = { day, text: withSoon(built, now) };
    return shown.text;
  };
}

/** What `GET /api/v1` says: where to begin, and the groups of routes. */
function apiIndex(routes: readonly AnyRoute[]): object {
  const groups = new Map<string, number>();
  for (const { id } of routes) {
    const group = id.split('.')[0]!;
    groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  return {
    name: 'Chasqui',
    version,
    documents: '/api/docs',
    openapi: '/api/v1/openapi.json',
    collection: '/api/docs/postman.json',
    guides: '/docs',
    text: '/llms.txt',
    health: '/health',
    authentication: 'X-API-Key: <key>, or Authorization: ApiKey <key>',
    first: [
      { method: 'POST', path: '/api/v1/sessions/init', does: 'starts a session' },
      { method: 'GET', path: '/api/v1/sessions/current/qr', does: 'returns the QR code to scan' },
      { method: 'POST', path: '/api/v1/messages/send-text', does: 'sends a text' },
      { method: 'GET', path: '/api/v1/messages/list', does: 'lists messages' },
    ],
    groups: Object.fromEntries([...groups].sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}
