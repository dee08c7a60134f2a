import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StatisticsOfDayResource, StatisticsReportResource, StatisticsResource } from '@chasqui/shared';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually, startStack, type Stack } from '../../bench/src/stack.js';
import { Account } from '../src/accounts/account.entity.js';
import { createPlans } from '../src/accounts/plans.js';
import { openDatabase } from '../src/db/database.js';
import { updateRows } from '../src/db/rows.js';
import { systemClock } from '../src/lib/clock.js';
import { databases, ownDatabase, password, type OwnDatabase } from './support/backend.js';
import { chatsOf, clocksOf, daysOf, describeMessages, periodsOf, reportOf, type Figured } from './support/figures.js';
import { createRandom } from './support/traffic.js';

/**
 * Random traffic of both real processes, while they are killed. Afterwards the whole of the statistics is what is counted in the simulator: its
 * journal of the messages that reached WhatsApp, the acknowledgements on the phones, what other phones sent, and the numbers that are not on WhatsApp.
 * `SEED=… npm test -- statistics-crashes` repeats one run.
 */

const seed = Number(process.env['SEED'] ?? 20_261_130);
const shops = { shop: '5511988887701', stall: '5511988887702' } as const;
type Shop = keyof typeof shops;
const names = Object.keys(shops) as Shop[];
/** Receives and reads. */
const ana = '5511999990001';
/** Receives, but her phone is off. */
const olga = '5511999990002';
/** Writes, and gets no answer. */
const wim = '5511999990003';
/** No phone of the simulator. */
const nobody = '99900000001@c.us';
/** Each writes twice, and then gets an answer. */
const askers = ['5511999990011', '5511999990012', '5511999990013', '5511999990014'];
const zones = ['UTC', 'Pacific/Kiritimati', 'Pacific/Pago_Pago', 'Asia/Kathmandu'];
const email = 'owner@example.com';
const price = '0.0375';
const steps = 90;
const settings = {
  PANEL_ENABLED: 'false',
  ADMIN_EMAIL: email,
  ADMIN_PASSWORD: password,
  SEND_RATE_PER_MINUTE: '0',
  HEARTBEAT_SECONDS: '0.5',
  UNCERTAIN_GRACE_MS: '1000',
  SEND_DEADLINE_MS: '4000',
  LEASE_SECONDS: '5',
};
const open = ['queued', 'scheduled', 'sending', 'uncertain'];

interface Listed {
  id: string;
  whatsappId: string | null;
  direction: 'inbound' | 'outbound';
  sessionId: string;
  status: string;
  type: string;
  createdAt: string;
  error: { code: string } | null;
}

