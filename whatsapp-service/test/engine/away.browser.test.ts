import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import {
  ana,
  eventOf,
  link,
  me,
  online,
  reserve,
  sendContent,
  setPatience,
  signal,
  startRig,
  text,
  until,
  type Rig,
} from './harness.js';

/** Content that arrives late, and changes while the session is offline, with the real library. */

setPatience(30_000);
let rig: Rig;
let session: EngineSession;
let signals: EngineSignal[];
beforeAll(async () => {
  rig = await startRig('2026-09');
  ({ session, signals } = await link(rig));
  await online(rig);
}, 60_000);
afterAll(() => rig?.close());

const deliver = (more: object) => rig.simulator.client.deliver({ from: ana, to: me, ...more } as never);
const messagesOf = (key: string) =>
  signals.flatMap((one) =>
    one.type === 'event' && one.event === 'message.observed' && one.payload.message.key === key ? [one.payload] : [],
  );

test('a message that is not decrypted is emitted at once, and again when its content has arrived', async () => {
  const { key } = await deliver({ type: 'text', text: 'readable in the end', sealed: 'recoverable' });
  const emitted = await until('both', () => (messagesOf(key).length > 1 ? messagesOf(key) : null));
  expect(emitted.map(({ message }) => message.content)).toMatchObject([
    { type: 'unknown', placeholder: 'undecrypted' },
    { type: 'text', message: 'readable in the end' },
  ]);
  expect(emitted[0]!.message).toMatchObject({ chat: { type: 'private' }, contact: { phone: `+${ana}` }, fromMe: false });
}, 60_000);

test('a message that stays undecrypted is asked for once, also when its sender repeats it', async () => {
  const { client } = rig.simulator;
  const lost = { type: 'text', text: 'never readable', sealed: 'lost' } as const;
  const { key } = await deliver(lost);
  await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
  const requests = async () => (await client.resendRequests({ phone: me })).filter((one) => one === key).length;
  await until('the request', async () => (await requests()) === 1);
  const { chat, whatsappId } = messagesOf(key)[0]!.message;
  await session.run('messages.delete', { whatsappId, chatId: chat.id, scope: 'me' }, 5_000);
  await deliver({ ...lost, key });
  await until('the repeated message', () => messagesOf(key).length > 1);
  // What is asked for later than this one, which is new, would come after its request.
  const { key: other } = await deliver(lost);
  await until('the request for the other', async () => (await client.resendRequests({ phone: me })).includes(other));
  expect(await requests()).toBe(1);
}, 60_000);

test('a video note, a product and a list’s reply arrive with their content', async () => {
  const raw = async (type: string, data: object) => {
    const { key } = await deliver({ type: 'raw', raw: { type, data } });
    return (await eventOf(signals, 'message.observed', ({ message }) => message.key === key)).payload.message.content;
  };
  expect(await raw('ptv', { body: '/9j/4AAQ', directPath: '/x', mimetype: 'video/mp4' })).toMatchObject({
    type: 'video',
    videoNote: true,
  });
  expect(await raw('product', { body: '/9j/4AAQ', title: 'Shoes', productId: '1' })).toMatchObject({
    type: 'product',
    title: 'Shoes',
  });
  const answer = { body: 'Row', listResponse: { title: 'Row', singleSelectReply: { selectedRowId: 'r1' } } };
  expect(await raw('list_response', answer)).toMatchObject({ type: 'text', selectedOption: { id: 'r1' } });
}, 60_000);

test('edits, deletions, reactions, stars and pins of the time away are found by the scan at the return', async () => {
  const { client } = rig.simulator;
  const keys: Record<string, string> = {};
  for (const name of ['edited', 'revoked', 'liked', 'unliked', 'starred', 'pinned', 'pinned before', 'untouched']) {
    keys[name] = (await deliver({ type: 'text', text: name, t: Math.floor(Date.now() / 1_000) - 7_200 })).key;
    await eventOf(signals, 'message.observed', ({ message }) => message.key === keys[name]);
  }
  await client.react({ phone: me, key: keys['unliked']!, emoji: '👍' });
  await client.pin({ phone: ana, key: keys['pinned before']!, seconds: 86_400 });
  const markedKeys = () =>
    signals.flatMap((one) => (one.type === 'event' && one.event === 'message.marked' ? [one.payload] : []));
  await until('the pin', () => markedKeys().some(({ key }) => key === keys['pinned before']));
  await session.close();
  await client.edit({ phone: ana, key: keys['edited']!, text: 'edited meanwhile' });
  await client.revoke({ phone: ana, key: keys['revoked']! });
  await client.react({ phone: ana, key: keys['liked']!, emoji: '❤️' });
  await client.react({ phone: me, key: keys['unliked']!, emoji: '' });
  await client.star({ phone: me, key: keys['starred']!, on: true });
  await client.pin({ phone: ana, key: keys['pinned']!, seconds: 604_800 });
  const { key: missed } = await deliver({ type: 'text', text: 'missed' });

  ({ session, signals } = await rig.launch());
  await signal(signals, 'ready');
  const since = new Date(Date.now() - 3_600_000);
  const compareSince = new Date(Date.now() - 86_400_000);
  await session.backfill({ since, compareSince, perChat: 1_000, watched: [keys['unliked']!] });
  const compared = (name: string) =>
    messagesOf(keys[name]!)
      .filter(({ origin }) => origin === 'compare')
      .map(({ message }) => message);
  expect(compared('edited')).toMatchObject([{ content: { message: 'edited meanwhile' }, editedAt: expect.any(String) }]);
  expect(compared('revoked')).toMatchObject([{ revokedAt: expect.any(String) }]);
  expect(compared('liked')).toMatchObject([{ reactions: [{ emoji: '❤️', contact: { phone: `+${ana}` } }] }]);
  expect(compared('unliked')).toMatchObject([{ reactions: [] }]);
  expect(compared('starred')).toMatchObject([{ starred: true }]);
  expect(compared('untouched')).toEqual([]);
  const pin = await until('the pin', () => markedKeys().find(({ key }) => key === keys['pinned']));
  expect(Math.abs(Date.parse(String(pin.pinnedUntil)) - Date.now() - 604_800_000)).toBeLessThan(60_000);
  expect(messagesOf(missed).map(({ origin }) => origin)).toContain('backfill');
}, 90_000);

