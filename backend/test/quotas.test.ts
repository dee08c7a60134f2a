import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { MessageResource } from '@chasqui/shared';
import { Account } from '../src/accounts/account.entity.js';
import { updateRows } from '../src/db/rows.js';
import { createEvents } from '../src/events/events.js';
import { systemClock, type Clock } from '../src/lib/clock.js';
import { Message } from '../src/messages/message.entity.js';
import { createQuotas } from '../src/messages/quotas/quotas.js';
import { createMessageState } from '../src/messages/state.js';
import { loginOf } from './support/account.js';
import { databases, migratedDatabase, type Reply } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { noContacts } from './support/contacts.js';

interface View {
  scope: string;
  limit: number;
  used: number;
  reserved: number;
  remaining: number;
  resetAt: string;
}
const accepted = (replies: readonly Reply[]): Reply[] => replies.filter(({ status }) => status < 300);
const refusalOf = ({ status, body }: Reply): unknown[] => [status, body.error?.code, body.error?.details['scope']];
const exceeded = (scope: string): unknown[] => [429, 'QUOTA_EXCEEDED', scope];

/** A clock that starts at this time, and goes on as fast as the machine's. */
function clockFrom(start: string): { clock: Clock; advance: (ms: number) => void } {
  let now = Date.parse(start);
  const began = Date.now();
  return {
    clock: { now: () => new Date(now + Date.now() - began), monotonic: () => performance.now() },
    advance: (ms) => void (now += ms),
  };
}

