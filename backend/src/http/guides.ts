import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AnyRoute } from '@chasqui/shared';
import type { Express } from 'express';
import { escapeHtml, pagePolicy, plainDocument } from './pages.js';

/**
 * Serves the guides of the repository: Markdown at `/docs/<name>.md`, the same in a page for browsers at `/docs/<name>`, a list at `/docs`, and
 * `/llms.txt`, a list for programs that read text. What is served is a fixed list that is read at the start; no path of a request names a file.
 */
const repository = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

interface Guide {
  name: string;
  title: string;
  file: string;
}

/** The guides that this installation has: an image may lack the folder. */
function findGuides(): Guide[] {
  const folders = { '': 'docs', 'reference/': 'docs/reference' };
  const found = Object.entries(folders).flatMap(([prefix, folder]) => {
    const path = join(repository, folder);
    const names = existsSync(path) ? readdirSync(path).filter((name) => name.endsWith('.md')) : [];
    return names.map((name) => ({ name: prefix + name.replace(/\.md$/, ''), file: join(path, name) }));
  });
  const main = { name: 'integration-guide', file: join(repository, 'INTEGRATION_GUIDE.md') };
  return [...(existsSync(main.file) ? [main] : []), ...found].map((guide) => ({
    ...guide,
    title: /^# (.+)$/m.exec(readFileSync(guide.file, 'utf8'))?.[1] ?? guide.name,
  }));
}

export function mountGuides(app: Express, routes: () => readonly AnyRoute[]): void {
  const guides = findGuides();
  const items = guides.map(({ name, title }) => `<li><a href="/docs/${name}">${escapeHtml(title)}</a></li>`).join('');
  const listPage = plainDocument(
    'Chasqui guides',
    `<h1>Guides</h1><p>Every route with examples: <a href="/api/docs">/api/docs</a>. As Markdown: add <code>.md</code> to an address.</p><ul>${items}</ul>`,
  );
  app.get('/docs', (_req, res) => void res.set('Content-Security-Policy', pagePolicy).type('html').send(listPage));
  for (const { name, title, file } of guides) {
    app.get(`/docs/${name}.md`, (_req, res) => void res.type('text/markdown').send(readFileSync(file, 'utf8')));
    app.get(`/docs/${name}`, (_req, res) => {
      const text = escapeHtml(readFileSync(file, 'utf8'));
      const body = `<p><a href="/docs">Guides</a> · <a href="/docs/${name}.md">Markdown</a></p><pre>${text}</pre>`;
      res.set('Content-Security-Policy', pagePolicy).type('html').send(plainDocument(title, body));
    });
  }
  app.get('/llms.txt', (_req, res) => void res.type('text/plain').send(textIndex(guides, routes())));
}

/** The index for programs that read text: what this is, how to begin, the guides, and every route in a line. */
function textIndex(guides: readonly Guide[], routes: readonly AnyRoute[]): string {
  const lines = routes.map(({ method, path, summary }) => `- ${method.toUpperCase()} /api/v1${path}: ${summary}`);
  return [
    '# Chasqui',
    '',
    '> A self-hosted WhatsApp gateway. An accepted message is never lost, never silently doubled, and its state is always told truthfully.',
    '',
    'Send the API key as `X-API-Key: <key>` or `Authorization: ApiKey <key>`. Bodies are JSON. A reply is `{"success":true,"data":…}`, or',
    '`{"success":false,"error":{"code","message","details"},"requestId"}`. Send `Idempotency-Key` with each send: a repeat has no second effect.',
    'First steps: `POST /api/v1/sessions/init`, scan the code of `GET /api/v1/sessions/current/qr`, then',
    '`POST /api/v1/messages/send-text` with `{"recipient":"+5511999990001","message":"Hello"}`.',
    '',
    '## Documents',
    '',
    '- [OpenAPI 3.1](/api/v1/openapi.json): every route with schemas and examples',
    ...guides.map(({ name, title }) => `- [${title}](/docs/${name}.md)`),
    '',
    '## Routes',
    '',
    ...lines.sort(),
    '',
  ].join('\n');
}
