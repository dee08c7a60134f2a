import assert from 'node:assert/strict';
import { afterAll, afterEach, beforeAll, describe, test } from '@jest/globals';
import type { MessageContent } from '@chasqui/shared';
import type { BuildName } from '@chasqui/simulator';
import type { EngineSession } from '../../src/engine/engine.js';
import { ana, link, media, online, png, sendContent, startRig, text, until, type Rig } from './harness.js';

/**
 * Every kind of send while something fails. What WhatsApp refused, and what the page cannot send, is `failed` with its code; what may have been sent is
 * `uncertain`. None is ever called `sent`.
 */

interface Kind {
  content: MessageContent;
  bytes?: Buffer;
  /** A chat with Ana if absent. */
  to?: 'story' | 'channel';
  isForward?: true;
}

const file = (type: 'video' | 'audio' | 'voice' | 'document', mimetype: string, name: string, more: object = {}): Kind => ({
  content: { type, media: media(mimetype, name), ...more } as MessageContent,
  bytes: Buffer.from(`the bytes of a ${type}`),
});
const image = (more: object = {}): Kind => ({
  content: { type: 'image', media: media('image/png', 'a.png'), ...more } as MessageContent,
  bytes: png,
});
const vcard = 'BEGIN:VCARD\nVERSION:3.0\nFN:Bruno\nTEL;type=CELL:+5511999990002\nEND:VCARD';

const kinds: Record<string, Kind> = {
  'a text': { content: text('hello') },
  'an image': image({ caption: 'fresh' }),
  'an HD image': image({ hd: true }),
  'a video': file('video', 'video/mp4', 'a.mp4'),
  'a GIF': file('video', 'video/mp4', 'a.mp4', { gif: true }),
  'a voice note': file('voice', 'audio/ogg', 'a.ogg'),
  'an audio file': file('audio', 'audio/mpeg', 'a.mp3'),
  'a document': file('document', 'application/pdf', 'a.pdf'),
  'a sticker': {
    content: { type: 'sticker', media: media('image/webp', 'a.webp') },
    bytes: Buffer.from('the bytes of a sticker'),
  },
  'a poll': { content: { type: 'poll', question: 'When?', options: ['Today', 'Tomorrow'], multiple: false } },
  'a location': { content: { type: 'location', latitude: 1.5, longitude: -2.5, name: 'Here', address: null } },
  'a contact card': { content: { type: 'contact', contacts: [{ name: 'Bruno', vcard }] } },
  'a list': {
    content: {
      ...{ type: 'list', message: 'What shall we bring?', title: null, footer: null, buttonText: 'Choose' },
      sections: [{ title: null, rows: [{ id: 'soup', title: 'Soup', description: null }] }],
    },
  },
  buttons: { content: { type: 'buttons', message: 'Today?', title: null, footer: null, buttons: [{ id: 'yes', text: 'Yes' }] } },
  'a calendar event': {
    content: {
      ...{ type: 'calendar_event', name: 'Delivery', description: null, startsAt: '2027-01-15T14:00:00.000Z' },
      ...{ endsAt: null, location: null, callType: 'none' },
    },
  },
  'a forward': { content: text('pass it on'), isForward: true },
  'a story of text': { content: text('Open until nine'), to: 'story' },
  'a story of an image': { ...image(), to: 'story' },
  'a channel post of text': { content: text('Open today'), to: 'channel' },
  'a channel post of an image': { ...image(), to: 'channel' },
};
const names = Object.keys(kinds);

let rig: Rig;
let session: EngineSession;
let channel = '';

type More = Parameters<typeof sendContent>[2];
const send = ({ content, bytes, to, isForward }: Kind, more: More = {}) =>
  sendContent(
    session,
    content,
    {
      ...(to === undefined ? {} : { recipient: to === 'story' ? 'status@broadcast' : channel }),
      ...(isForward ? { forward: { whatsappId: null } } : {}),
      ...more,
    },
    bytes,
  );
const lineOf = ({ to }: Kind): string => (to === 'channel' ? 'channel_post' : 'send');
const senderOf = ({ to }: Kind): [module: string, name: string] =>
  to === 'channel'
    ? ['WAWebNewsletterSendMessageJob', 'sendNewsletterMessageJob']
    : ['WAWebSendMsgChatAction', 'addAndSendMsgToChat'];

