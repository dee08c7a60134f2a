import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SessionResource, SessionStatusResource } from '@chasqui/shared';
import { makeAccount } from './support/account.js';
import { presentSession } from '../src/sessions/present.js';
import type { Session } from '../src/sessions/session.entity.js';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const statusOf = (reply: { body: { data?: unknown } }): SessionStatusResource => reply.body.data as SessionStatusResource;

describe.each(await databases())('sessions on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database, linked: false, settings: { MAX_SESSIONS: '10' } });
  });
  afterAll(() => core?.close());

  test('two inits at once make one session, start one browser and get the same QR', async () => {
    const [one, two] = await Promise.all([core.post('/sessions/init'), core.post('/sessions/init')]);
    expect([one.status, two.status]).toEqual([200, 200]);
    expect(statusOf(one)).toMatchObject({
      status: 'qr_pending',
      isConnected: false,
      name: 'default',
      desired: 'running',
      reason: { code: 'WAITING_FOR_SCAN' },
      qrCode: expect.stringMatching(/^data:image\/png;base64,iVBOR/),
    });
    expect(statusOf(two)).toMatchObject({ sessionId: statusOf(one).sessionId, qrCode: statusOf(one).qrCode });
    core.sessionId = statusOf(one).sessionId;
    expect(core.worker.starts).toEqual([core.sessionId]);
  });

  test('the QR is there as JSON, PNG and SVG, and a new one wipes the old one from the log', async () => {
    const { body } = await core.get('/sessions/current/qr');
    const first = body.data as { qrText: string };
    expect((await core.get('/sessions/current/qr?format=png')).headers.get('content-type')).toBe('image/png');
    expect((await core.get('/sessions/default/qr?format=svg')).body.data).toContain('<svg');
    await core.worker.showQr(core.sessionId, 'second-code');
    expect(((await core.get('/sessions/current/qr')).body.data as { qrText: string }).qrText).toBe('second-code');
    const log = JSON.stringify(await core.events('session.qr'));
    expect(log).not.toContain(first.qrText);
    expect(log).toContain('second-code');
  });

  test('a pairing code is returned while the session waits for a scan', async () => {
    const answer = await core.post('/sessions/current/pairing-code', { phoneNumber: '+55 11 98888-7777' });
    expect([answer.status, answer.body.data]).toMatchObject([200, { code: 'ABCD1234' }]);
    expect(core.worker.lastOf('session.pairingCode')).toEqual({
      operation: 'session.pairingCode',
      input: { phoneNumber: '5511988887777' },
    });
  });

  test('a scan connects the session; the code is wiped, init returns none, and qr is a conflict', async () => {
    await core.worker.link(core.sessionId);
    expect(await core.session()).toMatchObject({ status: 'connected', isConnected: true, reason: null, stale: false });
    expect(statusOf(await core.post('/sessions/init'))).toMatchObject({ status: 'connected', qrCode: null });
    expect((await core.get('/sessions/current/qr')).body.error?.code).toBe('SESSION_STATE_CONFLICT');
    expect(JSON.stringify(await core.events('session.qr'))).not.toContain('second-code');
    const steps = (await core.events('session.status')).map(({ data }) => [data['previous'], data['status']]);
    expect(steps).toEqual([
      ['disconnected', 'initializing'],
      ['initializing', 'qr_pending'],
      ['qr_pending', 'connecting'],
      ['connecting', 'connected'],
    ]);
  });

  describe('a session with a number for pairing codes', () => {
    let id: string;
    const shown = async () => (await core.get(`/sessions/${id}`)).body.data as SessionResource;
    const put = (body: object) => core.rig.call('PUT', `/sessions/${id}`, { body });
    const settingsOfStart = async () => {
      await core.post(`/sessions/${id}/disconnect`, {});
      await core.post(`/sessions/${id}/connect`, {});
      return core.worker.settings.get(id)?.pairingNumber;
    };

    test('is created with it in any spelling, and not with one that is not valid', async () => {
      for (const phoneNumber of ['12', 'x', '+5511'])
        expect((await core.post('/sessions', { name: 'paired', phoneNumber })).body.error).toMatchObject({
          code: 'VALIDATION_FAILED',
          details: { fields: [{ path: 'phoneNumber', code: 'INVALID_PHONE_NUMBER' }] },
        });
      const { status, body } = await core.post('/sessions', { name: 'paired', phoneNumber: '0055 (11) 97777-6666' });
      expect([status, body.data]).toMatchObject([201, { pairingNumber: '+5511977776666', phoneNumber: null }]);
      id = (body.data as SessionResource).id;
      expect(await shown()).toMatchObject({ pairingNumber: '+5511977776666', phoneNumber: null });
    });

    test('gives the number to its worker with the start and with each heartbeat, until it is removed', async () => {
      expect(await settingsOfStart()).toBe('5511977776666');
      const leased = async () => {
        await core.post(`/sessions/${id}/connect`, {});
        return (await core.worker.beat()).leases.find(({ sessionId }) => sessionId === id)?.settings?.pairingNumber;
      };
      expect(await leased()).toBe('5511977776666');
      expect((await put({ phoneNumber: '+55 11 96666-5555' })).body.data).toMatchObject({ pairingNumber: '+5511966665555' });
      expect(await leased()).toBe('5511966665555');
      expect((await put({ metadata: {} })).body.data).toMatchObject({ pairingNumber: '+5511966665555' });
      expect((await put({ phoneNumber: 'x' })).status).toBe(422);
      expect((await put({ phoneNumber: null })).body.data).toMatchObject({ pairingNumber: null });
      expect(await leased()).toBeNull();
    });

    test('does not give its worker a number that is linked to another session', async () => {
      const rival = ((await core.post('/sessions', { name: 'rival' })).body.data as SessionResource).id;
      await core.post(`/sessions/${rival}/connect`, {});
      await core.worker.link(rival, '5511955554444');
      expect((await put({ phoneNumber: '+5511955554444' })).body.data).toMatchObject({ pairingNumber: '+5511955554444' });
      expect(await settingsOfStart()).toBeNull();
      await core.rig.call('DELETE', `/sessions/${rival}`);
      expect(await settingsOfStart()).toBe('5511955554444');
      await put({ phoneNumber: '+5511977776666' });
      expect(await settingsOfStart()).toBe('5511977776666');
    });

    test('shows the code of its worker in the status until it expires or the account is linked', async () => {
      await core.post(`/sessions/${id}/connect`, {});
      const status = async () => (await core.get(`/sessions/${id}/status`)).body.data as SessionStatusResource;
      await eventually('a QR code', async () => (await status()).qrCode);
      expect((await status()).pairingCode).toBeNull();
      const emit = (code: string, inMs: number) => {
        const expiresAt = new Date(Date.now() + inMs).toISOString();
        return core.worker.emit(id, 'session.pairing_code', { code, phoneNumber: '5511977776666', expiresAt });
      };
      await emit('OLDCODE1', -1);
      expect((await status()).pairingCode).toBeNull();
      await emit('NEWCODE1', 60_000);
      expect((await status()).pairingCode).toMatchObject({ code: 'NEWCODE1', phoneNumber: '5511977776666' });
      expect((await status()).qrCode).toMatch(/^data:image/);
      expect(JSON.stringify([await shown(), (await core.get('/sessions')).body])).not.toContain('NEWCODE1');
      await core.worker.link(id, '5511977776666');
      expect((await status()).pairingCode).toBeNull();
    });

    test('is in the audit log without its number', async () => {
      const rows = await core.rig.database.reader.query('SELECT * FROM audit_logs');
      expect(JSON.stringify(rows)).toContain('session.create');
      expect(JSON.stringify(rows)).not.toMatch(/977776666|966665555/);
      expect((await core.rig.call('DELETE', `/sessions/${id}`)).status).toBe(200);
    });
  });

  test('a session of another account gets the same replies as one that does not exist', async () => {
    const unknown = '01973f0a-5b1e-7c3d-9a54-0d5b2f6a1c11';
    const { key } = await makeAccount(core.rig);
    for (const [method, path, body] of [
      ['GET', '', undefined],
      ['GET', '/status', undefined],
      ['PUT', '', { metadata: {} }],
      ['POST', '/connect', {}],
      ['POST', '/logout', {}],
      ['DELETE', '', undefined],
    ] as const) {
      const [foreign, never] = await Promise.all(
        [core.sessionId, unknown].map((id) =>
          core.rig.call(method, `/sessions/${id}${path}`, { key, ...(body ? { body } : {}) }),
        ),
      );
      expect([foreign!.status, foreign!.body.error]).toEqual([404, never!.body.error]);
    }
    const named = await core.rig.call('POST', '/messages/send-text', {
      key,
      body: { recipient: '5511999990001', message: 'x', instanceId: core.sessionId },
    });
    expect([named.status, named.body.error?.code]).toEqual([404, 'SESSION_NOT_FOUND']);
  });

  test('names are unique in an account, settings merge, and there are no more sessions than allowed', async () => {
    const made = await core.post('/sessions', {
      name: 'second',
      settings: { pacing: { perMinute: 5 } },
      metadata: { team: 'a' },
    });
    expect([made.status, made.body.data]).toMatchObject([
      201,
      { name: 'second', isDefault: false, status: 'disconnected', reason: { code: 'NOT_STARTED' }, metadata: { team: 'a' } },
    ]);
    const second = made.body.data as SessionResource;
    expect(second.settings.pacing).toMatchObject({ perMinute: 5, chatGapMs: 1000 });
    expect((await core.post('/sessions', { name: 'second' })).body.error).toMatchObject({
      code: 'ALREADY_EXISTS',
      details: { field: 'name' },
    });
    expect((await core.post('/sessions', { name: 'init' })).status).toBe(422);
    const renamed = await core.rig.call('PUT', '/sessions/second', { body: { name: 'default' } });
    expect(renamed.body.error?.code).toBe('ALREADY_EXISTS');
    const changed = await core.rig.call('PUT', '/sessions/second', { body: { settings: { pacing: { jitterMs: 7 } } } });
    expect((changed.body.data as SessionResource).settings.pacing).toMatchObject({ perMinute: 5, jitterMs: 7 });
    for (let i = 0; i < 8; i += 1) await core.post('/sessions', { name: `more-${i}` });
    expect((await core.post('/sessions', { name: 'too-many' })).body.error).toMatchObject({
      code: 'SESSION_LIMIT_REACHED',
      details: { limit: 10 },
    });
    const gone = await core.rig.call('DELETE', `/sessions/${second.id}`);
    expect([gone.status, gone.body.data]).toEqual([200, { id: second.id, deleted: true }]);
    expect((await core.get(`/sessions/${second.id}`)).status).toBe(404);
    expect((await core.post('/sessions', { name: 'second' })).status).toBe(201);
  });

  test('disconnect keeps the login and connect needs no QR; logout deletes it', async () => {
    expect(statusOf(await core.post('/sessions/disconnect', {}))).toMatchObject({
      status: 'disconnected',
      desired: 'stopped',
      reason: { code: 'USER_STOPPED' },
    });
    const answer = await core.post('/sessions/default/connect', {});
    expect([answer.status, statusOf(answer)]).toMatchObject([200, { status: 'connected', qrCode: null }]);
    expect(statusOf(await core.post('/sessions/default/logout', {}))).toMatchObject({
      status: 'disconnected',
      reason: { code: 'USER_LOGGED_OUT' },
      phoneNumber: null,
    });
    expect(statusOf(await core.post('/sessions/init', { sessionId: 'default' }))).toMatchObject({ status: 'qr_pending' });
    await core.worker.link(core.sessionId);
  });

  test('a phone that unlinks the session ends it, and it is not restarted automatically', async () => {
    await core.worker.move(core.sessionId, 'disconnected', 'LOGGED_OUT_BY_PHONE');
    const { desired } = await core.worker.beat();
    expect(desired.filter((input) => input.state === 'running')).toEqual([]);
    expect(await core.session()).toMatchObject({
      desired: 'stopped',
      reason: { code: 'LOGGED_OUT_BY_PHONE' },
      phoneNumber: null,
    });
    await core.post('/sessions/init');
    await core.worker.link(core.sessionId);
  });

  test('a session reports how long it was up, when it was last seen, how often it failed and why', async () => {
    const read = async () => (await core.get('/sessions/default')).body.data as SessionResource;
    const before = await read();
    expect(before.uptimePercent).toBeGreaterThan(0);
    expect(before.uptimePercent).toBeLessThanOrEqual(100);
    await core.worker.move(core.sessionId, 'error', 'RECONNECT_EXHAUSTED');
    const failed = await eventually('the error', async () => {
      const now = await read();
      return now.status === 'error' ? now : null;
    });
    expect(failed).toMatchObject({
      errorCount: before.errorCount + 1,
      lastError: expect.stringMatching(/.{10}/),
      reason: { code: 'RECONNECT_EXHAUSTED' },
      lastSeen: expect.any(String),
      disconnectedAt: expect.any(String),
    });
    // Down, its share of uptime only falls.
    await eventually('the share to fall', async () => (await read()).uptimePercent < failed.uptimePercent);
    await core.post('/sessions/init');
    await core.worker.link(core.sessionId);
  });

  test.each(['SANDBOX_UNAVAILABLE', 'BROWSER_NOT_FOUND'])(
    'an error of the machine, %s, leaves the session desired: a worker that starts again starts it',
    async (reason) => {
      await core.worker.move(core.sessionId, 'error', reason);
      await eventually('the error', async () => (await core.session()).status === 'error');
      expect(await core.session()).toMatchObject({ desired: 'running', reason: { code: reason } });
      const { desired, leaseMs } = await core.worker.beat({ obey: false });
      expect(desired).toMatchObject([{ sessionId: core.sessionId, state: 'running' }]);
      expect(leaseMs).toBeGreaterThan(0);
      await core.post('/sessions/init');
      await core.worker.link(core.sessionId);
    },
  );

  test('a worker that calls itself degraded is seen in health, for as long as it does', async () => {
    // A check is repeated at most once a second.
    const isShown = (workers: string): Promise<unknown> =>
      eventually(`health to show workers as ${workers}`, async () => {
        const { body } = await core.rig.call('GET', '//health', { key: null });
        return (body as unknown as { checks: { workers: string } }).checks.workers === workers;
      });
    await core.worker.beat({ status: 'degraded' });
    await isShown('degraded');
    await core.worker.beat({ status: 'ok' });
    await isShown('ok');
    await core.worker.beat({ status: 'degraded' });
    await isShown('degraded');
    // An older worker says nothing, and counts as sound.
    await core.worker.beat();
    await isShown('ok');
  });

  test('sessions with waiting messages are started first', async () => {
    const busy = (await core.get('/sessions/more-0')).body.data as { id: string };
    await core.post('/sessions/more-0/connect', {});
    await core.worker.link(busy.id);
    const waiting = await core.post('/messages/send-text', { sessionId: 'default', recipient: '5511999990001', message: 'x' });
    expect(waiting.status).toBe(200);
    const ids = [core.sessionId, busy.id];
    for (const id of ids) await core.worker.move(id, 'disconnected', 'WORKER_LOST');
    const order = async (): Promise<string[]> =>
      (await core.worker.beat({ obey: false })).desired.map(({ sessionId }) => sessionId).filter((id) => ids.includes(id));
    // The one that was seen last comes first, until another one has something to send.
    expect(await order()).toEqual([busy.id, core.sessionId]);
    const input = { sessionId: 'default', recipient: '5511999990001', message: 'x', queueIfOffline: true, async: true };
    expect((await core.post('/messages/send-text', input)).status).toBe(202);
    expect(await order()).toEqual([core.sessionId, busy.id]);
    await core.worker.beat();
    await core.post('/sessions/more-0/disconnect', {});
  });

  test('a session that is deleted while it is logged out is not there any more: the worker is not blamed', async () => {
    await core.post('/sessions', { name: 'leaving' });
    await core.post('/sessions/leaving/connect', {});
    core.worker.hooks.disconnect = async () => {
      core.worker.hooks.disconnect = async () => undefined;
      await core.rig.call('DELETE', '/sessions/leaving');
    };
    const answer = await core.post('/sessions/leaving/logout', {});
    expect([answer.status, answer.body.error?.code]).toEqual([404, 'SESSION_NOT_FOUND']);
  });

  test('a worker that is down: status is the last known and stale, not connected; init is 503 and changes nothing', async () => {
    await core.worker.die();
    try {
      expect(await core.session()).toMatchObject({ status: 'connected', stale: true, isConnected: false });
      const answer = await core.post('/sessions/second/connect', {});
      expect([answer.status, answer.body.error?.code]).toEqual([503, 'WORKER_UNAVAILABLE']);
      const { status, desired } = (await core.get('/sessions/second')).body.data as SessionResource;
      expect({ status, desired }).toEqual({ status: 'disconnected', desired: 'stopped' });
      expect((await core.post('/sessions/current/logout', {})).status).toBe(503);
    } finally {
      await core.worker.rise();
    }
  });
});

