import { type MessageReason, type SendOutcome } from '@chasqui/shared';
import { In, LessThanOrEqual } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { Database } from '../db/database.js';
import { updateRows } from '../db/rows.js';
import { select } from '../db/sql.js';
import type { Events } from '../events/events.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import { Session } from '../sessions/session.entity.js';
import { Message } from './message.entity.js';
import type { Pacing } from './pacing.js';
import type { MessageState, Move } from './state.js';

/**
 * What the way out answers. `refused`: certainly nothing was handed over by this call. `unknown`: the answer was lost, and only the
 * worker's record or WhatsApp itself can tell.
 */
export type Delivery = SendOutcome | { outcome: 'refused'; reason: MessageReason } | { outcome: 'unknown' };
export type Found = { found: true; whatsappId: string; ack: number } | { found: false; proven: boolean };

/** The way out, handed in: this domain does not know how a worker is reached. Neither rejects. */
export interface WayOut {
  deliver(session: Session, message: Message): Promise<Delivery>;
  lookup(session: Session, message: Message): Promise<Found | null>;
}

export interface DispatcherOptions {
  pollMs: number;
  leaseMs: number;
  graceMs: number;
  maxRetries: number;
  retryIntervalMs: number;
}

export interface Dispatcher {
  start(): Promise<void>;
  wake(sessionId: string): void;
  stop(): Promise<void>;
}

/** A doubt that nobody could clear in this time is for the account's policy. */
const unprovableAfterMs = 10 * 60_000;

/**
 * Drains the outbox: for each connected session the oldest due message, one in flight.
 *
 * | the process dies | what is on disk | what the next one does |
 * | --- | --- | --- |
 * | before the claim | `queued` | claims it |
 * | after the claim, before the call | `sending`, our lease | takes the lease over and makes the same call: the worker has no record and sends |
 * | during the call | `sending` | the same call: the worker's record answers, or looks the message up under its reserved id |
 * | after the answer, before its commit | `sending` | the same call: the record repeats the answer |
 *
 * Two that want one message: the claim is one conditional update, and the affected count says who has it.
 */
