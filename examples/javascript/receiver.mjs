/**
 * A webhook receiver, Node 20 or newer, nothing to install.
 *
 *   WEBHOOK_SECRET=whsec_… PORT=9000 node receiver.mjs
 *
 * It refuses what is not signed, takes each event once, and says when one comes after a newer one of its session.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const toleranceSeconds = 5 * 60;
const maxBytes = 2 * 1024 * 1024;

/** Whether the signature is right and fresh. `body`: the bytes as they came; JSON that was parsed and written again is another text. */
export function isSigned(secret, headers, body, nowSeconds = Date.now() / 1000) {
  const id = headers['webhook-id'];
  const timestamp = headers['webhook-timestamp'];
  const signatures = headers['webhook-signature'];
  if (!id || !timestamp || !signatures || !/^\d+$/.test(timestamp)) return false;
  if (Math.abs(nowSeconds - Number(timestamp)) > toleranceSeconds) return false;
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret);
  const right = Buffer.from(`v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`);
  // During a rotation there are two, parted by a blank. The text is compared, not what it decodes to: several texts decode to the same.
  return signatures.split(' ').some((one) => {
    const given = Buffer.from(one);
    return given.length === right.length && timingSafeEqual(given, right);
  });
}

/** Yours to write. Store the event and return; do the work later: an answer that takes longer than 15 s counts as a failure. */
function take(event, isLate) {
  console.log(JSON.stringify({ id: event.id, event: event.event, cursor: event.cursor, late: isLate }));
}

// A real receiver keeps both in its database, in the transaction that stores the event.
const seen = new Set();
const newest = new Map();

function receive(headers, body) {
  if (!isSigned(process.env.WEBHOOK_SECRET ?? '', headers, body)) return 401;
  const id = headers['webhook-id'];
  // The same id comes again when our answer got lost: say yes, and do nothing.
  if (seen.has(id)) return 200;
  const event = JSON.parse(body.toString('utf8'));
  const lane = event.session?.id ?? '';
  const last = newest.get(lane) ?? '';
  // Cursors have one length and sort as text. A late one must not overwrite a newer state.
  const isLate = event.cursor < last;
  take(event, isLate);
  seen.add(id);
  if (!isLate) newest.set(lane, event.cursor);
  return 200;
}

const server = createServer((request, response) => {
  const chunks = [];
  let size = 0;
  request.on('data', (chunk) => {
    size += chunk.length;
    if (size > maxBytes) request.destroy();
    else chunks.push(chunk);
  });
  request.on('end', () => {
    let status = 400;
    try {
      status = request.method === 'POST' ? receive(request.headers, Buffer.concat(chunks)) : 405;
    } catch (error) {
      console.error(`Not an event: ${error.message}`);
    }
    response.writeHead(status).end();
  });
});
server.listen(Number(process.env.PORT ?? 9000), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
