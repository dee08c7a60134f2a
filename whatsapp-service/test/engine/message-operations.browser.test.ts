import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from '@jest/globals';
import { AppError, type OperationId, type OperationInput, type OperationOutput } from '@chasqui/shared';
import { ana, eventOf, link, me, online, sendContent, startRig, text, until } from './harness.js';
import { fromAna, onPhone, toAna } from './operations/messages.js';
import type { Stage } from './operations/scenario.js';

/** Operations on messages that are not the usual ones: of people without a number, of groups, of others, too old, or unknown. */

let stage: Stage;
beforeAll(async () => {
  const rig = await startRig('2026-09b');
  stage = { rig, ...(await link(rig)) };
  await online(rig);
}, 60_000);
afterAll(async () => stage?.rig.close());

type Input<Id extends OperationId> = Partial<OperationInput<Id>>;
const run = async <Id extends OperationId>(id: Id, input: Input<Id>): Promise<OperationOutput<Id>> =>
  (await stage.session.run(id, input, 8_000)) as OperationOutput<Id>;
const refused = async <Id extends OperationId>(id: Id, input: Input<Id>): Promise<{ code: string; details: unknown }> => {
  try {
    await run(id, input);
    return { code: 'SUCCESS', details: null };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { code: error.code, details: error.details };
  }
};
const hoursAgo = (hours: number): number => Math.floor(Date.now() / 1000) - hours * 3_600;
/** A message that the account has written on its phone. */
const fromMyPhone = async (more: { to?: string; t?: number; text?: string } = {}) => {
  const { key } = await stage.rig.simulator.client.deliver({ from: me, to: ana, type: 'text', text: 'from the phone', ...more });
  const { payload } = await eventOf(stage.signals, 'message.observed', ({ message }) => message.key === key);
  return { key, input: { whatsappId: payload.message.whatsappId, chatId: payload.message.chat.id } };
};
const group = async (by: string, settings: { restrict?: boolean; lidAddressing?: boolean } = {}): Promise<string> => {
  const participants = [me, ana].filter((phone) => phone !== by);
  const { id } = await stage.rig.simulator.client.createGroup({ by, subject: 'Orders', participants, ...settings });
  return id;
};

describe('someone else’s message', () => {
  test('cannot be edited, and cannot be deleted for everyone; for oneself it can', async () => {
    const { key, input } = await fromAna(stage);
    assert.equal((await refused('messages.edit', { ...input, message: 'forged' })).code, 'MESSAGE_NOT_EDITABLE');
    assert.equal((await refused('messages.delete', { ...input, scope: 'everyone' })).code, 'MESSAGE_NOT_EDITABLE');
    assert.ok(await onPhone(stage, key, me), 'It was quietly deleted for the account.');
    await run('messages.delete', { ...input, scope: 'me' });
    assert.equal(await onPhone(stage, key, me), undefined);
    assert.equal((await onPhone(stage, key)).type, 'chat');
  });

  test('has no receipts', async () => {
    const { input } = await fromAna(stage);
    assert.equal((await refused('messages.receipts', input)).code, 'VALIDATION_FAILED');
  });

  test('in a group is deleted for everyone by an admin', async () => {
    const id = await group(me);
    const { key, input } = await fromAna(stage, { to: id });
    const { message } = await run('messages.delete', { ...input, scope: 'everyone' });
    assert.equal((await onPhone(stage, key)).type, 'revoked');
    assert.deepEqual([message?.key, message?.fromMe], [key, false]);
  });

  test('in a group is not deleted for everyone by a member', async () => {
    const { key, input } = await fromAna(stage, { to: await group(ana) });
    assert.equal((await refused('messages.delete', { ...input, scope: 'everyone' })).code, 'MESSAGE_NOT_EDITABLE');
    assert.equal((await onPhone(stage, key, me)).type, 'chat');
  });
});

