import { afterEach, describe, expect, test } from '@jest/globals';
import type { BuildName } from '@chasqui/simulator';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { ana, eventOf, link, me, online, sendContent, signal, startRig, text, until, type Rig } from './harness.js';

/** Each kind of event of the page has a listener of its own: none is lost, none comes twice, and one that fails does not silence the others. */

let rig: Rig;
afterEach(async () => rig?.close());

interface Linked {
  session: EngineSession;
  signals: EngineSignal[];
}
const open = async (build: BuildName): Promise<Linked> => {
  rig = await startRig(build);
  const linked = await link(rig);
  await online(rig);
  return linked;
};
const eventsIn = (signals: readonly EngineSignal[]) => signals.flatMap((given) => (given.type === 'event' ? [given] : []));

/** One of each event. Returns how often each came, by what it is about. */
async function everyEvent({ session, signals }: Linked): Promise<Record<string, number>> {
  const { client } = rig.simulator;
  const from = signals.length;
  const { key } = await client.deliver({ from: ana, to: me, type: 'text', text: 'one' });
  const { key: sealed } = await client.deliver({ from: ana, to: me, type: 'text', text: 'sealed', sealed: 'recoverable' });
  await client.decipher({ phone: me, key: sealed });
  const sent = await sendContent(session, text('mine'));
  await eventOf(signals, 'message.ack', (ack) => ack.key === sent.reservedId && ack.ack === 2);
  await client.ack({ phone: ana, key: sent.reservedId, ack: 3 });
  const poll = await sendContent(session, { type: 'poll', question: 'When?', options: ['Today', 'Tomorrow'], multiple: false });
  await client.vote({ phone: ana, key: poll.reservedId, options: ['Today'] });
  await client.edit({ phone: ana, key, text: 'two' });
  await client.react({ phone: ana, key, emoji: '👍' });
  for (const on of [true, false]) await client.star({ phone: me, key, on });
  for (const seconds of [86_400, 0]) await client.pin({ phone: ana, key, seconds });
  const { id: callId } = await client.call({ from: ana, to: me });
  await client.setChat({ phone: me, chat: `${ana}@c.us`, archive: true });
  await client.setChat({ phone: me, chat: `${ana}@c.us`, archive: false });
  await client.revoke({ phone: ana, key });
  const counted = (): Record<string, number> => {
    const counts: Record<string, number> = {};
    const add = (name: string): void => void (counts[name] = (counts[name] ?? 0) + 1);
    for (const { event, payload } of eventsIn(signals.slice(from))) {
      if (event === 'message.observed' && payload.message.key === key && payload.message.revokedAt === null) add('message');
      if (event === 'message.observed' && payload.message.key === sealed) add(`sealed ${payload.message.content.type}`);
      if (event === 'message.ack' && payload.key === sent.reservedId) add(`ack ${payload.ack}`);
      if (event === 'poll.vote' && payload.key === poll.reservedId) add('vote');
      if (event === 'message.edited' && payload.key === key) add('edit');
      if (event === 'message.reaction' && payload.key === key) add('reaction');
      if (event === 'message.marked' && payload.key === key && 'starred' in payload) add(`star ${payload.starred}`);
      if (event === 'message.marked' && payload.key === key && 'pinnedUntil' in payload) add(pinOf(payload.pinnedUntil));
      if (event === 'message.revoked' && payload.key === key) add('revoke');
      if (event === 'call.received' && payload.callId === callId) add('call');
      if (event === 'chat.updated' && payload.change.endsWith('archived')) add(payload.change);
    }
    return counts;
  };
  await until('every event', () => Object.keys(once).every((name) => counted()[name]), 6_000).catch(() => undefined);
  // A second one would come right behind the first.
  const { key: last } = await client.deliver({ from: ana, to: me, type: 'text', text: 'last' });
  await eventOf(signals, 'message.observed', ({ message }) => message.key === last);
  return counted();
}
/** A pin of a day. */
const pinOf = (until: string | null | undefined): string =>
  until && Math.abs(Date.parse(until) - Date.now() - 86_400_000) < 60_000 ? 'pin' : `pin until ${until}`;
const once = {
  ...{ message: 1, 'sealed unknown': 1, 'sealed text': 1, 'ack 1': 1, 'ack 2': 1, 'ack 3': 1, vote: 1, edit: 1 },
  ...{ 'star true': 1, 'star false': 1, pin: 1, 'pin until null': 1 },
  ...{ reaction: 1, revoke: 1, call: 1, archived: 1, unarchived: 1 },
};

describe.each<BuildName>(['classic', '2026-07', '2026-09', '2026-09b'])('build %s', (build) => {
  test('every event comes once, also after the page was loaded again', async () => {
    const linked = await open(build);
    expect(await everyEvent(linked)).toEqual(once);
    const before = linked.signals.filter(({ type }) => type === 'ready').length;
    await linked.session.reload(5_000);
    await until('ready again', () => linked.signals.filter(({ type }) => type === 'ready').length > before);
    await online(rig);
    expect(await everyEvent(linked)).toEqual(once);
  }, 90_000);
});

describe('a kind of event that cannot be received', () => {
  test.each([
    ['calls', 'WAWebCallCollection', ['call']],
    ['the gate of resent messages', 'WAWebSyncGatingUtils', []],
  ])(
    '%s: the others come all the same',
    async (_name, module, lost) => {
      rig = await startRig('2026-09b');
      await rig.simulator.client.withoutModules({ names: [module] });
      const linked = await link(rig);
      await online(rig);
      const counts = await everyEvent(linked);
      expect(counts).toEqual(Object.fromEntries(Object.entries(once).filter(([name]) => !lost.includes(name as never))));
      expect((await linked.session.probe(5_000)).canary).toBe(true);
    },
    90_000,
  );

  test.each([
    ['reactions', 'WAWebAddonReactionTableMode'],
    ['votes', 'WAWebAddonPollVoteTableMode'],
    ['pins', 'WAWebPinInChatCollection'],
  ])(
    '%s: the session is ready, receives messages, and names what it cannot receive',
    async (name, module) => {
      rig = await startRig('2026-09b');
      await rig.simulator.client.withoutModules({ names: [module] });
      const { signals } = await link(rig);
      await online(rig);
      const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'eventOf' });
      await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
      expect((await signal(signals, 'checked')).check.listeners).toEqual([name]);
      expect(signals.some(({ type }) => type === 'gone')).toBe(false);
    },
    60_000,
  );

  test('messages whose listener the page has dropped break the canary; a reload restores them', async () => {
    const { session, signals } = await open('2026-09b');
    expect(await session.probe(5_000)).toMatchObject({ canary: true });
    await rig.simulator.client.dropListeners({});
    await until('the canary to break', async () => !(await session.probe(5_000)).canary);
    expect((await session.probe(5_000)).broken).toEqual(['messages', 'acks']);
    const readies = signals.filter(({ type }) => type === 'ready').length;
    await session.reload(5_000);
    await until('ready again', () => signals.filter(({ type }) => type === 'ready').length > readies);
    expect(await session.probe(5_000)).toMatchObject({ canary: true });
    const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'eventOf again' });
    await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
  }, 60_000);
});
