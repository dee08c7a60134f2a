import { randomUUID } from 'node:crypto';
import { newId, parseRecipient, type SendOutcome, type SessionSettings } from '@chasqui/shared';
import { Account } from '../../src/accounts/account.entity.js';
import type { Database } from '../../src/db/database.js';
import type { Presence } from '../../src/db/presence.js';
import { insertRow } from '../../src/db/rows.js';
import { createEvents } from '../../src/events/events.js';
import type { ReportFailure } from '../../src/failures/failures.js';
import { systemClock, type Clock } from '../../src/lib/clock.js';
import type { Log } from '../../src/lib/log.js';
import type { DispatcherOptions } from '../../src/messages/send/context.js';
import { createDispatcher, type Dispatcher } from '../../src/messages/send/dispatcher.js';
import type { MessageTransport, TransportResult } from '../../src/messages/send/transport.js';
import { Message } from '../../src/messages/message.entity.js';
import { newRow } from '../../src/messages/accept/new-message.js';
import { createPacing, type Pacing } from '../../src/messages/send/pacing.js';
import { createQuotas } from '../../src/messages/quotas/quotas.js';
import { createMessageState, type MessageState } from '../../src/messages/state.js';
import { Session } from '../../src/sessions/session.entity.js';
import { noContacts } from './contacts.js';

/** The outbox without HTTP: dispatchers on a database of the test's own, and a worker that remembers what it was given. */

export interface Handover {
  messageId: string;
  sessionId: string;
  chatId: string;
  /** `performance.now()` */
  at: number;
}

/** A worker with a send record: the same call twice hands over once. */
export function createWorld() {
  const record = new Map<string, SendOutcome>();
  const world = {
    /** What reached WhatsApp, in order. */
    left: [] as Handover[],
    /** Outcomes of the next handovers; without one it is sent. `throws` rejects, which a way out never should. */
    turns: [] as ('sent' | 'refused' | 'lostBefore' | 'lostAfter' | 'failedForNow' | 'slow' | 'throws')[],
    /** Decides instead of `turns` for this message. */
    only: new Map<string, 'throws'>(),
    lookups: [] as string[],
    /** How long a handover takes. */
    takesMs: 0,
    atOnce: new Map<string, number>(),
    mostAtOnce: 0,
    transport: {
      async send(session, message): Promise<TransportResult> {
        const running = (world.atOnce.get(session.id) ?? 0) + 1;
        world.atOnce.set(session.id, running);
        world.mostAtOnce = Math.max(world.mostAtOnce, running);
        try {
          await new Promise((resolve) => setTimeout(resolve, world.takesMs));
          return answer(message);
        } finally {
          world.atOnce.set(session.id, (world.atOnce.get(session.id) ?? 1) - 1);
        }
      },
      async lookup(_session, message) {
        world.lookups.push(message.id);
        await new Promise(setImmediate);
        if (!world.left.some(({ messageId }) => messageId === message.id)) return { found: false, proven: true };
        return { found: true, whatsappId: `true_x_${message.whatsappKey}`, ack: 1 };
      },
    } satisfies MessageTransport as MessageTransport,
  };
  function answer(message: Message): TransportResult {
    const known = record.get(message.id);
    if (known) return known;
    const turn = world.only.get(message.id) ?? world.turns.shift() ?? 'sent';
    if (turn === 'throws') throw new Error('The way out is broken.');
    if (turn === 'refused') return { outcome: 'refused', reason: 'WORKER_UNAVAILABLE' };
    if (turn === 'lostBefore') return { outcome: 'unknown' };
    if (turn === 'failedForNow') return { outcome: 'failed', reason: 'CONNECTION_LOST', message: 'no', retryable: true };
    world.left.push({ messageId: message.id, sessionId: message.sessionId, chatId: message.chatId, at: performance.now() });
    const sent: SendOutcome = {
      outcome: 'sent',
      whatsappId: `true_x_${message.whatsappKey}`,
      ack: 1,
      at: new Date().toISOString(),
    };
    record.set(message.id, sent);
    if (turn === 'slow') return { outcome: 'sending' };
    return turn === 'lostAfter' ? { outcome: 'unknown' } : sent;
  }
  return world;
}
export type World = ReturnType<typeof createWorld>;

/** Keeps error lines for the test to look at. */
export function recordingLog(): Log & { errors: string[] } {
  const errors: string[] = [];
  const quiet = (): void => undefined;
  return { errors, error: (sentence) => void errors.push(sentence), warn: quiet, info: quiet, debug: quiet, isDebug: false };
}

