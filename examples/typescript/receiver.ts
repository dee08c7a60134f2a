/**
 * A webhook receiver in TypeScript, for Node 20 or newer and nothing but its own modules.
 *
 *   WEBHOOK_SECRET=whsec_… PORT=9000 npx tsx receiver.ts
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';

interface WebhookEvent {
  id: string;
  event: string;
  cursor: string;
  session: { id: string; name: string } | null;
  data: Record<string, unknown>;
  timestamp: string;
}

const toleranceSeconds = 5 * 60;
const maxBytes = 2 * 1024 * 1024;
const secret = process.env['WEBHOOK_SECRET'] ?? '';
const one = (header: string | string[] | undefined): string => (Array.isArray(header) ? (header[0] ?? '') : (header ?? ''));

/** Whether the signature is right and fresh. `body`: the bytes as they came, not JSON that was parsed and written again. */
export function isSigned(headers: IncomingHttpHeaders, body: Buffer, nowSeconds = Date.now() / 1000): boolean {
  const id = one(headers['webhook-id']);
  const timestamp = one(headers['webhook-timestamp']);
  if (id === '' || !/^\d+$/.test(timestamp)) return false;
  if (Math.abs(nowSeconds - Number(timestamp)) > toleranceSeconds) return false;
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret);
  const right = Buffer.from(`v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`);
  // Two signatures, parted by a blank, while the secret is being rotated.
  return one(headers['webhook-signature'])
    .split(' ')
    .map((text) => Buffer.from(text))
    .some((given) => given.length === right.length && timingSafeEqual(given, right));
}

/** Yours to write. Store the event and return; do the work later. */
function take(event: WebhookEvent, isLate: boolean): void {
  console.log(JSON.stringify({ id: event.id, event: event.event, cursor: event.cursor, late: isLate }));
}

// A real receiver keeps both in its database, in the transaction that stores the event.
const seen = new Set<string>();
const newest = new Map<string, string>();

function receive(headers: IncomingHttpHeaders, body: Buffer): number {
  if (!isSigned(headers, body)) return 401;
  const id = one(headers['webhook-id']);
  // The same id comes again when our answer got lost: say yes, and do nothing.
  if (seen.has(id)) return 200;
  const event = JSON.parse(body.toString('utf8')) as WebhookEvent;
  const lane = event.session?.id ?? '';
  // Cursors have one length and sort as text. A late event must not overwrite a newer state.
  const isLate = event.cursor < (newest.get(lane) ?? '');
  take(event, isLate);
  seen.add(id);
  if (!isLate) newest.set(lane, event.cursor);
  return 200;
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  let size = 0;
  request.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > maxBytes) request.destroy();
    else chunks.push(chunk);
  });
  request.on('end', () => {
    let status = 400;
    try {
      status = request.method === 'POST' ? receive(request.headers, Buffer.concat(chunks)) : 405;
    } catch (error) {
      console.error('Not an event:', error);
    }
    response.writeHead(status).end();
  });
});
server.listen(Number(process.env['PORT'] ?? 9000), '127.0.0.1', () => {
  const address = server.address();
  console.log(`listening on ${typeof address === 'object' && address ? address.port : address}`);
});
