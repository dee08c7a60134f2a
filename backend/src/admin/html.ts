import { escapeHtml } from '../lib/escape-html.js';
import { nonceOf, root, themeOf } from './guard.js';
import type { Request, RequestHandler, Response } from 'express';

const head = (style: string): string => `
  <link rel="icon" type="image/svg+xml" href="${root}/static/favicon.svg">
  <link rel="stylesheet" href="${root}/static/fonts.css">
  <link rel="stylesheet" href="${root}/static/${style}">`;

/** Escapes JSON for a script element: the value stays the same, without a character that could end the element. */
const inScript = (json: string): string =>
  json.replaceAll('<', '\\u003c').replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');

/**
 * Patches the pages that AdminJS sends. AdminJS writes its state into them as bare JSON (a name with `</script>` in it would become a script),
 * without a nonce, and with a font from another host. Its template cannot be replaced, so the text is patched before it is sent.
 */
export const patchPages: RequestHandler = (req, res, next) => {
  const send = res.send.bind(res);
  res.send = (body: unknown) =>
    send(typeof body === 'string' && /^\s*<!DOCTYPE html>/i.test(body) ? patchedPage(body, req, res) : body);
  next();
};

function patchedPage(page: string, req: Request, res: Response): string {
  return page
    .replace(/^([ \t]*window\.(?:REDUX_STATE|THEME) = )(.*)$/gm, (_, start: string, json: string) => start + inScript(json))
    .replace(/<link[^<>]+fonts\.googleapis\.com[^<>]*>/g, () => head('panel.css'))
    .replace(/<link rel="shortcut icon"[^>]*>/g, '')
    .replace(/<html lang=\w+>/, `<html lang="en" data-theme="${themeOf(req)}">`)
    .replaceAll('<script', `<script nonce="${nonceOf(res)}"`);
}

/** Builds a page without scripts, for login and password. `body` is HTML. */
export function plainPage(req: Request, title: string, body: string): string {
  return `<!DOCTYPE html>
<html lang="en" data-theme="${themeOf(req)}">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>${escapeHtml(title)} · Chasqui</title>${head('login.css')}
</head>
<body>
  <main id="content">
    <img class="mark" src="${root}/static/logo.svg" alt="" width="56" height="56">
    ${body}
  </main>
</body>
</html>`;
}
