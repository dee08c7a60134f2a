import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AnyRoute } from '@chasqui/shared';
import type { Express } from 'express';
import { escapeHtml } from '../lib/escape-html.js';
import { stepsAsMarkdown } from './first-steps.js';
import { renderMarkdown, rewriteMarkdown, type Rendered, type Resolve } from './markdown.js';
import { guideStyle, pagePolicy, plainDocument } from './pages.js';

/**
 * Serves the guides of the repository: a page at `/docs/<name>`, the Markdown at `/docs/<name>.md`, the pictures and files that they show, a list
 * at `/docs`, and `/llms.txt`, a list for programs that read text. What is served is a fixed list that is read at the start; no path of a request
 * names a file. Links between documents lead to what is served.
 */
const repository = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

interface Guide {
  name: string;
  title: string;
  /** The path in the repository. */
  path: string;
}

/** The folders that are served, with their headings in the list. Those for contributors are not. */
const folders = [
  { path: 'docs', heading: 'Guides' },
  { path: 'docs/operations', heading: 'Operations' },
  { path: 'docs/reference', heading: 'Reference' },
] as const;
/** Documents at the top of the repository, by the names under which they are served. */
const mainDocuments = { 'INTEGRATION_GUIDE.md': 'integration-guide', 'README.md': 'readme' } as const;
/** What documents show or link to, besides Markdown. */
const fileTypes = ['.png', '.json', '.yml'];

interface Documents {
  guides: Guide[];
  /** Paths in the repository of pictures and files. They are served at the same path. */
  files: string[];
}

/** What this installation has: an installation without the documents serves an empty list. */
function findDocuments(): Documents {
  const inFolders = folders.flatMap(({ path }) => {
    const folder = join(repository, path);
    return existsSync(folder) ? readdirSync(folder).map((name) => `${path}/${name}`) : [];
  });
  const main = Object.entries(mainDocuments).filter(([path]) => existsSync(join(repository, path)));
  const others = inFolders.filter((path) => path.endsWith('.md'));
  const named = [...main, ...others.map((path) => [path, path.replace(/^docs\/|\.md$/g, '')] as const)];
  const guides = named.map(([path, name]) => ({ path, name, title: /^# (.+)$/m.exec(readDocument(path))?.[1] ?? name }));
  return { guides, files: inFolders.filter((path) => fileTypes.includes(extname(path))) };
}

const readDocument = (path: string): string => readFileSync(join(repository, path), 'utf8');

export function mountGuides(app: Express, routes: () => readonly AnyRoute[]): void {
  const documents = findDocuments();
  const { guides, files } = documents;
  app.get('/docs', (_req, res) => void res.set('Content-Security-Policy', pagePolicy).type('html').send(listPage(guides)));
  for (const guide of guides) {
    // A page is made once: a request without a key must not make the process render a long document each time.
    const page = once(() => guidePage(guide, renderMarkdown(readDocument(guide.path), linksOf(documents, guide, ''))));
    const text = once(() => rewriteMarkdown(readDocument(guide.path), linksOf(documents, guide, '.md')));
    app.get(`/docs/${guide.name}.md`, (_req, res) => void res.type('text/markdown').send(text()));
    app.get(`/docs/${guide.name}`, (_req, res) => void res.set('Content-Security-Policy', pagePolicy).type('html').send(page()));
  }
  for (const path of files)
    app.get(
      `/${path}`,
      (_req, res) =>
        void res.type(extname(path) === '.yml' ? 'text/yaml' : extname(path)).send(readFileSync(join(repository, path))),
    );
  app.get('/llms.txt', (_req, res) => void res.type('text/plain').send(textIndex(guides, routes())));
}

function once(make: () => string): () => string {
  let made: string | null = null;
  return () => (made ??= make());
}

/** Where the links of a guide lead. `suffix`: `.md` for links from Markdown to Markdown. */
function linksOf({ guides, files }: Documents, { path }: Guide, suffix: '' | '.md'): Resolve {
  return (href) => {
    if (/^(https?:|mailto:|#)/.test(href)) return href;
    const [target = '', anchor] = href.split('#');
    const wanted = posix.join(posix.dirname(path), target);
    const guide = guides.find((one) => one.path === wanted);
    if (guide) return `/docs/${guide.name}${suffix}${anchor ? `#${anchor}` : ''}`;
    return files.includes(wanted) ? `/${wanted}` : null;
  };
}

function listPage(guides: readonly Guide[]): string {
  const isIn = ({ path }: Guide, folder: string): boolean =>
    posix.dirname(path) === folder || (folder === 'docs' && !path.includes('/'));
  const sections = folders.map(({ path, heading }) => {
    const items = guides.filter((guide) => isIn(guide, path));
    const links = items.map(({ name, title }) => `<li><a href="/docs/${name}">${escapeHtml(title)}</a></li>`).join('');
    return links && `<h2>${heading}</h2><ul>${links}</ul>`;
  });
  const intro =
    '<p>Every route with examples: <a href="/api/docs">/api/docs</a>. As Markdown: add <code>.md</code> to an address.</p>';
  return plainDocument('Chasqui guides', `<h1>Guides</h1>${intro}${sections.join('')}`);
}

function guidePage({ name, title }: Guide, { html, sections }: Rendered): string {
  const items = sections.map(({ id, title: of }) => `<li><a href="#${escapeHtml(id)}">${escapeHtml(of)}</a></li>`).join('');
  const contents = sections.length > 2 ? `<details><summary>On this page</summary><ul>${items}</ul></details>` : '';
  const links = `<nav aria-label="Guides"><a href="/docs">Guides</a> · <a href="/api/docs">API</a> · <a href="/docs/${name}.md">Markdown</a></nav>`;
  return plainDocument(title, `<style>${guideStyle}</style>${links}${contents}<article>${html}</article>`);
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
    '',
    '## First steps',
    '',
    stepsAsMarkdown(),
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
