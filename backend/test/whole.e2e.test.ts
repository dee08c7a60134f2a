import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { eventually, startStack, type Stack } from '../../bench/src/stack.js';

/**
 * Both real processes, the unmodified whatsapp-web.js in real Chromium, the newest simulated build: one message, all the way.
 * The tests run in order and share one stack, because what comes later is what survives what came before.
 */

const ana = '5511999990001';
const me = '5511988887777';
/** Sent, or further by the time the answer is written: the other phone is quick. */
const left = expect.stringMatching(/^(sent|delivered)$/);
let stack: Stack;

interface MessageBody {
  id: string;
  status: string;
  direction: string;
  origin: string;
  type: string;
  text: string | null;
  whatsappId: string | null;
  reason: { code: string } | null;
  contact: { phone: string | null; lid: string | null } | null;
  content: { media?: { mimetype: string; size: number; sha256: string; thumbnailUrl: string | null } } | null;
}

const sendText = (message: string, headers: Record<string, string> = {}) =>
  stack.api<MessageBody>('POST', '/messages/send-text', { recipient: `+${ana}`, message }, headers);
const read = async (id: string): Promise<MessageBody> => (await stack.api<MessageBody>('GET', `/messages/${id}`)).body.data;
const list = async (query: string): Promise<MessageBody[]> =>
  (await stack.api<MessageBody[]>('GET', `/messages/list?${query}`)).body.data;
const connected = () =>
  eventually(
    'the session to be connected',
    async () => (await stack.api('GET', '/sessions/status')).body.data?.['isConnected'] === true,
    60_000,
  );
const statusOf = (id: string, status: string) =>
  eventually(`message to be ${status}`, async () => (await read(id)).status === status);

/** Returns the type and the bytes of a message's thumbnail, once it has one. */
async function thumbnailOf(id: string): Promise<[type: string | null, bytes: Buffer]> {
  const url = await eventually('a thumbnail', async () => (await read(id)).content?.media?.thumbnailUrl ?? null);
  const answer = await fetch(`${stack.urls.backend}${url}`, { headers: { authorization: `ApiKey ${stack.key()}` } });
  expect(answer.status).toBe(200);
  return [answer.headers.get('content-type'), Buffer.from(await answer.arrayBuffer())];
}

beforeAll(async () => {
  stack = await startStack({
    settings: {
      SEND_RATE_PER_MINUTE: '0',
      HEARTBEAT_SECONDS: '1',
      PROBE_SECONDS: '1',
      UNCERTAIN_GRACE_MS: '2000',
      LEASE_SECONDS: '5',
    },
  });
  await stack.simulator.client.createAccount({ phone: me, name: 'Shop' });
  await stack.simulator.client.createAccount({ phone: ana, name: 'Ana', autoRead: false });
}, 120_000);
afterAll(async () => {
  await stack?.close();
}, 60_000);

describe('linking', () => {
  test('before any phone is linked, a send is refused and nothing is stored', async () => {
    const answer = await sendText('too early');
    expect([answer.status, answer.body.error?.code]).toEqual([409, 'SESSION_NOT_CONNECTED']);
    expect(await list('direction=outbound')).toEqual([]);
  });

  test('init answers with a QR as PNG; two at once get the same one from one browser', async () => {
    const [one, two] = await Promise.all([stack.api('POST', '/sessions/init'), stack.api('POST', '/sessions/init')]);
    expect([one.status, two.status]).toEqual([200, 200]);
    expect(one.body.data).toMatchObject({
      status: 'qr_pending',
      isConnected: false,
      qrCode: expect.stringMatching(/^data:image\/png;base64,iVBOR/),
    });
    expect(two.body.data['sessionId']).toBe(one.body.data['sessionId']);
    const profiles = readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid))
      .map((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        } catch {
          return ''; // The process ended while we looked.
        }
      })
      .filter(
        (line) =>
          line.includes(stack.dataDir) &&
          line.includes('--user-data-dir') &&
          !line.includes('--type=') &&
          !line.startsWith('/bin/sh'),
      );
    expect(profiles).toHaveLength(1);
  });

  test('scanning the QR connects the session, and init then returns no QR', async () => {
    const { body } = await stack.api<{ qrText: string }>('GET', '/sessions/current/qr');
    await stack.simulator.client.scan({ qr: body.data.qrText, phone: me });
    await connected();
    const again = await stack.api('POST', '/sessions/init');
    expect([again.status, again.body.data]).toMatchObject([
      200,
      { status: 'connected', qrCode: null, phoneNumber: expect.stringContaining(me) },
    ]);
  });
});

