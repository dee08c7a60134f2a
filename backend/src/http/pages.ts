import { escapeHtml } from '../lib/escape-html.js';
import { version } from '../version.js';
import { stepsAsHtml } from './first-steps.js';

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

const head = (title: string): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark"><link rel="icon" type="image/svg+xml" href="/favicon.svg"><title>${escapeHtml(title)}</title>`;

/** The page of the API. Without scripts, as for a program that reads text, it shows the first steps and where the documents are. */
export const docsPage = (origin: string): string =>
  `${head('Chasqui API')}<link rel="stylesheet" href="/api/docs/swagger-ui.css"><link rel="stylesheet" href="/api/docs/page.css"><body><noscript><main><h1>Chasqui API</h1><p>The list of routes on this page needs JavaScript. Without it: <a href="/llms.txt">all routes as text</a>, <a href="/api/v1/openapi.json">OpenAPI</a>, <a href="/docs">guides</a>, <a href="/api/docs/postman.json">Postman</a>.</p><h2>A first message</h2><p>Create an API key in the <a href="/admin">panel</a>, and put it in place of YOUR_KEY.</p>${stepsAsHtml(origin)}</main></noscript><div id="ui"></div><script src="/api/docs/swagger-ui-bundle.js"></script><script src="/api/docs/start.js"></script>`;

/**
 * Groups are closed at first: there are more than 250 routes. The theme is the one of the system, and changes with it. A route's head is a button,
 * in which Swagger UI places a link; a screen reader cannot reach a link in a button, so its text stays and the link is left out.
 */
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
  plugins: [({ React }) => ({
    wrapComponents: { DeepLink: () => ({ text }) => React.createElement('span', null, text) },
  })],
  onComplete: () => document.getElementById('servers')?.setAttribute('aria-label', 'Server'),
});
`;

export const docsStyle = `
body { margin: 0; background: #fff; }
html.dark-mode body { background: #1c2022; }
.swagger-ui .info .title small { background: #4f5663; }
.swagger-ui .info .title small.version-stamp { background: #1d632e; }
.swagger-ui .info .title small pre, html.dark-mode .swagger-ui .info .title small pre { background: none; color: #fff; }
.swagger-ui .info a { transition: none; }
html:not(.dark-mode) .swagger-ui .info a { color: #1f5fa8; }
html:not(.dark-mode) .swagger-ui .btn.authorize { color: #1d6b43; border-color: #1d6b43; }
html:not(.dark-mode) .swagger-ui .btn.authorize svg { fill: #1d6b43; }
html:not(.dark-mode) .swagger-ui .opblock-get .opblock-summary-method { background: #1f5fa8; }
html:not(.dark-mode) .swagger-ui .opblock-post .opblock-summary-method { background: #1d6b43; }
html:not(.dark-mode) .swagger-ui .opblock-put .opblock-summary-method { background: #8a4b00; }
html:not(.dark-mode) .swagger-ui .opblock-patch .opblock-summary-method { background: #0f6b60; }
html:not(.dark-mode) .swagger-ui .opblock-delete .opblock-summary-method { background: #b32424; }
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

/** For the pages of guides, after the style of a plain page. */
export const guideStyle = `
body{max-width:52rem;margin-top:2rem}
nav{font-size:.9rem;margin-bottom:1rem}
h1,h2,h3,h4{line-height:1.25;margin:2rem 0 .75rem;overflow-wrap:anywhere}
h2{border-bottom:1px solid #d5dcd9;padding-bottom:.3rem}
h2,h3,h4{scroll-margin-top:1rem}
code{font:.9em ui-monospace,monospace;background:#f1f4f3;border-radius:4px;padding:.1em .3em;overflow-wrap:anywhere}
pre code{font-size:inherit;background:none;padding:0}
img{max-width:100%;height:auto}
summary{cursor:pointer}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.9rem}
th,td{border:1px solid #d5dcd9;padding:.4rem .6rem;text-align:left;vertical-align:top;min-width:5rem}
blockquote{margin:1rem 0;padding:0 1rem;border-left:3px solid #d5dcd9}
@media (prefers-color-scheme: dark){code{background:#1f2528}h2,th,td,blockquote{border-color:#3a4347}}`;

/** A plain page. `body` is HTML. */
export const plainDocument = (title: string, body: string): string =>
  `${head(title)}<style>${frame}</style><body><main id="content">${body}</main>`;

export const indexPage = plainDocument(
  'Chasqui',
  `<h1>Chasqui</h1><p>Self-hosted WhatsApp gateway, version ${version}.</p><ul><li><a href="/admin">Panel</a>: sessions, messages, keys</li><li><a href="/api/docs">API</a>: every route, with examples that can be sent</li><li><a href="/docs">Guides</a></li><li><a href="/health">Health</a></li></ul>`,
);
