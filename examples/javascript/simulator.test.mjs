/**
 * Tests a program against the gateway and the simulated WhatsApp of `npm run demo`. Node 20 or newer, nothing to install. The demo prints both
 * addresses and the key.
 *
 *   CHASQUI=http://localhost:8000/api/v1 KEY=chq_… SIMULATOR=http://127.0.0.1:40123 node --test simulator.test.mjs
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';

const base = process.env.CHASQUI ?? 'http://localhost:8000/api/v1';
/** Numbers of this test alone: the shop whose session is linked, and two customers. */
const shop = '5511900000001';
const ana = '5511900000002';
const unregistered = '99912345678'; // Numbers that begin with 999 are not on WhatsApp.

async function call(method, path, body) {
  const answer = await fetch(base + path, {
    method,
    headers: { Authorization: `ApiKey ${process.env.KEY}`, ...(body ? { 'Content-Type': 'application/json' } : {}) },
    body: body && JSON.stringify(body),
  });
  return { status: answer.status, ...(await answer.json()) };
}

/** One operation of the simulator's control API; `GET /api` at its address lists them. Throws its error message. */
async function simulator(operation, input = {}) {
  const answer = await fetch(`${process.env.SIMULATOR}/api/${operation}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(input),
  });
  const { result, error } = await answer.json();
  if (!answer.ok) throw new Error(`${operation}: ${error}`);
  return result;
}

async function until(what, probe, ms = 30_000) {
  for (const end = Date.now() + ms; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const found = await probe();
    if (found) return found;
  }
  throw new Error(`${what} did not come within ${ms} ms`);
}

before(async () => {
  await simulator('createAccount', { phone: shop, name: 'Shop' });
  await simulator('createAccount', { phone: ana, name: 'Ana' });
  const { data } = await call('GET', '/sessions/status');
  if (data?.isConnected) return;
  await call('POST', '/sessions/init');
  const { qrText } = await until('a QR code', async () => (await call('GET', '/sessions/current/qr')).data);
  await simulator('scan', { qr: qrText, phone: shop });
  await until('the connection', async () => (await call('GET', '/sessions/status')).data?.isConnected);
});

test('a message of ours arrives on the other phone', async () => {
  const { data } = await call('POST', '/messages/send-text', { recipient: ana, message: 'Your order is ready.' });
  const received = await until('the message', async () =>
    (await simulator('received', { phone: ana })).find(({ text }) => text === 'Your order is ready.'),
  );
  assert.ok(data.whatsappId.includes(received.key));
});

test('a message of a customer is an event', async () => {
  const after = (await call('GET', '/events?limit=1')).meta.latestCursor;
  const { data } = await call('GET', '/sessions/status');
  await simulator('deliver', { from: ana, to: data.phoneNumber, type: 'text', text: 'When do you open?' });
  const event = await until('the event', async () =>
    (await call('GET', `/events?after=${after}&types=message.received&wait=5`)).data.find(
      (one) => one.data.text === 'When do you open?',
    ),
  );
  assert.equal(event.data.contact.phone, `+${ana}`);
});

test('a number that is not on WhatsApp fails with its reason', async () => {
  const { status, error } = await call('POST', '/messages/send-text', { recipient: `${unregistered}@c.us`, message: 'Hello?' });
  assert.deepEqual([status, error.details.reason], [502, 'RECIPIENT_NOT_ON_WHATSAPP']);
});

test('when WhatsApp does not answer, the outcome is unknown and never called a failure', async () => {
  await simulator('fault', { op: 'send', mode: 'dropReply', count: 1 });
  const { data } = await call('POST', '/messages/send-text', { recipient: ana, message: 'Did this arrive?', async: true });
  const settled = await until('the outcome', async () => {
    const { status } = (await call('GET', `/messages/${data.id}`)).data;
    return ['sent', 'delivered', 'read', 'failed', 'uncertain'].includes(status) && status;
  });
  assert.notEqual(settled, 'failed');
  await simulator('clearFaults');
});
