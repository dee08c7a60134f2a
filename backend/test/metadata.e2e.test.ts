import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { MessageResource } from '@chasqui/shared';
import { eventually, startStack, type Stack } from '../../bench/src/stack.js';
import { filesUnder, textsIn } from './support/files.js';

/**
 * The storage mode `metadata` with both real processes, real Chromium and the simulator: what was said, written under, attached and called
 * is in no file of the data folder, whichever process wrote it. Left out is the browser's own profile, which is WhatsApp Web's.
 */

const ana = '5511999990001';
const me = '5511988887777';
const marks = {
  said: 'SAID-out-1b7e',
  caption: 'CAPTION-out-2c8f',
  bytes: 'BYTES-out-3d9a',
  file: 'NAME-out-4e0b',
  received: 'SAID-in-5f1c',
  receivedCaption: 'CAPTION-in-6a2d',
  receivedBytes: 'BYTES-in-7b3e',
  person: 'PERSON-8c4f',
};
const png = (text: string): Buffer =>
  Buffer.concat([
    Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64'),
    Buffer.from(text),
  ]);
let stack: Stack;

beforeAll(async () => {
  stack = await startStack({ settings: { SEND_RATE_PER_MINUTE: '0', HEARTBEAT_SECONDS: '1', LOG_LEVEL: 'debug' } });
  await stack.simulator.client.createAccount({ phone: me, name: 'Shop' });
  await stack.simulator.client.createAccount({ phone: ana, name: marks.person, autoRead: true });
  await stack.api('POST', '/sessions', { name: 'bare', settings: { storage: 'metadata' } });
  await stack.api('POST', '/sessions/bare/connect');
  const { body } = await stack.api<{ qrText: string }>('GET', '/sessions/bare/qr');
  await stack.simulator.client.scan({ qr: body.data.qrText, phone: me });
  await eventually(
    'the session to be connected',
    async () => (await stack.api('GET', '/sessions/bare')).body.data['isConnected'] === true,
    60_000,
  );
}, 120_000);
afterAll(() => stack?.close(), 60_000);

const list = async (): Promise<MessageResource[]> =>
  (await stack.api<MessageResource[]>('GET', '/messages/list?limit=100')).body.data;
const everywhere = async (): Promise<string[]> =>
  textsIn(
    (await filesUnder(stack.dataDir)).filter((file) => !file.includes('/profiles/')),
    Object.values(marks),
  );

test('content that is sent or received leaves no trace in either process', async () => {
  const form = new FormData();
  form.set('recipient', ana);
  form.set('caption', marks.caption);
  form.set('file', new Blob([new Uint8Array(png(marks.bytes))], { type: 'image/png' }), `${marks.file}.png`);
  const sent = [
    await stack.api('POST', '/messages/send-text', { recipient: ana, message: marks.said }, { 'Idempotency-Key': 'one' }),
    await stack.api('POST', '/messages/send-media', form),
  ];
  expect(sent.map(({ status }) => status)).toEqual([200, 200]);
  const { client } = stack.simulator;
  await client.deliver({ from: ana, to: me, type: 'text', text: marks.received });
  await client.deliver({
    from: ana,
    to: me,
    type: 'image',
    caption: marks.receivedCaption,
    mimetype: 'image/png',
    base64: png(marks.receivedBytes).toString('base64'),
  });
  await eventually('two to be read, and two to be there', async () => {
    const messages = await list();
    return messages.filter(({ status }) => status === 'read').length === 2 && messages.length === 4;
  });
  // They were really said: the other phone has them, whole.
  const told = JSON.stringify(await client.received({ phone: ana }));
  for (const mark of [marks.said, marks.caption]) expect(told).toContain(mark);
  expect((await list()).map(({ text, content, contact }) => [text, content, contact?.name ?? null])).toEqual(
    Array.from({ length: 4 }, () => [null, null, null]),
  );
  expect(await everywhere()).toEqual([]);
  for (const part of ['backend', 'worker'] as const)
    for (const mark of Object.values(marks)) expect([part, stack.log(part).includes(mark)]).toEqual([part, false]);
}, 60_000);

test('the search itself finds the content of a session that stores everything', async () => {
  await stack.api('PUT', '/sessions/bare', { settings: { storage: 'full' } });
  await eventually('the worker to hear of it', async () => {
    const before = (await list()).length;
    await stack.simulator.client.deliver({ from: ana, to: me, type: 'text', text: marks.received });
    await eventually('it to arrive', async () => (await list()).length > before);
    return (await everywhere()).some((line) => line.startsWith(marks.received) && line.includes('worker.sqlite'));
  });
  expect((await everywhere()).some((line) => line.startsWith(marks.received) && line.includes('chasqui.sqlite'))).toBe(true);
}, 60_000);
