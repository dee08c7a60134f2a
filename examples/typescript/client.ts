/**
 * Sends a text and reads the events that follow. Node 20 or newer.
 *
 *   CHASQUI=http://localhost:8000/api/v1 KEY=chq_… TO=5511999990001 npx tsx client.ts
 */
interface Reply<T> {
  data: T;
  meta?: { nextCursor: string; latestCursor: string };
  requestId: string;
}
interface Message {
  id: string;
  status: string;
}
interface ChasquiEvent {
  cursor: string;
  type: string;
  session: { id: string; name: string } | null;
  data: Record<string, unknown>;
}

class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly requestId: string,
  ) {
    super(`${code}: ${message}`);
  }
}

const base = process.env['CHASQUI'] ?? 'http://localhost:8000/api/v1';

async function call<T>(method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<Reply<T>> {
  const answer = await fetch(base + path, {
    method,
    // Longer than the longest wait of ours.
    signal: AbortSignal.timeout(40_000),
    headers: {
      Authorization: `ApiKey ${process.env['KEY']}`,
      ...(body ? { 'Content-Type': 'application/json' } : {}),
      ...headers,
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const reply = (await answer.json()) as Reply<T> & { success: boolean; error?: { code: string; message: string } };
  if (reply.error) throw new Refused(reply.error.code, reply.error.message, reply.requestId);
  return reply;
}

async function main(): Promise<void> {
  // Where the log stands before we send: everything after it is ours to read.
  let after = (await call<ChasquiEvent[]>('GET', '/events?limit=1')).meta!.latestCursor;

  // The same key again gives the same answer, never a second message. Take something of yours, such as an order's number.
  const { data } = await call<Message>(
    'POST',
    '/messages/send-text',
    { recipient: process.env['TO'], message: 'Hello from TypeScript', queueIfOffline: true, async: true },
    { 'Idempotency-Key': process.env['ORDER'] ?? `order-${Date.now()}` },
  );
  console.log('accepted', data.id, data.status);

  // Waits up to 20 s for the next events. Keep the cursor, and nothing is missed or seen twice, however long you were away.
  for (let rounds = Number(process.env['ROUNDS'] ?? Infinity); rounds > 0; rounds -= 1) {
    const page = await call<ChasquiEvent[]>('GET', `/events?after=${after}&types=message.*&wait=20`);
    for (const event of page.data) console.log('event', event.cursor, event.type, event.data['id']);
    after = page.meta!.nextCursor;
  }
}

void main();