describe('an edit', () => {
  const mentioned = async (key: string) => {
    const { data } = await onPhone(stage, key);
    const ids = (field: string, of: (one: never) => unknown) => [...((data[field] ?? []) as never[])].map(of);
    return {
      people: ids('mentionedJidList', (one: { $wid: string }) => one.$wid),
      groups: ids('groupMentions', ({ groupJid }: { groupJid: { $wid: string } }) => groupJid.$wid),
    };
  };

  test('keeps the mentions that the new text still contains, and removes the others', async () => {
    const { client } = stage.rig.simulator;
    const [bea, beatrice] = ['5511977770141', '55119777701411'];
    for (const phone of [bea, beatrice]) await client.createAccount({ phone, name: phone });
    const id = await group(me);
    const mentions = [ana, bea, beatrice].map((phone) => `${phone}@c.us`);
    const words = `@${ana} @${bea} @${beatrice} see @${id}`;
    const sent = await sendContent(stage.session, text(words), {
      ...{ recipient: id, mentions, groupMentions: [{ id, name: 'Orders' }] },
    });
    assert.ok(sent.outcome.outcome === 'sent', JSON.stringify(sent.outcome));
    const input = { whatsappId: sent.outcome.whatsappId, chatId: id };
    await run('messages.edit', { ...input, message: `@${ana} and @${beatrice}: see @${id}` });
    assert.deepEqual(await mentioned(sent.reservedId), {
      people: [`${ana}@c.us`, `${beatrice}@c.us`],
      groups: [id],
    });
    await run('messages.edit', { ...input, message: `only @${ana}` });
    assert.deepEqual(await mentioned(sent.reservedId), { people: [`${ana}@c.us`], groups: [] });
  });

  test('names a mentioned person by the id that the new text contains', async () => {
    const lid = (await stage.rig.simulator.client.accounts({})).find(({ phone }) => phone === ana)!.lid;
    const id = await group(me);
    const sent = await sendContent(stage.session, text(`@${ana} hello`), { recipient: id, mentions: [`${ana}@c.us`] });
    assert.ok(sent.outcome.outcome === 'sent', JSON.stringify(sent.outcome));
    await run('messages.edit', { whatsappId: sent.outcome.whatsappId, chatId: id, message: `hello @${lid}` });
    assert.deepEqual((await mentioned(sent.reservedId)).people, [`${lid}@lid`]);
  });

  test('to the text that the message has already is no success when WhatsApp refuses it', async () => {
    const { input } = await toAna(stage, 'as it was');
    await stage.rig.simulator.client.fault({ op: 'addon', mode: 'fail', count: 1, status: 403 });
    assert.equal((await refused('messages.edit', { ...input, message: 'as it was' })).code, 'WHATSAPP_REFUSED');
    await stage.rig.simulator.client.clearFaults();
    assert.equal((await refused('messages.edit', { ...input, message: 'as it was' })).code, 'SUCCESS');
  });
});

describe('marking as seen', () => {
  const shown = async () => (await stage.rig.simulator.client.accounts({})).find(({ phone }) => phone === me)!.presence;

  test.each(['messages.seen', 'chats.read'] as const)('by %s shows the account as before: available, or not', async (id) => {
    for (const state of ['available', 'unavailable'] as const) {
      await run('presence.set', { state });
      const messages = [await fromAna(stage), await fromAna(stage)];
      await Promise.all(messages.map(({ input }) => run(id, id === 'chats.read' ? { chatId: input.chatId } : input)));
      assert.equal(await shown(), state);
    }
  });
});

describe('an own message', () => {
  test('is not edited after 15 minutes, and not deleted for everyone after days', async () => {
    const { key, input } = await fromMyPhone({ t: hoursAgo(1) });
    assert.equal((await refused('messages.edit', { ...input, message: 'late' })).code, 'MESSAGE_NOT_EDITABLE');
    const old = await fromMyPhone({ t: hoursAgo(24 * 4) });
    assert.equal((await refused('messages.delete', { ...old.input, scope: 'everyone' })).code, 'MESSAGE_NOT_EDITABLE');
    assert.equal((await onPhone(stage, old.key, me)).type, 'chat');
    assert.equal((await onPhone(stage, key)).data['body'], 'from the phone');
  });

  test('is deleted for oneself alone', async () => {
    const { key, input } = await toAna(stage, 'only mine goes');
    await run('messages.delete', { ...input, scope: 'me' });
    assert.equal(await onPhone(stage, key, me), undefined);
    assert.equal((await onPhone(stage, key)).type, 'chat');
  });

  test('that is deleted for everyone can be so again', async () => {
    const { input } = await toAna(stage, 'twice gone');
    await run('messages.delete', { ...input, scope: 'everyone' });
    await run('messages.delete', { ...input, scope: 'everyone' });
  });
});

