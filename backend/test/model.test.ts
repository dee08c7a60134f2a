/* eslint-disable max-lines -- a model and the machine that it is compared with read together */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, messageMoves, newId, parseRecipient, type MessageStatus, type SendOutcome } from '@chasqui/shared';
import type { AccountLimits } from '../src/accounts/plans.js';
import { Account } from '../src/accounts/account.entity.js';
import { openDatabase, type Database } from '../src/db/database.js';
import type { Presence } from '../src/db/presence.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import { EventRow } from '../src/events/event.entity.js';
import { createEvents } from '../src/events/events.js';
import { createEventLog } from '../src/events/log.js';
import type { Caller } from '../src/accounts/caller.js';
import { systemClock as clock } from '../src/lib/clock.js';
import type { Log } from '../src/lib/log.js';
import { createDispatcher } from '../src/messages/send/dispatcher.js';
import type { MessageTransport, TransportResult } from '../src/messages/send/transport.js';
import { createSealer } from '../src/lib/sealer.js';
import { createContentStore } from '../src/messages/sealed-content.js';
import { createIdempotency } from '../src/messages/accept/idempotency.js';
import { Message } from '../src/messages/message.entity.js';
import { QuotaUsage } from '../src/messages/quotas/quota.entity.js';
import { createMessages } from '../src/messages/messages.js';
import { createPacing } from '../src/messages/send/pacing.js';
import { createQuotas } from '../src/messages/quotas/quotas.js';
import { createMessageState } from '../src/messages/state.js';
import { Session } from '../src/sessions/session.entity.js';
import { eventually } from './support/eventually.js';
import { noContacts } from './support/contacts.js';

/**
 * The real dispatcher on a real database, against a worker that answers, refuses, falls silent before and after a message left, and
 * against backends that die at any await. Whatever happens in whatever order: no state is reached by a way that the table does not
 * have, nothing leaves twice without a proof between, and what is said of a message in the end is true.
 */

type Turn =
  'sent' | 'lostAfter' | 'lostBefore' | 'refused' | 'failed' | 'failedForNow' | 'uncertainSent' | 'uncertainUnsent' | 'slow';
type Action =
  | { do: 'accept'; chat: number }
  | { do: 'schedule'; inMs: number }
  | { do: 'reschedule'; of: number; inMs: number }
  | { do: 'turn'; turn: Turn }
  | { do: 'ack'; of: number; ack: number }
  | { do: 'cancel'; of: number }
  | { do: 'retry'; of: number }
  | { do: 'expire'; of: number }
  | { do: 'resolve'; of: number; as: 'sent' | 'failed' | 'retry' }
  | { do: 'crash' }
  | { do: 'away' }
  | { do: 'back' }
  | { do: 'otherWorker' }
  | { do: 'crashAndMove' }
  | { do: 'wait'; ms: number };

const nth = fc.nat({ max: 5 });
const turns: Turn[] = [
  'sent',
  'lostAfter',
  'lostBefore',
  'refused',
  'failed',
  'failedForNow',
  'uncertainSent',
  'uncertainUnsent',
  'slow',
];
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('accept' as const), chat: fc.nat({ max: 1 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('schedule' as const), inMs: fc.integer({ min: 1, max: 60 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reschedule' as const), of: nth, inMs: fc.integer({ min: 1, max: 60 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('turn' as const), turn: fc.constantFrom(...turns) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('ack' as const), of: nth, ack: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('cancel' as const, 'retry' as const, 'expire' as const), of: nth }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('resolve' as const),
      of: nth,
      as: fc.constantFrom('sent' as const, 'failed' as const, 'retry' as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('crash' as const, 'away' as const, 'back' as const, 'otherWorker' as const, 'crashAndMove' as const),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: 12 }) }) },
);

let dir: string;
let database: Database;
const accountId = newId();
const caller: Caller = {
  accountId,
  role: 'user',
  credential: { type: 'key', id: null, name: null },
  permissions: ['*'],
  sessionId: null,
  isPasswordLogin: false,
  requestId: 'model',
  ip: null,
};
const errors: unknown[] = [];
const log: Log = {
  error: (...line) => void errors.push(line),
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  isDebug: false,
};

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'chasqui-model-'));
  database = await openDatabase({ file: join(dir, 'model.sqlite') });
  const now = clock.now();
  await database.write.run((tx) =>
    insertRow(tx, Account, {
      id: accountId,
      username: 'model',
      email: 'model@example.com',
      passwordHash: 'x',
      jwtSecret: 'x',
      role: 'user',
      uncertainPolicy: 'hold',
      createdAt: now,
      updatedAt: now,
    }),
  );
});
afterAll(async () => {
  await database?.close();
  await rm(dir, { recursive: true, force: true });
});

