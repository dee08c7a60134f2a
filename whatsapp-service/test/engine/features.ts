import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import type { MessageContent } from '@chasqui/shared';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { ana, eventOf, me, media, png, sendContent, sha256, text, type Rig } from './harness.js';

/** What must work on every build. Each throws when it does not; the list runs with the patches and, to see it fail, without them. */

export interface Feature {
  name: string;
  run: (rig: Rig, session: EngineSession, signals: EngineSignal[]) => Promise<void>;
}

const received = async (rig: Rig, key: string) =>
  (await rig.simulator.client.received({ phone: ana })).filter((message) => message.key === key);

/** Sends, and looks at what the phone on the other side got. */
async function arrives(rig: Rig, session: EngineSession, content: MessageContent, bytes?: Buffer) {
  const { reservedId, outcome } = await sendContent(session, content, {}, bytes);
  assert.equal(outcome.outcome, 'sent', JSON.stringify(outcome));
  assert.ok(outcome.outcome === 'sent' && outcome.whatsappId.split('_')[2] === reservedId);
  const messages = await received(rig, reservedId);
  assert.equal(messages.length, 1);
  if (bytes) assert.equal(messages[0]!.mediaSha256, sha256(bytes));
  return messages[0]!;
}

const file = (
  type: 'image' | 'video' | 'audio' | 'voice' | 'document' | 'sticker',
  mimetype: string,
  name: string,
  whatsappType: string,
): Feature => ({
  name: `send ${type}`,
  run: async (rig, session) => {
    const bytes = type === 'image' ? png : Buffer.from(`the bytes of a ${type}`);
    const content = {
      type,
      media: media(mimetype, name),
      ...(type === 'image' || type === 'document' ? { caption: 'a caption' } : {}),
    } as MessageContent;
    const message = await arrives(rig, session, content, bytes);
    assert.equal(message.type, whatsappType);
    if ('caption' in content) assert.equal(message.caption, 'a caption');
  },
});

/** One second of a tone that gets louder, as a WAV file. Browsers recognise the format by its bytes. */
function risingTone(): Buffer {
  const rate = 8_000;
  const samples = Buffer.alloc(rate * 2);
  for (let at = 0; at < rate; at += 1)
    samples.writeInt16LE(Math.round(32_000 * (at / rate) * Math.sin((2 * Math.PI * 440 * at) / rate)), at * 2);
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + samples.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(samples.length, 40);
  return Buffer.concat([header, samples]);
}