test('a file is that of the requested message, never of another one with the same key', async () => {
  const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
  const { key } = await deliver({ type: 'image', base64: png, mimetype: 'image/png' });
  const { payload } = await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
  const { lid } = payload.message.contact!;
  const bytesOf = (id: string) =>
    session.downloadMedia(id, 5_000).then(async ({ bytes }) => (await buffer(bytes)).toString('base64'));
  expect([await bytesOf(`false_${ana}@c.us_${key}`), await bytesOf(`false_${lid}_${key}`)]).toEqual([png, png]);
  for (const other of [`true_${ana}@c.us_${key}`, `false_120363041111111111@g.us_${key}_5511999990009@c.us`])
    await expect(bytesOf(other)).rejects.toMatchObject({ code: 'MEDIA_NOT_FOUND' });
}, 30_000);

test('a deletion that the page shows under a key of its own is of the deleted message, live and after a time away', async () => {
  const { client } = rig.simulator;
  const t = Math.floor(Date.now() / 1_000) - 60;
  const [live, away] = [
    (await deliver({ type: 'text', text: 'one', t })).key,
    (await deliver({ type: 'text', text: 'two', t })).key,
  ];
  await until('both', () => messagesOf(live).length > 0 && messagesOf(away).length > 0);
  await client.revoke({ phone: ana, key: live, ownKey: true });
  const { payload } = await eventOf(signals, 'message.revoked', ({ key }) => key === live);
  expect(payload.whatsappId).toBe(`false_${ana}@c.us_${live}`);

  await session.close();
  await client.revoke({ phone: ana, key: away, ownKey: true });
  ({ session, signals } = await rig.launch());
  await signal(signals, 'ready');
  await session.backfill({ since: new Date(Date.now() - 3_600_000), perChat: 1_000 });
  for (const key of [live, away]) expect(messagesOf(key).map(({ message }) => message.revokedAt)).toEqual([expect.any(String)]);
}, 90_000);

test('a message that was loaded undecrypted from the history is completed when its content comes', async () => {
  await session.close();
  const { key } = await deliver({ type: 'text', text: 'later', sealed: 'recoverable' });
  ({ session, signals } = await rig.launch());
  await signal(signals, 'ready');
  await session.backfill({ since: new Date(Date.now() - 3_600_000), perChat: 1_000 });
  await until('the placeholder', () => messagesOf(key)[0]);
  await rig.simulator.client.decipher({ phone: me, key });
  const emitted = await until('its content', () => messagesOf(key)[1]);
  expect([messagesOf(key)[0]!.message.content, emitted.message.content]).toMatchObject([
    { type: 'unknown', placeholder: 'undecrypted' },
    { type: 'text', message: 'later' },
  ]);
}, 90_000);

test('the history of stories is not read, neither by the scan at the return nor to look up a story', async () => {
  const { client } = rig.simulator;
  const status = 'status@broadcast';
  expect((await sendContent(session, text('open today'), { recipient: status })).outcome).toMatchObject({ outcome: 'sent' });
  await session.close();
  const { key } = await deliver({ type: 'text', text: 'meanwhile' });
  const before = (await client.historyReads({ phone: me })).length;
  ({ session, signals } = await rig.launch());
  await signal(signals, 'ready');
  await session.backfill({ since: new Date(Date.now() - 3_600_000), perChat: 1_000 });
  await session.run('session.lookup', { reservedId: reserve(), chatId: status, since: null }, 10_000);
  expect(messagesOf(key).map(({ origin }) => origin)).toContain('backfill');
  await session.run('history.messages', { chatId: `${ana}@c.us`, limit: 100 }, 10_000);
  const read = (await client.historyReads({ phone: me })).slice(before);
  expect(read).toContain(`${ana}@c.us`);
  expect(read).not.toContain(status);
}, 90_000);
