import './lib/node-version.mjs';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { bold, green, red, say, yellow } from './lib/terminal.mjs';

/**
 * `npm run receiver`: a webhook endpoint for development, on this machine alone. It verifies each delivery, prints it so that people
 * can read it, and marks each delivery that is repeated, late or not signed.
 *
 *   WEBHOOK_SECRET=whsec_… PORT=9000 npm run receiver            STATUS=500: answer every delivery with that, to see the retries
 *
 * Chasqui does not call private addresses unless EGRESS_ALLOW lets it: EGRESS_ALLOW=127.0.0.1/32 for one that runs beside it.
 */
const secret = process.env.WEBHOOK_SECRET ?? '';
const port = Number(process.env.PORT ?? 9000);
const status = Number(process.env.STATUS ?? 200);
const toleranceSeconds = 5 * 60;
const maxBytes = 16 * 1024 * 1024;
/** The terminal shows the structure of an event, not a whole picture in base64. */
const longestText = 200;

/** Null when all is well, otherwise what is wrong, in words. */
function problemOf(headers, body) {
  if (secret === '') return null;
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures } = headers;
  if (!id || !timestamp || !signatures) return 'a header is missing: webhook-id, webhook-timestamp or webhook-signature';
  if (!/^\d+$/.test(timestamp)) return 'webhook-timestamp is not a number';
  const ageSeconds = Math.round(Date.now() / 1000 - Number(timestamp));
  if (Math.abs(ageSeconds) > toleranceSeconds)
    return `the timestamp is ${ageSeconds} s old: an old delivery, or a clock that is wrong`;
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret);
  const right = Buffer.from(`v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`);
  const fits = signatures.split(' ').some((text) => {
    const given = Buffer.from(text);
    return given.length === right.length && timingSafeEqual(given, right);
  });
  return fits ? null : 'the signature does not fit: another secret, or the body was changed on the way';
}

const seen = new Set();
const newest = new Map();

function show(headers, body) {
  const event = JSON.parse(body.toString('utf8'));
  const id = headers['webhook-id'] ?? event.id;
  if (seen.has(id)) return say(yellow(`↻ ${id} came again (attempt ${headers['x-webhook-attempt'] ?? '?'}): dropped`));
  seen.add(id);
  const lane = event.session?.id ?? '';
  const isLate = event.cursor < (newest.get(lane) ?? '');
  if (!isLate) newest.set(lane, event.cursor);
  const mark = secret === '' ? yellow('? not verified') : green('✓ verified');
  const notes = [event.session?.name, `cursor ${event.cursor}`, isLate ? yellow('late: a newer one came before it') : null];
  say(`\n${mark} ${bold(event.event ?? event.type)} ${id} · ${notes.filter(Boolean).join(' · ')}`);
  say(JSON.stringify(event.data, (_key, value) => shortened(value), 2));
}

const shortened = (value) =>
  typeof value === 'string' && value.length > longestText
    ? `${value.slice(0, longestText)}… (${value.length} characters)`
    : value;

function answer(request, body) {
  if (request.method !== 'POST') return 405;
  const problem = problemOf(request.headers, body);
  if (problem) {
    say(red(`✗ refused: ${problem}`));
    return 401;
  }
  try {
    show(request.headers, body);
  } catch {
    say(red('✗ signed, but the body is not an event in JSON'));
    return 400;
  }
  return status;
}

const server = createServer((request, response) => {
  const chunks = [];
  let size = 0;
  request.on('data', (chunk) => {
    size += chunk.length;
    if (size > maxBytes) request.destroy();
    else chunks.push(chunk);
  });
  request.on('end', () => response.writeHead(answer(request, Buffer.concat(chunks))).end());
});
server.on('error', (error) => {
  say(red(error.code === 'EADDRINUSE' ? `Port ${port} is taken. Set PORT to another one.` : error.message));
  process.exit(1);
});
server.listen(port, '127.0.0.1', () => {
  say(`Listening on ${bold(`http://127.0.0.1:${server.address().port}`)}`);
  if (secret === '')
    say(yellow('WEBHOOK_SECRET is not set: nothing is verified. It was shown once, when the endpoint was made.'));
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
