/* eslint-disable max-lines -- one stand-in client, and one block for each event */
import { EventEmitter } from 'node:events';
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { Contact } from '@chasqui/shared';
import fc from 'fast-check';
import type { Page } from 'puppeteer';
import type { EngineSignal } from '../../src/engine/engine.js';
import { createBackfill } from '../../src/engine/wwebjs/backfill.js';
import { DeadlineError } from '../../src/engine/wwebjs/deadline.js';
import { createEventQueue } from '../../src/engine/wwebjs/event-queue.js';
import { createIdentities, type Identities } from '../../src/engine/wwebjs/identities.js';
import type { LibraryClient } from '../../src/engine/wwebjs/library.js';
import { listen } from '../../src/engine/wwebjs/listen.js';

/** One bad item stops only itself: the event chain of a session, and the scan for missed messages. */

const ana = '5511999990001@c.us';
const key = (n: number): string => `3A${String(n).padStart(18, '0')}`;
const raw = (n: number, more: Record<string, unknown> = {}) => ({
  id: { fromMe: false, remote: ana, id: key(n), _serialized: `false_${ana}_${key(n)}` },
  from: ana,
  t: 1_790_000_000 + n,
  type: 'chat',
  body: `n ${n}`,
  ...more,
});

describe('the event queue', () => {
  const kinds = ['fine', 'prepare rejects', 'prepare throws', 'prepare says no', 'prepare hangs', 'emit throws'] as const;

  test('even if an event fails, later events are emitted, in order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...kinds), { minLength: 1, maxLength: 12 }), async (items) => {
        const out: number[] = [];
        const skipped: string[] = [];
        const queue = createEventQueue({
          isOver: () => false,
          prepareMs: 3,
          onSkipped: (what) => void skipped.push(what),
        });
        items.forEach((kind, index) =>
          queue.push(
            String(index),
            () => {
              if (kind === 'prepare throws') throw new Error('At once.');
              if (kind === 'prepare rejects') return Promise.reject(new Error('Later.'));
              if (kind === 'prepare hangs') return new Promise<boolean>(() => undefined);
              return Promise.resolve(kind !== 'prepare says no');
            },
            () => {
              if (kind === 'emit throws') throw new Error('Unreadable.');
              out.push(index);
            },
          ),
        );
        await queue.drained();
        const bad = items.flatMap((kind, index) => (kind === 'emit throws' ? [index] : []));
        expect(out).toEqual(items.map((_, index) => index).filter((index) => !bad.includes(index)));
        expect(skipped).toEqual(bad.map(String));
      }),
      { numRuns: 60 },
    );
  });

  test('a page that hangs delays the queue once, not once for each event', async () => {
    let asked = 0;
    let now = 0;
    const queue = createEventQueue({ isOver: () => false, prepareMs: 5, onSkipped: () => undefined, now: () => now });
    const out: number[] = [];
    const ask = (): Promise<boolean> => {
      asked += 1;
      return new Promise(() => undefined);
    };
    for (let n = 0; n < 50; n += 1) queue.push('x', ask, () => void out.push(n));
    await queue.drained();
    expect([asked, out.length]).toEqual([1, 50]);
    now = 10_000;
    queue.push('x', ask, () => void out.push(50));
    await queue.drained();
    expect([asked, out.length]).toEqual([2, 51]);
  });
});

const bare = (id: string): Contact => ({ id, phone: null, lid: null, name: null });

function rig(identities: Partial<Identities> = {}, isInFlight: (key: string) => boolean = () => false) {
  const client = new EventEmitter();
  const signals: EngineSignal[] = [];
  const unreadable: string[] = [];
  const listeners = listen(client as unknown as LibraryClient, {
    identities: {
      learn: async () => true,
      refresh: async () => [],
      contact: bare,
      name: () => null,
      forget: () => undefined,
      ...identities,
    },
    onSignal: (signal) => void signals.push(signal),
    presence: new Set<string>(),
    isOver: () => false,
    isInFlight,
    lastReceipt: async () => null,
    onReady: async () => undefined,
    onGone: () => undefined,
    onUnreadable: (what) => void unreadable.push(what),
  });
  const reportedEvents = (): string[] =>
    signals.flatMap((signal) => {
      if (signal.type !== 'event') return [];
      const { payload } = signal;
      const message = 'message' in payload ? payload.message : payload;
      return 'key' in message ? [`${signal.event} ${message.key}`] : [signal.event];
    });
  return { client, signals, unreadable, reportedEvents, ...listeners };
}