/** WhatsApp and its worker, as they really are; the oracle. */
function createWorld() {
  const turns: Turn[] = [];
  const record = new Map<string, SendOutcome>();
  const left = new Map<string, number>();
  /** Handed to the page, with an outcome that is not known yet. */
  const open = new Set<string>();
  const wrongs: string[] = [];
  const world = {
    turns,
    record,
    left,
    wrongs,
    generation: 0,
    /** A person decided to send it again although the outcome is unknown. */
    allowed: new Set<string>(),
    transport(isAlive: () => boolean): MessageTransport {
      const never = new Promise<never>(() => undefined);
      return {
        send: async (_session, message) => (await sleep(1), isAlive() ? answer(message) : never),
        lookup: async (_session, message) => {
          await sleep(1);
          if (!isAlive()) return never;
          if (left.has(message.id)) return { found: true, whatsappId: `true_x_${message.whatsappKey}`, ack: 1 };
          open.delete(message.id);
          const known = record.get(message.id);
          if (known?.outcome === 'uncertain') record.delete(message.id);
          return { found: false, proven: true };
        },
      };
    },
  };
  async function answer({ id, whatsappKey }: Message): Promise<TransportResult> {
    const known = record.get(id);
    if (known && !(known.outcome === 'failed' && known.retryable)) return known;
    const turn = turns.shift() ?? 'sent';
    if (turn === 'refused') return { outcome: 'refused', reason: 'WORKER_UNAVAILABLE' };
    if (turn === 'lostBefore') return { outcome: 'unknown' };
    if ((open.has(id) || left.has(id)) && !world.allowed.has(id)) world.wrongs.push(`${id} was handed over without a proof`);
    // A permission is used up by what leaves or may have, not by what certainly did not.
    if (turn !== 'failedForNow') world.allowed.delete(id);
    const settle = <T extends SendOutcome>(outcome: T): T => (record.set(id, outcome), outcome);
    const failed = (retryable: boolean): SendOutcome =>
      settle({ outcome: 'failed', reason: retryable ? 'CONNECTION_LOST' : 'CHAT_NOT_FOUND', message: 'no', retryable });
    const leave = (): void => void left.set(id, (left.get(id) ?? 0) + 1);
    const sent = (): SendOutcome =>
      settle({ outcome: 'sent', whatsappId: `true_x_${whatsappKey}`, ack: 1, at: new Date().toISOString() });
    const uncertain = (): SendOutcome => (
      open.add(id),
      settle({ outcome: 'uncertain', reason: 'TIMEOUT_AFTER_HANDOVER', message: '?' })
    );
    switch (turn) {
      case 'sent':
        return (leave(), sent());
      case 'slow':
        // A repeat meanwhile is told that the first call still runs.
        settle({ outcome: 'sending' });
        return (leave(), await sleep(25), sent());
      case 'lostAfter':
        return (leave(), sent(), { outcome: 'unknown' });
      case 'failed':
        return failed(false);
      case 'failedForNow':
        return failed(true);
      case 'uncertainSent':
        return (leave(), uncertain());
      case 'uncertainUnsent':
        return uncertain();
    }
  }
  return world;
}