/** How often WhatsApp's server has received the message: posts of a channel have no line in the journal. */
async function arrivals({ to }: Kind, key: string): Promise<number> {
  const { client } = rig.simulator;
  if (to === 'channel')
    return (await client.channel({ id: channel, phone: ana })).posts.filter((post) => post.key === key).length;
  return (await client.journal({})).filter((line) => line.key === key && !line.refused).length;
}

const begin = (build: BuildName) => async (): Promise<void> => {
  rig = await startRig(build);
  ({ session } = await link(rig));
  await online(rig);
  // The simulator shows stories to people who have a chat with the account.
  assert.equal((await sendContent(session, text('hello'))).outcome.outcome, 'sent');
  ({ id: channel } = (await session.run('channels.create', { name: `News of ${build}` }, 10_000)) as { id: string });
};

describe.each<BuildName>(['classic', '2026-07', '2026-09', '2026-09b'])('build %s', (build) => {
  beforeAll(begin(build), 60_000);
  afterAll(async () => rig?.close());

  test.each(names)('%s that WhatsApp refuses is failed', async (name) => {
    const kind = kinds[name]!;
    await rig.simulator.client.fault({ op: lineOf(kind), mode: 'fail', count: 1, status: 403 });
    const { outcome, reservedId } = await send(kind);
    assert.deepEqual(
      [outcome.outcome, 'reason' in outcome && outcome.reason],
      ['failed', 'WHATSAPP_REFUSED'],
      JSON.stringify(outcome),
    );
    assert.equal((await rig.simulator.client.waitingFaults()).length, 0);
    assert.equal(await arrivals(kind, reservedId), 0);
  });

  test.each(names)('%s is failed on a page without the module that sends', async (name) => {
    const kind = kinds[name]!;
    const [module] = senderOf(kind);
    await rig.simulator.client.withoutModules({ names: [module] });
    const { outcome, reservedId } = await send(kind);
    await rig.simulator.client.withoutModules({ names: [] });
    assert.ok(outcome.outcome === 'failed', JSON.stringify(outcome));
    assert.equal(outcome.reason, 'NOT_SUPPORTED_BY_WHATSAPP', outcome.message);
    assert.match(outcome.message, new RegExp(module));
    assert.equal(await arrivals(kind, reservedId), 0);
  });
});

describe('whether it was sent is not known', () => {
  beforeAll(begin('2026-09b'), 60_000);
  afterAll(async () => rig?.close());
  afterEach(async () => {
    await rig.simulator.client.setAccount({ phone: ana, offline: false });
    await rig.simulator.client.clearFaults();
  });
  /** Long enough for a send that works. */
  const deadlineMs = 1_000;

  test.each(names)('%s whose answer is lost is uncertain, and not sent twice', async (name) => {
    const { client } = rig.simulator;
    const kind = kinds[name]!;
    // Its acknowledgement would prove that it was sent.
    await client.setAccount({ phone: ana, offline: true });
    await client.fault({ op: lineOf(kind), mode: 'dropReply', count: 1 });
    const { outcome, reservedId } = await send(kind, { deadlineMs });
    assert.equal(outcome.outcome, 'uncertain', JSON.stringify(outcome));
    assert.equal(await arrivals(kind, reservedId), 1);
    // The page shows the post's number only after it is loaded again; see sends.browser.test.ts.
    if (kind.to === 'channel') return;
    await client.setAccount({ phone: ana, offline: false });
    await until('the acknowledgement of the other phone', async () =>
      (await client.received({ phone: ana })).some(({ key }) => key === reservedId),
    );
    const again = await send(kind, { reservedId });
    assert.equal(again.outcome.outcome, 'sent', JSON.stringify(again.outcome));
    assert.equal(await arrivals(kind, reservedId), 1);
  });

  test.each(names)('%s that the page only seems to send is uncertain', async (name) => {
    const { client } = rig.simulator;
    const kind = kinds[name]!;
    const [module, sender] = senderOf(kind);
    await client.hollow({ functions: { [module]: [sender] } });
    const { outcome, reservedId } = await send(kind, { deadlineMs });
    assert.deepEqual([...(await client.hollow({ functions: {} }))], [`${module}.${sender}`]);
    assert.equal(outcome.outcome, 'uncertain', JSON.stringify(outcome));
    assert.equal(await arrivals(kind, reservedId), 0);
  });
});