/** Says that the owners in `gone` are gone. On SQLite everybody else is. */
export const presenceOf = (owner: string, gone: (owners: readonly string[]) => string[] = () => []): Presence => ({
  owner,
  gone: (owners) => Promise.resolve(gone(owners)),
  close: () => Promise.resolve(),
});

export interface OutboxOptions {
  database: Database;
  world: World;
  clock?: Clock;
  log?: Log;
  presence?: Presence;
  report?: ReportFailure;
  /** Wraps the domain's state machine, to inject faults. */
  state?: (state: MessageState) => MessageState;
  /** Wraps the pace, to change something between the choice of a message and its claim. */
  pacing?: (pacing: Pacing) => Pacing;
  times?: Partial<DispatcherOptions>;
  defaultDaily?: number;
}

export function startDispatcher({
  database,
  world,
  clock = systemClock,
  ...parts
}: OutboxOptions): Dispatcher & { owner: string } {
  const events = createEvents({ clock });
  const quotas = createQuotas({ database, events, clock }, { defaultDaily: parts.defaultDaily ?? 0 });
  const plain = createMessageState({ events, clock }, { contacts: noContacts, quotas, wipeFile: () => Promise.resolve() });
  const presence = parts.presence ?? presenceOf(randomUUID());
  const log = parts.log ?? recordingLog();
  const report = parts.report ?? (() => undefined);
  const pacing = createPacing(Math.random);
  const dispatcher = createDispatcher(
    { database, events, clock, log, report },
    {
      state: parts.state?.(plain) ?? plain,
      pacing: parts.pacing?.(pacing) ?? pacing,
      transport: world.transport,
      presence,
      options: {
        pollMs: 10,
        leaseMs: 90_000,
        graceMs: 20,
        maxRetries: 3,
        retryIntervalMs: 20,
        scheduleGraceMs: 3_600_000,
        refusalBackoffMs: { first: 50, max: 200 },
        ...parts.times,
      },
    },
  );
  dispatcher.start();
  return { ...dispatcher, owner: presence.owner };
}

export async function makeAccount(database: Database): Promise<string> {
  const id = newId();
  const now = new Date();
  await database.write.run((tx) =>
    insertRow(tx, Account, {
      id,
      username: id,
      email: `${id}@example.com`,
      passwordHash: 'x',
      jwtSecret: 'x',
      role: 'user',
      uncertainPolicy: 'hold',
      createdAt: now,
      updatedAt: now,
    }),
  );
  return id;
}

export async function makeSession(
  database: Database,
  accountId: string,
  pacing: Partial<SessionSettings['pacing']> = {},
  more: Partial<Session> = {},
): Promise<string> {
  const id = newId();
  const now = new Date();
  const settings: SessionSettings = {
    autoReconnect: true,
    storeMedia: false,
    countryCode: null,
    queueIfOffline: true,
    maxQueueAgeHours: 24,
    pacing: { perMinute: 0, chatGapMs: 0, jitterMs: 0, typing: false, ...pacing },
  };
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
      settings,
      metadata: {},
      connectedAt: now,
      createdAt: now,
      updatedAt: now,
      ...more,
    }),
  );
  return id;
}

/** Queues messages to chats numbered from 0; returns their ids in order. `now` is what the accepting backend takes for the time. */
export async function queue(
  database: Database,
  sessionId: string,
  chats: readonly number[],
  now = new Date(),
): Promise<string[]> {
  const session = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
  const rows = chats.map((chat) => {
    const recipient = parseRecipient(`+5511999${String(chat).padStart(6, '0')}`);
    if (!recipient.ok) throw new Error('No recipient.');
    const options = { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], queueIfOffline: true };
    const content = { type: 'text' as const, message: 'x' };
    const input = { recipient: recipient.address, content, file: null, options, quotedMessageId: null, expiresAt: null };
    return newRow(newId(now.getTime()), session, { ...input, origin: 'api' }, now);
  });
  await database.write.run(async (tx) => {
    for (const row of rows) await insertRow(tx, Message, row);
  });
  return rows.map(({ id }) => id);
}

export const statusesOf = async (database: Database, sessionId: string): Promise<Record<string, string>> =>
  Object.fromEntries((await database.reader.getRepository(Message).findBy({ sessionId })).map(({ id, status }) => [id, status]));
