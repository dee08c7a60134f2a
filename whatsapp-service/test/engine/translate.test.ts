import { describe, expect, test } from '@jest/globals';
import { observedContent } from '@chasqui/shared';
import { addSerialized } from '../../src/engine/wwebjs/bridge.js';
import {
  contentOf,
  isFromMe,
  keyOf,
  observe,
  personOf,
  whatsappIdOf,
  type RawMessage,
} from '../../src/engine/wwebjs/translate.js';

const id = (fromMe: boolean, remote: string, key: string, participant?: string) => ({
  fromMe,
  remote,
  id: key,
  _serialized: [fromMe, remote, key, ...(participant ? [participant] : [])].join('_'),
  ...(participant ? { participant: { _serialized: participant } } : {}),
});
const unnamed = (of: string) => ({ id: of, phone: null, lid: null, name: null });

describe('content', () => {
  test.each<[string, RawMessage, object]>([
    ['text', { type: 'chat', body: 'hello' }, { type: 'text', message: 'hello' }],
    [
      'image',
      { type: 'image', mimetype: 'image/jpeg; x=1', size: 10, caption: 'see', width: 1, height: 2 },
      { type: 'image', caption: 'see', media: { id: null, mimetype: 'image/jpeg', size: 10, width: 1, height: 2 } },
    ],
    [
      'voice',
      { type: 'ptt', mimetype: 'audio/ogg; codecs=opus', duration: '7' },
      { type: 'voice', media: { mimetype: 'audio/ogg', seconds: 7 } },
    ],
    [
      'document',
      { type: 'document', mimetype: 'application/pdf', filename: 'a.pdf' },
      { type: 'document', media: { filename: 'a.pdf' } },
    ],
    [
      'location',
      { type: 'location', lat: 1.5, lng: 2.5, loc: 'Here\nStreet' },
      { type: 'location', latitude: 1.5, longitude: 2.5, name: 'Here', address: 'Street' },
    ],
    [
      'card',
      { type: 'vcard', body: 'BEGIN:VCARD\nFN:Ana\nTEL;type=CELL:+55 11\nEND:VCARD' },
      { type: 'contact', contacts: [{ name: 'Ana', phone: '+55 11' }] },
    ],
    [
      'poll',
      { type: 'poll_creation', pollName: 'When?', pollOptions: [{ name: 'Now', localId: 0 }], pollSelectableOptionsCount: 0 },
      { type: 'poll', question: 'When?', options: ['Now'], multiple: true },
    ],
    ['a poll of up to three', { type: 'poll_creation', pollSelectableOptionsCount: 3 }, { type: 'poll', multiple: true }],
    ['a poll of one', { type: 'poll_creation', pollSelectableOptionsCount: 1 }, { type: 'poll', multiple: false }],
    [
      'an unknown type',
      { type: 'interactive_new', body: 'x' },
      { type: 'unknown', whatsappType: 'interactive_new', message: 'x' },
    ],
    ['a name of Object’s own', { type: 'constructor' }, { type: 'unknown', whatsappType: 'constructor' }],
    ['nothing at all', {}, { type: 'unknown', whatsappType: 'unknown' }],
  ])('%s', (_name, raw, expected) => {
    const content = contentOf(raw);
    expect(content).toMatchObject(expected);
    expect(observedContent.parse(content)).toMatchObject(expected);
  });
});

test('the writer of a group message is its author, of a private one the chat; our own in a group have none', () => {
  expect(personOf({ id: id(false, '120363041@g.us', 'A', '7770001@lid'), author: { _serialized: '7770001@lid' } })).toBe(
    '7770001@lid',
  );
  expect(personOf({ id: id(false, '5511@c.us', 'A') })).toBe('5511@c.us');
  expect(personOf({ id: id(true, '120363041@g.us', 'A') })).toBeNull();
});

