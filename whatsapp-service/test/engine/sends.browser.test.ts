import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from '@jest/globals';
import type { MessageContent } from '@chasqui/shared';
import type { BuildName } from '@chasqui/simulator';
import type { EngineSession } from '../../src/engine/engine.js';
import { ana, link, online, sendContent, startRig, type Rig } from './harness.js';

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
});
