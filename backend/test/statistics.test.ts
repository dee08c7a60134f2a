import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { StatisticsOfDayResource, StatisticsReportResource, StatisticsResource } from '@chasqui/shared';
import { In } from 'typeorm';
import { Account } from '../src/accounts/account.entity.js';
import { deleteRows, updateRows } from '../src/db/rows.js';
import { createEvents } from '../src/events/events.js';
import { createUsageReconciliation, type UsageReconciliation } from '../src/jobs/reconcile-usage.js';
import { createThumbnails } from '../src/media/thumbnails.js';
import type { Message } from '../src/messages/message.entity.js';
import { spans, ChatUsage, UsageStats } from '../src/messages/usage/usage.entity.js';
import { makeAccount } from './support/account.js';
import { databases } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { clocksOf, chatsOf, daysOf, describeMessages, periodsOf, reportOf } from './support/figures.js';
import { silentLog } from './support/silent-log.js';
import { allMessages, createSetClock, makeTraffic } from './support/traffic.js';

/** Clocks are set forward in Berlin on March 29; Kathmandu is 5:45 ahead of UTC, which is no whole hour. */
const zones = ['UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/Sao_Paulo'];
const seed = Number(process.env['SEED'] ?? 20_260_329);
const begin = '2026-03-27T20:00:00.000Z';

