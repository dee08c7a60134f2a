import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, operationIds, type MessageResource, type OutletEvent } from '@chasqui/shared';
import { updateRows } from '../src/db/rows.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases, serviceKey } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startStandIn } from './support/worker.js';

describe.each(await databases())('worker events, on %s', (database) => {
  let core: Core;
  const inbound = async (): Promise<(string | null)[]> =>
    ((await core.get('/messages?direction=inbound&order=asc&limit=200')).body.data as MessageResource[]).map(({ text }) => text);
  const row = () => core.rig.database.reader.getRepository(Session).findOneByOrFail({ id: core.sessionId });
  const arrival = (text: string): OutletEvent =>
    core.worker.queue(core.sessionId, 'message.observed', { message: core.inbound(text), origin: 'live' });

  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  test('a batch that arrives twice is ingested once', async () => {
    const batch = [arrival('once 1'), arrival('once 2')];
    const first = await core.worker.post(batch);
    expect(first).toEqual({ ackCursor: batch[1]!.cursor, refused: [], resend: [] });
    expect(await core.worker.post(batch)).toEqual(first);
    expect(await inbound()).toEqual(['once 1', 'once 2']);
    await core.worker.flush();
  });

  test('whether events would be accepted is told to callers with the service key', async () => {
    const ask = (key: string) => fetch(`${core.rig.url}/internal/events/test`, { headers: { 'x-api-key': key } });
    const before = Date.now();
    const { data } = (await (await ask(serviceKey)).json()) as { data: { ok: boolean; time: string } };
    expect(data).toEqual({ ok: true, time: expect.any(String) });
    expect(Math.abs(Date.parse(data.time) - before)).toBeLessThan(60_000);
    for (const key of ['', 'x'.repeat(serviceKey.length), core.rig.apiKey]) expect((await ask(key)).status).toBe(401);
  });

  test('a gap is requested again and nothing behind it is ingested; other sessions continue', async () => {
    const other = (await core.post('/sessions', { name: 'other' })).body.data as { id: string };
    await core.post(`/sessions/${other.id}/connect`, {});
    await core.worker.link(other.id);
    const [lost, after] = [arrival('gap 1'), arrival('gap 2')];
    const elsewhere = core.worker.queue(other.id, 'message.observed', { message: core.inbound('elsewhere'), origin: 'live' });
    const answer = await core.worker.post([after, elsewhere]);
    expect(answer).toEqual({
      ackCursor: after.cursor - 1,
      refused: [],
      resend: [{ sessionId: core.sessionId, fromSequence: lost.sequence }],
    });
    expect(await inbound()).toEqual(['once 1', 'once 2', 'elsewhere']);
    expect((await core.worker.post([lost, after, elsewhere])).ackCursor).toBe(elsewhere.cursor);
    expect(await inbound()).toEqual(['once 1', 'once 2', 'elsewhere', 'gap 1', 'gap 2']);
    await core.worker.flush();
  });

  test('a gap that the worker cannot fill any more does not stop it for good', async () => {
    arrival('gone for ever');
    const after = arrival('after it');
    await core.worker.post([after]);
    await core.worker.post([after]);
    expect((await inbound()).at(-1)).toBe('gap 2');
    expect((await core.worker.post([after])).ackCursor).toBe(after.cursor);
    expect((await inbound()).at(-1)).toBe('after it');
    expect(core.rig.lines.join()).toContain('cannot resend missing events');
    await core.worker.flush();
  });

  test('a worker that lost its outlet begins at 1 again, and its events are ingested by their ids', async () => {
    const fresh = { ...arrival('from a new outlet'), sequence: 1 };
    expect((await core.worker.post([fresh])).refused).toEqual([]);
    expect((await inbound()).filter((text) => text === 'from a new outlet')).toHaveLength(1);
    const { leaseEpoch } = await row();
    await core.rig.database.write.run((tx) => updateRows(tx, Session, { id: core.sessionId }, { leaseEpoch: leaseEpoch + 1 }));
    core.worker.sessions.get(core.sessionId)!.epoch = leaseEpoch + 1;
    await core.worker.flush();
  });

  test('events of a stale epoch or an unknown session are refused, count as acknowledged and write nothing', async () => {
    const { leaseEpoch } = await row();
    const before = await inbound();
    const stale = { ...arrival('from a former life'), epoch: leaseEpoch - 1 };
    const unknown = { ...arrival('from nowhere'), sessionId: newId() };
    const answer = await core.worker.post([stale, unknown]);
    expect(answer).toEqual({
      ackCursor: unknown.cursor,
      refused: [
        { id: stale.id, code: 'STALE_EPOCH' },
        { id: unknown.id, code: 'SESSION_NOT_FOUND' },
      ],
      resend: [],
    });
    expect(await inbound()).toEqual(before);
    // The worker never had this reply: it parks the events, or sends them under the new epoch, only when they are refused again.
    expect(await core.worker.post([stale, unknown])).toEqual(answer);
    expect(await core.worker.post([stale])).toMatchObject({ refused: [{ id: stale.id, code: 'STALE_EPOCH' }] });
  });

  test('one event that cannot be ingested is set aside alone', async () => {
    const { leaseEpoch } = await row();
    const at = (sequence: number, event: OutletEvent): OutletEvent => ({ ...event, epoch: leaseEpoch, sequence, id: newId() });
    const broken = at(1, { ...arrival('x'), type: 'session.qr', payload: { nonsense: true } });
    const good = at(2, arrival('behind the broken one'));
    const { ackCursor, refused } = await core.worker.post([broken, good]);
    expect(ackCursor).toBe(good.cursor);
    expect(refused).toEqual([{ id: broken.id, code: 'VALIDATION_FAILED' }]);
    expect((await inbound()).at(-1)).toBe('behind the broken one');
  });

  test('events of a session are in the order in which the worker reported them, without gaps', async () => {
    const events = await core.events();
    const mine = events.filter(({ data, type }) => type.startsWith('message.') && data['sessionId'] === core.sessionId);
    expect(mine.map(({ data }) => data['text'])).toEqual(
      (await inbound())
        .filter((text) => text !== 'elsewhere' && text !== null)
        .filter((text) => mine.some((m) => m.data['text'] === text)),
    );
    const all = (await core.get(`/events?limit=200&sessionId=${core.sessionId}`)).body.data as { sequence: number }[];
    expect(all.map(({ sequence }) => sequence)).toEqual(all.map((_, index) => index + 1));
  });

  describe('and on a session of its own', () => {
    let fresh: Core;
    beforeAll(async () => {
      fresh = await startCore({ database });
    });
    afterAll(() => fresh?.close());
    const observe = (message: ReturnType<Core['inbound']>) =>
      fresh.worker.emit(fresh.sessionId, 'message.observed', { message, origin: 'live' });

    test('a message written on the phone is recorded as such; a message that we sent is not doubled', async () => {
      await observe(fresh.inbound('from the phone', { fromMe: true, ack: 2, from: '5511988887777@c.us', to: `${ana}@c.us` }));
      const [device] = (await fresh.get('/messages?origin=device')).body.data as MessageResource[];
      expect(device).toMatchObject({ text: 'from the phone', direction: 'outbound', status: 'delivered', origin: 'device' });
      expect((await fresh.events('message.sent')).map(({ data }) => data['id'])).toEqual([device!.id]);

      fresh.worker.proves = false;
      fresh.worker.script({ do: 'uncertain' });
      const uncertain = dataOf(await fresh.send('may have been sent'));
      const key = String((await fresh.events('message.sending')).at(-1)!.data['reservedId']);
      await observe(fresh.inbound('may have been sent', { fromMe: true, ack: 1, key }));
      expect(await fresh.message(uncertain.id)).toMatchObject({
        status: 'sent',
        contact: { lid: '184467440737@lid', name: 'Ana' },
      });
      expect((await fresh.get('/messages?direction=outbound')).body.meta).toMatchObject({ total: 2 });
    });

    test('a sender who uses the key of one of our messages neither settles it nor hides', async () => {
      fresh.worker.script({ do: 'uncertain' });
      const ours = dataOf(await fresh.send('ours'));
      const key = String((await fresh.events('message.sending')).at(-1)!.data['reservedId']);
      const forged = fresh.inbound('under a false flag', { key });
      await observe(forged);
      await observe(forged);
      expect((await fresh.message(ours.id)).status).toBe('uncertain');
      expect((await fresh.get('/messages?search=false%20flag')).body.meta).toMatchObject({ total: 1 });
    });

    test('an answer that comes live and by backfill is one message', async () => {
      const message = fresh.inbound('seen twice');
      await observe(message);
      await fresh.worker.emit(fresh.sessionId, 'message.observed', { message, origin: 'backfill' });
      expect((await fresh.get('/messages?search=seen%20twice')).body.meta).toMatchObject({ total: 1 });
    });

    test('a gap that was filled is asked for again when the worker begins again before it', async () => {
      const tell = (text: string): OutletEvent =>
        fresh.worker.queue(fresh.sessionId, 'message.observed', { message: fresh.inbound(text), origin: 'live' });
      const copy = (event: OutletEvent, sequence: number): OutletEvent => ({ ...event, id: newId(), sequence });
      const [lost, after] = [tell('filled 1'), tell('filled 2')];
      const resend = [{ sessionId: fresh.sessionId, fromSequence: lost.sequence }];
      expect((await fresh.worker.post([after])).resend).toEqual(resend);
      expect((await fresh.worker.post([after])).resend).toEqual(resend);
      expect((await fresh.worker.post([lost, after])).resend).toEqual([]);
      const [begun, behind] = [tell('begun again'), tell('behind the gap')];
      expect((await fresh.worker.post([copy(begun, lost.sequence - 1)])).resend).toEqual([]);
      expect((await fresh.worker.post([copy(behind, after.sequence)])).resend).toEqual(resend);
      await fresh.worker.post([copy(lost, lost.sequence), copy(after, after.sequence)]);
      await fresh.worker.flush();
    });

    test('a message of the phone that WhatsApp refused has failed, and is not sent by a retry; a later ack is believed', async () => {
      const key = '3EB0FA11ED0000000001';
      const refused = fresh.inbound('refused on the phone', { fromMe: true, ack: -1, key });
      await observe(refused);
      const [device] = (await fresh.get('/messages?search=refused%20on')).body.data as MessageResource[];
      expect(device).toMatchObject({ status: 'failed', origin: 'device', sentAt: null, reason: { code: 'WHATSAPP_REFUSED' } });
      const told = async (types: string) => (await fresh.events(types)).filter(({ data }) => data['id'] === device!.id);
      expect((await told('message.failed,message.sent')).map(({ type, data }) => [type, data['retryable']])).toEqual([
        ['message.failed', false],
      ]);
      expect((await fresh.post(`/messages/${device!.id}/retry`, {})).body.error?.code).toBe('MESSAGE_NOT_RETRYABLE');
      await observe(refused);
      expect((await fresh.message(device!.id)).status).toBe('failed');
      await observe({ ...refused, ack: 1 });
      expect((await fresh.message(device!.id)).status).toBe('sent');
      expect((await told('message.failed,message.sent')).map(({ type }) => type)).toEqual(['message.failed', 'message.sent']);
    });

    test('text with NUL and half a surrogate is ingested, and half a surrogate is sent; a caller’s NUL is refused', async () => {
      await observe(fresh.inbound('a\0b\ud800c odd'));
      expect((await fresh.get('/messages?search=odd')).body.meta).toMatchObject({ total: 1 });
      expect((await fresh.send('a\ud800b')).status).toBe(200);
      const { status, body } = await fresh.send('a\0b');
      expect([status, body.error?.details['fields']]).toEqual([422, [expect.objectContaining({ code: 'INVALID_CHARACTER' })]]);
    });

    test('calls, chats and groups are published as they are', async () => {
      const { chat, contact } = fresh.inbound('');
      const at = new Date().toISOString();
      await fresh.worker.emit(fresh.sessionId, 'call.received', { callId: 'c1', contact, isVideo: false, isGroup: false, at });
      await fresh.worker.emit(fresh.sessionId, 'chat.updated', { chat, change: 'archived', unreadCount: null });
      const group = { id: '120363041234567890@g.us', type: 'group' as const, name: 'Orders' };
      await fresh.worker.emit(fresh.sessionId, 'group.participants', {
        group,
        action: 'join',
        participants: [contact!],
        by: null,
        at,
      });
      await fresh.worker.emit(fresh.sessionId, 'presence.observed', { chat, contact, state: 'typing', lastSeen: null, at });
      const events = await fresh.events('call.received,chat.updated,group.*,presence.changed');
      expect(events.map(({ type }) => type)).toEqual(['call.received', 'chat.updated', 'group.participants', 'presence.changed']);
      expect(events[3]!.data).toMatchObject({
        chat: { id: chat.id },
        contact: { id: contact!.id },
        state: 'typing',
        lastSeen: null,
      });
    });

    test('operations pass through, and every silence of the worker has its code', async () => {
      const profile = {
        phoneNumber: '+5511988887777',
        lid: null,
        name: 'Shop',
        about: null,
        picture: null,
        isBusiness: false,
        platform: null,
      };
      fresh.worker.answer.set('profile.get', profile);
      expect((await fresh.get('/sessions/current/profile')).body.data).toEqual(profile);
      const check = await fresh.post('/sessions/current/contacts/check', { numbers: [ana], more: 1 });
      expect(check.status).toBe(422);
      const capabilities = await fresh.get('/capabilities');
      expect((capabilities.body.data as { operation: string }[]).map(({ operation }) => operation)).toEqual(operationIds);
      expect(capabilities.body.meta).toMatchObject({ compat: [{ defect: 'stand-in', state: 'not_needed' }] });
      await fresh.worker.die();
      const silent = await fresh.get('/sessions/current/profile');
      expect([silent.status, silent.body.error?.code]).toEqual([503, 'WORKER_UNAVAILABLE']);
      await fresh.worker.rise();
      await fresh.worker.move(fresh.sessionId, 'connecting', 'RECONNECTING');
      const away = await fresh.get('/sessions/current/chats');
      expect([away.status, away.body.error]).toMatchObject([
        409,
        { code: 'SESSION_NOT_CONNECTED', details: { status: 'connecting', reason: { code: 'RECONNECTING' } } },
      ]);
      await fresh.worker.move(fresh.sessionId, 'connected', null);
    });
  });
});

