import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SessionHealth, SessionMetricsResource } from '@chasqui/shared';
import { throttledPace } from '../src/lib/throttle.js';
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

  test('a reach-out lock is a restriction with an event, once, and its end is another one', async () => {
    await account(true, 1);
    await account(true, 1);
    await eventually('the lock', async () => (await health()).restrictions[0]?.kind === 'reach_out_lock');
    await account(false, 1);
    await eventually('the end', async () => (await health()).restrictions.length === 0);
    expect((await dataOf('session.restriction')).map(({ kind }) => kind)).toEqual(['reach_out_lock', 'lifted']);
  });

  test('a lock halves the pace, which recovers by itself, and a person may lift it', async () => {
    const throttled = await eventually('the throttle', async () => (await health()).throttle);
    expect(throttled).toMatchObject({ factor: 0.5, reason: 'reach_out_lock' });
    const pacing = { perMinute: 4, chatGapMs: 0, jitterMs: 0 };
    const settings = (changes: object) =>
      core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { pacing: { ...pacing, ...changes } } } });
    expect((await settings({})).status).toBe(200);
    const ids = await Promise.all(
      ['one', 'two', 'three'].map(
        async (message) => ((await core.send(message, { async: true })).body.data as { id: string }).id,
      ),
    );
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
    expect((await dataOf('session.restriction')).at(-1)).toMatchObject({ kind: 'outdated_version' });
  });

  test('metrics say what the browser uses and how much is sent', async () => {
    await core.send('counted');
    const { body } = await core.get(`/sessions/${core.sessionId}/metrics`);
    expect(body.data as unknown as SessionMetricsResource).toMatchObject({
      ...{ stale: false, memoryMb: 90, cpuPercent: 1, processes: 4, sendsPerMinute: 3 },
    });
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
