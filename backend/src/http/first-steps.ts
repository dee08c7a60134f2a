import { escapeHtml } from '../lib/escape-html.js';

/** The way to a first message. The API's page, its OpenAPI document, its index and `/llms.txt` tell the same steps, each in its own form. */
interface Step {
  /** What the step does, as the index of the API says it. */
  does: string;
  /** What to look for in the reply, or what to do with it. */
  then: string;
  method: 'GET' | 'POST';
  path: string;
  body?: object;
}

export const firstSteps: readonly Step[] = [
  {
    does: 'starts a session',
    then: 'It takes a few seconds. The reply has the status `qr_pending` and the QR code: `qrCode` as a picture, `qrText` as the text in it.',
    method: 'POST',
    path: '/api/v1/sessions/init',
    body: {},
  },
  {
    does: 'returns the QR code to scan',
    then: 'Scan it with the phone: Settings, Linked devices, Link a device. WhatsApp replaces a code after less than a minute: repeat this for the new one. `current` is the session of your key, or your default session.',
    method: 'GET',
    path: '/api/v1/sessions/current/qr?format=terminal',
  },
  {
    does: 'tells the state of the session',
    then: 'Wait until its `status` is `connected`, a few seconds after the scan.',
    method: 'GET',
    path: '/api/v1/sessions/status',
  },
  {
    does: 'sends a text',
    then: 'The reply has the status `sent`: WhatsApp has the message.',
    method: 'POST',
    path: '/api/v1/messages/send-text',
    body: { recipient: '+5511999990001', message: 'Hello' },
  },
  {
    does: 'lists messages',
    then: 'Yours is first, with its state: `delivered` is on the phone of the recipient, `read` was opened there.',
    method: 'GET',
    path: '/api/v1/messages/list',
  },
];

/** The steps in Markdown. The routes are those of the document around it. */
export const stepsAsMarkdown = (): string =>
  firstSteps
    .map(({ method, path, body, then }, index) => {
      const withBody = body ? ` with \`${JSON.stringify(body)}\`` : '';
      return `${index + 1}. \`${method} ${path}\`${withBody}. ${then}`;
    })
    .join('\n');

/** The steps as HTML with lines for `curl`. `origin` is the address of this backend as the caller sees it. */
export function stepsAsHtml(origin: string): string {
  const items = firstSteps.map(({ method, path, body, then }) => {
    const data = body ? ` -H "Content-Type: application/json" -d ${JSON.stringify(JSON.stringify(body))}` : '';
    const line = `curl -s${method === 'POST' ? ' -X POST' : ''} "${origin}${path}" -H "X-API-Key: YOUR_KEY"${data}`;
    return `<li><pre>${escapeHtml(line)}</pre><p>${escapeHtml(then).replace(/`([^`]+)`/g, '<code>$1</code>')}</p></li>`;
  });
  return `<ol>${items.join('')}</ol>`;
}