describe.each(await databases())('heartbeats on %s', (database) => {
  let core: Core;
  const row = (id = core.sessionId) => core.rig.database.reader.getRepository(Session).findOneByOrFail({ id });
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  test('a worker that was restarted starts its sessions again without a user’s action', async () => {
    core.worker.sessions.get(core.sessionId)!.status = 'disconnected';
    core.worker.starts.length = 0;
    const { leases, desired, revoke } = await core.worker.beat();
    expect(leases.map(({ sessionId }) => sessionId)).toEqual([core.sessionId]);
    expect([desired.map(({ state }) => state), revoke]).toEqual([['running'], []]);
    expect(core.worker.starts).toEqual([core.sessionId]);
    expect(await core.session()).toMatchObject({ status: 'connected' });
  });

  test('the reply to a heartbeat omits sessions that are as desired', async () => {
    expect((await core.worker.beat()).desired).toEqual([]);
  });

  test('an unknown session is revoked; a suspended one is stopped and not started again', async () => {
    const stray = newId();
    core.worker.sessions.set(stray, { epoch: 1, status: 'connected', reason: null, phoneNumber: null, qrText: null });
    expect((await core.worker.beat()).revoke).toEqual([{ sessionId: stray, epoch: 1 }]);
    await core.rig.database.write.run((tx) =>
      updateRows(tx, Session, { id: core.sessionId }, { status: 'suspended', reasonCode: 'SUSPENDED_BY_STAFF' }),
    );
    expect((await core.worker.beat()).desired.map(({ state }) => state)).toEqual(['stopped']);
    expect((await core.worker.beat()).desired).toEqual([]);
    expect(await core.session()).toMatchObject({ status: 'suspended' });
    for (const path of ['/sessions/current/connect', '/sessions/current/restart'])
      expect((await core.post(path, {})).body.error?.code).toBe('SESSION_SUSPENDED');
    expect((await core.send('x')).body.error?.code).toBe('SESSION_SUSPENDED');
    await core.rig.database.write.run((tx) => updateRows(tx, Session, { id: core.sessionId }, { status: 'disconnected' }));
    await core.worker.beat();
    expect(await core.session()).toMatchObject({ status: 'connected' });
  });

  test('a session whose events were lost takes its state from heartbeats after some time', async () => {
    core.worker.sessions.get(core.sessionId)!.status = 'connecting';
    await core.worker.beat();
    await core.worker.beat();
    expect((await row()).status).toBe('connected');
    await core.worker.beat();
    expect((await row()).status).toBe('connecting');
    await core.worker.move(core.sessionId, 'connected', null);
  });

  test('a session without a login moves to a living worker; one with a login waits for its own', async () => {
    const made = (await core.post('/sessions', { name: 'unlinked' })).body.data as { id: string };
    await core.post(`/sessions/${made.id}/connect`, {});
    const before = await row(made.id);
    const ranOut = { leaseExpiresAt: new Date(Date.now() - 1000) };
    for (const id of [made.id, core.sessionId])
      await core.rig.database.write.run((tx) => updateRows(tx, Session, { id }, ranOut));
    const second = await startStandIn({ serviceKey, workerId: 'worker-b' });
    second.report(core.rig.url);
    const { desired } = await second.beat();
    expect(desired).toMatchObject([{ sessionId: made.id, state: 'running', epoch: before.leaseEpoch + 1 }]);
    expect([(await row(made.id)).workerId, (await row()).workerId]).toEqual(['worker-b', 'worker-a']);
    // What the former worker still says of it is too late.
    const late = core.worker.queue(made.id, 'session.qr', { qrText: 'late', expiresAt: new Date().toISOString() });
    expect((await core.worker.post([late])).refused).toEqual([{ id: late.id, code: 'STALE_EPOCH' }]);
    expect((await core.worker.beat({ obey: false })).revoke.map(({ sessionId }) => sessionId)).toEqual([made.id]);
    await second.close();
  });

  test('the login of a session that was deleted while its worker was away is deleted when it is back', async () => {
    const made = (await core.post('/sessions', { name: 'to-delete' })).body.data as { id: string };
    await core.post(`/sessions/${made.id}/connect`, {});
    await core.worker.link(made.id);
    await core.worker.die();
    expect((await core.rig.call('DELETE', `/sessions/${made.id}`)).status).toBe(200);
    expect((await row(made.id)).wipePending).toBe(true);
    await core.worker.rise();
    await core.worker.beat({ obey: false });
    await eventually('the login to be deleted', async () => !(await row(made.id)).wipePending);
    expect(core.worker.sessions.get(made.id)?.phoneNumber).toBeNull();
  });
});