describe.each(await databases())('quotas on %s', (database) => {
  let core: Core;
  afterEach(async () => core?.close().catch(() => undefined)); // One test has closed it already.

  const start = async (options: Parameters<typeof startCore>[0] = {}): Promise<Core> =>
    (core = await startCore({ database, ...options }));
  const setDaily = (dailyLimit: number | null, session = 'current') =>
    core.rig.call('PUT', `/sessions/${session}`, { body: { settings: { dailyLimit } } });
  const sendMany = (n: number, more: Record<string, unknown> = {}): Promise<Reply[]> =>
    Promise.all(Array.from({ length: n }, (_, i) => core.send(`message ${i}`, { async: true, ...more })));
  const quota = async () =>
    (await core.get(`/messages/quota?sessionId=${core.sessionId}`)).body.data as { limits: View[]; tightest: string };
  const taken = async (scope = 'session.daily') => {
    const { used, reserved } = (await quota()).limits.find((limit) => limit.scope === scope)!;
    return used + reserved;
  };
  const ofAccount = (changes: Partial<Account>) =>
    core.rig.database.write.run((tx) => updateRows(tx, Account, { role: 'admin' }, changes));

  test('exactly ten of fifty at once are accepted; the others get the limit and the time at which it ends', async () => {
    await start();
    await setDaily(10);
    const replies = await sendMany(50);
    expect(accepted(replies)).toHaveLength(10);
    const refused = replies.filter(({ status }) => status === 429);
    expect(refused).toHaveLength(40);
    for (const reply of refused) expect(refusalOf(reply)).toEqual(exceeded('session.daily'));
    const [{ headers, body }] = refused as [Reply];
    const midnight = new Date();
    midnight.setUTCHours(24, 0, 0, 0);
    expect(body.error?.details).toMatchObject({ limit: 10, resetAt: midnight.toISOString() });
    expect(Math.abs(Number(headers.get('retry-after')) * 1000 - (midnight.getTime() - Date.now()))).toBeLessThan(10_000);
    expect(await taken()).toBe(10);
    const told = await core.events('quota.exhausted');
    expect(told.map(({ data }) => data)).toEqual([{ scope: 'session.daily', limit: 10, resetAt: midnight.toISOString() }]);
  });

  test('a restart forgives nothing', async () => {
    const own = database === 'postgres' ? await migratedDatabase() : null;
    const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-restart-'));
    const place = { dataDir, ...(own ? { databaseUrl: own.url } : {}) };
    try {
      await start(place);
      await setDaily(3);
      expect(accepted(await sendMany(3))).toHaveLength(3);
      const { apiKey: key } = core.rig;
      const sessionId = core.sessionId;
      await core.close();
      await start({ ...place, linked: false });
      const body = { recipient: ana, message: 'x', async: true, queueIfOffline: true, sessionId };
      expect(refusalOf(await core.rig.call('POST', '/messages/send-text', { key, body }))).toEqual(exceeded('session.daily'));
    } finally {
      await core.close();
      await own?.drop();
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  test('all limits apply at once, and of several that are used up the one that ends last is named', async () => {
    // On the last day of a month, a monthly limit ends with the daily ones.
    await start({ clock: clockFrom('2026-06-15T12:00:00Z').clock });
    const staff = await loginOf(core.rig);
    const { data } = (
      await core.rig.call('POST', '/admin/plans', { ...staff, body: { name: 'p', monthlyMessages: 4, dailyMessages: 5 } })
    ).body;
    await ofAccount({ planId: (data as { id: string }).id, maxMessagesPerDay: 4 });
    const other = (await core.post('/sessions', { name: 'second' })).body.data as { id: string };
    await setDaily(3);
    expect(accepted(await sendMany(6, { sessionId: core.sessionId }))).toHaveLength(3);
    expect(refusalOf((await sendMany(1, { sessionId: core.sessionId }))[0]!)).toEqual(exceeded('session.daily'));
    const second = { sessionId: other.id, queueIfOffline: true };
    expect(accepted(await sendMany(6, second))).toHaveLength(1);
    expect(refusalOf((await sendMany(1, second))[0]!)).toEqual(exceeded('plan.monthly'));
    expect((await quota()).limits.map(({ scope, limit, remaining }) => [scope, limit, remaining]).sort()).toEqual([
      ['account.daily', 4, 0],
      ['plan.monthly', 4, 0],
      ['session.daily', 3, 0],
    ]);
    // A plan that is changed holds for the next message.
    await core.rig.call('PUT', `/admin/plans/${(data as { id: string }).id}`, { ...staff, body: { monthlyMessages: 0 } });
    expect(refusalOf((await sendMany(1, second))[0]!)).toEqual(exceeded('account.daily'));
  });

  test('an unsent message is subtracted once; a retry counts again, or finds the quota used up', async () => {
    await start();
    await setDaily(2);
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const failed = dataOf(await core.send('fails', { async: true }));
    await core.reaches(failed.id, 'failed');
    expect(await taken()).toBe(0);
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const [one, two] = accepted(await sendMany(2, { queueIfOffline: true })).map(dataOf) as [MessageResource, MessageResource];
    expect(refusalOf(await core.post(`/messages/${failed.id}/retry`, {}))).toEqual(exceeded('session.daily'));
    expect((await core.message(failed.id)).status).toBe('failed');
    await core.post(`/messages/${one.id}/cancel`, {});
    await core.post(`/messages/${one.id}/cancel`, {});
    expect(await taken()).toBe(1);
    core.worker.record.delete(failed.id);
    expect((await core.post(`/messages/${failed.id}/retry`, {})).status).toBeLessThan(300);
    await core.worker.move(core.sessionId, 'connected', null);
    await core.reaches(failed.id, 'sent');
    await core.reaches(two.id, 'sent');
    expect(await quota()).toMatchObject({
      tightest: 'session.daily',
      limits: [{ limit: 2, used: 2, reserved: 0, remaining: 0 }],
    });
  });

  test('a message that was settled as failed and sent after all counts again, whichever backend learns of it', async () => {
    await start();
    await setDaily(1);
    core.worker.script({ do: 'send', afterMs: 700 });
    const { id } = dataOf(await core.send('slow', { async: true }));
    await core.reaches(id, 'sending');
    const { database: db } = core.rig;
    const events = createEvents({ clock: systemClock });
    const state = createMessageState(
      { events, clock: systemClock },
      {
        contacts: noContacts,
        quotas: createQuotas({ database: db, events, clock: systemClock }, { defaultDaily: 0 }),
        wipeFile: async () => undefined,
      },
    );
    const row = await db.reader.getRepository(Message).findOneByOrFail({ id });
    await db.write.run((tx) => state.move(tx, row, 'uncertain', { reason: 'HELD_BY_POLICY', fields: { nextAttemptAt: null } }));
    expect((await core.post(`/messages/${id}/resolve`, { as: 'failed' })).body.data).toMatchObject({ status: 'failed' });
    expect(await taken()).toBe(0);
    await core.reaches(id, 'sent');
    expect(await taken()).toBe(1);
    expect(refusalOf((await sendMany(1))[0]!)).toEqual(exceeded('session.daily'));
  });

  test('a repeated request is not counted twice', async () => {
    await start();
    await setDaily(1);
    const headers = { 'Idempotency-Key': 'once' };
    const first = await core.send('once', { async: true }, headers);
    const again = await core.send('once', { async: true }, headers);
    expect([first.status, again.status, dataOf(again).id]).toEqual([202, 202, dataOf(first).id]);
    expect(await taken()).toBe(1);
  });

  test('at midnight in the account’s time zone the day restarts by itself, and the month continues', async () => {
    // 23:56 in Lima, which keeps UTC−5 all year.
    const { clock, advance } = clockFrom('2026-06-30T04:56:00Z');
    await start({ clock });
    await ofAccount({ timezone: 'America/Lima' });
    await setDaily(1);
    expect(accepted(await sendMany(2))).toHaveLength(1);
    const [refused] = (await sendMany(1)) as [Reply];
    expect(refused.body.error?.details).toMatchObject({ scope: 'session.daily', resetAt: '2026-06-30T05:00:00.000Z' });
    advance(240_000);
    const next = await eventually('the next day', async () => accepted(await sendMany(1))[0] ?? null);
    expect(next.status).toBe(202);
    expect((await quota()).limits[0]?.resetAt).toBe('2026-07-01T05:00:00.000Z');
    expect(await taken()).toBe(1);
  });
});