describe('sending', () => {
  test('a text arrives once under the reserved id, and its acks move it to read', async () => {
    const answer = await sendText('Your order has been paid.');
    expect([answer.status, answer.body.data]).toMatchObject([200, { status: left, type: 'text', direction: 'outbound' }]);
    const key = answer.body.data.whatsappId!.split('_')[2];
    expect(key).toMatch(/^3EB0[0-9A-F]{18}$/);
    const received = await stack.simulator.client.received({ phone: ana });
    expect(received.filter((message) => message.key === key)).toHaveLength(1);
    await statusOf(answer.body.data.id, 'delivered');
    await stack.simulator.client.ack({ phone: ana, key: key!, ack: 3 });
    await statusOf(answer.body.data.id, 'read');
    const timeline = await stack.api<{ status: string }[]>('GET', `/messages/${answer.body.data.id}/timeline`);
    expect(timeline.body.data.map((entry) => entry.status)).toEqual(['queued', 'sending', 'sent', 'delivered', 'read']);
  });

  test('the same Idempotency-Key returns the first reply and sends nothing more', async () => {
    const first = await sendText('once', { 'Idempotency-Key': 'order-1' });
    const again = await sendText('once', { 'Idempotency-Key': 'order-1' });
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.body.data.id).toBe(first.body.data.id);
    expect((await sendText('other', { 'Idempotency-Key': 'order-1' })).body.error?.code).toBe('IDEMPOTENCY_KEY_REUSED');
    expect((await stack.simulator.client.received({ phone: ana })).filter((message) => message.text === 'once')).toHaveLength(1);
  });

  test.each([
    ['image', 'image/png', pngBytes(), 'photo.png'],
    ['document', 'application/pdf', Buffer.from('%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n'), 'invoice.pdf'],
    ['voice', 'audio/ogg', oggBytes(), 'note.ogg'],
  ])('a %s arrives byte for byte', async (type, mimetype, bytes, filename) => {
    const form = new FormData();
    form.set('recipient', ana);
    form.set('type', type);
    form.set('file', new Blob([new Uint8Array(bytes)], { type: mimetype }), filename);
    const answer = await stack.api<MessageBody>('POST', '/messages/send-media', form);
    expect([answer.status, answer.body.data ?? answer.body.error]).toMatchObject([200, { status: left, type }]);
    const key = answer.body.data.whatsappId!.split('_')[2];
    const arrived = (await stack.simulator.client.received({ phone: ana })).find((message) => message.key === key);
    expect(arrived?.mediaSha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  test('a sent picture has the thumbnail that WhatsApp Web made of it, a sent document has none', async () => {
    const [picture] = await list('direction=outbound&type=image');
    const [type, bytes] = await thumbnailOf(picture!.id);
    expect([type, bytes.subarray(0, 3).toString('hex')]).toEqual(['image/jpeg', 'ffd8ff']);
    const [document] = await list('direction=outbound&type=document');
    expect(document!.content?.media?.thumbnailUrl).toBeNull();
  });

  test('a message that WhatsApp refuses fails with a reason, and is never a success', async () => {
    const answer = await stack.api<MessageBody>('POST', '/messages/send-text', {
      recipient: '99900000001@c.us',
      message: 'nobody',
    });
    expect([answer.status, answer.body.error?.details]).toMatchObject([
      502,
      { reason: 'RECIPIENT_NOT_ON_WHATSAPP', retryable: false },
    ]);
  });
});

describe('receiving', () => {
  test('an answer and its picture are in the history', async () => {
    await stack.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'Thank you <b>!</b>' });
    const [text] = await eventually('the answer', async () =>
      (await list('direction=inbound&type=text')).length ? await list('direction=inbound&type=text') : null,
    );
    expect(text).toMatchObject({
      text: 'Thank you <b>!</b>',
      status: 'delivered',
      origin: 'live',
      contact: { phone: `+${ana}` },
    });

    await stack.simulator.client.deliver({
      from: ana,
      to: me,
      type: 'image',
      mimetype: 'image/png',
      base64: pngBytes().toString('base64'),
      caption: 'see',
      preview: pngBytes().toString('base64'),
    });
    const image = await eventually('the stored picture', async () =>
      (await list('direction=inbound&type=image')).find((message) => message.content?.media?.sha256),
    );
    // The message is told with the file's digest before the file itself is fetched from the worker.
    const file = await eventually('the file to be stored', async () => {
      const answer = await fetch(`${stack.urls.backend}/api/v1/messages/${image.id}/media`, {
        headers: { authorization: `ApiKey ${stack.key()}` },
      });
      return answer.status === 200 && answer;
    });
    expect(file.headers.get('x-content-type-options')).toBe('nosniff');
    expect(Buffer.from(await file.arrayBuffer()).equals(pngBytes())).toBe(true);
    const [type, bytes] = await thumbnailOf(image.id);
    expect([type, bytes.equals(pngBytes())]).toEqual(['image/png', true]);
  });
});

