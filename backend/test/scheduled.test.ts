import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MessageResource } from '@chasqui/shared';
import { Account } from '../src/accounts/account.entity.js';
import { updateRows } from '../src/db/rows.js';
import { createThumbnails } from '../src/media/thumbnails.js';
import { createRetention } from '../src/jobs/retention.js';
import { createSealer } from '../src/lib/sealer.js';
import { createMedia } from '../src/media/media.js';
import { Message } from '../src/messages/message.entity.js';
import { databases, type Reply } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const minute = 60_000;
const day = 24 * 60 * minute;
const picture = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const isoIn = (ms: number): string => new Date(Date.now() + ms).toISOString();
const warningsOf = (reply: Reply): string[] =>
  ((reply.body as { warnings?: { code: string }[] }).warnings ?? []).map(({ code }) => code);
const fieldOf = ({ body }: Reply): unknown => (body.error?.details['fields'] as { code: string }[] | undefined)?.[0]?.code;

describe.each(await databases())('scheduled messages on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  const schedule = async (text: string, inMs: number, more: Record<string, unknown> = {}): Promise<MessageResource> => {
    const reply = await core.send(text, { scheduledAt: isoIn(inMs), ...more });
    expect([reply.status, dataOf(reply).status]).toEqual([202, 'scheduled']);
    return dataOf(reply);
  };
  const leftOf = (id: string) => core.worker.left.filter(({ messageId }) => messageId === id);
  /** Makes a scheduled message due so long ago, as after a stop of the backend. */
  const dueAgo = (id: string, ms: number) => {
    const at = new Date(Date.now() - ms);
    const changes = { scheduledAt: at, nextAttemptAt: at };
    return core.rig.database.write.run((tx) => updateRows(tx, Message, { id, status: 'scheduled' }, changes));
  };
  const settings = (changes: Record<string, unknown>) =>
    core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: changes } });
  const eventsOf = async (id: string) =>
    (await core.events('message.*')).filter(({ data }) => data['id'] === id).map(({ type }) => type);

  test('a message is accepted at once, sent at its time, and shows each step', async () => {
    const before = Date.now();
    const { id, scheduledAt, nextAttemptAt, queuedAt, expiresAt } = await schedule('later', 3_000);
    expect([nextAttemptAt, queuedAt]).toEqual([scheduledAt, null]);
    // Its life begins at its time.
    expect(Date.parse(expiresAt!) - Date.parse(scheduledAt!)).toBe(day);
    const sent = await core.reaches(id, 'sent');
    expect(Date.parse(sent.queuedAt!)).toBeGreaterThanOrEqual(Date.parse(scheduledAt!));
    expect(Date.now() - before).toBeLessThan(minute);
    expect(await eventsOf(id)).toEqual(['message.scheduled', 'message.queued', 'message.sending', 'message.sent']);
    const { body } = await core.get(`/messages/${id}/timeline`);
    expect((body.data as { status: string }[]).map(({ status }) => status)).toEqual(['scheduled', 'queued', 'sending', 'sent']);
    expect(leftOf(id)).toHaveLength(1);
  });

  test('due messages are sent in the order of their times', async () => {
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const second = await schedule('second', minute);
    const first = await schedule('first', minute);
    await dueAgo(first.id, 9_000);
    await dueAgo(second.id, 8_000);
    await core.reaches(first.id, 'queued');
    await core.reaches(second.id, 'queued');
    const third = dataOf(await core.send('third', { async: true, queueIfOffline: true }));
    await core.worker.move(core.sessionId, 'connected', null);
    await core.reaches(third.id, 'sent');
    const order = core.worker.left.map(({ messageId }) => messageId).slice(-3);
    expect(order).toEqual([first.id, second.id, third.id]);
  });

  test('a wall time counts in its time zone, and a change of the clocks is said', async () => {
    // Berlin's clocks change on the last Sundays of March and October.
    const sunday = (month: number): string => {
      const year = new Date().getUTCFullYear() + (new Date(new Date().getUTCFullYear(), month, 20) < new Date() ? 1 : 0);
      const last = new Date(Date.UTC(year, month + 1, 0));
      last.setUTCDate(last.getUTCDate() - last.getUTCDay());
      return last.toISOString().slice(0, 10);
    };
    const send = (scheduledAt: string, timezone?: string) => core.send('x', { scheduledAt, ...(timezone ? { timezone } : {}) });
    const noon = new Date(Date.now() + 3 * day).toISOString().slice(0, 10);
    const plain = await send(`${noon}T12:00`, 'Asia/Tokyo');
    expect(dataOf(plain).scheduledAt).toBe(`${noon}T03:00:00.000Z`);
    expect(warningsOf(plain)).toEqual([]);
    const skipped = await send(`${sunday(2)}T02:30`, 'Europe/Berlin');
    expect([dataOf(skipped).scheduledAt, warningsOf(skipped)]).toEqual([`${sunday(2)}T01:30:00.000Z`, ['SCHEDULE_TIME_SKIPPED']]);
    const twice = await send(`${sunday(9)}T02:30:15`, 'Europe/Berlin');
    expect([dataOf(twice).scheduledAt, warningsOf(twice)]).toEqual([`${sunday(9)}T00:30:15.000Z`, ['SCHEDULE_TIME_TWICE']]);
    // Without a zone: the session's, otherwise the account's.
    expect(dataOf(await send(`${noon}T12:00`)).scheduledAt).toBe(`${noon}T12:00:00.000Z`);
    await settings({ timezone: 'America/Lima' });
    expect(dataOf(await send(`${noon}T12:00`)).scheduledAt).toBe(`${noon}T17:00:00.000Z`);
    await settings({ timezone: 'UTC' });
    expect(dataOf(await send(`${noon}T12:00:00+02:00`)).scheduledAt).toBe(`${noon}T10:00:00.000Z`);
  });

  test('a time that cannot be meant is refused, and nothing is stored', async () => {
    const listed = async () => (await core.get('/messages/list?status=scheduled&limit=100')).body.data;
    const before = await listed();
    const past = await core.send('x', { scheduledAt: isoIn(-1_000) });
    expect([past.status, past.body.error?.code]).toEqual([422, 'SCHEDULE_IN_PAST']);
    expect(fieldOf(await core.send('x', { scheduledAt: isoIn(400 * day) }))).toBe('TOO_FAR_AHEAD');
    expect(fieldOf(await core.send('x', { scheduledAt: isoIn(day), timezone: 'Asia/Tokyo' }))).toBe('NO_EFFECT');
    expect(fieldOf(await core.send('x', { timezone: 'Asia/Tokyo' }))).toBe('NO_EFFECT');
    expect((await core.send('x', { scheduledAt: '2027-02-30T10:00' })).status).toBe(422);
    expect(fieldOf(await core.send('x', { scheduledAt: isoIn(day), expiresAt: isoIn(minute) }))).toBe('IN_THE_PAST');
    expect(await listed()).toEqual(before);
  });

  test('every kind of send can wait for its time: files, forwards, groups and stories', async () => {
    const scheduledAt = isoIn(day);
    const original = dataOf(await core.send('to be forwarded'));
    const replies = [
      await core.post('/messages/send-media', { recipient: ana, mediaBase64: picture, scheduledAt }),
      await core.post('/messages/send', { type: 'location', recipient: ana, latitude: 1, longitude: 2, scheduledAt }),
      await core.post('/messages/send-group', { groupId: '120363041234567890@g.us', message: 'x', scheduledAt }),
      await core.post(`/messages/${original.id}/forward`, { recipient: ana, scheduledAt }),
      await core.post(`/sessions/${core.sessionId}/stories`, { message: 'x', scheduledAt }),
    ];
    expect(replies.map((reply) => [reply.status, dataOf(reply).status])).toEqual(replies.map(() => [202, 'scheduled']));
    for (const reply of replies) await dueAgo(dataOf(reply).id, 1_000);
    for (const reply of replies) await core.reaches(dataOf(reply).id, 'sent');
    expect(leftOf(dataOf(replies[0]!).id)[0]?.file?.bytes.toString('base64')).toBe(picture);
  });

  test('a repeat with the same Idempotency-Key is the same scheduled message', async () => {
    const body = { scheduledAt: isoIn(day) };
    const [one, other] = [
      await core.send('once', body, { 'Idempotency-Key': `schedule-${database}` }),
      await core.send('once', body, { 'Idempotency-Key': `schedule-${database}` }),
    ];
    expect([other.status, dataOf(other).id]).toEqual([202, dataOf(one).id]);
  });

  test('a scheduled message is listed, moved and cancelled; another one is not moved', async () => {
    const { id, expiresAt } = await schedule('moved', day);
    const listed = async () =>
      ((await core.get('/messages/list?status=scheduled&limit=100')).body.data as MessageResource[]).map((one) => one.id);
    expect(await listed()).toContain(id);
    const move = (scheduledAt: string, of = id) => core.rig.call('PUT', `/messages/${of}/schedule`, { body: { scheduledAt } });
    const later = isoIn(3 * day);
    const moved = await move(later);
    expect([moved.status, dataOf(moved).scheduledAt, dataOf(moved).nextAttemptAt]).toEqual([200, later, later]);
    expect(Date.parse(dataOf(moved).expiresAt!) - Date.parse(expiresAt!)).toBeGreaterThan(1.9 * day);
    expect((await move(isoIn(-minute))).body.error?.code).toBe('SCHEDULE_IN_PAST');
    expect(await eventsOf(id)).toEqual(['message.scheduled', 'message.scheduled']);
    expect(dataOf(await core.post(`/messages/${id}/cancel`, {})).status).toBe('cancelled');
    expect(await listed()).not.toContain(id);
    const refused = await move(later);
    expect([refused.status, refused.body.error?.code]).toEqual([409, 'MESSAGE_NOT_SCHEDULED']);
    // Moved to an earlier time, it is sent then.
    const sooner = await schedule('sooner', day);
    await move(isoIn(700), sooner.id);
    await core.reaches(sooner.id, 'sent');
  });

  test('a message that was missed is sent late within the grace time, and fails after it', async () => {
    const late = await schedule('late', day);
    const missed = await schedule('missed', day);
    await dueAgo(late.id, 59 * minute);
    await dueAgo(missed.id, 61 * minute);
    await core.reaches(late.id, 'sent');
    const { reason } = await core.reaches(missed.id, 'failed');
    expect(reason?.code).toBe('MISSED');
    expect(leftOf(missed.id)).toEqual([]);
    // A person may still send it. Its life begins again.
    const again = await core.post(`/messages/${missed.id}/retry`, {});
    expect(again.status).toBe(200);
    expect(leftOf(missed.id)).toHaveLength(1);
  });

  test('quota counts when the message is due; without any it waits, and fails when the grace time is over', async () => {
    const used = async (): Promise<number> => {
      const { limits } = (await core.get('/messages/quota')).body.data as { limits: { used: number; reserved: number }[] };
      return (limits[0]?.used ?? 0) + (limits[0]?.reserved ?? 0);
    };
    await settings({ dailyLimit: 1_000 });
    const before = await used();
    const one = await schedule('fits', day);
    const two = await schedule('waits', day);
    const three = await schedule('waits in vain', day);
    expect(await used()).toBe(before);
    await settings({ dailyLimit: before + 1 });
    await dueAgo(one.id, 3_000);
    await core.reaches(one.id, 'sent');
    await dueAgo(two.id, 2_000);
    await dueAgo(three.id, 1_000);
    const waitsForQuota = (id: string): Promise<MessageResource> =>
      eventually('it to wait for quota', async () => {
        const message = await core.message(id);
        return message.reason?.code === 'QUOTA_WAIT' ? message : null;
      });
    const waits = await waitsForQuota(two.id);
    await waitsForQuota(three.id);
    expect([waits.status, waits.queuedAt]).toEqual(['scheduled', null]);
    expect(waits.reason?.message).toContain('resets at');
    expect(Date.parse(waits.nextAttemptAt!) - Date.now()).toBeLessThanOrEqual(30_000);
    expect(await used()).toBe(before + 1);
    await dueAgo(three.id, 61 * minute);
    const failed = await core.reaches(three.id, 'failed');
    expect(failed.reason).toMatchObject({ code: 'MISSED', message: expect.stringContaining('No quota') });
    await settings({ dailyLimit: null });
    await dueAgo(two.id, 2_000);
    await core.reaches(two.id, 'sent');
    await settings({ dailyLimit: 1_000 });
    expect(await used()).toBe(before + 2);
    await settings({ dailyLimit: null });
  });

  test('while the session is not connected or the account not active, a due message waits in the queue', async () => {
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    // Accepted although nothing is connected: it is for later.
    const { id } = await schedule('waits for the line', 700);
    await core.reaches(id, 'queued');
    await core.rig.database.write.run((tx) => updateRows(tx, Account, { role: 'admin' }, { isActive: false }));
    await core.worker.move(core.sessionId, 'connected', null);
    const row = async () => core.rig.database.reader.getRepository(Message).findOneByOrFail({ id });
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect((await row()).status).toBe('queued');
    await core.rig.database.write.run((tx) => updateRows(tx, Account, { role: 'admin' }, { isActive: true }));
    await eventually('it to be sent', async () => (await row()).status === 'sent');
  });

  test('a file is kept until its message was sent, and an upload until then', async () => {
    const upload = (await core.post('/media', { mediaBase64: picture })).body.data as { id: string };
    const scheduledAt = isoIn(100 * day);
    const body = { recipient: ana, mediaId: upload.id, scheduledAt };
    const { id } = dataOf(await core.post('/messages/send-media', body));
    expect((await core.rig.call('DELETE', `/media/${upload.id}`)).body.error?.code).toBe('MEDIA_IN_USE');
    const inDays = (days: number) => ({ now: () => new Date(Date.now() + days * day), monotonic: () => performance.now() });
    const parts = { dir: join(core.rig.dataDir, 'media'), maxBytes: 1_000_000, allowed: ['*'] };
    const none = { convert: undefined as never, safeFetch: null as never };
    const sealer = createSealer(`k1:${Buffer.alloc(32).toString('base64')}`);
    const media = createMedia({ database: core.rig.database, clock: inDays(0) }, { ...parts, ...none, sealer });
    const retention = createRetention(
      { database: core.rig.database, clock: inDays(99), report: () => undefined },
      { media, thumbnails: createThumbnails(core.rig), days: { messages: 30, media: 30, events: 30 } },
    );
    await retention.run();
    expect((await core.message(id)).status).toBe('scheduled');
    await dueAgo(id, 1_000);
    await core.reaches(id, 'sent');
    expect(leftOf(id)[0]?.file?.bytes.toString('base64')).toBe(picture);
  });

  test('its content is sealed in the storage mode metadata, and removed after the send', async () => {
    await settings({ storage: 'metadata' });
    const { id, text } = await schedule('sealed words', 900);
    const row = () => core.rig.database.reader.getRepository(Message).findOneByOrFail({ id });
    const waiting = await row();
    expect([text, waiting.content, waiting.text]).toEqual([null, null, null]);
    expect(waiting.sealed).not.toContain('sealed words');
    await core.reaches(id, 'sent');
    expect((await row()).sealed).toBeNull();
    expect(leftOf(id)[0]?.command.content).toMatchObject({ message: 'sealed words' });
    await settings({ storage: 'full' });
  });

  test('an erasure of its recipient cancels it', async () => {
    const bo = '5511999990077';
    const { id } = dataOf(await core.send('x', { recipient: bo, scheduledAt: isoIn(day) }));
    const erasure = await core.post('/privacy/erasures', { contact: bo, confirm: bo });
    const { id: requestId } = erasure.body.data as { id: string };
    await eventually('the erasure', async () => {
      const { status } = (await core.get(`/privacy/erasures/${requestId}`)).body.data as { status: string };
      return status === 'done';
    });
    const row = await core.rig.database.reader.getRepository(Message).findOneByOrFail({ id });
    expect([row.status, row.content, row.toId]).toEqual(['cancelled', null, 'erased']);
  });

  test('it belongs to the WhatsApp account for which it was accepted, and a decision counts for it before its time', async () => {
    const later = await schedule('for the first account', day);
    const soon = await schedule('for the first account, soon', day);
    core.worker.sessions.get(core.sessionId)!.phoneNumber = null;
    await core.worker.move(core.sessionId, 'disconnected', 'LOGGED_OUT_BY_PHONE');
    await core.post('/sessions/init');
    await core.worker.link(core.sessionId, '+5511977776666');
    await dueAgo(soon.id, 1_000);
    await eventually('it to be held', async () => (await core.message(soon.id)).reason?.code === 'SESSION_IDENTITY_CHANGED');
    expect((await core.message(soon.id)).nextAttemptAt).toBeNull();
    await core.post(`/sessions/${core.sessionId}/held-messages`, { decision: 'send' });
    await core.reaches(soon.id, 'sent');
    await dueAgo(later.id, 1_000);
    await core.reaches(later.id, 'sent');
    expect(leftOf(later.id)[0]?.command.account?.phoneNumber).toBe('+5511977776666');
  });

  test('the number of scheduled messages of a session is limited', async () => {
    const small = await startCore({ database, settings: { MAX_QUEUED_PER_SESSION: '2' } });
    try {
      const replies: number[] = [];
      for (const _ of [1, 2, 3]) replies.push((await small.send('x', { scheduledAt: isoIn(day) })).status);
      expect(replies).toEqual([202, 202, 429]);
      // Those that wait for their time leave room for others.
      expect([200, 202]).toContain((await small.send('now')).status);
    } finally {
      await small.close();
    }
  });

  test('a deleted session ends its scheduled messages', async () => {
    const { id } = await schedule('of a session that is deleted', day);
    await core.rig.call('DELETE', `/sessions/${core.sessionId}`);
    const row = () => core.rig.database.reader.getRepository(Message).findOneByOrFail({ id });
    await eventually('it to fail', async () => (await row()).status === 'failed');
    expect((await row()).reasonCode).toBe('SESSION_DELETED');
  });
});