test('a person known by LID only: react, pin, search and mark as seen', async () => {
  const { rig } = stage;
  const hidden = '5511999990055';
  const { lid } = await rig.simulator.client.createAccount({ phone: hidden, name: 'Hidden', hidesNumber: true });
  const address = lid.includes('@') ? lid : `${lid}@lid`;
  const { key } = await rig.simulator.client.deliver({ from: hidden, to: me, type: 'text', text: 'from nowhere', asLid: true });
  const { payload } = await eventOf(stage.signals, 'message.observed', ({ message }) => message.key === key);
  const input = { whatsappId: payload.message.whatsappId, chatId: address };
  assert.equal(payload.message.chat.id, address);
  await run('messages.react', { ...input, emoji: '👀' });
  await run('messages.pin', { ...input, seconds: 2_592_000 });
  await run('messages.seen', input);
  const marks = (await onPhone(stage, key, hidden)).marks;
  assert.equal(Object.values(marks.reactions)[0]?.emoji, '👀');
  assert.equal(marks.pin?.seconds, 2_592_000);
  assert.ok(Object.values(marks.receipts).some(({ read }) => read));
  const found = await run('messages.search', { query: 'from nowhere', chatId: address });
  assert.deepEqual(
    found.map((message) => message.key),
    [key],
  );
  const [latest] = await run('history.messages', { chatId: address, limit: 1 });
  assert.deepEqual([latest?.key, latest?.contact?.lid], [key, address]);
});

describe('a message of a group', () => {
  test('is pinned by admins only, if only they edit the group', async () => {
    const closed = await fromAna(stage, { to: await group(ana, { restrict: true }) });
    assert.equal((await refused('messages.pin', { ...closed.input, seconds: 86_400 })).code, 'GROUP_ADMIN_REQUIRED');
    const open = await fromAna(stage, { to: await group(ana) });
    await run('messages.pin', { ...open.input, seconds: 86_400 });
    assert.equal((await onPhone(stage, open.key)).marks.pin?.seconds, 86_400);
  });

  test('tells who has read it, and how many have not', async () => {
    const { simulator } = stage.rig;
    await simulator.client.createAccount({ phone: '5511999990066', name: 'Off', offline: true });
    const { id } = await simulator.client.createGroup({ by: me, subject: 'Two', participants: [ana, '5511999990066'] });
    await until('the group in the page', () =>
      refused('history.messages', { chatId: id }).then(({ code }) => code === 'SUCCESS'),
    );
    const { reservedId: key, outcome } = await sendContent(stage.session, text('to both'), { recipient: id });
    assert.ok(outcome.outcome === 'sent', JSON.stringify(outcome));
    await simulator.client.ack({ phone: ana, key, ack: 3 });
    const receipts = await run('messages.receipts', { whatsappId: outcome.whatsappId, chatId: id });
    assert.deepEqual(
      [receipts.read.map(({ contact }) => contact.phone), receipts.remaining.read, receipts.remaining.delivered],
      [[`+${ana}`], 1, 1],
    );
  });
});

describe('a poll', () => {
  test('in a channel has votes without voters, so it is neither read nor voted in', async () => {
    const { id: channelId } = await run('channels.create', { name: 'Shop news' });
    const content = { type: 'poll' as const, question: 'When?', options: ['Today', 'Never'], multiple: false };
    const { outcome } = await sendContent(stage.session, content, { recipient: channelId });
    assert.ok(outcome.outcome === 'sent', JSON.stringify(outcome));
    const input = { whatsappId: outcome.whatsappId, chatId: channelId };
    assert.equal((await refused('messages.votes', input)).code, 'NOT_SUPPORTED_BY_WHATSAPP');
    assert.equal((await refused('messages.vote', { ...input, options: ['Today'] })).code, 'NOT_SUPPORTED_BY_WHATSAPP');
  });

  const poll = { type: 'poll' as const, question: 'When?', options: ['Today', 'Never'] };

  test('takes no option that it does not have, and one only if it takes one', async () => {
    const { key, input } = await fromAna(stage, poll);
    assert.equal((await refused('messages.vote', { ...input, options: ['Today', 'Tuesday'] })).code, 'VALIDATION_FAILED');
    assert.equal((await refused('messages.vote', { ...input, options: ['Today', 'Never'] })).code, 'VALIDATION_FAILED');
    assert.equal(Object.keys((await onPhone(stage, key)).marks.votes).length, 0);
  });

  test('gives an own vote back for an empty list', async () => {
    const { key, input } = await fromAna(stage, poll);
    await run('messages.vote', { ...input, options: ['Today'] });
    const [own] = await run('messages.votes', input);
    assert.deepEqual([own?.contact.phone, own?.options], [`+${me}`, ['Today']]);
    assert.deepEqual(await run('messages.vote', { ...input, options: [] }), { options: [] });
    assert.deepEqual([...((await onPhone(stage, key)).marks.votes[`${me}@c.us`]?.options ?? [])], []);
    assert.deepEqual(await run('messages.votes', input), []);
  });

  test('is what votes need', async () => {
    const { input } = await fromAna(stage);
    assert.equal((await refused('messages.votes', input)).code, 'VALIDATION_FAILED');
    assert.equal((await refused('messages.vote', { ...input, options: [] })).code, 'VALIDATION_FAILED');
    assert.equal((await refused('messages.calendarResponse', { ...input, response: 'going' })).code, 'VALIDATION_FAILED');
  });
});