describe.each(await databases())('statistics on %s', (database) => {
  const clock = createSetClock(begin);
  let core: Core;
  let sessionIds: string[];
  let names: Record<string, string>;
  let reconciliation: UsageReconciliation;

  beforeAll(async () => {
    core = await startCore({ database, clock });
    await priced();
    const second = (await core.post('/sessions', { name: 'second' })).body.data as { id: string };
    await core.post(`/sessions/${second.id}/connect`, {});
    await core.worker.link(second.id);
    sessionIds = [core.sessionId, second.id];
    const sessions = (await core.get('/sessions')).body.data as { id: string; name: string }[];
    names = Object.fromEntries(sessions.map(({ id, name }) => [id, name]));
    await makeTraffic(core, { clock, sessionIds, steps: 120, seed });
    const events = createEvents({ clock });
    const parts = { database: core.rig.database, events, clock, log: silentLog, report: (): void => undefined };
    reconciliation = createUsageReconciliation(parts);
  }, 120_000);
  afterAll(() => core?.close());

  const ofAccount = (changes: Partial<Account>) =>
    core.rig.database.write.run((tx) => updateRows(tx, Account, { role: 'admin' }, changes));
  /** A plan whose messages have a price that is no round number. */
  async function priced(): Promise<void> {
    const { createPlans } = await import('../src/accounts/plans.js');
    const plans = createPlans({ database: core.rig.database, clock });
    const limits = { dailyMessages: 0, monthlyMessages: 1_000, maxSessions: 10, apiLimit: 0 };
    const caller = {
      accountId: '',
      role: 'admin',
      credential: { type: 'none', id: null, name: null },
      permissions: ['*'],
    } as never;
    const plan = await plans.create(caller, { name: 'priced', ...limits, pricePerMessage: '0.0375', currency: 'EUR' });
    await ofAccount({ planId: plan.id });
  }
  const read = async <T>(path: string): Promise<T> => {
    const { status, body } = await core.get(path);
    expect([path, status, body.error]).toEqual([path, 200, undefined]);
    return body.data as T;
  };

  /** Both sessions have been connected since the beginning; the last heartbeat was at the last step of the traffic. */
  const presenceOf = (sessionId: string | null) =>
    sessionId === null
      ? { sessionId, uptimePercent: null, errorCount: null, lastError: null, lastSeen: null }
      : { sessionId, uptimePercent: 100, errorCount: 0, lastError: null, lastSeen: clock.now().toISOString() };

  function expectChats(messages: readonly Message[], topChats: NonNullable<StatisticsReportResource['topChats']>): void {
    const { ids, sizes, chats } = chatsOf(messages, topChats);
    expect(topChats).toEqual({
      ...chats,
      chats: chats.chats.map(({ chat, ...others }) => ({
        ...others,
        chat: { ...chat, name: chat.type === 'group' ? '=Team' : null },
      })),
    });
    expect(topChats.chats.map(({ chat }) => chat.id).sort()).toEqual(ids);
    expect(topChats.chats.map(({ inbound, outbound }) => inbound + outbound)).toEqual(sizes);
  }

  test('the traffic has every kind of message', async () => {
    const messages = await allMessages(core);
    const kinds = messages.map(({ direction, origin, status, type }) => `${direction} ${origin} ${status} ${type}`);
    for (const part of ['inbound', 'device', 'failed', 'read', 'delivered', 'location']) expect(kinds.join('\n')).toContain(part);
    expect(messages.length).toBeGreaterThan(110);
  });

  test.each(zones)('every figure is the count of all messages, in %s', async (timezone) => {
    await ofAccount({ timezone });
    const messages = await allMessages(core);
    const clocks = clocksOf(timezone);
    // The account was in UTC when they were accepted, and a message keeps the day of its quota.
    const used = messages.filter(
      ({ direction, origin, status }) => direction === 'outbound' && origin !== 'device' && status !== 'failed',
    );
    for (const sessionId of [null, ...sessionIds]) {
      const mine = messages.filter((message) => sessionId === null || message.sessionId === sessionId);
      const query = sessionId === null ? '' : `sessionId=${sessionId}`;
      const today = clocks(clock.now()).date;
      const usedToday = used.filter(({ createdAt }) => createdAt.toISOString().startsWith(today));
      expect(await read(`/statistics?${query}`)).toEqual({
        ...periodsOf(mine, timezone, clock.now()),
        ...describeMessages(mine),
        ...{ timezone, startDate: null, endDate: today },
        ...presenceOf(sessionId),
        quota: { today: { used: usedToday.length, limit: null }, thisMonth: { used: used.length, limit: 1_000 } },
      });
      const range = { timezone, startDate: '2026-03-26', endDate: '2026-04-02' };
      const days = await read(`/statistics/daily?startDate=${range.startDate}&endDate=${range.endDate}&${query}`);
      expect(days).toEqual(daysOf(mine, range));
      const report = await read<StatisticsReportResource>(`/statistics/report?startDate=2026-03-28&endDate=2026-03-29&${query}`);
      const inRange = mine.filter(({ createdAt }) => ['2026-03-28', '2026-03-29'].includes(clocks(createdAt).date));
      const { inRange: totals, ...described } = describeMessages(inRange);
      const { topChats, ...others } = report;
      expect(others).toEqual({
        ...{ timezone, startDate: '2026-03-28', endDate: '2026-03-29' },
        ...{ ...totals, ...described, ...reportOf(inRange, timezone, names) },
      });
      expectChats(mine, topChats!);
    }
  });

  test('live counts need no repair, and a broken one is repaired from the messages', async () => {
    expect(await reconciliation.run()).toBe(0);
    const before = await read<StatisticsReportResource>('/statistics/report?startDate=2026-03-27&endDate=2026-04-02');
    const rows = core.rig.database.reader.getRepository(UsageStats);
    const [first, , third] = await rows.find({ where: { span: spans.quarter }, order: { at: 'ASC' }, take: 3 });
    await core.rig.database.write.run(async (tx) => {
      const { accountId, span, at, sessionId, direction, type, reason } = first!;
      await updateRows(tx, UsageStats, { accountId, span, at, sessionId, direction, type, reason }, { sent: 900, delivered: 70 });
      await deleteRows(tx, UsageStats, { accountId, span: spans.quarter, at: third!.at });
      await updateRows(tx, UsageStats, { accountId, span: spans.day }, { failed: 5 });
      await updateRows(tx, ChatUsage, { accountId }, { inbound: 3 });
    });
    expect(await read('/statistics/report?startDate=2026-03-27&endDate=2026-04-02')).not.toEqual(before);
    expect(await reconciliation.run()).toBeGreaterThan(2);
    expect(await read('/statistics/report?startDate=2026-03-27&endDate=2026-04-02')).toEqual(before);
    expect(await reconciliation.run()).toBe(0);
  });

  test('the report is a table too, and no name is run as a formula', async () => {
    const reply = await fetch(`${core.rig.url}/api/v1/statistics/report?format=csv&startDate=2026-03-26&endDate=2026-04-02`, {
      headers: { 'X-API-Key': core.rig.apiKey },
    });
    expect(reply.headers.get('content-type')).toContain('text/csv');
    const lines = (await reply.text()).split('\r\n');
    const range = 'startDate=2026-03-26&endDate=2026-04-02';
    const { topChats, cost, ...report } = await read<StatisticsReportResource>(`/statistics/report?${range}`);
    const days = await read<StatisticsOfDayResource[]>(`/statistics/daily?${range}`);
    const figures = (section: string, key: string | number, values: object): string[] =>
      Object.entries(values).map(([metric, value]) => `${section},${key},${metric},${value ?? ''}`);
    const { sent, received, failed, deliveryRate, readRate, responses } = report;
    const summary = {
      ...{
        timezone: report.timezone,
        startDate: '2026-03-26',
        endDate: '2026-04-02',
        sent,
        received,
        failed,
        deliveryRate,
        readRate,
      },
      ...{ cost: cost.amount, currency: 'EUR', responses: responses.count, meanResponseSeconds: responses.meanSeconds },
      ...{ responsesWithin5Minutes: responses.within5Minutes, responsesWithin1Hour: responses.within1Hour },
    };
    expect(lines).toEqual([
      'section,key,metric,value',
      ...figures('summary', '', summary),
      ...days.flatMap(({ date, byType: _types, ...totals }) => figures('day', date, totals)),
      ...days.flatMap(({ date, byType }) =>
        Object.entries(byType).flatMap(([type, totals]) => figures('dayType', `${date} ${type}`, totals)),
      ),
      ...report.byHour.flatMap(({ hour, ...flow }) => figures('hour', hour, flow)),
      ...report.byWeekday.flatMap(({ weekday, ...flow }) => figures('weekday', weekday, flow)),
      ...report.byWeekdayAndHour.flatMap((hours, weekday) =>
        hours.map((count, hour) => `weekdayHour,${weekday} ${hour},count,${count}`),
      ),
      ...Object.entries(report.byType).flatMap(([type, totals]) => figures('type', type, totals)),
      ...Object.entries(report.byStatus).map(([status, count]) => `status,${status},count,${count}`),
      ...report.bySession.flatMap(({ sessionId, ...others }) => figures('session', sessionId, others)),
      ...report.failuresByReason.flatMap(({ code, count }) => figures('failure', code ?? '', { count })),
      ...topChats!.chats.flatMap(({ chat, inbound, outbound }) =>
        figures('chat', chat.id, { name: chat.name?.replace('=', "'=") ?? null, inbound, outbound }),
      ),
      '',
    ]);
    expect(lines).toContain(`chat,120363041111111111@g.us,name,'=Team`);
    expect(lines.filter((line) => line.startsWith('weekdayHour,'))).toHaveLength(168);
    expect(lines.filter((line) => line.startsWith('session,'))).toHaveLength(8);
  });

  test('a range that ends before it starts, or is too long, is refused by name; an instant names its day', async () => {
    for (const path of ['/statistics', '/messages/statistics', '/statistics/daily', '/statistics/report']) {
      const refused = await core.get(`${path}?startDate=2026-03-02&endDate=2026-03-01`);
      expect([refused.status, refused.body.error?.details]).toMatchObject([422, { fields: [{ path: 'endDate' }] }]);
    }
    const long = await core.get('/statistics/daily?startDate=2024-01-01&endDate=2026-03-01');
    expect([long.status, long.body.error?.details]).toMatchObject([422, { fields: [{ path: 'startDate' }] }]);
    await ofAccount({ timezone: 'Asia/Kathmandu' });
    const named = await read<StatisticsResource>('/statistics?startDate=2026-03-28T18:20:00Z&endDate=2026-03-29T18:10:00Z');
    expect([named.startDate, named.endDate]).toEqual(['2026-03-29', '2026-03-29']);
  });

  test('a session has its uptime, and a key of one session sees no other; chats need a permission of their own', async () => {
    const [first, second] = sessionIds as [string, string];
    const connectedMs = clock.now().getTime() - Date.parse(begin);
    const lastSeen = clock.now().toISOString();
    await core.worker.move(first, 'error', 'SANDBOX_UNAVAILABLE');
    clock.advance(connectedMs / 3);
    const ofSession = await read<StatisticsResource>(`/sessions/${first}/statistics`);
    const failed = { uptimePercent: 75, errorCount: 1, lastError: 'Because of SANDBOX_UNAVAILABLE.', lastSeen };
    expect(ofSession).toMatchObject({ sessionId: first, ...failed });
    await core.worker.beat();
    await core.worker.move(first, 'connecting', 'RECONNECTING');
    await core.worker.move(first, 'connected', null);
    const again = await read<StatisticsResource>(`/statistics?sessionId=${first}`);
    expect(again).toMatchObject({ ...failed, lastSeen: clock.now().toISOString() });
    expect(await read(`/statistics?sessionId=${second}`)).toMatchObject({ uptimePercent: 100, errorCount: 0, lastError: null });
    const made = await core.post('/keys', { name: 'bound', sessionId: first, permissions: ['instance.stats'] });
    const { key } = made.body.data as { key: string };
    const bound = await core.rig.call('GET', '/messages/statistics', { key });
    expect((bound.body.data as StatisticsResource).sent).toEqual(ofSession.sent);
    expect((await core.rig.call('GET', `/messages/statistics?sessionId=${second}`, { key })).status).toBe(404);
    expect((await core.rig.call('GET', '/statistics', { key })).status).toBe(403);
    const stats = await core.post('/keys', { name: 'figures', permissions: ['instance.stats'] });
    const figures = (stats.body.data as { key: string }).key;
    const report = await core.rig.call('GET', '/statistics/report', { key: figures });
    expect((report.body.data as StatisticsReportResource).topChats).toBeNull();
  });

  test('another account starts with nothing and sees nothing of this one', async () => {
    const other = await makeAccount(core.rig);
    const { body } = await core.rig.call('GET', '/statistics', { key: other.key });
    expect(body.data).toMatchObject({ sent: { total: 0 }, received: { total: 0 }, byType: {}, deliveryRate: null });
    const foreign = await core.rig.call('GET', `/statistics?sessionId=${core.sessionId}`, { key: other.key });
    expect(foreign.status).toBe(404);
  });

  test('an answer is timed from the first message that was not answered, by whatever id the person wrote', async () => {
    const [sessionId] = sessionIds as [string, string];
    const person = '5511999990077';
    const lid = '99887766@lid';
    const contact = { id: `${person}@c.us`, phone: `+${person}`, lid, name: null };
    const receive = (minutes: number, id = `${person}@c.us`) => {
      clock.advance(minutes * 60_000);
      const message = core.inbound('said', { chat: { id, type: 'private', name: null }, contact, from: id });
      const timestamp = clock.now().toISOString();
      const whatsappId = `false_${id}_${message.key}`;
      return core.worker.emit(sessionId, 'message.observed', { message: { ...message, whatsappId, timestamp }, origin: 'live' });
    };
    const answer = async (minutes: number): Promise<number | null> => {
      clock.advance(minutes * 60_000);
      await core.worker.beat();
      const { id } = dataOf(await core.send('answer', { recipient: person, sessionId, async: true }));
      await core.reaches(id, 'sent');
      const found = (await allMessages(core)).find((message) => message.id === id)!;
      return found.responseMs === null ? null : found.responseMs / 60_000;
    };
    expect(await answer(1)).toBeNull();
    await receive(3, lid);
    await receive(5);
    expect(await answer(7)).toBe(12);
    expect(await answer(1)).toBeNull();
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    await receive(2);
    const failed = dataOf(await core.send('fails', { recipient: person, sessionId, async: true }));
    await core.reaches(failed.id, 'failed');
    expect(await answer(4)).toBe(4);
    await receive(1);
    expect(await answer(8 * 24 * 60)).toBeNull();
    expect(await reconciliation.run()).toBe(0);
  });

  test('an erasure deletes who wrote, not how much, and the reconciliation does not bring them back', async () => {
    const person = '5511999990001';
    const chats = core.rig.database.reader.getRepository(ChatUsage);
    const before = await read<StatisticsResource>('/statistics');
    expect(await chats.countBy({ chatId: `${person}@c.us` })).toBeGreaterThan(0);
    const asked = await core.post('/privacy/erasures', { contact: person, confirm: person });
    const { id } = asked.body.data as { id: string };
    await eventually('the erasure to end', async () => {
      const { status } = await read<{ status: string }>(`/privacy/erasures/${id}`);
      return status === 'done';
    });
    expect(await chats.countBy({ chatId: `${person}@c.us` })).toBe(0);
    expect(await reconciliation.run()).toBe(0);
    expect(await chats.countBy({ chatId: In(['erased', `${person}@c.us`]) })).toBe(0);
    const { sent, received } = await read<StatisticsResource>('/statistics');
    expect([sent.total, received.total]).toEqual([before.sent.total, before.received.total]);
  }, 30_000);

  // Last: it deletes messages.
  test('retention deletes who wrote, not how much', async () => {
    const before = await read<StatisticsResource>('/statistics');
    const { createRetention } = await import('../src/jobs/retention.js');
    const later = { ...clock, now: () => new Date(clock.now().getTime() + 91 * 86_400_000) };
    const media = { remove: async () => undefined, expire: async () => undefined };
    const retention = createRetention(
      { database: core.rig.database, clock: later, report: () => undefined },
      { media, thumbnails: createThumbnails(core.rig), days: { messages: 90, media: 0, events: 30 } },
    );
    expect(await retention.ofMessages()).toBeGreaterThan(100);
    expect(await core.rig.database.reader.getRepository(ChatUsage).count()).toBe(0);
    expect(await reconciliation.run()).toBe(0);
    expect((await read<StatisticsResource>('/statistics')).sent).toEqual(before.sent);
  });
});

