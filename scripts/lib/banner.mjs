import { addressesOf } from './readiness.mjs';
import { bold, dim, green, say, seconds } from './terminal.mjs';

/** The last lines of a start: addresses, the first login, and the next step. */
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
    say('  Next: link a phone. This returns a QR code; the panel shows it to scan.');
    say(`  ${curl(base, firstAdmin.apiKey)}`);
  } else {
    say('  Next: sign in to the panel, add a session and scan its QR code with the phone.');
  }
  say(`  ${dim('Stop with Ctrl-C.')}`);
}

export function sayRows(rows) {
  for (const [name, value] of rows) say(`  ${bold(name.padEnd(18))} ${value}`);
}

export function sayFirstAdmin({ email, password, apiKey }) {
  say();
  const rows = [['First admin', email]];
  if (password) rows.push(['One-time password', `${bold(password)}   (shown this once; change it at the first login)`]);
  if (apiKey) rows.push(['API key', `${bold(apiKey)}   (shown this once)`]);
  sayRows(rows);
}

export const curl = (base, apiKey) => `curl -X POST ${base}/api/v1/sessions/init -H 'Authorization: ApiKey ${apiKey}'`;
