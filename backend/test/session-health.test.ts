import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SessionHealth, SessionMetricsResource } from '@chasqui/shared';
import { throttledPace } from '../src/lib/throttle.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

describe.each(await databases())('the health of a session on %s', (database) => {
  let core: Core;
  const health = async (): Promise<SessionHealth> =>
    (await core.get(`/sessions/${core.sessionId}/health`)).body.data as unknown as SessionHealth;
  const account = (reachOutLocked: boolean, linkedDevices: number | null) =>
    core.worker.emit(core.sessionId, 'session.account', { reachOutLocked, linkedDevices });
  const dataOf = async (type: string) => (await core.events(type)).map(({ data }) => data);

  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  test('is what the worker measures now', async () => {
    expect(await health()).toMatchObject({
      stale: false,
      roundTripMs: 3,
      restrictions: [],
      linkedDevices: null,
      selfCheck: null,
    });
  });

  test('names the copy of the login, also when the worker does not answer or is too old to report it', async () => {
    const copyOf = async () => (await health()).loginCopy;
    const { loginCopies } = core.worker;
    expect(await copyOf()).toBeNull();
    const loginCopy = { bytes: 4_300_000, copiedAt: '2026-03-01T12:00:00.000Z' };
    loginCopies.set(core.sessionId, loginCopy);
    await core.worker.beat();
    loginCopies.delete(core.sessionId);
    await core.worker.beat();
    expect(await copyOf()).toEqual(loginCopy);
    loginCopies.set(core.sessionId, null);
    await core.worker.beat();
    loginCopies.delete(core.sessionId);
    expect(await copyOf()).toBeNull();
    // A value that does not fit costs no lease.
    loginCopies.set(core.sessionId, { bytes: 0.5, copiedAt: 'yesterday' });
    await core.worker.beat();
    loginCopies.delete(core.sessionId);
    expect(await health()).toMatchObject({ stale: false, loginCopy: null });
  });

  test('a reach-out lock is a restriction with an event, once, and its end is another one', async () => {
    await account(true, 1);
    await account(true, 1);
    await eventually('the lock', async () => (await health()).restrictions[0]?.kind === 'reach_out_lock');
    await account(false, 1);
    await eventually('the end', async () => (await health()).restrictions.length === 0);
    expect((await dataOf('session.restriction')).map(({ kind }) => kind)).toEqual(['reach_out_lock', 'lifted']);
    expect((await dataOf('session.restriction')).at(-1)).toMatchObject({ lifted: 'reach_out_lock', until: null });
  });

  test('a lock halves the pace, which recovers by itself, and a person may lift it', async () => {
    const throttled = await eventually('the throttle', async () => (await health()).throttle);
    expect(throttled).toMatchObject({ factor: 0.5, reason: 'reach_out_lock' });
    const pacing = { perMinute: 4, chatGapMs: 0, jitterMs: 0 };
    const settings = (changes: object) =>
      core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { pacing: { ...pacing, ...changes } } } });
    expect((await settings({})).status).toBe(200);
    // One after the other: which of three at once is first would be chance.
    const ids: string[] = [];
    for (const message of ['one', 'two', 'three'])
      ids.push(((await core.send(message, { async: true })).body.data as { id: string }).id);
    await core.reaches(ids[0]!, 'sent');
    await core.reaches(ids[1]!, 'sent');
    expect((await core.message(ids[2]!)).status).toBe('queued');
    expect((await settings({ perMinute: 0 })).status).toBe(200);
    await core.post(`/messages/${ids[2]!}/cancel`);
    const { body } = await core.rig.call('DELETE', `/sessions/${core.sessionId}/throttle`);
    expect(body.data).toMatchObject({ throttle: null });
    await core.rig.call('DELETE', `/sessions/${core.sessionId}/throttle`);
    expect(await dataOf('session.throttled')).toMatchObject([
      { factor: 0.5, reason: 'reach_out_lock', until: expect.any(String) },
      { factor: 1, reason: 'LIFTED', until: null },
    ]);
  });

  test('one more linked device is an event; fewer, and an unknown number, are none', async () => {
    await account(false, 3);
    await account(false, null);
    await account(false, 2);
    await account(false, 3);
    const events = await eventually('both', async () => {
      const found = await dataOf('session.device_linked');
      return found.length === 2 && found;
    });
    expect(events).toEqual([
      { count: 3, previousCount: 1 },
      { count: 3, previousCount: 2 },
    ]);
    expect((await health()).linkedDevices).toMatchObject({ count: 3 });
  });

  test('a page that WhatsApp calls outdated is a restriction as long as it lasts', async () => {
    await core.worker.move(core.sessionId, 'initializing', 'OUTDATED_VERSION');
    await eventually('the restriction', async () => (await health()).restrictions[0]?.kind === 'outdated_version');
    await core.worker.move(core.sessionId, 'connecting', 'SYNCING');
    await core.worker.move(core.sessionId, 'connected', null);
    await eventually('its end', async () => (await health()).restrictions.length === 0);
    const last = (await dataOf('session.restriction')).slice(-2);
    expect(last).toMatchObject([{ kind: 'outdated_version' }, { kind: 'lifted', lifted: 'outdated_version' }]);
    expect((await health()).throttle).toBeNull();
  });

  describe('a temporary ban', () => {
    const until = new Date(Date.now() + 3_600_000).toISOString();
    const report = (status: 'error' | 'initializing' | 'connecting' | 'connected', code: string | null, end: string | null) =>
      core.worker.emit(core.sessionId, 'session.observed', {
        ...{ status, reason: code ? { code, message: `Because of ${code}.` } : null, until: end },
        ...{ phoneNumber: '+5511988887777', lid: null, pushName: 'Shop', platform: 'android' },
        ...{ attempt: 0, whatsappWebVersion: null, compat: [] },
      });
    const bans = async () =>
      (await dataOf('session.restriction')).filter(({ kind, lifted }) => (lifted ?? kind) === 'temporary_ban');

    test('is a restriction with its end, and slows the session down', async () => {
      await report('error', 'ACCOUNT_TEMPORARILY_BANNED', until);
      await report('error', 'ACCOUNT_TEMPORARILY_BANNED', until);
      expect(await bans()).toMatchObject([{ kind: 'temporary_ban', until, lifted: null }]);
      expect(await health()).toMatchObject({
        restrictions: [{ kind: 'temporary_ban', until }],
        throttle: { factor: 0.5, reason: 'temporary_ban' },
      });
    });

    test('stays shown while the session starts, and is lifted when WhatsApp lets it in', async () => {
      await report('initializing', 'STARTING', null);
      expect((await health()).restrictions).toMatchObject([{ kind: 'temporary_ban' }]);
      await report('connecting', 'SYNCING', null);
      await report('connected', null, null);
      await report('connected', null, null);
      expect((await bans()).map(({ kind }) => kind)).toEqual(['temporary_ban', 'lifted']);
      expect(await health()).toMatchObject({ restrictions: [], throttle: { factor: 0.5 } });
      await core.rig.call('DELETE', `/sessions/${core.sessionId}/throttle`);
    });

    test('is not shown any more after its end', async () => {
      await report('error', 'ACCOUNT_TEMPORARILY_BANNED', new Date(Date.now() - 1_000).toISOString());
      expect((await health()).restrictions).toEqual([]);
      await report('initializing', 'STARTING', null);
      await report('connecting', 'SYNCING', null);
      await report('connected', null, null);
    });

    test('a check of the account lets messages wait, and the session goes on when it is over', async () => {
      await report('connecting', 'ACCOUNT_CHALLENGED', null);
      expect((await health()).restrictions).toMatchObject([{ kind: 'challenge', until: null }]);
      const { body } = await core.send('behind the check', { async: true, queueIfOffline: true });
      const { id } = body.data as { id: string };
      expect((await core.message(id)).status).toBe('queued');
      await report('connected', null, null);
      await core.reaches(id, 'sent');
      expect((await dataOf('session.restriction')).at(-1)).toMatchObject({ kind: 'lifted', lifted: 'challenge' });
      await core.rig.call('DELETE', `/sessions/${core.sessionId}/throttle`);
    });
  });

  describe('a check that wants the passkey of the linked account', () => {
    const request = {
      challenge: 'Y2hhbGxlbmdl',
      rpId: 'whatsapp.com',
      timeout: 600_000,
      userVerification: 'preferred',
      allowCredentials: [],
    };
    const path = () => `/sessions/${core.sessionId}/passkey`;
    const answer = { id: 'a2V5', response: { clientDataJSON: 'e30', authenticatorData: 'e30', signature: 'e30' } };

    test('is a status and a restriction; messages wait, others are refused, and the request is relayed', async () => {
      await core.worker.move(core.sessionId, 'passkey_required', 'ACCOUNT_PASSKEY_REQUIRED');
      expect((await health()).restrictions).toMatchObject([{ kind: 'challenge', until: null }]);
      const status = await core.get(`/sessions/${core.sessionId}/status`);
      expect(status.body.data).toMatchObject({
        ...{ status: 'passkey_required', isConnected: false },
        reason: { code: 'ACCOUNT_PASSKEY_REQUIRED' },
      });
      const queued = (await core.send('behind the dialog', { async: true, queueIfOffline: true })).body.data as { id: string };
      const refused = await core.send('at once', { queueIfOffline: false });
      expect([refused.status, refused.body.error?.code]).toEqual([409, 'SESSION_NOT_CONNECTED']);
      core.worker.answer.set('session.passkey', { request, expiresAt: new Date(Date.now() + 600_000).toISOString() });
      expect((await core.get(path())).body.data).toMatchObject({ request });
      core.worker.answer.set('session.answerPasskey', { answered: true });
      expect((await core.post(path(), answer)).status).toBe(202);
      expect((await core.message(queued.id)).status).toBe('queued');
      await core.worker.move(core.sessionId, 'connected', null);
      await core.reaches(queued.id, 'sent');
      expect((await dataOf('session.status')).slice(-2)).toMatchObject([
        { previous: 'connected', status: 'passkey_required', isConnected: false },
        { previous: 'passkey_required', status: 'connected' },
      ]);
      expect((await core.get(path())).body.error).toMatchObject({ code: 'SESSION_STATE_CONFLICT' });
      await core.rig.call('DELETE', `/sessions/${core.sessionId}/throttle`);
    });
  });

  describe('first contacts', () => {
    let next = 0;
    const phone = (): string => `55119${String(77_000_000 + (next += 1)).padStart(8, '0')}`;
    const sendTo = async (recipient: string, refusal: string | null): Promise<void> => {
      core.worker.script(refusal ? { do: 'fail', reason: refusal, retryable: false } : { do: 'send' });
      const { body } = await core.send('hello', { recipient, async: true });
      await core.reaches((body.data as { id: string }).id, 'sent', 'failed');
    };
    const counted = async (): Promise<string> =>
      (await core.rig.database.reader.getRepository(Session).findOneByOrFail({ id: core.sessionId })).firstContacts;

    test('are counted once for each chat, by what WhatsApp made of them', async () => {
      const known = phone();
      await sendTo(known, null);
      await sendTo(known, null);
      await sendTo(known, 'WHATSAPP_REFUSED');
      await sendTo(phone(), 'RECIPIENT_NOT_ON_WHATSAPP');
      await sendTo(phone(), 'MEDIA_UPLOAD_FAILED');
      expect(await counted()).toBe('.x');
    });

    test('with a person who wrote first are none', async () => {
      const writer = phone();
      const contact = { id: `${writer}@c.us`, phone: `+${writer}`, lid: null, name: null };
      const message = core.inbound('hi', {
        chat: { id: `${writer}@c.us`, type: 'private', name: null },
        contact,
        from: contact.id,
      });
      await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
      await sendTo(writer, 'WHATSAPP_REFUSED');
      expect(await counted()).toBe('.x');
    });

    test('of which a fifth was refused slow the session down; then they are counted from the beginning', async () => {
      for (let sent = 0; sent < 8; sent += 1) await sendTo(phone(), 'WHATSAPP_REFUSED');
      expect((await health()).throttle).toBeNull();
      await sendTo(phone(), 'WHATSAPP_REFUSED');
      expect((await health()).throttle).toMatchObject({ factor: 0.5, reason: 'failed_first_contacts' });
      expect(await counted()).toBe('');
      expect((await dataOf('session.throttled')).at(-1)).toMatchObject({ factor: 0.5, reason: 'failed_first_contacts' });
    });

    test('a message that waits for a throttle says so', async () => {
      const change = (pacing: object) => core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { pacing } } });
      await change({ perMinute: 1, chatGapMs: 0, jitterMs: 0 });
      // The first one waits too if the tests before have used up the minute.
      const replies = [await core.send('one', { async: true }), await core.send('two', { async: true })];
      const ids = replies.map(({ body }) => (body.data as { id: string }).id);
      await eventually('the reason', async () => {
        const reasons = await Promise.all(ids.map(async (id) => (await core.message(id)).reason?.code));
        return reasons.includes('THROTTLED');
      });
      for (const id of ids) await core.post(`/messages/${id}/cancel`);
      await core.rig.call('DELETE', `/sessions/${core.sessionId}/throttle`);
      await change({ perMinute: 0 });
    });
  });

  describe('autoReconnect', () => {
    const row = () => core.rig.database.reader.getRepository(Session).findOneByOrFail({ id: core.sessionId });
    const set = (autoReconnect: boolean) =>
      core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { autoReconnect } } });
    /** The worker's process ended, and the next one knows no session. */
    const restartWorker = async (bootId: string) => {
      const known = core.worker.sessions.get(core.sessionId)!;
      core.worker.sessions.delete(core.sessionId);
      const reply = await core.worker.beat({ bootId, obey: false });
      core.worker.sessions.set(core.sessionId, { ...known, status: 'disconnected' });
      return reply.desired.filter(({ sessionId }) => sessionId === core.sessionId).map(({ state }) => state);
    };

    // The restrictions above have stopped it.
    beforeAll(() => core.post(`/sessions/${core.sessionId}/connect`, {}));

    test('on, a session whose worker started again is started by it', async () => {
      expect(await restartWorker('boot-2')).toEqual(['running']);
      await core.worker.beat({ bootId: 'boot-2' });
      await eventually('it to be connected', async () => (await row()).status === 'connected');
    });

    test('off, it stays disconnected until a person starts it', async () => {
      await set(false);
      expect(await restartWorker('boot-3')).toEqual([]);
      expect(await row()).toMatchObject({ status: 'disconnected', reasonCode: 'RECONNECT_OFF', desired: 'stopped' });
      await core.worker.beat({ bootId: 'boot-3' });
      expect((await row()).status).toBe('disconnected');
      expect((await core.post(`/sessions/${core.sessionId}/connect`, {})).status).toBe(200);
      await eventually('it to be connected', async () => (await row()).status === 'connected');
      await set(true);
    });
  });

  test('metrics say what the browser uses and how much is sent', async () => {
    await core.send('counted');
    const { body } = await core.get(`/sessions/${core.sessionId}/metrics`);
    expect(body.data as unknown as SessionMetricsResource).toMatchObject({
      ...{ stale: false, memoryMb: 90, cpuPercent: 1, processes: 4, recycles: 0 },
    });
    expect((body.data as unknown as SessionMetricsResource).sendsPerMinute).toBeGreaterThanOrEqual(1);
  });

  test('a number that is linked to a session gets no pairing code for another one', async () => {
    const { phoneNumber } = await core.session();
    const { body } = await core.post('/sessions', { name: 'second' });
    const { id } = body.data as unknown as { id: string };
    await core.post(`/sessions/${id}/connect`, {});
    await eventually(
      'a code',
      async () => ((await core.get(`/sessions/${id}`)).body.data as { status: string }).status === 'qr_pending',
    );
    const refused = await core.post(`/sessions/${id}/pairing-code`, { phoneNumber });
    expect([refused.status, refused.body.error?.code]).toEqual([409, 'SESSION_STATE_CONFLICT']);
    expect(core.worker.operations.filter(({ operation }) => operation === 'session.pairingCode')).toEqual([]);
    expect((await core.post(`/sessions/${id}/pairing-code`, { phoneNumber: '+5511955554444' })).status).toBe(200);
  });

  test('without an answer of the worker the last known values are stale', async () => {
    await core.worker.die();
    expect(await health()).toMatchObject({ stale: true, lastRoundTripAt: null, linkedDevices: { count: 3 } });
    await core.worker.rise();
  });
});

describe('the pace under a throttle', () => {
  const began = Date.parse('2026-11-20T10:00:00.000Z');
  const throttle = { since: new Date(began).toISOString(), reason: 'reach_out_lock' };
  const pace = { perMinute: 20, chatGapMs: 3_000, jitterMs: 1_000, typing: true };
  const perMinute = (afterMs: number): number => throttledPace(pace, throttle, began + afterMs).perMinute;

  test('is half for an hour, three quarters for another one, then the own one', () => {
    expect([0, 3_599_999, 3_600_000, 7_199_999, 7_200_000].map(perMinute)).toEqual([10, 10, 15, 15, 20]);
    expect(perMinute(-60_000)).toBe(10);
    expect(throttledPace(pace, throttle, began)).toEqual({ perMinute: 10, chatGapMs: 6_000, jitterMs: 2_000, typing: true });
  });

  test('never stops a session, and slows one without a limit down too', () => {
    expect(throttledPace({ ...pace, perMinute: 1 }, throttle, began).perMinute).toBe(1);
    expect(throttledPace({ ...pace, perMinute: 0 }, throttle, began).perMinute).toBe(30);
    expect(throttledPace(pace, null, began)).toBe(pace);
  });
});
