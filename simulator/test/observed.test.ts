import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  observedMessage,
  storableId,
  storableText,
  workerEvents,
  type MessageResource,
  type ObservedMessage,
  type OutletEvent,
} from '@chasqui/shared';
import fc from 'fast-check';
import { observeAny } from '../../whatsapp-service/src/engine/wwebjs/translate.js';
import { Message } from '../../backend/src/messages/message.entity.js';
import { databases } from '../../backend/test/support/backend.js';
import { ana, startCore, type Core } from '../../backend/test/support/core.js';

/** What WhatsApp delivers is recorded, once, whatever it is: through the worker's translation and the inbox, on both databases. */

const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    undefined,
    0,
    -1,
    1.5,
    NaN,
    Infinity,
    2 ** 60,
    true,
    [],
    {},
    '',
    '\0',
    'a\0b',
    '\ud800',
    '\udc00x',
  ),
  fc.constantFrom<unknown>('x'.repeat(70_000), '\ud83d\ude00'.repeat(40_000), '漢'.repeat(66_000), { _serialized: 7 }, [null, 1]),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.jsonValue(),
);
const now = Date.now();
const time = fc.oneof(
  fc.constantFrom<unknown>(now / 1e3, now, now * 1e3, now * 1e6, -now, 0, 253_402_300_800, 1e300, String(now), undefined),
  odd,
);
const kinds = [
  ...[
    'chat',
    'image',
    'video',
    'ptv',
    'audio',
    'ptt',
    'document',
    'sticker',
    'location',
    'live_location',
    'vcard',
    'multi_vcard',
  ],
  ...['poll_creation', 'groups_v4_invite', 'event_creation', 'scheduled_event_creation', 'buttons_response', 'list_response'],
  ...['template_button_reply', 'interactive_response', 'list', 'buttons', 'interactive', 'hsm', 'template', 'product', 'order'],
  ...['payment', 'album', 'ciphertext', 'e2e_notification', 'gp2', 'call_log', 'protocol', 'revoked', 'reaction', 'hologram'],
];
const fieldNames = [
  ...['body', 'caption', 'mimetype', 'filename', 'filehash', 'size', 'width', 'height', 'duration', 'directPath', 'loc', 'lat'],
  ...[
    'lng',
    'isLive',
    'comment',
    'vcardFormattedName',
    'vcardList',
    'pollName',
    'pollOptions',
    'inviteGrp',
    'inviteGrpName',
    'title',
  ],
  ...[
    'productId',
    'orderId',
    'orderTitle',
    'itemCount',
    'listResponse',
    'selectedButtonId',
    'selectedId',
    'eventName',
    'recipients',
  ],
  ...[
    'eventStartTime',
    'eventLocation',
    'list',
    'hydratedButtons',
    'dynamicReplyButtons',
    'priceAmount1000',
    'currencyCode',
    'ack',
  ],
  ...['paymentNoteMsg', 'notifyName', 'author', 'from', 'to', 'mentionedJidList', 'quotedStanzaID', 'isForwarded', 'isViewOnce'],
  ...['subtype', 'latestEditSenderTimestampMs', 'expectedImageCount', 'isDynamicReplyButtonsMsg', 'chasquiReactions'],
];
const fields = fc.dictionary(fc.constantFrom(...fieldNames), odd, { maxKeys: 8, noNullPrototype: true });
const keyPart = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('A', 'B', 'C').chain((letter) => fc.nat(1e9).map((n) => `3A${letter}${n}`)) },
  { weight: 1, arbitrary: odd },
);
const raw = fc
  .record({
    fields,
    key: keyPart,
    fromMe: odd,
    remote: fc.oneof(fc.constant(`${ana}@c.us`), odd),
    type: fc.constantFrom(...kinds),
    t: time,
  })
  .chain((one) => fc.oneof({ weight: 5, arbitrary: fc.constant(one.type as unknown) }, odd).map((type) => ({ ...one, type })))
  .map(({ fields: more, key, fromMe, remote, type, t }, index = 0) => ({
    ...more,
    id: { fromMe, remote, id: key, index },
    type,
    t,
  }));
