import { version } from '../version.js';

/** The pages that need no key. They load nothing from other hosts, and follow the theme of the system. */

export const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (letter) => `&#${String(letter.codePointAt(0))};`);

const head = (title: string): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark"><title>${escapeHtml(title)}</title>`;

export const docsPage = `${head('Chasqui API')}<link rel="stylesheet" href="/api/docs/swagger-ui.css"><link rel="stylesheet" href="/api/docs/page.css"><body><div id="ui"></div><script src="/api/docs/swagger-ui-bundle.js"></script><script src="/api/docs/start.js"></script>`;

/** Groups are closed at first: there are more than 250 routes. The theme is the one of the system, and changes with it. */
export const docsScript = `
const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', follow);
follow();
SwaggerUIBundle({
  url: '/api/v1/openapi.json',
  dom_id: '#ui',
  deepLinking: true,
  docExpansion: 'none',
  filter: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: -1,
  persistAuthorization: false,
});
`;

export const docsStyle = `
body { margin: 0; background: #fff; }
html.dark-mode body { background: #1c2022; }
.swagger-ui .wrapper { max-width: 1100px; padding: 0 16px; }
.swagger-ui .info { margin: 28px 0; }
@media (max-width: 640px) { .swagger-ui .opblock-summary-description { display: none; } }
`;

const frame = `
body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:8vh auto;padding:0 1.25rem 4rem;color-scheme:light dark;background:#fff;color:#1d2327}
a{color:#0b6b57}
pre{overflow:auto;padding:1rem;border-radius:8px;background:#f1f4f3;font-size:.875rem;line-height:1.5;white-space:pre-wrap;overflow-wrap:anywhere}
ul{padding-left:1.2rem}
@media (prefers-color-scheme: dark){body{background:#15191b;color:#e4e9e7}a{color:#6fd8bd}pre{background:#1f2528}}`;

/** A plain page. `body` is HTML. */
export const plainDocument = (title: string, body: string): string => `${head(title)}<style>${frame}</style><body>${body}`;

export const indexPage = plainDocument(
  'Chasqui',
  `<h1>Chasqui</h1><p>Self-hosted WhatsApp gateway, version ${version}.</p><ul><li><a href="/admin">Panel</a>: sessions, messages, keys</li><li><a href="/api/docs">API</a>: every route, with examples that can be sent</li><li><a href="/docs">Guides</a></li><li><a href="/health">Health</a></li></ul>`,
);