/** Everything that JSON can bring across the bridge, in the places where ids, lists and texts are expected. */
const anything = fc.oneof(fc.jsonValue(), fc.constantFrom(null, undefined, 0, '', [], {}, 1e300, -1, 'x'.repeat(5_000)));
const garbage = fc.oneof(
  anything,
  fc.record({
    id: fc.oneof(anything, fc.record({ id: anything, remote: anything, fromMe: anything, participant: anything })),
    type: fc.oneof(
      anything,
      fc.constantFrom('vcard', 'multi_vcard', 'location', 'image', 'poll_creation', 'groups_v4_invite', 'chat'),
    ),
    t: anything,
    body: anything,
    loc: anything,
    vcardList: anything,
    pollOptions: anything,
    mentionedJidList: anything,
    author: anything,
    duration: anything,
    mimetype: anything,
    filehash: anything,
    msgId: anything,
    senderId: anything,
    parentMsgKey: anything,
    voter: anything,
    selectedOptions: anything,
    chatId: anything,
    recipientIds: anything,
    timestamp: anything,
  }),
);
const events = [
  'message_create',
  'message_ack',
  'message_edit',
  'message_revoke_everyone',
  'message_reaction',
  'vote_update',
  'call',
  'group_join',
  'group_leave',
  'group_admin_changed',
  'group_update',
  'group_membership_request',
] as const;

describe('reports of the library about a session', () => {
  test('garbage in any event, at any position, loses no other event and changes no order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ at: fc.nat({ max: 9 }), event: fc.constantFrom(...events), given: garbage, more: anything }), {
          maxLength: 10,
        }),
        async (bad) => {
          const it = rig();
          for (let n = 0; n < 10; n += 1) {
            for (const { event, given, more } of bad.filter(({ at }) => at === n)) it.client.emit(event, given, more, more);
            it.client.emit('message_create', { _data: raw(n) });
            it.client.emit('message_ack', { _data: { ...raw(n), id: { ...raw(n).id, fromMe: true } } }, 2);
          }
          await it.drained();
          const expected = Array.from({ length: 10 }, (_, n) => [`message.observed ${key(n)}`, `message.ack ${key(n)}`]).flat();
          expect(it.reportedEvents().filter((line) => expected.includes(line))).toEqual(expected);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('our own message is left to the running send; a contact’s with the same key is emitted', async () => {
    const it = rig({}, (inFlight) => inFlight === key(1));
    it.client.emit('message_create', { _data: raw(1, { id: { ...raw(1).id, fromMe: true } }) });
    it.client.emit('message_create', { _data: raw(1) });
    await it.drained();
    expect(it.signals).toMatchObject([{ payload: { message: { key: key(1), fromMe: false } } }]);
  });

  test('a message that cannot be read is recorded as unknown under its key, and reported', async () => {
    const it = rig({
      contact: (id) => {
        if (id === '666@lid') throw new Error('Bug.');
        return bare(id);
      },
    });
    it.client.emit('message_create', { _data: raw(1) });
    it.client.emit('message_create', {
      _data: raw(2, { id: { fromMe: false, remote: '666@lid', id: key(2), _serialized: `false_666@lid_${key(2)}` } }),
    });
    it.client.emit('message_create', { _data: raw(3) });
    await it.drained();
    expect(it.reportedEvents()).toEqual([1, 2, 3].map((n) => `message.observed ${key(n)}`));
    expect(it.unreadable).toEqual(['message_create']);
    expect(it.signals[1]).toMatchObject({ payload: { message: { content: { type: 'unknown', whatsappType: 'unreadable' } } } });
  });

  test('a message without any key is distinguished from others by all its known fields', async () => {
    const it = rig();
    it.client.emit('message_create', { _data: { type: 'chat', body: 'x' } });
    it.client.emit('message_create', { _data: raw(1) });
    await it.drained();
    expect(it.reportedEvents()).toEqual([
      expect.stringMatching(/^message.observed ~[0-9a-f]{40}$/),
      `message.observed ${key(1)}`,
    ]);
    expect(it.unreadable).toEqual([]);
  });

  test('a receiver that throws for one event gets the next one', async () => {
    const got: string[] = [];
    const client = new EventEmitter();
    const { drained } = listen(client as unknown as LibraryClient, {
      identities: {
        learn: async () => true,
        refresh: async () => [],
        contact: bare,
        name: () => null,
        forget: () => undefined,
      },
      onSignal: (signal) => {
        const message = signal.type === 'event' && 'message' in signal.payload ? signal.payload.message : null;
        if (message?.key === key(1)) throw new Error('SQLITE_FULL');
        if (message) got.push(message.key);
      },
      isOver: () => false,
      isInFlight: () => false,
      presence: new Set<string>(),
      lastReceipt: async () => null,
      onReady: async () => undefined,
      onGone: () => undefined,
      onUnreadable: () => undefined,
    });
    for (let n = 0; n < 3; n += 1) client.emit('message_create', { _data: raw(n) });
    await drained();
    expect(got).toEqual([key(0), key(2)]);
  });
});

