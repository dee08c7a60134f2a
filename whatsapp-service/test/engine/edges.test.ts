import { describe, expect, test } from '@jest/globals';
import { observedMessage, type Contact, type ObservedContent } from '@chasqui/shared';
import { addSerialized } from '../../src/engine/wwebjs/bridge.js';
import { launchError } from '../../src/engine/wwebjs/launch-error.js';
import { chatIdOf, contentOf, isEdit, keyOf, observe, personOf } from '../../src/engine/wwebjs/translate.js';

const ana = '5511999990001@c.us';
const lid = '77305512345@lid';
const group = '120363000000000001@g.us';
const me = '5511988887777@c.us';

const identify = (id: string): Contact =>
  id === lid || id === ana
    ? { id: ana, phone: '+5511999990001', lid, name: 'Ana' }
    : { id, phone: null, lid: id.endsWith('@lid') ? id : null, name: null };
const nameOf = (id: string): string | null => (id === group ? 'Team' : null);

const wid = (id: string) => ({ user: id.split('@')[0], server: id.split('@')[1], _serialized: id });
const message = (more: Record<string, unknown>, from = ana) => ({
  id: { fromMe: false, remote: from, id: '3A0000000000000001', _serialized: `false_${from}_3A0000000000000001` },
  from: wid(from),
  to: wid(me),
  t: 1_790_000_000,
  ack: 1,
  ...more,
});

const file = { directPath: '/v/t62/1', mimetype: 'image/png', size: 70, filehash: Buffer.alloc(32, 1).toString('base64') };
const media = (more: object = {}) => ({
  id: null,
  mimetype: 'image/png',
  size: 70,
  filename: null,
  sha256: '01'.repeat(32),
  width: null,
  height: null,
  seconds: null,
  ...more,
});

describe('types of messages', () => {
  test.each<[string, Record<string, unknown>, ObservedContent]>([
    ['text', { type: 'chat', body: 'hello' }, { type: 'text', message: 'hello' }],
    [
      'image with a caption',
      { type: 'image', ...file, caption: 'look', width: 3, height: 4 },
      { type: 'image', media: media({ width: 3, height: 4 }), caption: 'look' },
    ],
    [
      'image to be seen once',
      { type: 'image', ...file, isViewOnce: true },
      { type: 'image', media: media(), caption: null, viewOnce: true },
    ],
    [
      'gif',
      { type: 'video', ...file, mimetype: 'video/mp4', isGif: true, duration: '7' },
      { type: 'video', media: media({ mimetype: 'video/mp4', seconds: 7 }), caption: null, gif: true },
    ],
    [
      'voice note',
      { type: 'ptt', ...file, mimetype: 'audio/ogg; codecs=opus', duration: 3 },
      { type: 'voice', media: media({ mimetype: 'audio/ogg', seconds: 3 }) },
    ],
    ['audio', { type: 'audio', ...file, mimetype: 'audio/mpeg' }, { type: 'audio', media: media({ mimetype: 'audio/mpeg' }) }],
    [
      'document without a hash that is one',
      { type: 'document', ...file, filename: 'a.pdf', filehash: 'short' },
      { type: 'document', media: media({ filename: 'a.pdf', sha256: null }), caption: null },
    ],
    ['sticker', { type: 'sticker', ...file }, { type: 'sticker', media: media() }],
    [
      'location',
      { type: 'location', lat: 1.5, lng: -2, loc: 'Here\nStreet 1' },
      { type: 'location', latitude: 1.5, longitude: -2, name: 'Here', address: 'Street 1' },
    ],
    [
      'contact card',
      { type: 'vcard', body: 'BEGIN:VCARD\nFN:Bruno\nTEL;type=CELL:+55 11 2\nEND:VCARD' },
      {
        type: 'contact',
        contacts: [{ name: 'Bruno', phone: '+55 11 2', vcard: 'BEGIN:VCARD\nFN:Bruno\nTEL;type=CELL:+55 11 2\nEND:VCARD' }],
      },
    ],
    [
      'poll',
      { type: 'poll_creation', pollName: 'When?', pollOptions: [{ name: 'a', localId: 0 }], pollSelectableOptionsCount: 0 },
      { type: 'poll', question: 'When?', options: ['a'], multiple: true },
    ],
    [
      'group invitation',
      { type: 'groups_v4_invite', inviteGrp: group, inviteGrpName: 'Team', comment: 'come' },
      { type: 'group_invite', groupId: group, groupName: 'Team', message: 'come' },
    ],
    [
      'something that WhatsApp invents tomorrow',
      { type: 'hologram', body: 'words' },
      { type: 'unknown', whatsappType: 'hologram', message: 'words' },
    ],
    ['a type named like a method', { type: 'toString' }, { type: 'unknown', whatsappType: 'toString', message: null }],
    ['no type at all', {}, { type: 'unknown', whatsappType: 'unknown', message: null }],
  ])('%s', (_name, raw, content) => {
    expect(contentOf(message(raw))).toEqual(content);
    expect(observedMessage.parse(observe(message(raw), identify, nameOf)).content).toMatchObject({ type: content.type });
  });

  test.each(['e2e_notification', 'gp2', 'protocol', 'call_log'])('%s is a notice of WhatsApp itself', (type) => {
    expect(contentOf(message({ type }))).toMatchObject({ type: 'notice', whatsappType: type });
  });
});

