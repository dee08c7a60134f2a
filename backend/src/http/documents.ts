import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openapi, postmanCollection, withSoon, type AnyRoute } from '@chasqui/shared';
import express, { type Express, type Request } from 'express';
import { version } from '../version.js';
import { firstSteps, stepsAsMarkdown } from './first-steps.js';
import { groups } from './groups.js';
import { mountGuides } from './guides.js';
import { docsPage, docsScript, docsStyle, indexPage, pagePolicy } from './pages.js';

const description = [
  'Self-hosted WhatsApp gateway. An accepted message is never lost, never silently doubled, and its state is always told truthfully.',
  '**Start here.** Press Authorize and paste your API key; programs send it as `X-API-Key: <key>`. Then:',
  stepsAsMarkdown(),
  'Every example of a body can be sent as it is. Guides: [/docs](/docs). For programs that read text: [/llms.txt](/llms.txt). For Postman and Bruno: [/api/docs/postman.json](/api/docs/postman.json).',
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
  const about = { title: 'Chasqui', version, description, groups };
  const document = textOfDay(() => openapi(routes(), { ...about, base: `${publicUrl}/api/v1`, replies: readReplyExamples() }));
  const collection = textOfDay(() => postmanCollection(routes(), { ...about, base: `${originToken}/api/v1` }));
  app.get('/api/v1/openapi.json', (_req, res) => void res.type('json').send(document(new Date())));
  const originOf = (req: Request): string => publicUrl || `${req.protocol}://${req.get('host') ?? 'localhost'}`;
  app.get('/api/docs/postman.json', (req, res) => {
    // A program that imports the file needs a whole address.
    const origin = originOf(req);
    res.attachment('chasqui.postman_collection.json').type('json');
    res.send(collection(new Date()).replace(originToken, () => JSON.stringify(origin).slice(1, -1)));
  });
  app.get('/api/v1', (_req, res) => void res.json(apiIndex(routes())));
  const assets = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  app.get('/api/docs/start.js', (_req, res) => void res.type('js').send(docsScript));
  app.get('/api/docs/page.css', (_req, res) => void res.type('css').send(docsStyle));
  app.get(
    '/api/docs',
    (req, res) =>
      void res
        .set('Content-Security-Policy', pagePolicy)
        .type('html')
        .send(docsPage(originOf(req))),
  );
  app.use('/api/docs', express.static(assets, { index: false, maxAge: '1h' }));
  app.get('/api-docs', (_req, res) => res.redirect(302, '/api/docs'));
  // Browsers ask for the second one wherever a page names none.
  app.get(['/favicon.svg', '/favicon.ico'], (_req, res, next) => {
    res.set('Cache-Control', 'public, max-age=86400');
    res.sendFile('favicon.svg', { root: join(packageRoot, 'static'), cacheControl: false }, (error) => {
      if (error && !res.headersSent) next(error);
    });
  });
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
  const counts = new Map(Object.keys(groups).map((group) => [group, 0]));
  for (const { id } of routes) {
    const group = id.split('.')[0]!;
    counts.set(group, (counts.get(group) ?? 0) + 1);
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
    first: firstSteps.map(({ method, path, does }) => ({ method, path, does })),
    groups: Object.fromEntries(counts),
  };
}