export function createDispatcher({
  database,
  events,
  state,
  pacing,
  clock,
  log,
  wayOut,
  owner,
  options,
}: {
  database: Database;
  events: Events;
  state: MessageState;
  pacing: Pacing;
  clock: Clock;
  log: Log;
  wayOut: WayOut;
  owner: string;
  options: DispatcherOptions;
}): Dispatcher {
  const rows = database.reader.getRepository(Message);
  const sessions = database.reader.getRepository(Session);
  const busy = new Map<string, Promise<void>>();
  const again = new Set<string>();
  const timers = new Map<string, NodeJS.Timeout>();
  let stopped = false;
  let polling: Promise<void> = Promise.resolve();
  let pollTimer: NodeJS.Timeout | undefined;

  function wake(sessionId: string): void {
    if (stopped) return;
    // Whoever drains now looks once more before it ends: a message that was accepted meanwhile is not slept over.
    if (busy.has(sessionId)) return void again.add(sessionId);
    const work = drain(sessionId)
      .catch((error: unknown) =>
        log.error('A session’s queue could not be drained; it is tried again.', { sessionId, ...errorFields(error) }),
      )
      .finally(() => {
        busy.delete(sessionId);
        if (again.delete(sessionId)) wake(sessionId);
      });
    busy.set(sessionId, work);
  }

  async function drain(sessionId: string): Promise<void> {
    for (;;) {
      if (stopped) return;
      const session = await sessions.findOneBy({ id: sessionId });
      if (!session || session.deletedAt || session.status !== 'connected') return;
      const message = await oldestDue(sessionId);
      if (!message) return;
      if (message.expiresAt && message.expiresAt <= clock.now()) {
        await change(message, 'failed', { reason: 'EXPIRED' });
        continue;
      }
      const wait = pacing.waitMs(sessionId, message.chatId, session.settings.pacing, clock.now().getTime());
      if (wait > 0) return hold(message, wait);
      const claimed = await claim(session, message);
      if (claimed) await handOver(session, claimed);
    }
  }

  const oldestDue = (sessionId: string): Promise<Message | null> =>
    rows
      .createQueryBuilder('m')
      .where("m.status = 'queued' AND m.sessionId = :sessionId AND (m.nextAttemptAt IS NULL OR m.nextAttemptAt <= :now)", {
        sessionId,
        now: clock.now().getTime(),
      })
      .orderBy('m.createdAt')
      .addOrderBy('m.id')
      .limit(1)
      .getOne();

  /** Says why it waits, once, and comes back when the wait is over. */
  async function hold(message: Message, wait: number): Promise<void> {
    if (message.reasonCode !== 'PACING')
      await database.write.run((tx) =>
        updateRows(tx, Message, { id: message.id, status: 'queued' }, { reasonCode: 'PACING', reasonText: null }),
      );
    clearTimeout(timers.get(message.sessionId));
    timers.set(message.sessionId, setTimeout(() => wake(message.sessionId), wait).unref());
  }

  /** One conditional update, committed with its event before anything leaves: from here on a crash leaves a message that is known to have perhaps left. */
  async function claim(session: Session, message: Message): Promise<Message | null> {
    const lease = {
      leaseOwner: owner,
      leaseExpiresAt: new Date(clock.now().getTime() + options.leaseMs),
      epoch: session.leaseEpoch,
      attempts: message.attempts + 1,
      nextAttemptAt: null,
    };
    return (await change(message, 'sending', { more: lease })) ? message : null;
  }

  async function handOver(session: Session, message: Message): Promise<void> {
    pacing.note(session.id, message.chatId, session.settings.pacing, clock.now().getTime());
    const result = await wayOut.deliver(session, message);
    switch (result.outcome) {
      case 'sent':
        return void (await change(message, 'sent', { more: { whatsappId: result.whatsappId }, at: new Date(result.at) }));
      case 'failed':
        return settleFailure(message, result.reason, result.message, result.retryable);
      case 'uncertain':
        return void (await change(message, 'uncertain', { reason: result.reason, more: { nextAttemptAt: clock.now() } }));
      case 'unknown':
        return void (await change(message, 'uncertain', { reason: 'CRASHED_DURING_SEND', more: { nextAttemptAt: clock.now() } }));
      case 'refused':
        return putBack(message, result.reason);
      case 'sending':
        // The first call still runs there: the lease keeps the message ours, and the poll asks again.
        return void (await database.write.run((tx) =>
          updateRows(tx, Message, { id: message.id, status: 'sending' }, { leaseExpiresAt: clock.now() }),
        ));
    }
  }

  async function settleFailure(message: Message, reason: MessageReason, detail: string, retryable: boolean): Promise<void> {
    if (!retryable) return void (await change(message, 'failed', { reason, detail }));
    if (message.attempts > options.maxRetries)
      return void (await change(message, 'failed', { reason: 'RETRIES_EXHAUSTED', detail }));
    const at = new Date(clock.now().getTime() + options.retryIntervalMs * 2 ** (message.attempts - 1));
    await change(message, 'queued', { reason: 'RETRY_SCHEDULED', detail, more: { nextAttemptAt: at } });
  }

  /** Nothing left: it waits in its place, and does not count as an attempt. A short pause, so that a worker that is away is not hammered. */
  async function putBack(message: Message, reason: MessageReason): Promise<void> {
    await change(message, 'queued', {
      reason,
      more: { nextAttemptAt: new Date(clock.now().getTime() + 1_000), attempts: message.attempts - 1 },
    });
  }

  const change = (message: Message, to: Message['status'], how: Move): Promise<boolean> =>
    database.write.run((tx) => state.move(tx, message, to, how));

  // --- what a crash or a doubt left behind ---

  /** Claims whose lease ran out: the same call again, under the same id. */
  async function recover(): Promise<void> {
    const left = await rows.find({ where: { status: 'sending', leaseExpiresAt: LessThanOrEqual(clock.now()) }, take: 100 });
    for (const message of left) {
      const session = await sessions.findOneBy({ id: message.sessionId });
      if (!session || busy.has(session.id)) continue;
      const lease = { leaseOwner: owner, leaseExpiresAt: new Date(clock.now().getTime() + options.leaseMs) };
      const mine = await database.write.run((tx) =>
        updateRows(tx, Message, { id: message.id, status: 'sending', leaseExpiresAt: LessThanOrEqual(clock.now()) }, lease),
      );
      if (mine === 0) continue;
      Object.assign(message, lease);
      // Without a connection the worker can neither look up nor send; the doubt waits for the session.
      if (session.status !== 'connected')
        await change(message, 'uncertain', { reason: 'CRASHED_DURING_SEND', more: { nextAttemptAt: clock.now() } });
      else
        busy.set(
          session.id,
          handOver(session, message).finally(() => done(session.id)),
        );
    }
  }
  const done = (sessionId: string): void => {
    busy.delete(sessionId);
    again.delete(sessionId);
    wake(sessionId);
  };

  /** Doubts: looked up under the reserved id once the session is back. */
  async function clear(): Promise<void> {
    const doubts = await rows.find({
      where: { status: 'uncertain', nextAttemptAt: LessThanOrEqual(clock.now()) },
      order: { createdAt: 'ASC' },
      take: 50,
    });
    for (const message of doubts) {
      if (stopped) return;
      const session = await sessions.findOneBy({ id: message.sessionId });
      if (session?.status !== 'connected') await lookAgain(message, 1_000);
      else await clearOne(session, message);
    }
  }

  async function clearOne(session: Session, message: Message): Promise<void> {
    const found = await wayOut.lookup(session, message);
    if (found?.found) {
      const { whatsappId, ack } = found;
      if (ack >= 1) return database.write.run((tx) => state.acknowledge(tx, message, ack, { whatsappId }));
      if (ack < 0) return void (await change(message, 'failed', { reason: 'WHATSAPP_REFUSED' }));
      // In the page's store, not acknowledged: WhatsApp Web itself is still sending it.
      return lookAgain(message, 2_000);
    }
    const now = clock.now().getTime();
    const since = Math.max(session.connectedAt?.getTime() ?? now, message.queuedAt?.getTime() ?? 0);
    if (now < since + options.graceMs) return lookAgain(message, Math.min(2_000, options.graceMs));
    if (found?.found === false && found.proven) {
      if (message.expiresAt && message.expiresAt.getTime() <= now)
        return void (await change(message, 'failed', { reason: 'EXPIRED', from: ['uncertain'] }));
      return void (await change(message, 'queued', {
        reason: 'PROVEN_ABSENT',
        from: ['uncertain'],
        more: { nextAttemptAt: null },
      }));
    }
    if (now < since + options.graceMs + unprovableAfterMs) return lookAgain(message, 10_000);
    await byPolicy(message);
  }

  async function byPolicy(message: Message): Promise<void> {
    const account = await database.reader.getRepository(Account).findOneByOrFail({ id: message.accountId });
    if (account.uncertainPolicy === 'retry')
      return void (await change(message, 'queued', {
        reason: 'POLICY_RETRY',
        from: ['uncertain'],
        more: { nextAttemptAt: null },
      }));
    await database.write.run((tx) =>
      updateRows(
        tx,
        Message,
        { id: message.id, status: 'uncertain' },
        { reasonCode: 'HELD_BY_POLICY', reasonText: null, nextAttemptAt: null },
      ),
    );
  }

  const lookAgain = async (message: Message, inMs: number): Promise<void> =>
    void (await database.write.run((tx) =>
      updateRows(tx, Message, { id: message.id, status: 'uncertain' }, { nextAttemptAt: new Date(clock.now().getTime() + inMs) }),
    ));

  /** Messages that wait for a session that is away end when their time is up; the drain only sees connected ones. */
  async function expire(): Promise<void> {
    const late = await rows.find({ where: { status: In(['queued']), expiresAt: LessThanOrEqual(clock.now()) }, take: 200 });
    for (const message of late) await change(message, 'failed', { reason: 'EXPIRED', from: ['queued'] });
  }

  async function poll(): Promise<void> {
    await recover();
    await clear();
    await expire();
    const due = await select<{ sessionId: string }>(
      database.reader,
      'SELECT DISTINCT "sessionId" FROM messages WHERE status = \'queued\' AND ("nextAttemptAt" IS NULL OR "nextAttemptAt" <= ?)',
      [clock.now()],
    );
    for (const { sessionId } of due) wake(sessionId);
  }

  function schedule(): void {
    pollTimer = setTimeout(() => {
      polling = poll()
        .catch((error: unknown) => log.error('The outbox could not be looked through; it is tried again.', errorFields(error)))
        .finally(() => {
          if (!stopped) schedule();
        });
    }, options.pollMs);
  }

  const unsubscribe = events.subscribe((event) => {
    if (event.sessionId && (event.type === 'message.queued' || event.type === 'session.status')) wake(event.sessionId);
  });

  return {
    async start() {
      // With SQLite this is the only backend: whoever held a claim before is gone, however long its lease was.
      if (database.dialect === 'sqlite')
        await database.write.run((tx) => updateRows(tx, Message, { status: 'sending' }, { leaseExpiresAt: clock.now() }));
      schedule();
    },
    wake,
    async stop() {
      stopped = true;
      unsubscribe();
      clearTimeout(pollTimer);
      for (const timer of timers.values()) clearTimeout(timer);
      await polling;
      await Promise.allSettled(busy.values());
    },
  };
}