describe.each(await databases())('the days of statistics on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database, linked: false });
    const timezone = 'Pacific/Kiritimati';
    await core.rig.database.write.run((tx) => updateRows(tx, Account, { role: 'admin' }, { timezone }));
  });
  afterAll(() => core?.close());

  const read = async <T>(path: string): Promise<T> => {
    const { status, body } = await core.get(path);
    expect([path, status, body.error]).toEqual([path, 200, undefined]);
    return body.data as T;
  };

  test('a day at the ends of the calendar has its figures, and one beyond them is refused by name', async () => {
    const beyond = ['0000-01-01', '0001-01-01', '0999-12-31', '1000-01-01T00:00:00+23:59', '9998-12-31T12:00:00Z', '9999-12-31'];
    for (const path of ['/statistics', '/messages/statistics', '/statistics/daily', '/statistics/report'])
      for (const day of beyond)
        for (const name of ['startDate', 'endDate']) {
          const refused = await core.get(`${path}?${name}=${encodeURIComponent(day)}`);
          const [field] = (refused.body.error?.details['fields'] ?? []) as { path: string; code: string }[];
          expect([path, day, refused.status, field]).toMatchObject([path, day, 422, { path: name, code: 'OUT_OF_RANGE' }]);
        }
    for (const day of ['1000-01-01', '9998-12-31', '9998-12-31T09:59:59Z']) {
      const date = day.slice(0, 10);
      const range = `startDate=${day}&endDate=${day}`;
      expect(await read(`/statistics/daily?${range}`)).toMatchObject([{ date, sent: 0, received: 0, failed: 0 }]);
      expect(await read(`/statistics/report?${range}`)).toMatchObject({ startDate: date, endDate: date, sent: 0 });
      expect(await read(`/statistics?${range}`)).toMatchObject({ startDate: date, endDate: date, inRange: { sent: 0 } });
    }
    const all = await read<StatisticsResource>('/statistics?startDate=1000-01-01&endDate=9998-12-31');
    expect(all.inRange.sent).toBe(all.sent.total);
    expect(await read<unknown[]>('/statistics/daily?endDate=9998-12-31')).toHaveLength(30);
  });
});