async function play(actions: readonly Action[]): Promise<void> {
  const world = createWorld();
  const events = createEvents({ clock });
  const quotas = createQuotas({ database, events, clock }, { defaultDaily: 6 });
  const state = createMessageState({ events, clock }, { contacts: noContacts, quotas, wipeFile: async () => undefined });
  const sessionId = await newSession();
  const messages = createMessages(
    { database, events, clock, log, report: () => undefined },
    {
      contacts: noContacts,
      eventsOf: createEventLog({ database, clock }).ofMessage,
      state,
      media: { attach: async () => undefined, discard: async () => undefined },
      idempotency: createIdempotency({ database, clock }, { hours: 1 }),
      quotas,
      contents: createContentStore(createSealer(`k1:${Buffer.alloc(32).toString('base64')}`)),
      storageOf: async () => 'full',
      limitsOf: async () => ({ timezone: 'UTC' }) as AccountLimits,
      search: { find: async () => ({ matches: [], isComplete: true, stoppedAt: null }) },
      defaults: { countryCode: undefined, interactiveMode: 'fallback', maxQueued: 1_000 },
    },
  );
  const accepted: string[] = [];
  const asked = new Map<string, string>();
  const live: { stop: () => Promise<void>; isAlive: boolean }[] = [];

  const begin = async (): Promise<void> => {
    const life = { isAlive: true, stop: async () => undefined as void };
    live.push(life);
    const run: Database['write']['run'] = (work) => (life.isAlive ? database.write.run(work) : new Promise(() => undefined));
    const mine: Database = { ...database, write: { run, idle: database.write.idle } };
    const dispatcher = createDispatcher(
      { database: mine, events, clock, log, report: () => undefined },
      {
        state,
        pacing: createPacing(Math.random),
        transport: world.transport(() => life.isAlive),
        presence: alone(newId()),
        options: { pollMs: 4, leaseMs: 60, graceMs: 12, maxRetries: 2, retryIntervalMs: 3, scheduleGraceMs: 150 },
      },
    );
    life.stop = dispatcher.stop;
    dispatcher.start();
  };
  const crash = (): void => {
    const life = live.at(-1)!;
    life.isAlive = false;
    void life.stop();
  };
  const setSession = (changes: Partial<Session>) =>
    database.write.run((tx) => updateRows(tx, Session, { id: sessionId }, changes));
  /** What people do is refused or not; both are right here. */
  const attempt = async (work: () => Promise<unknown>): Promise<boolean> => {
    try {
      await work();
      return true;
    } catch (error) {
      if (error instanceof AppError) return false;
      throw error;
    }
  };
  const accept = async (chat: number, scheduledAt: Date | null): Promise<void> => {
    const session = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
    const recipient = parseRecipient(`+551199999000${chat}`);
    if (!recipient.ok) throw new Error('A recipient.');
    const options = { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], queueIfOffline: true };
    const content = { type: 'text' as const, message: 'x' };
    const input = {
      recipient: recipient.address,
      content,
      file: null,
      options,
      quotedMessageId: null,
      expiresAt: null,
      scheduledAt,
    };
    await attempt(async () => accepted.push((await messages.accept(session, { ...input, origin: 'api' }, null)).message.id));
  };
  const steps: { [K in Action['do']]: (action: Extract<Action, { do: K }>) => Promise<unknown> } = {
    accept: ({ chat }) => accept(chat, null),
    schedule: ({ inMs }) => accept(0, new Date(Date.now() + inMs)),
    reschedule: ({ of, inMs }) =>
      onOne(of, (id) =>
        attempt(() => messages.reschedule(caller, id, { scheduledAt: new Date(Date.now() + inMs).toISOString() })),
      ),
    turn: async ({ turn }) => void world.turns.push(turn),
    ack: ({ of, ack }) =>
      onOne(of, async (id) => {
        if (!world.left.has(id)) return;
        await database.write.run(async (tx) => {
          const row = await tx.manager.findOneByOrFail(Message, { id });
          await state.acknowledge(tx, row, ack, { whatsappId: `true_x_${row.whatsappKey}` });
        });
      }),
    cancel: ({ of }) => onOne(of, (id) => attempt(() => messages.cancel(caller, id))),
    retry: ({ of }) =>
      onOne(of, async (id) => {
        const before = world.record.get(id);
        // Noted before the call: the dispatcher may be there before the one who called hears that it was done.
        const wasAllowed = world.allowed.has(id);
        if (asked.get(id) === 'failed') world.allowed.add(id);
        // By hand a failure for good is tried again too: the worker's record of it is no obstacle to a person.
        if (before?.outcome === 'failed') world.record.delete(id);
        if (await attempt(() => messages.retry(caller, id))) return;
        if (!wasAllowed) world.allowed.delete(id);
        if (before?.outcome === 'failed') world.record.set(id, before);
      }),
    expire: ({ of }) =>
      onOne(of, (id) => database.write.run((tx) => updateRows(tx, Message, { id }, { expiresAt: new Date(Date.now() - 1) }))),
    resolve: ({ of, as }) =>
      onOne(of, async (id) => {
        const wasAllowed = world.allowed.has(id);
        if (as === 'retry') world.allowed.add(id);
        if (!(await attempt(() => messages.resolve(caller, id, as)))) {
          if (!wasAllowed) world.allowed.delete(id);
          return;
        }
        asked.set(id, as);
        if (as === 'retry' && world.record.get(id)?.outcome === 'uncertain') world.record.delete(id);
      }),
    crash: async () => (crash(), begin()),
    away: () => setSession({ status: 'connecting' }),
    back: () => setSession({ status: 'connected', connectedAt: new Date() }),
    otherWorker: async () => {
      const session = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
      await setSession({ leaseEpoch: session.leaseEpoch + 1 });
      world.record.clear();
    },
    crashAndMove: async () => {
      crash();
      await steps.otherWorker({ do: 'otherWorker' });
      await begin();
    },
    wait: ({ ms }) => sleep(ms),
  };
  const onOne = async (of: number, work: (id: string) => Promise<unknown>): Promise<void> => {
    const id = accepted[of % Math.max(1, accepted.length)];
    if (id) await work(id);
  };

  await begin();
  try {
    for (const one of actions) await (steps[one.do] as (action: Action) => Promise<unknown>)(one);
    world.turns.length = 0;
    await setSession({ status: 'connected', connectedAt: new Date() });
    await eventually('everything to come to rest', async () => (await unsettled(sessionId)) === 0);
  } finally {
    live.at(-1)!.isAlive = true;
    await live.at(-1)!.stop();
  }
  await judge({ world, accepted, asked });
  await judgeQuotas(sessionId);
}

