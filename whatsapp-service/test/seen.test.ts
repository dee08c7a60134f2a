import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { newId, observedMessage, type ObservedMessage, type WorkerEventPayload } from '@chasqui/shared';
import { systemClock } from '../src/clock.js';
import { createOutlet, type Outlet } from '../src/events/outlet.js';
import { openStore, type Store } from '../src/store.js';
import { createTestLog, createTestProblems } from './memory-engine.js';

/** What a worker emits of a message that it has emitted before. */

let dir: string;
let store: Store;
let outlet: Outlet;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-seen-'));
  store = openStore(join(dir, 'worker.sqlite'));
  const problems = createTestProblems();
  outlet = createOutlet({ store, clock: systemClock, log: createTestLog(), problems, newId: () => newId(), seenDays: 30 });
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true });
});

const chat = '5511999990001@c.us';
const message = (more: Partial<ObservedMessage> = {}): ObservedMessage =>
  observedMessage.parse({
    whatsappId: `false_${chat}_K`,
    key: 'K',
    fromMe: false,
    chat: { id: chat, name: null },
    content: { type: 'text', message: 'x' },
    ...more,
  });
type Origin = WorkerEventPayload<'message.observed'>['origin'];
/** Whether the event goes to the backend. */
function emitted(observed: ObservedMessage, origin: Origin): boolean {
  const before = outlet.pending();
  outlet.append('s', 1, { event: 'message.observed', payload: { message: observed, origin } });
  outlet.commit();
  return outlet.pending() > before;
}
const { whatsappId, key, fromMe, chat: inChat } = message();
const about = { whatsappId, key, fromMe, chat: inChat, at: new Date().toISOString() };
const like = [{ contact: { id: chat, phone: null, lid: null, name: null }, emoji: '👍', at: about.at }];

test('live and by backfill it is emitted once; requested by hand it is emitted again', () => {
  expect([emitted(message(), 'live'), emitted(message({ reactions: [] }), 'backfill'), emitted(message(), 'asked')]).toEqual([
    true,
    false,
    true,
  ]);
});

test('a second message with the same key, from another sender or in the other direction, is emitted as well', () => {
  emitted(message(), 'live');
  expect(emitted(message({ whatsappId: 'false_5511999990002@c.us_K' }), 'live')).toBe(true);
  expect(emitted(message({ whatsappId: `true_${chat}_K`, fromMe: true }), 'live')).toBe(true);
});

test.each<[string, Partial<ObservedMessage>]>([
  ['edited', { editedAt: about.at }],
  ['deleted', { revokedAt: about.at }],
  ['reacted to', { reactions: like }],
  ['starred', { starred: true }],
])('%s meanwhile, it is told again, once', (_name, more) => {
  emitted(message(), 'live');
  expect([emitted(message(more), 'compare'), emitted(message(more), 'compare'), emitted(message(more), 'backfill')]).toEqual([
    true,
    false,
    false,
  ]);
});

test('a placeholder and its content are emitted', () => {
  const empty = message({ content: { type: 'unknown', whatsappType: 'ciphertext', message: null, placeholder: 'undecrypted' } });
  expect([
    emitted(empty, 'live'),
    emitted(empty, 'backfill'),
    emitted(message(), 'live'),
    emitted(message(), 'backfill'),
  ]).toEqual([true, false, true, false]);
});

test.each<[string, ObservedMessage['content']]>([
  [
    'a message whose content is missing',
    { type: 'unknown', whatsappType: 'ciphertext', message: null, placeholder: 'undecrypted' },
  ],
  ['the same where only metadata is kept', { type: 'withheld', of: 'unknown' }],
])('%s is watched until its content was told', (_name, content) => {
  emitted(message({ content }), 'live');
  expect(outlet.watched('s', 0)).toEqual(['K']);
  expect([emitted(message(), 'compare'), emitted(message(), 'compare')]).toEqual([true, false]);
  expect(outlet.watched('s', 0)).toEqual([]);
});

test('an older message of which nothing is known is compared only when something hangs on it', () => {
  expect([emitted(message(), 'compare'), emitted(message({ reactions: like }), 'compare')]).toEqual([false, true]);
});

test('a star on a message with reactions is told too', () => {
  emitted(message({ reactions: like }), 'live');
  const starred = message({ reactions: like, starred: true });
  expect([emitted(starred, 'compare'), emitted(starred, 'compare')]).toEqual([true, false]);
});

test('a star that was emitted is watched, so that its removal is noticed; a pin is not', () => {
  emitted(message(), 'live');
  const mark = (more: object) => {
    outlet.append('s', 1, { event: 'message.marked', payload: { ...about, ...more } as never });
    outlet.commit();
  };
  mark({ pinnedUntil: about.at });
  expect(outlet.watched('s', 0)).toEqual([]);
  mark({ starred: true });
  expect(outlet.watched('s', 0)).toEqual(['K']);
  expect([emitted(message({ starred: true }), 'compare'), outlet.watched('s', 0)]).toEqual([true, ['K']]);
  expect([emitted(message(), 'compare'), emitted(message(), 'compare')]).toEqual([true, false]);
  expect(outlet.watched('s', 0)).toEqual([]);
});

test('a reaction that was emitted is watched, so that its removal is noticed', () => {
  emitted(message(), 'live');
  expect(outlet.watched('s', 0)).toEqual([]);
  outlet.append('s', 1, { event: 'message.reaction', payload: { ...about, contact: like[0]!.contact, emoji: '👍' } });
  outlet.commit();
  expect([outlet.watched('s', 0), outlet.watched('other', 0)]).toEqual([['K'], []]);
  expect(emitted(message({ reactions: [] }), 'compare')).toBe(true);
  expect([emitted(message({ reactions: [] }), 'compare'), outlet.watched('s', 0)]).toEqual([false, []]);
});

test('the stored record names no chat', () => {
  emitted(message({ reactions: like }), 'live');
  expect(JSON.stringify(store.prepare('SELECT * FROM seen_messages').all())).not.toContain('5511999990001');
});
