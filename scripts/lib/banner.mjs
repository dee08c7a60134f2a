import { addressesOf } from './readiness.mjs';
import { bold, dim, green, say, seconds } from './terminal.mjs';

/** The last lines of a start: addresses, the first login, and the next step. Returns the address to open in a browser. */
export function sayRunning({ settings, dataDir, firstAdmin, startedAt }) {
  const base = settings.PUBLIC_URL ?? addressesOf(settings).backend;
  say();
  say(`${green(bold('Chasqui is running.'))} ${dim(`Ready after ${seconds(performance.now() - startedAt)}.`)}`);
  say();
  sayRows([
    ['Panel', `${base}/admin`],
    ['API', `${base}/api/v1   (documents: ${base}/api/docs)`],
    ['Data', `${dataDir}   (back it up; logs are in logs/)`],
  ]);
  if (firstAdmin) sayFirstAdmin(firstAdmin);
  say();
  if (firstAdmin?.apiKey) {
    say('  Next: open the panel, add a session and scan its QR code with the phone. Or in a terminal:');
    for (const line of qrCommands(base, firstAdmin.apiKey)) say(`  ${line}`);
  } else {
    say('  Next: sign in to the panel, add a session and scan its QR code with the phone.');
  }
  say(`  ${dim('Stop with Ctrl-C.')}`);
  return firstAdmin?.link ?? `${base}/admin`;
}

export function sayRows(rows) {
  for (const [name, value] of rows) say(`  ${bold(name.padEnd(18))} ${value}`);
}

export function sayFirstAdmin({ email, password, link, apiKey }) {
  say();
  const rows = [['First admin', email]];
  if (link) rows.push(['First password', `${bold(link)}   (opens the panel; once, within an hour; later: npm run reset-admin)`]);
  else if (password) rows.push(['One-time password', `${bold(password)}   (shown this once; change it at the first login)`]);
  if (apiKey) rows.push(['API key', `${bold(apiKey)}   (shown this once)`]);
  sayRows(rows);
}

/** Starts a session and draws its QR code in the terminal. Double quotes: they work in every shell, also of Windows. */
export const qrCommands = (base, apiKey) => [
  `curl -s -X POST ${base}/api/v1/sessions/init -H "X-API-Key: ${apiKey}" -o init.json`,
  `curl -s "${base}/api/v1/sessions/current/qr?format=terminal" -H "X-API-Key: ${apiKey}"`,
];