describe('a deletion under a key of its own is about the message that it names', () => {
  const ana = '5511999990001@c.us';
  const group = '120363041@g.us';
  const revoked = (own: object, protocolMessageKey: unknown, more: object = {}): RawMessage => ({
    type: 'revoked',
    id: own,
    protocolMessageKey,
    ...more,
  });
  test.each<[string, RawMessage, string]>([
    ['a contact deletes', revoked(id(false, ana, 'DEL'), id(false, ana, 'OLD')), `false_${ana}_OLD`],
    ['we delete on the phone', revoked(id(true, ana, 'DEL'), id(true, ana, 'OLD')), `true_${ana}_OLD`],
    ['named by text', revoked(id(false, ana, 'DEL'), `false_${ana}_OLD`), `false_${ana}_OLD`],
    ['named by the person’s other form', revoked(id(false, ana, 'DEL'), id(false, '7770001@lid', 'OLD')), `false_${ana}_OLD`],
    ['a member deletes', revoked(id(false, group, 'DEL', '1@lid'), id(false, group, 'OLD', '1@lid')), `false_${group}_OLD_1@lid`],
    [
      'an admin deletes ours',
      revoked(id(false, group, 'DEL', '1@lid'), id(true, group, 'OLD', '2@lid')),
      `true_${group}_OLD_2@lid`,
    ],
    ['under the same key', revoked(id(false, ana, 'OLD'), id(false, ana, 'OLD')), `false_${ana}_OLD`],
    ['nothing is named', revoked(id(false, ana, 'OLD'), undefined), `false_${ana}_OLD`],
    ['garbage is named', revoked(id(false, ana, 'OLD'), { id: 7 }), `false_${ana}_OLD`],
    ['a contact names ours', revoked(id(false, ana, 'DEL'), id(true, ana, 'OLD')), `false_${ana}_DEL`],
    ['another chat is named', revoked(id(false, ana, 'DEL'), id(false, group, 'OLD', '1@lid')), `false_${ana}_DEL`],
    [
      'a message that is no deletion',
      { ...revoked(id(false, ana, 'NEW'), id(false, ana, 'OLD')), type: 'chat' },
      `false_${ana}_NEW`,
    ],
  ])('%s', (_name, raw, expected) => {
    const seen = observe(raw, unnamed, () => null);
    expect([seen.whatsappId, whatsappIdOf(raw)]).toEqual([expected, expected]);
    expect([seen.key, seen.fromMe, isFromMe(raw)]).toEqual([expected.split('_')[2], expected.startsWith('true'), seen.fromMe]);
  });

  test('the sender of a message that an admin deleted is the member, not the admin', () => {
    const raw = revoked(id(false, group, 'DEL', '9@lid'), id(false, group, 'OLD', '1@lid'), { author: '9@lid' });
    expect(personOf(raw)).toBe('1@lid');
  });
});

test('an id that crossed as text names chat, direction and key', () => {
  const seen = observe({ id: 'true_5511999990001@c.us_3A00', type: 'chat', body: 'x', from: 'me@c.us' }, unnamed, () => null);
  expect(seen).toMatchObject({ key: '3A00', fromMe: true, chat: { id: '5511999990001@c.us' } });
});

test('a message is compared by its key, however its chat is written', () => {
  const raw = {
    id: id(false, '5511999990001@c.us', '3A00'),
    type: 'chat',
    body: 'x',
    t: 1_700_000_000,
    from: '5511999990001@c.us',
    notifyName: 'Ana',
  };
  const seen = observe(raw, unnamed, () => null);
  expect([seen.key, keyOf({ id: id(false, '7770001@lid', '3A00') })]).toEqual(['3A00', '3A00']);
  expect(seen).toMatchObject({ timestamp: '2023-11-14T22:13:20.000Z', contact: { name: 'Ana' }, fromMe: false });
});

test('the bridge returns the serialized form of every id, from its parts, at any depth', () => {
  const crossed = {
    id: { fromMe: true, remote: { user: '5511', server: 'c.us', $1: '5511@c.us' }, id: 'A', $1: 'x' },
    list: [{ user: '7770001', server: 'lid' }],
    text: 'x',
  };
  expect(addSerialized(crossed)).toBe(true);
  expect(crossed).toMatchObject({
    id: { _serialized: 'true_5511@c.us_A', remote: { _serialized: '5511@c.us' } },
    list: [{ _serialized: '7770001@lid' }],
  });
  expect(addSerialized(crossed)).toBe(false);
});