describe('author and chat', () => {
  test('a private message from a hidden number names the person in both forms', () => {
    const seen = observe(message({ type: 'chat', body: 'x' }, lid), identify, nameOf);
    expect(seen).toMatchObject({
      chat: { id: lid, type: 'private' },
      contact: { id: ana, phone: '+5511999990001', lid, name: 'Ana' },
      fromMe: false,
      timestamp: '2026-09-21T14:13:20.000Z',
    });
  });

  test('a group message names the participant, and the group by its own name', () => {
    const groupMentions = [{ groupJid: wid(group), groupSubject: 'Ours' }, { groupJid: group }, { groupSubject: 'no id' }, null];
    const raw = message({ type: 'chat', body: 'x', author: wid(lid), mentionedJidList: [wid(me), me], groupMentions }, group);
    expect(observe(raw, identify, nameOf)).toMatchObject({
      chat: { id: group, type: 'group', name: 'Team' },
      contact: { id: ana },
      from: lid,
      mentions: [me, me],
      groupMentions: [
        { id: group, name: 'Ours' },
        { id: group, name: null },
      ],
    });
  });

  test('a name that came with the message is used if none is known', () => {
    const raw = message({ type: 'chat', body: 'x', notifyName: 'Bruno' }, '99@lid');
    expect(observe(raw, identify, nameOf).contact?.name).toBe('Bruno');
  });

  test('a message with half of its fields missing is still a message', () => {
    const raw = { id: { fromMe: true, remote: ana, id: '3EB0AA', _serialized: `true_${ana}_3EB0AA` } };
    expect(observedMessage.parse(observe(raw, identify, nameOf))).toMatchObject({ key: '3EB0AA', fromMe: true, ack: 0 });
    expect([keyOf(raw), chatIdOf(raw), personOf(raw)]).toEqual(['3EB0AA', ana, ana]);
  });
});

describe('a change of the body', () => {
  test.each<[string, Record<string, unknown>, unknown, unknown, boolean]>([
    ['of a text is an edit', { type: 'chat', body: 'new' }, 'new', 'old', true],
    ['that changes nothing is none', { type: 'chat', body: 'old' }, 'old', 'old', false],
    ['of a message decrypted late is none', { type: 'chat', body: 'words' }, 'words', undefined, false],
    ['of a file’s preview is none', { type: 'image', ...file, caption: 'c' }, 'aGVsbG8=', undefined, false],
    ['of a file’s caption is an edit', { type: 'image', ...file, caption: 'new' }, 'new', 'old', true],
    ['of a notice is none', { type: 'gp2', body: 'x' }, 'x', 'y', false],
  ])('%s', (_name, raw, now, before, expected) => {
    expect(isEdit(message(raw), now, before)).toBe(expected);
  });
});

describe('ids that crossed without their written form', () => {
  test('get it back from their parts, wherever they are', () => {
    const crossed = {
      id: {
        fromMe: false,
        remote: { server: 'g.us', user: '1203' },
        id: 'A1',
        participant: { server: 'lid', user: '77' },
        $1: 'x',
      },
      list: [{ author: { server: 'c.us', user: '55' } }],
    };
    expect(addSerialized(crossed)).toBe(true);
    expect(crossed).toMatchObject({
      id: { _serialized: 'false_1203@g.us_A1_77@lid', remote: { _serialized: '1203@g.us' } },
      list: [{ author: { _serialized: '55@c.us' } }],
    });
  });

  test('are left alone when they have it', () => {
    expect(addSerialized({ server: 'c.us', user: '55', _serialized: '55@c.us' })).toBe(false);
    expect(addSerialized([null, 1, 'text', { other: true }])).toBe(false);
  });
});

test.each([
  ['auth timeout', 'PAGE_LOAD_TIMEOUT'],
  ['net::ERR_NAME_NOT_RESOLVED at https://web.whatsapp.com/', 'NETWORK_UNREACHABLE'],
  ['net::ERR_PROXY_CONNECTION_FAILED at https://web.whatsapp.com/', 'PROXY_UNREACHABLE'],
  ['net::ERR_PROXY_AUTH_UNSUPPORTED', 'PROXY_AUTH_FAILED'],
  ['Failed to launch the browser process! spawn /no/such ENOENT', 'BROWSER_NOT_FOUND'],
  ['something else', 'BROWSER_CRASHED'],
])('a start that failed with "%s" is told as %s', async (words, reason) => {
  const config = { path: null, profile: 'lean', args: [] } as const;
  const soundSandbox = async (): Promise<null> => null;
  expect((await launchError(new Error(words), config, soundSandbox)).reason).toBe(reason);
  expect((await launchError(words, config, soundSandbox)).reason).toBe(reason);
});
