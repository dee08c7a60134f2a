import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { openapi, type AnyRoute } from '@chasqui/shared';
import express, { type Express } from 'express';
import { version } from '../version.js';

const description =
  'Self-hosted WhatsApp gateway. An accepted message is never lost, never silently doubled, and its state is always told truthfully. Authorize with your API key.';

/**
 * Serves what needs no key: the index, the OpenAPI document and its page. `publicUrl` (setting PUBLIC_URL) is the server that
 * the document names; without it the address is relative.
 */
export function mountDocuments(app: Express, routes: () => readonly AnyRoute[], publicUrl = ''): void {
  // Built once: an unauthenticated request must not make the process build half a megabyte.
  let document: string | null = null;
  app.get(
    '/api/v1/openapi.json',
    (_req, res) =>
      void res
        .type('json')
        .send(
          (document ??= JSON.stringify(
            openapi(routes(), { title: 'Chasqui', version, description, base: `${publicUrl}/api/v1` }),
          )),
        ),
  );
  const assets = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const page = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "frame-ancestors 'none'",
  ].join('; ');
  app.get(
    '/api/docs/start.js',
    (_req, res) =>
      void res
        .type('js')
        .send("SwaggerUIBundle({ url: '/api/v1/openapi.json', dom_id: '#ui', deepLinking: true, persistAuthorization: false });"),
  );
  app.get('/api/docs', (_req, res) => void res.set('Content-Security-Policy', page).type('html').send(docsPage));
  app.use('/api/docs', express.static(assets, { index: false, maxAge: '1h' }));
  for (const path of ['/docs', '/api-docs']) app.get(path, (_req, res) => res.redirect(302, '/api/docs'));
  app.get('/', (req, res) => {
    const index = {
      name: 'Chasqui',
      version,
      panel: '/admin',
      documents: '/api/docs',
      openapi: '/api/v1/openapi.json',
      health: '/health',
      api: '/api/v1',
    };
    if (!req.accepts(['json', 'html']) || req.accepts(['json', 'html']) === 'json') return void res.json(index);
    res.set('Content-Security-Policy', page).type('html').send(indexPage);
  });
}

const head = (title: string): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>${title}</title>`;
const docsPage = `${head('Chasqui API')}<link rel="stylesheet" href="/api/docs/swagger-ui.css"><body><div id="ui"></div><script src="/api/docs/swagger-ui-bundle.js"></script><script src="/api/docs/start.js"></script>`;
const indexPage = `${head('Chasqui')}<style>body{font:16px/1.6 system-ui,sans-serif;max-width:36rem;margin:12vh auto;padding:0 1.5rem;color-scheme:light dark}a{display:block;padding:.5rem 0}</style><h1>Chasqui</h1><p>Self-hosted WhatsApp gateway, version ${version}.</p><a href="/admin">Panel</a><a href="/api/docs">API documents</a><a href="/health">Health</a>`;