test('a message that WhatsApp does not know is not found, whatever is asked', async () => {
  const input = { whatsappId: `true_${ana}@c.us_3EB0FFFFFFFFFFFFFFFFFF`, chatId: `${ana}@c.us` };
  const asked = {
    'messages.get': {},
    'messages.edit': { message: 'x' },
    'messages.delete': { scope: 'me' },
    'messages.react': { emoji: '👍' },
    'messages.reactions': {},
    'messages.star': {},
    'messages.unstar': {},
    'messages.pin': { seconds: 86_400 },
    'messages.votes': {},
    'messages.vote': { options: [] },
    'messages.receipts': {},
    'messages.calendarResponse': { response: 'maybe' },
  } as const;
  for (const [id, more] of Object.entries(asked)) {
    const { code } = await refused(id as OperationId, { ...input, ...more } as never);
    assert.deepEqual([id, code], [id, 'MESSAGE_NOT_FOUND']);
  }
  assert.equal((await refused('messages.seen', { ...input, chatId: '5511999990098@c.us' })).code, 'CHAT_NOT_FOUND');
});

describe('the history of a chat', () => {
  const bea = '5511999990044';

  test('is read page by page, without a gap or a repeat', async () => {
    const { client } = stage.rig.simulator;
    await client.createAccount({ phone: bea, name: 'Bea' });
    const keys: string[] = [];
    for (let index = 0; index < 7; index += 1)
      keys.push((await client.deliver({ from: bea, to: me, type: 'text', text: `line ${index}` })).key);
    await eventOf(stage.signals, 'message.observed', ({ message }) => message.key === keys.at(-1));
    const pages: string[] = [];
    let before: string | undefined;
    for (let page = 0; page < 4; page += 1) {
      const found = await run('history.messages', { chatId: `${bea}@c.us`, limit: 3, ...(before ? { before } : {}) });
      pages.push(...found.map((message) => message.key));
      before = found.at(-1)?.whatsappId ?? before;
    }
    assert.deepEqual(pages, [...keys].reverse());
    assert.deepEqual(await run('history.messages', { chatId: `${bea}@c.us`, limit: 3, fromMe: true }), []);
  });

  test('that the phone sends on request is reported as asked for', async () => {
    const { client } = stage.rig.simulator;
    const cleo = '5511999990045';
    await client.createAccount({ phone: cleo, name: 'Cleo' });
    const keys: string[] = [];
    for (let index = 0; index < 30; index += 1)
      keys.push((await client.deliver({ from: cleo, to: me, type: 'text', text: `old ${index}`, t: hoursAgo(50) + index })).key);
    await eventOf(stage.signals, 'message.observed', ({ message }) => message.key === keys.at(-1));
    await stage.session.reload(10_000);
    const wasReady = stage.signals.length;
    await until('the page after its reload', () => stage.signals.slice(wasReady).some(({ type }) => type === 'ready'));
    await run('history.request', { chatId: `${cleo}@c.us` });
    await eventOf(stage.signals, 'message.observed', ({ message, origin }) => message.key === keys[0] && origin === 'asked');
  }, 60_000);

  test('of an unknown chat is not found', async () => {
    for (const id of ['history.messages', 'history.request'] as const)
      assert.equal((await refused(id, { chatId: '5511999990097@c.us' })).code, 'CHAT_NOT_FOUND');
  });
});