export const features: Feature[] = [
  { name: 'send text', run: async (rig, session) => assert.equal((await arrives(rig, session, text('hello'))).text, 'hello') },
  {
    name: 'send text with a link',
    run: async (rig, session) =>
      assert.equal((await arrives(rig, session, text('see https://example.com/x'))).text, 'see https://example.com/x'),
  },
  file('image', 'image/png', 'a.png', 'image'),
  file('video', 'video/mp4', 'a.mp4', 'video'),
  file('audio', 'audio/mpeg', 'a.mp3', 'audio'),
  file('voice', 'audio/ogg', 'a.ogg', 'ptt'),
  {
    name: 'send voice with its waveform',
    run: async (rig, session) => {
      const message = await arrives(rig, session, { type: 'voice', media: media('audio/ogg', 'a.ogg') }, risingTone());
      const { $bytes } = message.data['waveform'] as { $bytes: string };
      const waveform = [...Buffer.from($bytes, 'base64')];
      assert.equal(waveform.length, 64);
      // The tone gets louder, up to the end: each value is a loudness from 0 to 100.
      assert.deepEqual(
        [...waveform].sort((a, b) => a - b),
        waveform,
      );
      assert.ok(waveform[0]! < 5 && waveform[63] === 100, waveform.join());
    },
  },
  file('document', 'application/pdf', 'a.pdf', 'document'),
  file('sticker', 'image/webp', 'a.webp', 'sticker'),
  {
    name: 'send an image to be seen once',
    run: async (rig, session) => {
      const message = await arrives(rig, session, { type: 'image', media: media('image/png', 'a.png'), viewOnce: true }, png);
      assert.equal(message.data['isViewOnce'], true);
    },
  },
  {
    name: 'report the thumbnail of a sent picture, and none of one to be seen once',
    run: async (rig, session, signals) => {
      const picture = { type: 'image', media: media('image/png', 'a.png') } as const;
      const once = await arrives(rig, session, { ...picture, viewOnce: true }, png);
      const { key, data } = await arrives(rig, session, picture, png);
      const { payload } = await eventOf(signals, 'message.thumbnail', (shown) => shown.key === key);
      assert.match(String(payload.thumbnail), /^\/9j\//);
      assert.deepEqual([payload.thumbnail, payload.fromMe], [data['body'], true]);
      assert.ok(
        !signals.some((one) => one.type === 'event' && one.event === 'message.thumbnail' && one.payload.key === once.key),
      );
    },
  },
  {
    name: 'type before sending, and leave the chat unseen',
    run: async (rig, session) => {
      const { outcome } = await sendContent(session, text('slowly'), { typingMs: 60 });
      assert.equal(outcome.outcome, 'sent');
      const seen = await rig.simulator.client.typingSeen({ phone: ana });
      assert.ok(
        seen.some(({ from, state }) => from === `${me}@c.us` && state === 'composing'),
        JSON.stringify(seen),
      );
    },
  },
  {
    name: 'mention in a group',
    run: async (rig, session) => {
      const { id } = await rig.simulator.client.createGroup({ by: ana, subject: 'Mentions', participants: [me] });
      const { reservedId, outcome } = await sendContent(session, text('hey @' + ana), {
        recipient: id,
        mentions: [`${ana}@c.us`],
      });
      assert.equal(outcome.outcome, 'sent', JSON.stringify(outcome));
      assert.match(JSON.stringify((await received(rig, reservedId))[0]!.data['mentionedJidList']), new RegExp(ana));
    },
  },
  {
    name: 'send location',
    run: async (rig, session) => {
      const message = await arrives(rig, session, {
        type: 'location',
        latitude: 1.5,
        longitude: -2.5,
        name: 'Here',
        address: 'Street 1',
      });
      assert.deepEqual(
        [message.type, message.data['lat'], message.data['lng'], message.data['loc']],
        ['location', 1.5, -2.5, 'Here\nStreet 1'],
      );
    },
  },
  {
    name: 'send contact cards',
    run: async (rig, session) => {
      const vcard = 'BEGIN:VCARD\nVERSION:3.0\nFN:Bruno\nTEL;type=CELL:+5511999990002\nEND:VCARD';
      const one = await arrives(rig, session, { type: 'contact', contacts: [{ name: 'Bruno', vcard }] });
      assert.deepEqual([one.type, one.data['body']], ['vcard', vcard]);
      const two = await arrives(rig, session, {
        type: 'contact',
        contacts: [
          { name: 'Bruno', vcard },
          { name: 'Clara', vcard },
        ],
      });
      assert.deepEqual([two.type, (two.data['vcardList'] as unknown[]).length], ['multi_vcard', 2]);
    },
  },
  {
    name: 'send a poll and hear the vote',
    run: async (rig, session, signals) => {
      const message = await arrives(rig, session, {
        type: 'poll',
        question: 'When?',
        options: ['Today', 'Tomorrow'],
        multiple: false,
      });
      assert.equal(message.type, 'poll_creation');
      await rig.simulator.client.vote({ phone: ana, key: message.key, options: ['Tomorrow'] });
      const { payload } = await eventOf(signals, 'poll.vote');
      assert.deepEqual([payload.key, payload.options, payload.contact?.phone], [message.key, ['Tomorrow'], `+${ana}`]);
    },
  },
  {
    name: 'hear acks up to read',
    run: async (rig, session, signals) => {
      const { key } = await arrives(rig, session, text('ack me'));
      await eventOf(signals, 'message.ack', (ack) => ack.key === key && ack.ack === 2);
      await rig.simulator.client.ack({ phone: ana, key, ack: 3 });
      await eventOf(signals, 'message.ack', (ack) => ack.key === key && ack.ack === 3);
    },
  },
  {
    name: 'receive text and quote it',
    run: async (rig, session, signals) => {
      const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'a question' });
      const { payload } = await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
      const { message, origin } = payload;
      assert.deepEqual(
        [message.content, message.fromMe, message.chat.id, origin],
        [{ type: 'text', message: 'a question' }, false, `${ana}@c.us`, 'live'],
      );
      assert.deepEqual(
        [message.contact?.phone, message.contact?.lid?.endsWith('@lid'), message.contact?.name],
        [`+${ana}`, true, 'Ana'],
      );
      const answer = await sendContent(session, text('an answer'), { quotedMessageId: message.whatsappId });
      assert.equal(answer.outcome.outcome, 'sent');
      assert.equal((await received(rig, answer.reservedId))[0]!.quotedKey, key);
    },
  },
  {
    name: 'hear what is written on the phone itself, and unread counts',
    run: async (rig, session, signals) => {
      const { key } = await rig.simulator.client.deliver({ from: me, to: ana, type: 'text', text: 'from my phone' });
      const { payload } = await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
      assert.deepEqual([payload.message.fromMe, payload.message.chat.id], [true, `${ana}@c.us`]);
      await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'unread' });
      await eventOf(signals, 'chat.updated', ({ change, unreadCount }) => change === 'unread' && (unreadCount ?? 0) > 0);
      const { reservedId } = await sendContent(session, text('not told to ourselves'));
      await eventOf(signals, 'message.ack', (ack) => ack.key === reservedId && ack.ack >= 1);
      const echo = signals.find(
        (given) => given.type === 'event' && given.event === 'message.observed' && given.payload.message.key === reservedId,
      );
      assert.equal(echo, undefined);
    },
  },
  {
    name: 'hear a call',
    run: async (rig, _session, signals) => {
      const { id } = await rig.simulator.client.call({ from: ana, to: me, isVideo: true });
      const { payload } = await eventOf(signals, 'call.received', ({ callId }) => callId === id);
      assert.deepEqual([payload.isVideo, payload.isGroup, payload.contact?.phone], [true, false, `+${ana}`]);
    },
  },
  {
    name: 'receive from a LID',
    run: async (rig, _session, signals) => {
      const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'hidden number', asLid: true });
      const { payload } = await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
      assert.match(payload.message.chat.id, /@lid$/);
      assert.equal(payload.message.contact?.phone, `+${ana}`);
    },
  },
  {
    name: 'receive and download a file',
    run: async (rig, session, signals) => {
      const { key } = await rig.simulator.client.deliver({
        from: ana,
        to: me,
        type: 'image',
        base64: png.toString('base64'),
        mimetype: 'image/png',
        caption: 'look',
        preview: png.toString('base64'),
      });
      const { payload } = await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
      assert.equal(payload.message.thumbnail, png.toString('base64'));
      assert.deepEqual(
        [payload.message.content.type, 'caption' in payload.message.content && payload.message.content.caption],
        ['image', 'look'],
      );
      const got = await session.downloadMedia(payload.message.whatsappId, 5000);
      assert.ok((await buffer(got.bytes)).equals(png));
      assert.equal(got.mimetype, 'image/png');
    },
  },
  {
    name: 'hear edits, reactions, revokes',
    run: async (rig, _session, signals) => {
      const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'frist' });
      await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
      await rig.simulator.client.edit({ phone: ana, key, text: 'first' });
      assert.equal((await eventOf(signals, 'message.edited', (edit) => edit.key === key)).payload.text, 'first');
      await rig.simulator.client.react({ phone: ana, key, emoji: '👍' });
      const reaction = await eventOf(signals, 'message.reaction', (given) => given.key === key);
      assert.deepEqual([reaction.payload.emoji, reaction.payload.contact?.phone], ['👍', `+${ana}`]);
      await rig.simulator.client.revoke({ phone: ana, key });
      await eventOf(signals, 'message.revoked', (revoked) => revoked.key === key);
    },
  },
  {
    name: 'groups: notices, send, receive',
    run: async (rig, session, signals) => {
      const { id } = await rig.simulator.client.createGroup({ by: ana, subject: 'Team', participants: [me] });
      await eventOf(signals, 'group.updated', ({ group }) => group.id === id);
      const sent = await sendContent(session, text('hello all'), { recipient: id });
      assert.equal(sent.outcome.outcome, 'sent', JSON.stringify(sent.outcome));
      assert.equal((await received(rig, sent.reservedId))[0]!.text, 'hello all');
      const { key } = await rig.simulator.client.deliver({ from: ana, to: id, type: 'text', text: 'hello you' });
      const { payload } = await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
      assert.deepEqual(
        [payload.message.chat.type, payload.message.chat.name, payload.message.contact?.phone],
        ['group', 'Team', `+${ana}`],
      );
      await rig.simulator.client.changeGroup({ by: ana, id, how: 'promote', participants: [`${me}@c.us`] });
      await eventOf(signals, 'group.participants', ({ action }) => action === 'promote');
    },
  },
  {
    name: 'hear a mention of a group, with the name that its writer gave it',
    run: async (rig, _session, signals) => {
      const groupMentions = [{ id: '120363000000000077@g.us', name: 'Orders' }];
      const { key } = await rig.simulator.client.deliver({
        ...{ from: ana, to: me, type: 'text', text: 'Ask in @120363000000000077@g.us', groupMentions },
      });
      const { payload } = await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
      assert.deepEqual(payload.message.groupMentions, groupMentions);
    },
  },
  {
    name: 'operations: contacts.check, chats.list, profile.get',
    run: async (_rig, session) => {
      const checked = (await session.run('contacts.check', { numbers: [`+${ana}`, '99912345678', 'nonsense'] }, 5000)) as {
        registered: boolean;
        contact: { phone: string } | null;
      }[];
      assert.deepEqual(
        checked.map(({ registered }) => registered),
        [true, false, false],
      );
      const chats = (await session.run('chats.list', { limit: 50, offset: 0 }, 5000)) as {
        id: string;
        name: string | null;
        lastMessage: object | null;
      }[];
      assert.ok(
        chats.some((chat) => chat.id === `${ana}@c.us` && chat.name === 'Ana' && chat.lastMessage !== null),
        JSON.stringify(chats),
      );
      const profile = (await session.run('profile.get', {}, 5000)) as { phoneNumber: string; name: string };
      assert.deepEqual([profile.phoneNumber, profile.name], [`+${me}`, 'Shop']);
    },
  },
  {
    name: 'look a message up by its reserved id',
    run: async (_rig, session) => {
      const { reservedId } = await sendContent(session, text('find me'));
      const lookup = (id: string) => session.run('session.lookup', { reservedId: id, chatId: `${ana}@c.us` }, 5000);
      assert.equal(((await lookup(reservedId)) as { found: boolean }).found, true);
      assert.deepEqual(await lookup('3EB0FFFFFFFFFFFFFFFFFF'), { found: false, proven: true });
    },
  },
];