/** A place is held by each message that left or still may, and by no other; more than there are only when one left that had given its place back. */
async function judgeQuotas(sessionId: string): Promise<void> {
  const rows = await database.reader.getRepository(Message).findBy({ sessionId });
  const places = await database.reader.getRepository(QuotaUsage).findBy({ ownerId: sessionId });
  const holding = rows.filter(({ status }) => status !== 'failed' && status !== 'cancelled');
  expect(holding.filter(({ quotaDay }) => quotaDay === null)).toEqual([]);
  expect(rows.filter((row) => !holding.includes(row) && row.quotaDay !== null)).toEqual([]);
  expect(places.reduce((sum, { taken }) => sum + taken, 0)).toBe(holding.length);
}

async function judge({
  world,
  accepted,
  asked,
}: {
  world: ReturnType<typeof createWorld>;
  accepted: string[];
  asked: Map<string, string>;
}): Promise<void> {
  expect(world.wrongs).toEqual([]);
  expect(errors).toEqual([]);
  for (const id of accepted) {
    const message = await database.reader.getRepository(Message).findOneByOrFail({ id });
    const rows = await database.reader.getRepository(EventRow).find({ where: { messageId: id }, order: { cursor: 'ASC' } });
    const way = rows.map(({ type, data }) => (type === 'message.ack' ? data['status'] : type.split('.')[1]) as MessageStatus);
    const told = `${id}: ${way.join(' ')}`;
    for (const [index, to] of way.slice(1).entries()) {
      const from = way[index]!;
      const isHold = from === to && (from === 'uncertain' || from === 'scheduled');
      if (!isHold && !messageMoves[from].includes(to)) throw new Error(`${told}: no such move`);
    }
    expect([told, way.at(-1)]).toEqual([told, message.status]);
    const times = world.left.get(id) ?? 0;
    const isSaidSent = ['sent', 'delivered', 'read', 'played'].includes(message.status);
    // What a person settled as sent or as failed is taken on their word.
    const byHand = ['sent', 'failed'].includes(asked.get(id) ?? '');
    if (!byHand) expect([told, times > 0]).toEqual([told, isSaidSent]);
    if (!asked.has(id)) expect([told, times]).toEqual([told, isSaidSent ? 1 : 0]);
    // Only a person may mark a message as failed that WhatsApp got, and it is never cancelled.
    if (times > 0) expect([told, message.status === 'cancelled']).toEqual([told, false]);
  }
}

async function unsettled(sessionId: string): Promise<number> {
  const rows = await database.reader.getRepository(Message).findBy({ sessionId });
  const rests = ['sent', 'delivered', 'read', 'played', 'failed', 'cancelled'];
  return rows.filter(({ status }) => !rests.includes(status)).length;
}

/** As on SQLite: there is no other backend, so any other owner of claims is gone. */
const alone = (owner: string): Presence => ({
  owner,
  gone: async (owners) => owners.filter((other) => other !== owner),
  close: async () => undefined,
});

async function newSession(): Promise<string> {
  const id = newId();
  const now = clock.now();
  const pacing = { perMinute: 0, chatGapMs: 0, jitterMs: 0, typing: false };
  await database.write.run((tx) =>
    insertRow(tx, Session, {
      id,
      accountId,
      name: id,
      liveName: id,
      desired: 'running',
      status: 'connected',
      workerId: 'w',
      leaseEpoch: 1,
      settings: {
        autoReconnect: true,
        storeMedia: false,
        countryCode: null,
        queueIfOffline: true,
        maxQueueAgeHours: 24,
        pacing,
      },
      metadata: {},
      connectedAt: now,
      createdAt: now,
      updatedAt: now,
    }),
  );
  return id;
}

test('whatever happens in whatever order, states move by the table and nothing leaves twice without a proof', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40, size: 'max' }), (actions) =>
      play([{ do: 'accept', chat: 0 }, ...actions]),
    ),
    { numRuns: 40, endOnFailure: process.env['MODEL_SHRINK'] === undefined },
  );
}, 120_000);