test('a list shows a session as stale, and not as connected, once the lease of its worker has run out', () => {
  const ago = (ms: number): Date => new Date(Date.now() - ms);
  const row = { status: 'connected', leaseExpiresAt: ago(-5_000), createdAt: ago(9_000), updatedAt: ago(9_000) } as Session;
  const shown = (more: Partial<Session>): boolean[] => {
    const { stale, isConnected } = presentSession({ ...row, ...more }, new Date());
    return [stale, isConnected];
  };
  expect(shown({})).toEqual([false, true]);
  expect(shown({ leaseExpiresAt: ago(1) })).toEqual([true, false]);
  expect(shown({ leaseExpiresAt: ago(1), status: 'qr_pending' })).toEqual([true, false]);
  expect(shown({ leaseExpiresAt: ago(1), status: 'disconnected' })).toEqual([false, false]);
  expect(shown({ leaseExpiresAt: null, status: 'suspended' })).toEqual([false, false]);
});

describe.each(await databases())('leases on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database, settings: { LEASE_SECONDS: '5' } });
  });
  afterAll(() => core?.close());

  test('a lease that expires is reported as WORKER_LOST, and the next heartbeat restores the session', async () => {
    await eventually(
      'the session to be written off',
      async () => {
        const { body } = await core.get('/sessions?status=disconnected&search=default');
        return (body.data as SessionResource[]).find(({ id, reason }) => id === core.sessionId && reason?.code === 'WORKER_LOST');
      },
      60_000,
    );
    await core.worker.beat();
    expect(await core.session()).toMatchObject({ status: 'connected', desired: 'running', stale: false });
  }, 90_000);
});
