import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MessageResource } from '@chasqui/shared';
import { databases } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const minute = 60_000;
/** A time of day in UTC, so many minutes from now. */
const clockIn = (minutes: number): string => new Date(Date.now() + minutes * minute).toISOString().slice(11, 16);

describe.each(await databases())('quiet hours and urgent messages on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  const settings = (changes: Record<string, unknown>) =>
    core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: changes } });
  const beQuiet = () => settings({ quietHours: { from: clockIn(-60), to: clockIn(120) } });
  const endOfQuiet = (): number => Math.floor((Date.now() + 120 * minute) / minute) * minute;
  const leftIds = () => core.worker.left.map(({ messageId }) => messageId);
  const waits = (id: string) =>
    eventually<MessageResource>(`${id} to wait`, async () => {
      const message = await core.message(id);
      return message.reason?.code === 'QUIET_HOURS' ? message : null;
    });

  test('a message waits with the end of the quiet hours, an urgent one passes, and a change of the setting counts at once', async () => {
    await beQuiet();
    const started = Date.now();
    const reply = await core.send('quiet');
    // The caller does not wait for hours.
    expect([reply.status, Date.now() - started < 1_500]).toEqual([202, true]);
    const { id, reason, nextAttemptAt, status } = dataOf(reply);
    expect([status, reason?.code]).toEqual(['queued', 'QUIET_HOURS']);
    expect(Math.abs(Date.parse(nextAttemptAt!) - endOfQuiet())).toBeLessThanOrEqual(minute);
    expect(reason?.message).toContain(nextAttemptAt!);
    const urgent = await core.send('fire', { urgent: true });
    expect([urgent.status, dataOf(urgent).status, dataOf(urgent).isUrgent]).toEqual([200, 'sent', true]);
    expect(leftIds()).not.toContain(id);
    await settings({ quietHours: null });
    const sent = await core.reaches(id, 'sent');
    expect(sent.nextAttemptAt).toBeNull();
    const { body } = await core.get(`/sessions/${core.sessionId}`);
    expect((body.data as { settings: { quietHours: unknown } }).settings.quietHours).toBeNull();
  });

  test('messages that are queued when quiet hours begin wait too, and so does one whose time has come', async () => {
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const queued = dataOf(await core.send('queued before', { async: true, queueIfOffline: true }));
    const scheduled = dataOf(await core.send('scheduled', { scheduledAt: new Date(Date.now() + 600).toISOString() }));
    const urgent = dataOf(await core.send('urgent', { urgent: true, scheduledAt: new Date(Date.now() + 600).toISOString() }));
    await beQuiet();
    await core.worker.move(core.sessionId, 'connected', null);
    await waits(queued.id);
    await waits(scheduled.id);
    await core.reaches(urgent.id, 'sent');
    expect(leftIds()).not.toContain(queued.id);
    // Another end counts for those that wait already.
    await settings({ quietHours: { from: clockIn(-60), to: clockIn(30) } });
    await eventually('the new end', async () => {
      const at = Date.parse((await core.message(queued.id)).nextAttemptAt!);
      return at < Date.now() + 31 * minute;
    });
    await settings({ quietHours: { from: clockIn(60), to: clockIn(120) } });
    await core.reaches(queued.id, 'sent');
    await core.reaches(scheduled.id, 'sent');
  });

  test('the time zone of the session, or else of the account, decides which hours are quiet', async () => {
    // The same clock times are twelve hours away in this zone.
    const quietHours = { from: clockIn(-60), to: clockIn(120) };
    await settings({ quietHours, timezone: 'Etc/GMT-12' });
    expect(dataOf(await core.send('elsewhere')).status).toBe('sent');
    await settings({ quietHours: { ...quietHours, timezone: 'UTC' } });
    expect(dataOf(await core.send('here')).reason?.code).toBe('QUIET_HOURS');
    await settings({ quietHours: null, timezone: 'UTC' });
  });

  test('a setting without an end, or with an unknown zone, is refused', async () => {
    for (const quietHours of [
      { from: '08:00', to: '08:00' },
      { from: '8', to: '09:00' },
      { from: '08:00', to: '09:00', days: [] },
      { from: '08:00', to: '09:00', timezone: 'Mars/Olympus' },
      { from: '08:00', to: '09:00', unknown: true },
    ])
      expect((await settings({ quietHours })).status).toBe(422);
    expect((await settings({ timezone: 'Mars/Olympus' })).status).toBe(422);
  });
});

describe.each(await databases())('a warm-up plan on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  test('limits the day, is shown with the quotas, and gives way to a tighter limit', async () => {
    const dayIn = (days: number): string => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
    const settings = (changes: Record<string, unknown>) =>
      core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: changes } });
    const limits = async () =>
      ((await core.get('/messages/quota')).body.data as { limits: { scope: string; limit: number; remaining: number }[] }).limits;
    // The third day: 1 × 1.5 × 1.5, rounded down.
    await settings({ warmUp: { startedOn: dayIn(-2), messagesPerDay: 1, growth: 1.5 }, dailyLimit: 50 });
    expect((await core.send('one')).status).toBe(200);
    expect(await limits()).toMatchObject([
      { scope: 'session.warm_up', limit: 2, remaining: 1 },
      { scope: 'session.daily', limit: 50, remaining: 49 },
    ]);
    expect((await core.send('two')).status).toBe(200);
    const refused = await core.send('three');
    expect([refused.status, refused.body.error?.details['scope']]).toEqual([429, 'session.warm_up']);
    expect(refused.body.error?.message).toContain('warm-up');
    expect((await core.events('quota.exhausted')).map(({ data }) => data['scope'])).toEqual(['session.warm_up']);
    await settings({ dailyLimit: 1 });
    expect((await core.send('three')).body.error?.details['scope']).toBe('session.daily');
    // Over, and not begun.
    await settings({ dailyLimit: null, warmUp: { startedOn: dayIn(-2), messagesPerDay: 1, growth: 1, until: dayIn(-1) } });
    expect((await core.send('three')).status).toBe(200);
    await settings({ warmUp: { startedOn: dayIn(1), messagesPerDay: 1, growth: 1 } });
    expect((await core.send('four')).status).toBe(200);
    await settings({ warmUp: null });
    const wrong = { startedOn: dayIn(0), messagesPerDay: 1, growth: 1, until: dayIn(-1) };
    expect((await settings({ warmUp: wrong })).status).toBe(422);
  });
});
