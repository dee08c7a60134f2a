import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AppError, newId, type MessageResource, type SessionResource } from '@chasqui/shared';
import { updateRows } from '../src/db/rows.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases } from './support/backend.js';
import { ana, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const shop = '5511988887777';
const group = '120363041234567890@g.us';

describe.each(await databases())('settings of a session on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
    core.worker.answer.set('messages.seen', {});
  });
  afterAll(() => core?.close());

  const change = (settings: object) => core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings } });
  const settingsNow = async () => ((await core.get(`/sessions/${core.sessionId}`)).body.data as SessionResource).settings;
  const seenChats = (): unknown[] =>
    core.worker.operations.flatMap(({ operation, input }) => (operation === 'messages.seen' ? [input['chatId']] : []));
  const arrive = async (text: string, more: Parameters<Core['inbound']>[1] = {}): Promise<void> =>
    core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound(text, more), origin: 'live' });
  const statusOf = async (text: string): Promise<string | undefined> =>
    ((await core.get('/messages/list?direction=inbound&limit=200')).body.data as MessageResource[]).find(
      (message) => message.text === text,
    )?.status;

  describe('calls', () => {
    const caller = { id: `${ana}@c.us`, phone: `+${ana}`, lid: '184467440737@lid', name: 'Ana' };
    const rings = async (callId: string, more: object = {}): Promise<void> =>
      core.worker.emit(core.sessionId, 'call.received', {
        ...{ callId, contact: caller, isVideo: false, isGroup: false, at: new Date().toISOString() },
        autoReject: { attempted: true, confirmed: true },
        ...more,
      });
    const reported = async (callId: string) =>
      (await core.events('call.received')).map(({ data }) => data).filter((data) => data['callId'] === callId);
    const answers = () => core.worker.left.filter(({ command }) => JSON.stringify(command.content).includes('no calls here'));

    test('the worker is told that it rejects calls, and not what is answered', async () => {
      expect((await change({ rejectCalls: { enabled: true, message: 'There are no calls here.' } })).status).toBe(200);
      const reply = await core.worker.beat();
      const settings = reply.leases.find(({ sessionId }) => sessionId === core.sessionId)?.settings;
      expect(settings).toMatchObject({ rejectCalls: true });
      expect(JSON.stringify(reply)).not.toContain('no calls here');
    });

    test('a rejected call is answered by one message, which the event names', async () => {
      await rings('one');
      const [event] = await reported('one');
      expect(event).toMatchObject({ autoReject: { attempted: true, confirmed: true, messageId: expect.any(String) } });
      const { messageId } = event!['autoReject'] as { messageId: string };
      const message = await core.reaches(messageId, 'sent');
      expect(message).toMatchObject({ text: 'There are no calls here.', toNumber: ana, direction: 'outbound' });
      expect(answers()).toHaveLength(1);
    });

    test('a call that is reported twice has one answer', async () => {
      await rings('one');
      const ids = (await reported('one')).map(({ autoReject }) => (autoReject as { messageId: string }).messageId);
      expect([ids.length, new Set(ids).size]).toEqual([2, 1]);
      await rings('two');
      await eventually('the second answer', async () => answers().length === 2);
    });

    test.each([
      ['that was left to ring', { autoReject: null }],
      ['that no longer rang', { autoReject: { attempted: false, confirmed: false } }],
      ['of a group', { isGroup: true }],
      ['of an unknown caller', { contact: null }],
      ['that is reported an hour late', { at: new Date(Date.now() - 3_600_000).toISOString() }],
    ])('a call %s is not answered', async (_which, more) => {
      const callId = newId();
      await rings(callId, more);
      expect(await reported(callId)).toMatchObject([{ autoReject: { messageId: null } }]);
      expect(answers()).toHaveLength(2);
    });

    test('an answer waits until the session is connected, and no longer than it makes sense', async () => {
      await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
      const callId = newId();
      await rings(callId);
      const [event] = await reported(callId);
      const { messageId } = event!['autoReject'] as { messageId: string };
      const waiting = await core.message(messageId);
      expect(waiting.status).toBe('queued');
      expect(Date.parse(waiting.expiresAt!) - Date.now()).toBeLessThanOrEqual(900_000);
      await core.worker.move(core.sessionId, 'connected', null);
      await core.reaches(messageId, 'sent');
    });

    test('an answer beyond the quota is not accepted, and the call is reported all the same', async () => {
      await change({ dailyLimit: 1 });
      const callId = newId();
      await rings(callId);
      expect(await reported(callId)).toMatchObject([{ autoReject: { attempted: true, messageId: null } }]);
      await change({ dailyLimit: null });
    });

    test('in the storage mode metadata the answer is sent and its text is not stored', async () => {
      await change({ storage: 'metadata' });
      const callId = newId();
      await rings(callId);
      const { messageId } = (await reported(callId))[0]!['autoReject'] as { messageId: string };
      const message = await core.reaches(messageId, 'sent');
      expect([message.text, message.content]).toEqual([null, null]);
      expect(core.worker.left.at(-1)?.command.content).toMatchObject({ message: 'There are no calls here.' });
      await change({ storage: 'full' });
    });

    test('without a message nothing is answered, and off means off', async () => {
      await change({ rejectCalls: { message: null } });
      expect((await settingsNow()).rejectCalls).toEqual({ enabled: true, message: null });
      const callId = newId();
      await rings(callId);
      expect(await reported(callId)).toMatchObject([{ autoReject: { attempted: true, messageId: null } }]);
      await change({ rejectCalls: { enabled: false } });
      const { leases } = await core.worker.beat();
      expect(leases.find(({ sessionId }) => sessionId === core.sessionId)?.settings?.rejectCalls).toBe(false);
    });
  });

  describe('stories', () => {
    const story = { chat: { id: 'status@broadcast', type: 'status' as const, name: null } };

    test('of others are recorded by default, and not when they are switched off', async () => {
      await arrive('a story', story);
      expect(await statusOf('a story')).toBe('delivered');
      expect((await change({ stories: false })).status).toBe(200);
      const before = (await core.events('message.received')).length;
      await arrive('an unwanted story', story);
      await arrive('a message behind it');
      expect([await statusOf('an unwanted story'), await statusOf('a message behind it')]).toEqual([undefined, 'delivered']);
      expect(await core.events('message.received')).toHaveLength(before + 1);
    });

    test('of one’s own phone are recorded either way', async () => {
      const own = core.inbound('my story', {
        ...story,
        fromMe: true,
        from: `${shop}@c.us`,
        to: 'status@broadcast',
        contact: null,
      });
      await core.worker.emit(core.sessionId, 'message.observed', { message: own, origin: 'live' });
      const { body } = await core.get('/messages/list?direction=outbound&limit=200');
      expect((body.data as MessageResource[]).some(({ text }) => text === 'my story')).toBe(true);
      await change({ stories: true });
    });
  });

  describe('marking as seen', () => {
    test('is off by default', async () => {
      expect((await settingsNow()).autoRead).toBe('off');
      await arrive('unseen');
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect([await statusOf('unseen'), seenChats()]).toEqual(['delivered', []]);
    });

    test('happens after a private message is recorded; the message becomes read', async () => {
      expect((await change({ autoRead: 'private' })).status).toBe(200);
      await arrive('seen');
      await eventually('the message to be read', async () => (await statusOf('seen')) === 'read');
      expect(seenChats()).toEqual([`${ana}@c.us`]);
      const types = (await core.events('message.received,message.ack')).map(({ type }) => type);
      expect(types.lastIndexOf('message.received')).toBeLessThan(types.indexOf('message.ack'));
    });

    test('marks a chat once for all messages that arrive together', async () => {
      const before = seenChats().length;
      for (const text of ['burst 1', 'burst 2', 'burst 3'])
        core.worker.queue(core.sessionId, 'message.observed', { message: core.inbound(text), origin: 'live' });
      await core.worker.flush();
      await eventually(
        'all to be read',
        async () => (await statusOf('burst 3')) === 'read' && (await statusOf('burst 1')) === 'read',
      );
      expect(seenChats()).toHaveLength(before + 1);
    });

    test('leaves groups alone, unless they are wanted', async () => {
      const inGroup = { chat: { id: group, type: 'group' as const, name: 'Team' } };
      await arrive('in the group', inGroup);
      await arrive('a witness');
      await eventually('the witness', async () => (await statusOf('a witness')) === 'read');
      expect([await statusOf('in the group'), seenChats().includes(group)]).toEqual(['delivered', false]);
      await change({ autoRead: 'all' });
      await arrive('again in the group', inGroup);
      await eventually('the group', async () => (await statusOf('again in the group')) === 'read');
    });

    test('never marks a story', async () => {
      await arrive('a story to be left', { chat: { id: 'status@broadcast', type: 'status', name: null } });
      await arrive('another witness');
      await eventually('the witness', async () => (await statusOf('another witness')) === 'read');
      expect(await statusOf('a story to be left')).toBe('delivered');
      expect(seenChats()).not.toContain('status@broadcast');
    });

    test('that fails is repeated, and other chats do not wait for it', async () => {
      core.worker.answer.set('messages.seen', new AppError('WHATSAPP_ERROR'));
      await arrive('not at once');
      await eventually('a failed mark', async () => core.rig.lines.join().includes('could not be marked as seen'));
      core.worker.answer.set('messages.seen', {});
      await eventually('the repeated mark', async () => (await statusOf('not at once')) === 'read');
    });

    test('a message that arrives while its chat is being marked is marked by itself', async () => {
      const before = seenChats().length;
      let arrived: Promise<void> | null = null;
      const { operations } = core.worker;
      const push = operations.push.bind(operations);
      operations.push = (...items) => {
        const result = push(...items);
        if (items[0]?.operation === 'messages.seen') arrived ??= arrive('meanwhile');
        return result;
      };
      await arrive('first');
      await eventually('both', async () => (await statusOf('meanwhile')) === 'read' && (await statusOf('first')) === 'read');
      operations.push = push;
      expect(seenChats()).toHaveLength(before + 2);
    });

    test('after a restart marks what was recorded before it, and nothing from before the setting', async () => {
      await change({ autoRead: 'off' });
      await arrive('before the setting', { chat: { id: '5511999990077@c.us', type: 'private', name: null } });
      await change({ autoRead: 'private' });
      await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
      await arrive('while it was away');
      expect(await statusOf('while it was away')).toBe('delivered');
      await core.worker.move(core.sessionId, 'connected', null);
      await eventually('the mark', async () => (await statusOf('while it was away')) === 'read');
      expect(await statusOf('before the setting')).toBe('delivered');
    });
  });

  describe('the memory mark', () => {
    test('is sent to the worker, counts restarts, and refuses a mark that no browser can stay below', async () => {
      expect((await change({ recycleAboveMb: 900 })).status).toBe(200);
      const { leases } = await core.worker.beat();
      expect(leases.find(({ sessionId }) => sessionId === core.sessionId)?.settings?.recycleAboveMb).toBe(900);
      const metrics = async () => (await core.get(`/sessions/${core.sessionId}/metrics`)).body.data as { recycles: number };
      expect((await metrics()).recycles).toBe(0);
      await core.worker.emit(core.sessionId, 'session.recycled', { reason: 'MEMORY_RECYCLED', memoryMb: 950 });
      expect((await metrics()).recycles).toBe(1);
      const refused = await change({ recycleAboveMb: 50 });
      expect([refused.status, refused.body.error?.code]).toEqual([422, 'VALIDATION_FAILED']);
    });
  });

  test('a session of an earlier version has the defaults, and keeps them when another setting is changed', async () => {
    const old = { autoReconnect: true, storeMedia: true, countryCode: null, queueIfOffline: false, maxQueueAgeHours: 24 };
    const pacing = { perMinute: 0, chatGapMs: 0, jitterMs: 0, typing: false };
    await core.rig.database.write.run((tx) =>
      updateRows(tx, Session, { id: core.sessionId }, { settings: { ...old, pacing } as never }),
    );
    const defaults = { autoRead: 'off', rejectCalls: { enabled: false, message: null }, stories: true, recycleAboveMb: null };
    expect(await settingsNow()).toMatchObject(defaults);
    await change({ queueIfOffline: true });
    expect(await settingsNow()).toMatchObject({ ...defaults, queueIfOffline: true });
    await arrive('as before', { chat: { id: 'status@broadcast', type: 'status', name: null } });
    expect(await statusOf('as before')).toBe('delivered');
  });
});