describe('when processes die', () => {
  test('after kill -9 of both, the session reconnects without a scan, history is complete, missed messages are ingested once, and sending works', async () => {
    const before = (await list('limit=200')).map((message) => message.id);
    await Promise.all([stack.end('worker', 'SIGKILL'), stack.end('backend', 'SIGKILL')]);
    await stack.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'while you were away' });
    await stack.start('backend');
    await stack.start('worker');
    await connected();
    const missed = await eventually('the missed message', async () => (await list('search=while you were away')).at(0));
    expect(missed).toMatchObject({ direction: 'inbound' });
    const after = (await list('limit=200')).map((message) => message.id);
    expect(before.filter((id) => !after.includes(id))).toEqual([]);
    expect(after).toHaveLength(before.length + 1);
    expect((await sendText('back again')).body.data).toMatchObject({ status: left });
  }, 120_000);

  test('the backend dies during sends: each arrives exactly once', async () => {
    const keys = Array.from({ length: 20 }, (_, number) => `crash-${number}`);
    const attempt = (key: string) => sendText(key, { 'Idempotency-Key': key }).catch(() => null);
    const running = keys.map((key, number) => new Promise((done) => setTimeout(() => void attempt(key).then(done), number * 20)));
    await new Promise((done) => setTimeout(done, 150));
    await stack.end('backend', 'SIGKILL');
    await Promise.all(running);
    await stack.start('backend');
    await connected();
    for (const key of keys)
      await eventually(`${key} to be accepted`, async () => [200, 202].includes((await attempt(key))?.status ?? 0));
    await eventually(
      'all to be sent',
      async () =>
        (await list('direction=outbound&search=crash-&limit=200')).every((message) =>
          ['sent', 'delivered', 'read'].includes(message.status),
        ),
      60_000,
    );
    const arrived = (await stack.simulator.client.received({ phone: ana })).filter((message) =>
      message.text?.startsWith('crash-'),
    );
    expect(arrived.map((message) => message.text).sort()).toEqual([...keys].sort());
  }, 180_000);
});

/** The smallest PNG: one pixel. */
function pngBytes(): Buffer {
  return Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
    'base64',
  );
}

/** An Ogg page with an Opus head: enough to be recognised as what it is. */
function oggBytes(): Buffer {
  const head = Buffer.concat([Buffer.from('OpusHead'), Buffer.from([1, 1, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0])]);
  const page = Buffer.alloc(28);
  page.write('OggS', 0);
  page[5] = 2;
  page[26] = 1;
  page[27] = head.length;
  return Buffer.concat([page, head]);
}