const bare = (id: string) => ({ id, phone: null, lid: null, name: null });
const translated = (given: Record<string, unknown>): ObservedMessage => observeAny(given, bare, () => null).message;
describe('the schema of observed messages', () => {
  test('accepts any input, and accepts its own output unchanged', () => {
    fc.assert(
      fc.property(fc.oneof(raw.map(translated), odd, fc.dictionary(fc.string(), odd)), (given) => {
        const first = observedMessage.parse(given);
        expect(first.key).toMatch(/^[\x21-\x7e]{1,80}$/);
        expect(JSON.stringify(first)).not.toMatch(/\\u0000|\\ud[89a-f]/i);
        expect(observedMessage.parse(JSON.parse(JSON.stringify(first)))).toEqual(JSON.parse(JSON.stringify(first)));
      }),
      { numRuns: 300 },
    );
  });

  test('no schema of an observed event refuses its content', () => {
    const types = [
      'message.observed',
      'message.ack',
      'message.edited',
      'message.revoked',
      'message.reaction',
      'poll.vote',
    ] as const;
    fc.assert(
      fc.property(
        fc.constantFrom(...types),
        fc.dictionary(fc.constantFrom('message', 'key', 'whatsappId', 'chat', 'at', 'ack', 'text', 'contact', 'options'), odd),
        (type, payload) => expect(workerEvents[type].safeParse(payload).success).toBe(true),
      ),
      { numRuns: 300 },
    );
  });

  test('an id that is too long keeps the part that distinguishes it from others', () => {
    const long = 'x'.repeat(500);
    expect([storableId(long, 80).length, storableId('short', 80)]).toEqual([80, 'short']);
    expect(storableId(`${long}a`, 80)).not.toBe(storableId(`${long}b`, 80));
    expect(storableText('a\0b\ud800c\ud83d\ude00')).toBe('ab\ufffdc\ud83d\ude00');
  });
});

describe.each(await databases())('arbitrary observed messages on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());
  const rows = () => core.rig.database.reader.getRepository(Message).countBy({ sessionId: core.sessionId });

  /** Posts until all are acknowledged: on a slow machine one transaction ends before the whole batch. Returns the refusals. */
  async function postAll(batch: OutletEvent[]): Promise<{ id: string; code: string }[]> {
    const { refused, ackCursor } = await core.worker.post(batch);
    const rest = batch.filter(({ cursor }) => cursor > ackCursor);
    expect(rest.length).toBeLessThan(batch.length);
    return rest.length === 0 ? refused : [...refused, ...(await postAll(rest))];
  }

  test('each is a row, once, also beside events that are broken and when the batch comes twice', async () => {
    // Two messages under one key may be one (arrivals.test.ts has those cases); here each has a key of its own.
    const keys = new Set<string>();
    const isFirst = ({ key }: ObservedMessage): boolean => keys.size < keys.add(key).size;
    await fc.assert(
      fc.asyncProperty(fc.array(raw, { minLength: 1, maxLength: 20 }), fc.infiniteStream(fc.nat(5)), async (raws, broken) => {
        const before = await rows();
        const messages = raws.map(translated).filter(isFirst);
        if (messages.length === 0) return;
        const batch: OutletEvent[] = messages.flatMap((message) => {
          const event = core.worker.queue(core.sessionId, 'message.observed', { message, origin: 'live' });
          if (broken.next().value !== 0) return [event];
          const bad = core.worker.queue(core.sessionId, 'session.recycled', { reason: 'x', memoryMb: 1 });
          return [event, { ...bad, payload: { reason: 7 } }];
        });
        const refused = await postAll(batch);
        await core.worker.post(batch);
        const bad = batch.filter(({ type }) => type === 'session.recycled').map(({ id }) => ({ id, code: 'VALIDATION_FAILED' }));
        expect(refused).toEqual(bad);
        expect((await rows()) - before).toBe(messages.length);
      }),
      { numRuns: 15, interruptAfterTimeLimit: 60_000 },
    );
    const listed = (await core.get('/messages?limit=200')).body.data as MessageResource[];
    expect(listed.length).toBeGreaterThan(0);
    for (const { text } of listed) expect(text ?? '').not.toMatch(/\0/);
  });
});
