import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from '@jest/globals';
import type { MessageContent } from '@chasqui/shared';
import type { BuildName } from '@chasqui/simulator';
import type { EngineSession } from '../../src/engine/engine.js';
import { ana, link, me, media, online, png, sendContent, sha256, startRig, text, type Rig } from './harness.js';

/** The kinds of sends beyond texts and files, on every build: the phone on the other side has them under the reserved id, and a lookup finds them. */

let rig: Rig;
let session: EngineSession;

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
    ({ session } = await link(rig));
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

  describe('a story', () => {
    const story = { recipient: 'status@broadcast' };
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
