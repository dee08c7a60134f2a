import { setTimeout as sleep } from 'node:timers/promises';
import { green, say, warn } from './terminal.mjs';

/** How long codes are shown. WhatsApp replaces each after some 20 to 60 s. */
const patienceMs = 5 * 60_000;
const pollMs = 1_500;
const requestMs = 30_000;
/** Clears what was drawn above, so that only one code is on the screen. */
const eraseLines = (count) => `\u001b[${count}A\u001b[J`;

/** Whether the person asked for it: `npm start -- --qr`. */
export const isQrWanted = (args = process.argv) => args.includes('--qr');

/**
 * Starts a session and draws its QR code, and each code that replaces it, until a phone has scanned one. Never throws: whatever goes wrong is a line
 * with the next step.
 */
export async function showQr({
  url,
  apiKey,
  panel,
  isOver,
  redraws = Boolean(process.stdout.isTTY),
  everyMs = pollMs,
  forMs = patienceMs,
}) {
  const ask = (method, path) =>
    fetch(`${url}/api/v1${path}`, { method, headers: { 'x-api-key': apiKey }, signal: AbortSignal.timeout(requestMs) });
  if (!apiKey)
    return warn(`--qr needs the key that the first start makes. Add a session in the panel, which shows its QR code: ${panel}`);
  const until = performance.now() + forMs;
  let drawn = '';
  let shown = '';
  try {
    const started = await ask('POST', '/sessions/init');
    if (!started.ok) return warn(`No QR code: ${await sentenceOf(started)} The panel goes on from here: ${panel}`);
    while (!isOver() && performance.now() < until) {
      const { data: session } = await (await ask('GET', '/sessions/status')).json();
      if (session?.status === 'connected')
        return say(`${green('✓')} Linked${session.phoneNumber ? ` with ${session.phoneNumber}` : ''}. Messages can be sent.`);
      if (session?.status === 'error') return warn(`The session cannot be linked: ${session.reason?.message ?? ''} See ${panel}`);
      const trouble = session?.status === 'disconnected' ? (session.reason?.message ?? '') : '';
      if (trouble && trouble !== shown) warn(`No QR code yet: ${trouble}`);
      shown = trouble || shown;
      if (session?.status === 'qr_pending') {
        const code = await ask('GET', '/sessions/current/qr?format=terminal');
        const text = code.ok ? await code.text() : drawn;
        if (text !== drawn) draw(text, redraws && drawn ? drawn : null);
        drawn = text;
      }
      await sleep(everyMs);
    }
    if (!isOver())
      say(`${drawn ? 'No phone scanned a code' : 'There was no QR code'}. The panel shows a new one at any time: ${panel}`);
  } catch (error) {
    if (!isOver())
      warn(`The QR code cannot be shown (${error.cause?.code ?? error.name}). Link the phone in the panel: ${panel}`);
  }
}

const below = 'On the phone: WhatsApp, Settings, Linked devices, Link a device.';

function draw(text, before) {
  if (before) process.stdout.write(eraseLines(before.trimEnd().split('\n').length + 1));
  say(text.trimEnd());
  say(below);
}

async function sentenceOf(reply) {
  const body = await reply.json().catch(() => null);
  return body?.error?.message ?? `The backend answered ${reply.status}.`;
}