/** A page that answers calls with the values of the test. */
const pageOf = (calls: Record<string, (input: never) => unknown>): Page =>
  ({ evaluate: async (_run: unknown, name: string, input: never) => calls[name]!(input) }) as unknown as Page;

describe('the contact of an id', () => {
  test.each<[string, (input: never) => unknown]>([
    ['no list', () => 'no list'],
    ['a list of nothing', () => [null, 1, 'x', {}, { id: 5 }]],
    ['an error', () => Promise.reject(new Error('The page is gone.'))],
  ])('an answer that is %s leaves the names empty', async (_name, describePage) => {
    const identities = createIdentities(() => pageOf({ describe: describePage }));
    await expect(identities.learn([ana])).resolves.toBe(true);
    expect(identities.contact(ana)).toMatchObject({ id: ana, name: null });
  });

  test('a page that is closed is no error', async () => {
    const identities = createIdentities(() => {
      throw new Error('The browser of this session is closed.');
    });
    await expect(identities.learn([ana])).resolves.toBe(true);
  });

  describe('later changes', () => {
    const bea = '5511999990002@c.us';
    const lid = '184467440738@lid';
    let answers: Record<string, unknown>;
    let asked: string[];
    const people = (now: () => number = () => 0) =>
      createIdentities(
        () =>
          pageOf({
            describe: ({ ids }: { ids: string[] }) => {
              asked.push(...ids);
              return ids.map((id) => ({ id, lid: null, phone: null, name: null, isSaved: false, ...(answers[id] as object) }));
            },
          }),
        now,
      );
    beforeEach(() => {
      answers = { [bea]: { lid, phone: bea, name: 'Bea One' } };
      asked = [];
    });

    test('a name is read again after ten minutes, and not before', async () => {
      let now = 0;
      const identities = people(() => now);
      await identities.learn([bea]);
      answers = { [bea]: { lid, phone: bea, name: 'Bea Two' } };
      now = 599_000;
      await identities.learn([bea]);
      expect([asked.length, identities.name(bea)]).toEqual([1, 'Bea One']);
      now = 601_000;
      await identities.learn([bea]);
      expect([asked.length, identities.name(bea)]).toEqual([2, 'Bea Two']);
    });

    test('a change that the page reports is news once, and a stranger’s name is none', async () => {
      const identities = people();
      await identities.learn([bea]);
      expect(await identities.refresh([bea])).toEqual([]);
      answers = { [bea]: { lid, phone: bea, name: 'Bea Two' } };
      expect(await identities.refresh([bea])).toEqual([{ id: bea, phone: '+5511999990002', lid, name: 'Bea Two' }]);
      expect(await identities.refresh([bea])).toEqual([]);
      expect(identities.name(bea)).toBe('Bea Two');
      answers = { [ana]: { phone: ana, name: 'Ana', isSaved: false } };
      expect(await identities.refresh([ana])).toEqual([]);
      const cem = '5511999990003@c.us';
      answers = { [cem]: { phone: cem, name: 'Cem', isSaved: true } };
      expect(await identities.refresh([cem, '120363000000000001@g.us'])).toEqual([
        { id: cem, phone: '+5511999990003', lid: null, name: 'Cem' },
      ]);
      expect(asked).not.toContain('120363000000000001@g.us');
    });
  });

  test('a page that does not answer is reported', async () => {
    const identities = createIdentities(() => pageOf({ describe: () => Promise.reject(new DeadlineError('describe', 5)) }));
    await expect(identities.learn([ana])).resolves.toBe(false);
  });
});