describe.each(await databases())('random traffic with kills on %s', (database) => {
  let stack: Stack;
  let own: OwnDatabase | null = null;
  const sessionIds = {} as Record<Shop, string>;

  beforeAll(async () => {
    own = database === 'postgres' ? await ownDatabase() : null;
    stack = await startStack({ settings, ...(own ? { databaseUrl: own.url } : {}) });
    const { client } = stack.simulator;
    await stack.end('backend', 'SIGTERM');
    await priced();
    await stack.start('backend');
    for (const phone of [ana, wim, ...askers]) await client.createAccount({ phone, name: `Person ${phone.slice(-2)}` });
    await client.createAccount({ phone: olga, name: 'Person 02', offline: true });
    for (const name of names) await link(name);
  }, 120_000);
  afterAll(async () => {
    await stack?.close();
    await own?.drop();
  }, 60_000);

  /** Gives the account a plan whose messages have a price that is no round number. */
  async function priced(): Promise<void> {
    const opened = await openDatabase(own ? { url: own.url } : { file: join(stack.dataDir, 'chasqui.sqlite') });
    const plans = createPlans({ database: opened, clock: systemClock });
    const limits = { dailyMessages: 500, monthlyMessages: 1_000, maxSessions: 10, apiLimit: 0 };
    const credential = { type: 'none', id: null, name: null };
    const caller = { accountId: '', role: 'admin', credential, permissions: ['*'] } as never;
    const plan = await plans.create(caller, { name: 'priced', ...limits, pricePerMessage: price, currency: 'EUR' });
    expect(await opened.write.run((tx) => updateRows(tx, Account, { role: 'admin' }, { planId: plan.id }))).toBe(1);
    await opened.close();
  }

  async function link(name: Shop): Promise<void> {
    await stack.simulator.client.createAccount({ phone: shops[name], name });
    sessionIds[name] = (await stack.api<{ id: string }>('POST', '/sessions', { name })).body.data.id;
    await stack.api('POST', `/sessions/${name}/connect`);
    const qr = await eventually(
      'a code',
      async () => (await stack.api<{ qrText: string | null }>('GET', `/sessions/${name}/qr`)).body.data?.qrText,
    );
    await stack.simulator.client.scan({ qr, phone: shops[name] });
    await eventually(`${name} to be connected`, () => isConnected(name), 60_000);
  }

  const isConnected = async (name: Shop): Promise<boolean> => {
    const reply = await stack.api<{ status: string; stale: boolean }>('GET', `/sessions/${name}/status`).catch(() => null);
    return reply?.body.data?.status === 'connected' && !reply.body.data.stale;
  };

  /** The same call under the same key until there is an answer that counts. */
  async function send(key: string, path: string, body: object): Promise<string> {
    const all = { async: true, queueIfOffline: true, ...body };
    return eventually(
      `${key} to be accepted`,
      async () => {
        const reply = await stack.api<{ id: string }>('POST', path, all, { 'Idempotency-Key': key }).catch(() => null);
        if (reply && reply.status < 500) expect([reply.status, reply.body.error]).toEqual([202, undefined]);
        return reply?.status === 202 ? reply.body.data.id : null;
      },
      60_000,
    );
  }

  const list = async (query: string): Promise<Listed[]> =>
    eventually('the list', async () => {
      const reply = await stack.api<Listed[]>('GET', `/messages/list?limit=200&${query}`).catch(() => null);
      return reply?.status === 200 ? reply.body.data : null;
    });
  const read = async <T>(path: string): Promise<T> => {
    const { status, body } = await stack.api<T>('GET', path);
    expect([path, status]).toEqual([path, 200]);
    return body.data;
  };

  const kinds = ['text', 'text', 'olga', 'location', 'nobody', 'arrival', 'arrival', 'read'] as const;
  type Kind = (typeof kinds)[number];

  async function act(kind: Kind, sessionId: Shop, step: number): Promise<void> {
    const { client } = stack.simulator;
    const text = `step ${step}`;
    const place = { latitude: -23.55, longitude: -46.63, name: text };
    if (kind === 'arrival') await client.deliver({ from: wim, to: shops[sessionId], type: 'text', text });
    else if (kind === 'read') await client.read({ phone: ana, chat: `${shops[sessionId]}@c.us` }).catch(() => undefined);
    else if (kind === 'location') await send(text, '/messages/send-location', { sessionId, recipient: ana, ...place });
    else {
      const recipient = { text: ana, olga, nobody }[kind];
      await send(text, '/messages/send-text', { sessionId, recipient, message: text });
    }
  }

  /** A person writes twice. Once the backend has recorded both, they get an answer. */
  async function ask(person: string, sessionId: Shop): Promise<void> {
    const from = { from: person, to: shops[sessionId], type: 'text' as const };
    for (const text of ['Hello', 'Is anyone there?']) await stack.simulator.client.deliver({ ...from, text });
    await eventually('both questions', async () => (await list(`direction=inbound&contact=${person}`)).length === 2, 60_000);
    await send(`answer ${person}`, '/messages/send-text', { sessionId, recipient: person, message: `answer ${person}` });
  }

  async function kill(part: 'backend' | 'worker'): Promise<void> {
    await stack.end(part, 'SIGKILL');
    await stack.start(part);
  }

  /** Every message as the simulator knows it, with the time at which the backend recorded it. */
  async function trace(): Promise<Figured[]> {
    const { client } = stack.simulator;
    const rows = await list('');
    expect(rows.length).toBeLessThan(200);
    const journal = await client.journal({});
    const traced: Figured[] = [];
    for (const name of names) {
      const sessionId = sessionIds[name];
      const mine = new Map(rows.filter((row) => row.sessionId === sessionId).map((row) => [keyOf(row), row]));
      /** Since when a person waits for an answer. */
      const waiting = new Map<string, number>();
      for (const message of await client.history({ phone: shops[name] })) {
        const { key, fromMe, chat, t, ack, type } = message;
        expect([key, journal.some((entry) => entry.key === key && entry.account === shops[name])]).toEqual([key, fromMe]);
        const createdAt = new Date(mine.get(key)?.createdAt ?? Number.NaN);
        mine.delete(key);
        // A message is accepted before it reaches WhatsApp, and recorded after it arrived. Times of WhatsApp are whole seconds.
        const delayMs = (createdAt.getTime() - t * 1_000) * (fromMe ? -1 : 1);
        expect([key, delayMs > -1_000 && delayMs < 90_000 ? 'near' : delayMs]).toEqual([key, 'near']);
        const person = personIn(chat);
        const since = waiting.get(person);
        if (fromMe) waiting.delete(person);
        else if (since === undefined) waiting.set(person, t * 1_000);
        traced.push({
          ...{ sessionId, createdAt, chatId: `${person}@c.us`, reasonCode: null },
          ...{ type: types[type]!, direction: fromMe ? 'outbound' : 'inbound', status: fromMe ? statuses[ack]! : 'delivered' },
          ...{ cost: fromMe ? price : '0', responseMs: fromMe && since !== undefined ? createdAt.getTime() - since : null },
        });
      }
      for (const row of mine.values()) {
        expect([row.id, row.direction, row.status]).toEqual([row.id, 'outbound', 'failed']);
        traced.push({
          ...{ sessionId, createdAt: new Date(row.createdAt), chatId: nobody, reasonCode: 'RECIPIENT_NOT_ON_WHATSAPP' },
          ...{ type: 'text', direction: 'outbound', status: 'failed', cost: price, responseMs: null },
        });
      }
    }
    return traced;
  }

  test('every figure is that of the simulator', async () => {
    const random = createRandom(seed);
    const pick = <T>(values: readonly T[]): T => values[random(values.length)]!;
    const chosen = Array.from({ length: steps }, () => [pick(kinds), pick(names)] as const);
    const traffic = Promise.all([
      ...chosen.map(([kind, name], step) => sleep(step * 120).then(() => act(kind, name, step))),
      ...askers.map((person) => sleep(random(steps * 120)).then(() => ask(person, pick(names)))),
    ]);
    for (const part of ['backend', 'worker', 'backend'] as const) {
      await sleep(1_500 + random(2_000));
      await kill(part);
    }
    await traffic;
    for (const name of names) await eventually(`${name} to be connected`, () => isConnected(name), 60_000);
    await eventually('no message to be open', async () => (await list(`status=${open.join(',')}`)).length === 0, 120_000);

    const count = (...wanted: Kind[]): number => chosen.filter(([kind]) => wanted.includes(kind)).length;
    const sent = count('text', 'olga', 'location') + askers.length;
    const received = count('arrival') + 2 * askers.length;
    // What arrived or was acknowledged during a kill is recorded within seconds.
    await eventually(
      'all acknowledgements',
      async () => {
        if ((await list('')).length < sent + received + count('nobody')) return false;
        const { byStatus } = await read<StatisticsResource>('/statistics');
        return sorted(byStatus) === sorted(describeMessages(await trace()).byStatus);
      },
      30_000,
    ).catch((error: unknown) => process.stderr.write(`${String(error)}\n`));

    const traced = await trace();
    const totals = { sent, received, failed: count('nobody') };
    expect([seed, describeMessages(traced).inRange]).toEqual([seed, totals]);
    expect(Object.keys(describeMessages(traced).byStatus).sort()).toEqual(['delivered', 'failed', 'read', 'sent']);
    expect(
      await copiesOf(chosen.flatMap(([kind], step) => (kind === 'text' || kind === 'olga' ? [`step ${step}`] : []))),
    ).toEqual({});
    expect(traced.filter(({ responseMs }) => responseMs !== null)).toHaveLength(askers.length);

    for (const timezone of zones) {
      await setTimezone(timezone);
      for (const sessionId of [null, ...names.map((name) => sessionIds[name])]) {
        const mine = traced.filter((message) => sessionId === null || message.sessionId === sessionId);
        await expectFigures(mine, { timezone, sessionId, used: sent });
      }
    }
  }, 300_000);

  /** The texts that did not reach WhatsApp under exactly one key, with the number of their keys. */
  async function copiesOf(texts: readonly string[]): Promise<Record<string, number>> {
    const journal = await stack.simulator.client.journal({});
    const keysOf = (text: string): number => {
      const hash = createHash('sha256').update(JSON.stringify(text)).digest('hex');
      return new Set(journal.filter(({ bodyHash }) => bodyHash === hash).map(({ key }) => key)).size;
    };
    return Object.fromEntries(texts.map((text) => [text, keysOf(text)] as const).filter(([, keys]) => keys !== 1));
  }

  async function setTimezone(timezone: string): Promise<void> {
    const login = await stack.api<{ token: string }>('POST', '/auth/login', { email, password });
    const headers = { authorization: `Bearer ${login.body.data.token}` };
    expect((await stack.api('PATCH', '/auth/me', { timezone }, headers)).status).toBe(200);
  }

  async function expectFigures(
    messages: readonly Figured[],
    { timezone, sessionId, used }: { timezone: string; sessionId: string | null; used: number },
  ): Promise<void> {
    const query = sessionId === null ? '' : `?sessionId=${sessionId}`;
    const now = new Date();
    const today = clocksOf(timezone)(now).date;
    const { inRange, ...described } = describeMessages(messages);
    const { uptimePercent, errorCount, lastError, lastSeen, quota, ...summary } = await read<StatisticsResource>(
      `/statistics${query}`,
    );
    expect(summary).toEqual({
      ...{ timezone, startDate: null, endDate: today, sessionId, inRange },
      ...{ ...described, ...periodsOf(messages, timezone, now) },
    });
    if (sessionId === null) expect([uptimePercent, errorCount, lastError, lastSeen]).toEqual([null, null, null, null]);
    else {
      const session = await read<{ errorCount: number; lastError: string | null }>(`/sessions/${sessionId}`);
      expect({ errorCount, lastError }).toEqual({ errorCount: session.errorCount, lastError: session.lastError });
    }
    // A message keeps the day of its quota, which was one of UTC.
    const isSameDay = messages.every(({ createdAt }) => createdAt.toISOString().startsWith(today));
    if (isSameDay) expect(quota).toEqual({ today: { used, limit: 500 }, thisMonth: { used, limit: 1_000 } });

    const startDate = new Date(Date.parse(today) - 29 * 86_400_000).toISOString().slice(0, 10);
    const { topChats, ...report } = await read<StatisticsReportResource>(`/statistics/report${query}`);
    const sessionNames = Object.fromEntries(names.map((name) => [sessionIds[name], name]));
    expect(report).toEqual({
      ...{ timezone, startDate, endDate: today },
      ...{ ...inRange, ...described, ...reportOf(messages, timezone, sessionNames) },
    });
    const { ids, sizes, chats } = chatsOf(messages, topChats!);
    expect(topChats).toEqual(chats);
    expect(topChats!.chats.map(({ chat }) => chat.id).sort()).toEqual(ids);
    expect(topChats!.chats.map(({ inbound, outbound }) => inbound + outbound)).toEqual(sizes);

    const days = await read<StatisticsOfDayResource[]>(`/statistics/daily${query}`);
    expect(days).toEqual(daysOf(messages, { timezone, startDate, endDate: today }));
  }
});

const keyOf = ({ id, whatsappId }: Listed): string => whatsappId?.split('_')[2] ?? id;
const statuses = ['queued', 'sent', 'delivered', 'read', 'played'] as const;
const types: Record<string, Figured['type']> = { chat: 'text', location: 'location' };
const sorted = (counts: Readonly<Record<string, number>>): string => JSON.stringify(Object.entries(counts).sort());
const personIn = (chat: string): string => chat.split('@')[0]!;
