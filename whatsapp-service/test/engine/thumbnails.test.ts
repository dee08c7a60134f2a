import { EventEmitter } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import { withoutContent, type Contact } from '@chasqui/shared';
import type { EngineSignal } from '../../src/engine/engine.js';
import type { LibraryClient } from '../../src/engine/wwebjs/library.js';
import { listen } from '../../src/engine/wwebjs/listen.js';
import { observeAll } from '../../src/engine/wwebjs/operations/observed.js';
import { contentOf, observe, type RawMessage } from '../../src/engine/wwebjs/translate.js';

/** Which messages of the page have a thumbnail. The page stores it where a text has its text. */

const jpeg = `/9j/4AAQSkZJRgABAQAAAQABAAD/${'A'.repeat(400)}`;
const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const identify = (id: string): Contact => ({ id, phone: null, lid: null, name: null });
const message = (more: RawMessage): RawMessage => ({
  id: { fromMe: false, remote: '5511999990001@c.us', id: '3A01', _serialized: 'false_5511999990001@c.us_3A01' },
  t: 1_790_000_000,
  directPath: '/v/1',
  mimetype: 'image/jpeg',
  ...more,
});
const observed = (more: RawMessage) => observe(message(more), identify, () => null);
const repeated = (length: number): string => `/9j/${'A'.repeat(length - 4)}`;

describe('thumbnails', () => {
  test.each<[string, RawMessage, string]>([
    ['a picture', { type: 'image', body: jpeg }, jpeg],
    ['a video', { type: 'video', mimetype: 'video/mp4', body: jpeg }, jpeg],
    ['a video note', { type: 'ptv', mimetype: 'video/mp4', body: jpeg }, jpeg],
    ['a document', { type: 'document', mimetype: 'application/pdf', body: png }, png],
    ['the largest one', { type: 'image', body: repeated(87_380) }, repeated(87_380)],
  ])('%s has one, and its text is not the thumbnail', (_name, raw, thumbnail) => {
    const found = observed({ ...raw, caption: 'look' });
    expect(found).toMatchObject({ thumbnail, content: { caption: 'look' } });
    expect(JSON.stringify(found.content)).not.toContain(thumbnail.slice(0, 40));
  });

  test.each<[string, RawMessage]>([
    ['nothing', {}],
    ['null', { body: null }],
    ['a number', { body: 9 }],
    ['an object', { body: { data: jpeg } }],
    ['a caption', { body: 'Hello Ana' }],
    ['a page', { body: Buffer.from('<html><body>Hello</body></html>').toString('base64') }],
    ['a GIF', { body: 'R0lGODlhAQABAAAAACw=' }],
    ['broken base64', { body: `${jpeg}*` }],
    ['base64 without its end', { body: `${jpeg}A` }],
    ['base64 with a line break', { body: jpeg.replace('4AAQ', '4AA\n') }],
    ['more than 64 KiB', { body: repeated(87_384) }],
    ['millions of characters', { body: repeated(8_000_000) }],
    ['a picture to be seen once', { body: jpeg, isViewOnce: true }],
  ])('%s is no thumbnail, and the message is observed', (_name, raw) => {
    const found = observed({ type: 'image', ...raw });
    expect([found.key, found.thumbnail ?? null]).toEqual(['3A01', null]);
    expect(['image', 'unknown']).toContain(found.content.type);
  });

  test.each<[string, RawMessage]>([
    ['a text', { type: 'chat', directPath: null, body: jpeg }],
    ['a place', { type: 'location', directPath: null, lat: 1, lng: 2, body: jpeg }],
    ['a product', { type: 'product', directPath: null, body: jpeg }],
    ['a voice note', { type: 'ptt', mimetype: 'audio/ogg', body: jpeg }],
    ['a sticker', { type: 'sticker', mimetype: 'image/webp', body: png }],
    ['a deleted message', { type: 'revoked', body: jpeg }],
  ])('%s has none', (_name, raw) => {
    expect(observed(raw).thumbnail ?? null).toBeNull();
  });

  test('the content of a message does not depend on its thumbnail', () => {
    expect(contentOf(message({ type: 'image', body: jpeg }))).toEqual(contentOf(message({ type: 'image' })));
  });

  test('messages that are read on request come without thumbnails', async () => {
    const identities = { learn: async () => true, contact: identify, name: () => null };
    const found = await observeAll([message({ type: 'image', body: jpeg })], { identities: identities as never });
    expect(found).toMatchObject([{ key: '3A01', thumbnail: null }]);
  });

  test('a session that stores only metadata reports none', () => {
    const whole = { message: observed({ type: 'image', body: jpeg }), origin: 'live' as const };
    const { whatsappId, key, chat } = whole.message;
    const late = { whatsappId, key, chat, fromMe: false, at: new Date().toISOString(), thumbnail: jpeg };
    expect(JSON.stringify(whole)).toContain(jpeg);
    expect(JSON.stringify(withoutContent('message.observed', whole))).not.toContain(jpeg);
    expect(withoutContent('message.thumbnail', late)).toMatchObject({ key, thumbnail: null });
  });
});

describe('thumbnails that come apart from their message', () => {
  /** What is reported after these events of the library. `3A02` is the id of a message that is being sent. */
  async function reportsOf(...events: [name: string, ...given: unknown[]][]): Promise<EngineSignal[]> {
    const client = new EventEmitter();
    const signals: EngineSignal[] = [];
    const { drained } = listen(client as unknown as LibraryClient, {
      identities: {
        learn: async () => true,
        refresh: async () => [],
        contact: identify,
        name: () => null,
        forget: () => undefined,
      },
      onSignal: (signal) => void signals.push(signal),
      presence: new Set<string>(),
      isOver: () => false,
      isInFlight: (key) => key === '3A02',
      lastReceipt: async () => null,
      onReady: async () => undefined,
      onGone: () => undefined,
      onUnreadable: (what, error) => {
        throw new Error(what, { cause: error });
      },
    });
    for (const [name, ...given] of events) client.emit(name, ...given);
    await drained();
    return signals;
  }
  const ours = { fromMe: true, remote: '5511999990001@c.us', id: '3A02', _serialized: 'true_5511999990001@c.us_3A02' };
  const image = { type: 'image', caption: 'look' };

  test('of a message that is being sent only the thumbnail is reported', async () => {
    const reports = await reportsOf(
      ['message_create', { _data: message({ ...image, id: ours }) }],
      ['message_create', { _data: message({ ...image, id: ours, body: jpeg, isViewOnce: true }) }],
      ['message_create', { _data: message({ ...image, id: ours, body: jpeg }) }],
    );
    expect(reports).toMatchObject([
      { event: 'message.thumbnail', payload: { key: '3A02', fromMe: true, whatsappId: ours._serialized, thumbnail: jpeg } },
    ]);
  });

  test('one that the page shows later is reported, and is no edit; other changes of a body are as before', async () => {
    const reports = await reportsOf(
      ['message_edit', { _data: message({ ...image, body: jpeg }) }, jpeg, undefined],
      ['message_edit', { _data: message({ ...image, body: 'x' }) }, 'x', undefined],
      ['message_edit', { _data: message({ ...image, caption: 'new' }) }, 'new', 'look'],
      ['message_edit', { _data: message({ type: 'chat', directPath: null, body: jpeg }) }, jpeg, 'before'],
    );
    expect(reports.map((report) => report.type === 'event' && report.event)).toEqual([
      'message.thumbnail',
      'message.edited',
      'message.edited',
    ]);
    expect(reports[0]).toMatchObject({ payload: { key: '3A01', thumbnail: jpeg } });
  });
});