describe('the scan for missed messages', () => {
  const identities: Identities = {
    learn: async () => true,
    contact: bare,
    name: () => null,
    forget: () => undefined,
    refresh: async () => [],
  };

  test('a chat or a message that fails, at any position, stops only itself and is counted', async () => {
    const part = fc.constantFrom(
      'fine',
      'chat fails',
      'message without a key',
      'receiver fails',
      'page leaves one out',
      'nonsense',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 8 }), fc.boolean(), async (parts, hasPins) => {
        const got: string[] = [];
        const unreadable: string[] = [];
        const page = pageOf({
          reportPins: () => {
            if (!hasPins) throw new Error('r: r');
          },
          chatsSince: () => parts.map((_, index) => `${index}@g.us`),
          messagesSince: ({ chatId }: { chatId: string }) => {
            const index = Number.parseInt(chatId, 10);
            if (parts[index] === 'chat fails') throw new Error('r: r');
            if (parts[index] === 'nonsense') return null;
            const messages = [raw(index * 10), raw(index * 10 + 1), raw(index * 10 + 2)] as unknown[];
            if (parts[index] === 'message without a key') messages[1] = { type: 'chat', from: `${index}@g.us` };
            return { messages, truncated: false, failed: parts[index] === 'page leaves one out' ? 1 : 0 };
          },
        });
        const scan = createBackfill(
          () => page,
          identities,
          (what) => void unreadable.push(what),
        );
        const result = await scan({ since: new Date(0), perChat: 100 }, (signal) => {
          if (signal.type !== 'event' || !('message' in signal.payload)) return;
          const { key: found } = signal.payload.message;
          const index = parts.findIndex((_, n) => found === key(n * 10 + 1));
          if (parts[index] === 'receiver fails') throw new Error('Full.');
          got.push(found);
        });
        const expected = parts.flatMap((kind, index) => {
          if (kind === 'chat fails' || kind === 'nonsense') return [];
          const without: unknown = expect.stringMatching(/^~[0-9a-f]{40}$/);
          const middle = kind === 'receiver fails' ? [] : [kind === 'message without a key' ? without : key(index * 10 + 1)];
          return [key(index * 10), ...middle, key(index * 10 + 2)];
        });
        expect(got).toEqual(expected);
        const incomplete = ['chat fails', 'receiver fails', 'page leaves one out', 'nonsense'];
        expect(result.failedChats).toBe(parts.filter((kind) => incomplete.includes(kind)).length);
        expect(result.chats).toBe(parts.length);
        expect(unreadable.filter((what) => what === 'pins')).toHaveLength(hasPins ? 0 : 1);
      }),
      { numRuns: 80 },
    );
  });

  test('a page that hangs ends the scan, which is repeated, and not each chat after its own deadline', async () => {
    let asked = 0;
    const page = pageOf({
      chatsSince: () => ['1@g.us', '2@g.us', '3@g.us'],
      messagesSince: () => {
        asked += 1;
        throw new DeadlineError('messagesSince', 30_000);
      },
    });
    const scan = createBackfill(
      () => page,
      identities,
      () => undefined,
    );
    await expect(scan({ since: new Date(0), perChat: 1 }, () => undefined)).rejects.toThrow(DeadlineError);
    expect(asked).toBe(1);
  });
});
