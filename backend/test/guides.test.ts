import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { renderMarkdown, rewriteMarkdown } from '../src/http/markdown.js';
import { startRig, type Rig } from './support/backend.js';

/** The guides as a backend serves them, as pages and as Markdown. */

let rig: Rig;
/** The pages, by their paths. */
const pages = new Map<string, string>();
beforeAll(async () => {
  rig = await startRig();
  const list = await read('/docs');
  for (const path of new Set(linksIn(list))) if (path.startsWith('/docs/')) pages.set(path, await read(path));
});
afterAll(() => rig?.close());

async function read(path: string): Promise<string> {
  const reply = await fetch(rig.url + path);
  expect([path, reply.status]).toEqual([path, 200]);
  return reply.text();
}

const unescape = (text: string): string => text.replaceAll('&amp;', '&').replaceAll('&quot;', '"');
const linksIn = (html: string): string[] => [...html.matchAll(/ (?:href|src)="([^"]*)"/g)].map(([, link]) => unescape(link!));
const idsIn = (html: string): string[] => [...html.matchAll(/ id="([^"]*)"/g)].map(([, id]) => unescape(id!));

test('the guides of every kind are served: how to begin, to integrate, to operate, and the reference', () => {
  const expected = [
    'readme',
    'integration-guide',
    'webhooks',
    'operations/backup',
    'operations/monitoring',
    'operations/tracing',
    'reference/api',
  ];
  expect([...pages.keys()]).toEqual(expect.arrayContaining(expected.map((name) => `/docs/${name}`)));
  expect(pages.size).toBeGreaterThan(18);
});

test('every link of every page leads to something, and every anchor exists', async () => {
  const problems: string[] = [];
  const known = new Map<string, string>(pages);
  let anchors = 0;
  for (const [path, html] of pages) {
    for (const link of new Set(linksIn(html))) {
      if (/^https?:/.test(link)) continue;
      const { pathname, hash } = new URL(link, rig.url + path);
      if (!known.has(pathname)) {
        const reply = await fetch(rig.url + pathname);
        known.set(pathname, reply.status === 200 ? await reply.text() : '');
      }
      const target = known.get(pathname)!;
      anchors += hash ? 1 : 0;
      if (target === '') problems.push(`${path}: ${link} leads to nothing`);
      else if (hash && !idsIn(target).includes(decodeURIComponent(hash.slice(1))))
        problems.push(`${path}: ${link} has no such anchor`);
    }
  }
  expect(problems).toEqual([]);
  expect(anchors).toBeGreaterThan(100);
});

test('every link of the Markdown leads to something', async () => {
  const problems: string[] = [];
  for (const path of pages.keys()) {
    const text = await read(`${path}.md`);
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(https?:|#)/.test(link!)) continue;
      const reply = await fetch(new URL(link!, `${rig.url}${path}.md`));
      if (reply.status !== 200) problems.push(`${path}.md: ${link}`);
    }
  }
  expect(problems).toEqual([]);
});

test('a link between guides leads to the page, and from Markdown to Markdown', async () => {
  expect(linksIn(pages.get('/docs/integration-guide')!)).toContain('/docs/webhooks');
  expect(linksIn(pages.get('/docs/operations/monitoring')!)).toEqual(
    expect.arrayContaining(['/docs/reference/metrics', '/docs/operations/grafana-dashboard.json', '/docs/operations/alerts.yml']),
  );
  expect(await read('/docs/integration-guide.md')).toContain('](/docs/webhooks.md)');
  expect(linksIn(pages.get('/docs/readme')!)).toContain('/docs/panel.png');
});

test('no path of a request reaches another file', async () => {
  for (const path of [
    '/docs/..%2Fpackage.json',
    '/docs/operations/..%2F..%2Fpackage.json',
    '/docs/decisions/README.md',
    '/docs/.env',
    '/docs/operations',
  ])
    expect([path, (await fetch(rig.url + path)).status]).toEqual([path, 404]);
});

describe('the Markdown of a page', () => {
  const render = (text: string): string => renderMarkdown(text, (href) => (href === 'none.md' ? null : href)).html;

  test('has no HTML of its own and no links that run programs', () => {
    const html = render(
      '<script>a()</script> <b onclick="a()">b</b> [c](javascript:a()) [d](data:text/html,x) ![e](javascript:a())',
    );
    expect(html).not.toMatch(/<script|<b |href=|src=/);
    expect(html).toContain('&lt;script&gt;');
  });

  test('keeps the text of a link that leads nowhere, and the description of such a picture', () => {
    expect(render('see [the *other* page](none.md) and [this](a.md) ![a picture](none.md)')).toBe(
      '<p>see the <em>other</em> page and <a href="a.md">this</a> a picture</p>\n',
    );
    expect(rewriteMarkdown('[one](none.md) [two](a.md#b)', (href) => (href === 'none.md' ? null : `/docs/${href}`))).toBe(
      'one [two](/docs/a.md#b)',
    );
  });

  test('gives headings the anchors of GitHub, each once', () => {
    const { html, sections } = renderMarkdown('# A `b_c` & d\n## Wait: 5 s (or more)\n## Wait: 5 s (or more)\n', (href) => href);
    expect(idsIn(html)).toEqual(['a-b_c--d', 'wait-5-s-or-more', 'wait-5-s-or-more-1']);
    expect(sections.map(({ id }) => id)).toEqual(['wait-5-s-or-more', 'wait-5-s-or-more-1']);
  });
});
