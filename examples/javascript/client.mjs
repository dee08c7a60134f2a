/**
 * Sends a text and reads the events that follow. Node 20 or newer, nothing to install.
 *
 *   CHASQUI=http://localhost:8000/api/v1 KEY=chq_… TO=5511999990001 node client.mjs
 */
const base = process.env.CHASQUI ?? 'http://localhost:8000/api/v1';

async function call(method, path, body, headers = {}) {
  const answer = await fetch(base + path, {
    method,
    // Longer than the longest wait of ours.
    signal: AbortSignal.timeout(40_000),
    headers: { Authorization: `ApiKey ${process.env.KEY}`, ...(body ? { 'Content-Type': 'application/json' } : {}), ...headers },
    body: body && JSON.stringify(body),
  });
  const reply = await answer.json();
  if (!reply.success) throw Object.assign(new Error(`${reply.error.code}: ${reply.error.message}`), reply.error);
  return reply;
}

// Where the log stands before we send: everything after it is ours to read.
let after = (await call('GET', '/events?limit=1')).meta.latestCursor;

// The same key again gives the same answer, never a second message. Take something of yours, such as an order's number.
const sent = await call(
  'POST',
  '/messages/send-text',
  { recipient: process.env.TO, message: 'Hello from JavaScript', queueIfOffline: true, async: true },
  { 'Idempotency-Key': process.env.ORDER ?? `order-${Date.now()}` },
);
console.log('accepted', sent.data.id, sent.data.status);

// Waits up to 20 s for the next events. Keep the cursor, and nothing is missed or seen twice, however long you were away.
for (let rounds = Number(process.env.ROUNDS ?? Infinity); rounds > 0; rounds -= 1) {
  const page = await call('GET', `/events?after=${after}&types=message.*&wait=20`);
  for (const event of page.data) console.log('event', event.cursor, event.type, event.data.id);
  after = page.meta.nextCursor;
}
