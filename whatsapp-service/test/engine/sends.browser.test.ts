import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from '@jest/globals';
import { AppError, type MessageContent, type OperationOutput } from '@chasqui/shared';
import type { BuildName } from '@chasqui/simulator';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { ana, eventOf, link, me, media, online, png, sendContent, sha256, startRig, text, until, type Rig } from './harness.js';

/** The kinds of sends beyond texts and files, on every build: the phone on the other side has them under the reserved id, and a lookup finds them. */

let rig: Rig;
let session: EngineSession;
let signals: EngineSignal[];

type More = Parameters<typeof sendContent>[2];

/** Sends, and returns the one message that the phone on the other side got. */
async function arrives(content: MessageContent, more: More = {}, bytes?: Buffer) {
  const { reservedId, outcome } = await sendContent(session, content, more, bytes);
  assert.equal(outcome.outcome, 'sent', JSON.stringify(outcome));
  const [message, ...others] = await receivedUnder(reservedId);
  assert.ok(message && others.length === 0);
  assert.deepEqual(await lookUp(reservedId, more?.recipient), { found: true, isAcked: true });
  return message;
}

const receivedUnder = async (key: string) =>
  (await rig.simulator.client.received({ phone: ana })).filter((message) => message.key === key);

async function lookUp(reservedId: string, chatId = `${ana}@c.us`) {
  const found = (await session.run('session.lookup', { reservedId, chatId, since: null }, 5_000)) as {
    found: boolean;
    ack?: number;
  };
  return { found: found.found, isAcked: (found.ack ?? 0) >= 1 };
}

const edit = async (whatsappId: string, change: object, deadlineMs = 8_000) =>
  (await session.run(
    'messages.edit',
    { whatsappId, chatId: `${ana}@c.us`, ...change },
    deadlineMs,
  )) as OperationOutput<'messages.edit'>;
/** The code of the refusal, with the effect if it is not known. */
const refusal = (whatsappId: string, change: object, deadlineMs?: number) =>
  edit(whatsappId, change, deadlineMs).then(
    () => 'SUCCESS',
    (error: unknown) => {
      if (!(error instanceof AppError)) throw error;
      return error.code === 'OPERATION_TIMEOUT' ? `${error.code} ${String(error.details['effect'])}` : error.code;
    },
  );
const onPhone = async (key: string) =>
  (await rig.simulator.client.history({ phone: ana })).find((message) => message.key === key)!;
/** What a phone shows of an event: name, description, start, end, place, link, whether it is cancelled. */
function eventOn({ data }: { data: Record<string, unknown> }): unknown[] {
  const time = (seconds: unknown): string | null => (seconds ? new Date(Number(seconds) * 1_000).toISOString() : null);
  const place = data['eventLocation'] as { name: string } | null;
  const times = [time(data['eventStartTime']), time(data['eventEndTime'])];
  return [
    data['eventName'],
    data['eventDescription'] ?? null,
    ...times,
    place?.name ?? null,
    data['eventJoinLink'] ?? null,
    data['isEventCanceled'],
  ];
}

const event: Extract<MessageContent, { type: 'calendar_event' }> = {
  type: 'calendar_event',
  name: 'Delivery',
  description: 'Two boxes',
  startsAt: '2027-01-15T14:00:00.000Z',
  endsAt: '2027-01-15T15:00:00.000Z',
  location: 'Main street 1',
  callType: 'none',
};

describe.each<BuildName>(['classic', '2026-07', '2026-09', '2026-09b'])('build %s', (build) => {
  beforeAll(async () => {
    rig = await startRig(build);
    ({ session, signals } = await link(rig));
    await online(rig);
  }, 60_000);
  afterAll(async () => rig?.close());

  test('a calendar event arrives with its times, place and description', async () => {
    const { type, data } = await arrives(event);
    assert.deepEqual(
      [type, data['eventName'], data['eventDescription'], data['eventStartTime'], data['eventEndTime']],
      ['event_creation', 'Delivery', 'Two boxes', Date.UTC(2027, 0, 15, 14) / 1_000, Date.UTC(2027, 0, 15, 15) / 1_000],
    );
    assert.equal((data['eventLocation'] as { name: string }).name, 'Main street 1');
    assert.equal(data['eventJoinLink'] ?? null, null);
    assert.ok(!('chasquiSend' in data) && !('chasquiRequires' in data));
  });

  test('a calendar event with a call has a link; without the link it is not sent', async () => {
    const { data } = await arrives({ ...event, callType: 'video' });
    assert.match(String(data['eventJoinLink']), /^https:\/\/call\.whatsapp\.com\/video\//);
    await rig.simulator.client.fault({ op: 'call_link', mode: 'fail', count: 1 });
    const { reservedId, outcome } = await sendContent(session, { ...event, callType: 'voice' });
    assert.equal(outcome.outcome, 'failed', JSON.stringify(outcome));
    assert.equal((await receivedUnder(reservedId)).length, 0);
    assert.equal((await lookUp(reservedId)).found, false);
  });

  test('a changed calendar event shows its new fields on the other phone, and a cancelled one that it is cancelled', async () => {
    const sent = await arrives({ ...event, callType: 'video' });
    const whatsappId = `true_${ana}@c.us_${sent.key}`;
    const change = { name: 'Pick-up', description: null, startsAt: '2027-01-16T09:00:00Z', endsAt: null, callType: 'none' };
    const { message } = await edit(whatsappId, change);
    assert.deepEqual(eventOn(await onPhone(sent.key)), [
      'Pick-up',
      null,
      '2027-01-16T09:00:00.000Z',
      null,
      'Main street 1',
      null,
      false,
    ]);
    assert.ok(message?.content.type === 'calendar_event');
    assert.deepEqual([message.key, message.content.name, message.content.endsAt], [sent.key, 'Pick-up', null]);
    assert.ok(message.editedAt);
    // What the request does not name stays.
    await edit(whatsappId, { location: 'Main street 2' });
    assert.deepEqual(eventOn(await onPhone(sent.key)).slice(0, 5), [
      'Pick-up',
      null,
      '2027-01-16T09:00:00.000Z',
      null,
      'Main street 2',
    ]);
    const { message: cancelled } = await edit(whatsappId, { cancelled: true });
    assert.equal(eventOn(await onPhone(sent.key)).at(-1), true);
    assert.ok(cancelled?.content.type === 'calendar_event' && cancelled.content.isCancelled);
    assert.equal(await refusal(whatsappId, { name: 'Too late' }), 'MESSAGE_NOT_EDITABLE');
    await edit(whatsappId, { cancelled: true });
  });

  test('a change of a calendar event that WhatsApp refuses, whose answer is lost, or that the page cannot make is told as such', async () => {
    const { client } = rig.simulator;
    const sent = await arrives(event);
    const whatsappId = `true_${ana}@c.us_${sent.key}`;
    await client.fault({ op: 'addon', mode: 'fail', count: 1, status: 403 });
    assert.equal(await refusal(whatsappId, { name: 'Refused' }), 'WHATSAPP_REFUSED');
    await client.fault({ op: 'addon', mode: 'drop', count: 20 });
    assert.equal(await refusal(whatsappId, { name: 'Lost' }, 1_500), 'OPERATION_TIMEOUT unknown');
    await client.clearFaults();
    await client.withoutModules({ names: ['WAWebSendEventEditMsgAction'] });
    await session.run('contacts.check', { numbers: [ana] }, 5_000);
    assert.equal(await refusal(whatsappId, { name: 'Missing' }), 'NOT_SUPPORTED_BY_WHATSAPP');
    await client.withoutModules({ names: [] });
    assert.equal(eventOn(await onPhone(sent.key))[0], 'Delivery');
    const raw = { type: 'event_creation', data: { eventName: 'Hers', eventStartTime: 1_800_000_000 } };
    const hers = await client.deliver({ from: ana, to: me, type: 'raw', raw });
    const herId = `false_${ana}@c.us_${hers.key}`;
    await until('her event in the page', async () => (await refusal(herId, { name: 'Mine' })) !== 'MESSAGE_NOT_FOUND');
    assert.equal(await refusal(herId, { name: 'Mine' }), 'MESSAGE_NOT_EDITABLE');
    const words = await arrives(text('no event'));
    assert.equal(await refusal(`true_${ana}@c.us_${words.key}`, { name: 'x' }), 'VALIDATION_FAILED');
    assert.equal(await refusal(whatsappId, { endsAt: '2027-01-15T13:00:00Z' }), 'VALIDATION_FAILED');
  });

  test('a calendar event that is changed elsewhere is reported with its new fields, hers and ours', async () => {
    const { client } = rig.simulator;
    const raw = { type: 'event_creation', data: { eventName: 'Hers', eventStartTime: 1_800_000_000 } };
    const hers = await client.deliver({ from: ana, to: me, type: 'raw', raw });
    await eventOf(signals, 'message.observed', ({ message }) => message.key === hers.key);
    await client.editEvent({ phone: ana, key: hers.key, name: 'Hers, later', cancelled: true });
    const ours = await arrives(event);
    await client.editEvent({ phone: me, key: ours.key, name: 'From our phone' });
    const changed = (key: string) =>
      eventOf(signals, 'message.observed', ({ message, origin }) => message.key === key && origin === 'compare');
    const { message: her } = (await changed(hers.key)).payload;
    assert.ok(her.content.type === 'calendar_event' && her.editedAt);
    assert.deepEqual([her.content.name, her.content.isCancelled, her.fromMe], ['Hers, later', true, false]);
    const { message: our } = (await changed(ours.key)).payload;
    assert.ok(our.content.type === 'calendar_event' && our.fromMe);
    assert.deepEqual([our.content.name, our.content.location], ['From our phone', 'Main street 1']);
  });

  test('a text arrives with the preview that its sender gave, and without one where it gave none', async () => {
    const url = 'https://example.com/menu';
    const linkPreview = { title: 'Our menu', description: 'Of today', thumbnail: '/9j/4AAQ', url };
    const own = await arrives({ type: 'text', message: `See ${url}`, linkPreview });
    const shown = (data: Record<string, unknown>) => [data['title'], data['description'], data['matchedText'], data['thumbnail']];
    assert.deepEqual([own.text, ...shown(own.data)], [`See ${url}`, 'Our menu', 'Of today', url, '/9j/4AAQ']);
    const pages = await arrives(text(`See ${url}`));
    assert.deepEqual(shown(pages.data).slice(0, 2), ['example.com', '']);
    const none = await arrives({ type: 'text', message: `See ${url}`, linkPreview: false });
    assert.deepEqual(shown(none.data), [undefined, undefined, undefined, undefined]);
  });

  test('a sticker of any picture arrives as WebP, with the name of its pack and its author', async () => {
    const content = {
      type: 'sticker' as const,
      media: media('image/png', 'a.png'),
      stickerName: 'Guests',
      stickerAuthor: 'Shop',
    };
    const { reservedId, outcome } = await sendContent(session, content, {}, png);
    assert.equal(outcome.outcome, 'sent', JSON.stringify(outcome));
    const [sticker] = await receivedUnder(reservedId);
    assert.equal(sticker?.type, 'sticker');
    const bytes = Buffer.from(
      await (await fetch(`${rig.simulator.controlUrl}${String(sticker.data['directPath'])}`)).arrayBuffer(),
    );
    assert.equal(bytes.toString('latin1', 8, 12), 'WEBP');
    assert.match(bytes.toString('latin1'), /"sticker-pack-name":"Guests","sticker-pack-publisher":"Shop"/);
  });

  test('a mention of a group arrives with its name; a group that the account is not in is not mentioned', async () => {
    const { client } = rig.simulator;
    const { id } = await client.createGroup({ by: me, subject: 'Orders', participants: [ana] });
    await until('the group in the page', async () => {
      const chats = (await session.run('chats.list', { limit: 50, offset: 0 }, 5_000)) as { id: string }[];
      return chats.some((chat) => chat.id === id);
    });
    const words = `Ask in @${id}`;
    const { data } = await arrives(text(words), { groupMentions: [{ id, name: 'Our orders' }] });
    const [mention] = data['groupMentions'] as { groupSubject: string; groupJid: unknown }[];
    assert.equal(mention?.groupSubject, 'Our orders');
    assert.match(JSON.stringify(mention.groupJid), new RegExp(id.split('@')[0]!));
    const other = '120363000000000009@g.us';
    const { outcome, reservedId } = await sendContent(session, text(`@${other}`), { groupMentions: [{ id: other, name: 'x' }] });
    assert.ok(outcome.outcome === 'failed' && outcome.reason === 'CHAT_NOT_FOUND', JSON.stringify(outcome));
    assert.equal((await receivedUnder(reservedId)).length, 0);
  });

  test('a forward arrives marked, counted on from its original, under its own reserved id', async () => {
    const { client } = rig.simulator;
    const { key } = await client.deliver({ from: ana, to: me, type: 'text', text: 'pass it on' });
    const whatsappId = `false_${ana}@c.us_${key}`;
    const first = await arrives(text('pass it on'), { forward: { whatsappId } });
    assert.deepEqual([first.text, first.data['isForwarded'], first.data['forwardingScore']], ['pass it on', true, 1]);
    const own = `true_${ana}@c.us_${first.key}`;
    const second = await arrives(text('pass it on'), { forward: { whatsappId: own } });
    assert.deepEqual([second.data['isForwarded'], second.data['forwardingScore']], [true, 2]);
    const unknown = await arrives(text('gone'), { forward: { whatsappId: `false_${ana}@c.us_3A00000000000000AAAA` } });
    assert.deepEqual([unknown.data['isForwarded'], unknown.data['forwardingScore']], [true, 1]);
    const image = await arrives({ type: 'image', media: media('image/png', 'a.png') }, { forward: { whatsappId: null } }, png);
    assert.deepEqual([image.data['isForwarded'], image.mediaSha256], [true, sha256(png)]);
  });

  test('a forward whose answer is lost is found under its reserved id, and not sent twice', async () => {
    const { client } = rig.simulator;
    await client.setAccount({ phone: ana, offline: true });
    await client.fault({ op: 'send', mode: 'dropReply', count: 1 });
    const lost = await sendContent(session, text('once'), { forward: { whatsappId: null }, deadlineMs: 700 });
    assert.equal(lost.outcome.outcome, 'uncertain', JSON.stringify(lost.outcome));
    await client.setAccount({ phone: ana, offline: false });
    const again = await sendContent(session, text('once'), { forward: { whatsappId: null }, reservedId: lost.reservedId });
    assert.equal(again.outcome.outcome, 'sent', JSON.stringify(again.outcome));
    const handed = (await client.journal({})).filter((line) => line.key === lost.reservedId);
    assert.equal(handed.length, 1);
  });

  test('a list and buttons arrive as a text with numbered options', async () => {
    const list = await arrives({
      type: 'list',
      message: 'What shall we bring?',
      title: null,
      footer: null,
      buttonText: 'Choose',
      sections: [{ title: null, rows: [{ id: 'soup', title: 'Soup', description: null }] }],
    });
    assert.deepEqual([list.type, list.text], ['chat', 'What shall we bring?\n\nChoose\n\n1. Soup']);
    const buttons = [{ id: 'yes', text: 'Yes' }];
    const sent = await arrives({ type: 'buttons', message: 'Today?', title: null, footer: null, buttons });
    assert.deepEqual([sent.type, sent.text], ['chat', 'Today?\n\n1. Yes']);
  });

  describe('a post in a channel', () => {
    let channel = '';
    beforeAll(async () => {
      ({ id: channel } = (await session.run('channels.create', { name: `News ${build}` }, 10_000)) as { id: string });
    });
    const posts = async () => (await rig.simulator.client.channel({ id: channel, phone: me })).posts;
    const publish = (words: string, more: More = {}) => sendContent(session, text(words), { recipient: channel, ...more });

    test('is published under its reserved id, a text as well as an image', async () => {
      const { outcome, reservedId } = await publish('Open today');
      assert.equal(outcome.outcome, 'sent', JSON.stringify(outcome));
      const image = { type: 'image' as const, media: media('image/png', 'a.png'), caption: 'fresh' };
      const sent = await sendContent(session, image, { recipient: channel }, png);
      assert.equal(sent.outcome.outcome, 'sent', JSON.stringify(sent.outcome));
      const published = (await posts()).map(({ key, type }) => `${key} ${type}`);
      assert.equal(published.join(), `${reservedId} chat,${sent.reservedId} image`);
      assert.deepEqual(await lookUp(reservedId, channel), { found: true, isAcked: true });
    });

    test('that the server refuses is failed, though the library calls it acknowledged', async () => {
      await rig.simulator.client.fault({ op: 'channel_post', mode: 'fail', count: 1, status: 403 });
      const { outcome, reservedId } = await publish('refused');
      assert.ok(outcome.outcome === 'failed' && outcome.reason === 'WHATSAPP_REFUSED', JSON.stringify(outcome));
      assert.ok(!(await posts()).some(({ key }) => key === reservedId));
    });

    test.each(['emptyReply', 'dropReply'] as const)(
      'without the server’s id (%s) is uncertain, and proven when the channel shows it',
      async (mode) => {
        await rig.simulator.client.fault({ op: 'channel_post', mode, count: 1 });
        const { outcome, reservedId } = await publish(`once ${mode}`, { deadlineMs: 1_000 });
        assert.equal(outcome.outcome, 'uncertain', JSON.stringify(outcome));
        assert.ok((await posts()).some(({ key }) => key === reservedId));
        const known = await lookUp(reservedId, channel);
        assert.equal(known.isAcked, false);
        signals.length = 0;
        await session.reload(10_000);
        await until('the page after its reload', () => signals.some(({ type }) => type === 'ready'));
        assert.deepEqual(await lookUp(reservedId, channel), { found: true, isAcked: true });
        const again = await publish(`once ${mode}`, { reservedId, deadlineMs: 2_000 });
        assert.equal(again.outcome.outcome, 'sent', JSON.stringify(again.outcome));
        assert.equal((await posts()).filter(({ key }) => key === reservedId).length, 1);
      },
    );

    test('on which the server fails is uncertain', async () => {
      await rig.simulator.client.fault({ op: 'channel_post', mode: 'fail', count: 1, status: 500 });
      const { outcome } = await publish('perhaps', { deadlineMs: 1_000 });
      assert.equal(outcome.outcome, 'uncertain', JSON.stringify(outcome));
    });
  });

  describe('a story', () => {
    const story = { recipient: 'status@broadcast' };
    const reload = async (): Promise<void> => {
      const loads = (): number => signals.filter(({ type }) => type === 'ready').length;
      const before = loads();
      await session.reload(10_000);
      await until('the page to be ready again', () => loads() > before);
    };
    // The simulator shows stories to people who have a chat with the account.
    beforeAll(async () => void (await arrives(text('hello'))));

    test('of text arrives with its color and font, and is found under its reserved id', async () => {
      const sent = await arrives({ type: 'text', message: 'Open until nine', backgroundColor: '#7acca5', font: 3 }, story);
      assert.deepEqual([sent.text, sent.data['backgroundColor'], sent.data['font']], ['Open until nine', 0xff7acca5, 3]);
    });

    test('of an image and of a video arrives with its caption', async () => {
      const image = await arrives({ type: 'image', media: media('image/png', 'a.png'), caption: 'fresh' }, story, png);
      assert.deepEqual([image.type, image.caption, image.mediaSha256], ['image', 'fresh', sha256(png)]);
      const bytes = Buffer.from('the bytes of a video');
      const video = await arrives({ type: 'video', media: media('video/mp4', 'a.mp4'), caption: 'live' }, story, bytes);
      assert.deepEqual([video.type, video.caption, video.mediaSha256], ['video', 'live', sha256(bytes)]);
    });

    test('that was posted here is taken back, also after the page was loaded again', async () => {
      for (const isReloaded of [false, true]) {
        const { reservedId, outcome } = await sendContent(session, text('taken back'), story);
        assert.ok(outcome.outcome === 'sent', JSON.stringify(outcome));
        if (isReloaded) await reload();
        const messageId = outcome.whatsappId;
        const revoked = await session.run('stories.revoke', { messageId }, 8_000);
        assert.deepEqual(revoked, { whatsappId: messageId, revoked: true });
        assert.equal((await onPhone(reservedId)).type, 'revoked');
        const listed = JSON.stringify(await session.run('stories.list', { mine: true }, 5_000));
        assert.ok(!listed.includes(reservedId), listed);
      }
    });

    test('whose answer is lost is found once the server has it, and is not posted twice', async () => {
      const { client } = rig.simulator;
      await client.setAccount({ phone: ana, offline: true });
      await client.fault({ op: 'send', mode: 'dropReply', count: 1 });
      const content = text('once');
      const lost = await sendContent(session, content, { ...story, deadlineMs: 700 });
      assert.equal(lost.outcome.outcome, 'uncertain', JSON.stringify(lost.outcome));
      assert.equal((await lookUp(lost.reservedId, story.recipient)).found, true);
      await client.setAccount({ phone: ana, offline: false });
      await sendContent(session, content, { ...story, reservedId: lost.reservedId, deadlineMs: 3_000 });
      const handed = (await client.journal({})).filter((line) => line.key === lost.reservedId);
      assert.equal(handed.length, 1);
    });

    test('that WhatsApp refuses is failed, and one that was never handed over is proven absent', async () => {
      await rig.simulator.client.fault({ op: 'send', mode: 'fail', count: 1, status: 403 });
      const refused = await sendContent(session, text('no'), story);
      assert.equal(refused.outcome.outcome, 'failed', JSON.stringify(refused.outcome));
      const never = await session.run(
        'session.lookup',
        { reservedId: '3EB0FFFFFFFFFFFFFFFFFE', chatId: story.recipient, since: null },
        5_000,
      );
      assert.deepEqual(never, { found: false, proven: true });
    });
  });
});
