import { type MessageReason, type SendOutcome } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { In, LessThanOrEqual } from 'typeorm';
import type { Database } from '../db/database.js';
import type { Presence } from '../db/presence.js';
import { holdRows, notAmong, readRows, updateRows } from '../db/rows.js';
import { select } from '../db/sql.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Events } from '../events/events.js';
import type { ReportFailure } from '../failures/failures.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import { Session } from '../sessions/session.entity.js';
import { createDoubts, type Found } from './doubts.js';
import { createLanes } from './lanes.js';
import { Message } from './message.entity.js';
import type { Pacing } from './pacing.js';
import type { MessageState, Move } from './state.js';

/**
 * What the way out answers. `refused`: certainly nothing was handed over by this call. `unknown`: the answer was lost, and only the
 * worker's record or WhatsApp itself can tell.
 */
export type Delivery = SendOutcome | { outcome: 'refused'; reason: MessageReason } | { outcome: 'unknown' };

/** The way out, handed in: this domain does not know how a worker is reached. Neither rejects. */
export interface WayOut {
  /** `isFirst`: no attempt was ever made before. */
  deliver(session: Session, message: Message, isFirst: boolean): Promise<Delivery>;
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
  start(): void;
  wake(sessionId: string): void;
  stop(): Promise<void>;
}

/** After a refusal the whole session rests this long, then twice as long, up to the second figure: nothing would get out anyway. */
const restMs = { first: 1_000, longest: 10_000 };
/** The worker says that an earlier call still runs: asked again after this long. */
const askAgainMs = 1_000;

/** What is to be written in the next transaction. */
type Write = (tx: Transaction) => Promise<void>;

/** Sessions with something due. Asked of each by itself: looking through all that waits would take as long as the queue is. */
const dueSql = `SELECT s.id FROM sessions s
  WHERE EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."nextAttemptAt" IS NULL)
  OR EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."nextAttemptAt" <= ?)`;

/**
 * Drains the outbox: for each connected session the oldest due message, one in flight.
 *
 * | the process dies | what is on disk | what the next one does |
 * | --- | --- | --- |
 * | before the claim | `queued` | claims it |
 * | after the claim, before the call | `sending`, its lease | takes the lease over and makes the same call: the worker has no record and sends |
 * | during the call | `sending` | the same call: the worker's record answers, or looks the message up under its reserved id |
 * | after the answer, before its commit | `sending` | the same call: the record repeats the answer |
 *
 * | two that want one message | who wins |
 * | --- | --- |
 * | two claims | one conditional update; the affected count says who has it |
 * | claim and cancel, claim and expiry | likewise: both move it from `queued` |
 * | an ack and the answer of the call | both move it upwards from `sending`; whoever is second finds it moved |
 * | an answer that comes after the lease ran out | its condition names the lease's owner: only proof of success is written without it |
 * | two backends, one session | a claim holds the session's row and finds nothing of it in flight, or does not happen |
 *
 * The same call is repeated only to the worker that had it (same epoch), whose record is the proof. Another one knows nothing of it:
 * then the message is in doubt (see doubts.ts).
 */
export function createDispatcher(parts: {
  database: Database;
  events: Events;
  state: MessageState;
  pacing: Pacing;
  clock: Clock;
  log: Log;
  wayOut: WayOut;
  /** This backend's name on its claims, and which of the others are gone. */
  presence: Presence;
  options: DispatcherOptions;
  /** Reports messages that fail by themselves. */
  report?: ReportFailure;
}): Dispatcher {
  const { database, events, state, pacing, clock, log, wayOut, presence, options } = parts;
  const { owner } = presence;
  const rows = database.reader.getRepository(Message);
  const rests = new Map<string, { until: number; ms: number }>();
  const doubts = createDoubts({ database, state, clock, lookup: wayOut.lookup, options, report: parts.report });
  const lanes = createLanes({ drain, log });
  let stopped = false;
  let polling: Promise<void> = Promise.resolve();
  let clearing: Promise<unknown> | null = null;
  let pollTimer: NodeJS.Timeout | undefined;

  const time = (inMs = 0): Date => new Date(clock.now().getTime() + inMs);
  const canSend = (session: Session | null): session is Session =>
    session !== null && session.deletedAt === null && session.status === 'connected';

  /** Sends one after the other what is due. What became of each commits together with the claim of the next, which is there at once. */
  async function drain(sessionId: string): Promise<void> {
    let outcome: Write | null = null;
    try {
      while (!stopped) {
        const [session = null] = await readRows(database.reader, Session, 'id = ?', [sessionId]);
        if (!canSend(session)) return;
        const now = clock.now().getTime();
        const rest = rests.get(sessionId);
        if (rest && rest.until > now) return lanes.comeBack(sessionId, rest.until - now);
        const message = await nextDue(session, now);
        if (!message) return;
        if (message.expiresAt && message.expiresAt.getTime() <= now) {
          await change(message, 'failed', { from: ['queued'], reason: 'EXPIRED' });
          continue;
        }
        const claimed = await claim(message, outcome);
        outcome = null;
        if (claimed === 'busy') return;
        if (claimed === 'gone') continue;
        failPoint('claim.committed');
        outcome = await handOver(claimed, message, false);
      }
    } finally {
      // Also after a claim that failed: that the one before has left is known, and known once.
      await commit(outcome);
    }
  }

  async function commit(outcome: Write | null): Promise<void> {
    if (!outcome) return;
    await database.write.run(outcome);
    failPoint('outcome.committed');
  }

  /** The oldest due message that the pace lets go now. When it holds all of them back, it says so on the row and comes back in time. */
  async function nextDue(session: Session, now: number): Promise<Message | null> {
    const { id: sessionId, settings } = session;
    const forSession = pacing.waitMs(sessionId, settings.pacing, now);
    const { chats, soonestMs } = pacing.resting(sessionId, now);
    const message = forSession > 0 ? null : await oldestDue(sessionId, now, chats);
    if (message || (forSession === 0 && chats.length === 0)) return message;
    const held = await oldestDue(sessionId, now, []);
    if (!held) return null;
    if (held.reasonCode !== 'PACING')
      await database.write.run((tx) =>
        updateRows(tx, Message, { id: held.id, status: 'queued' }, { reasonCode: 'PACING', reasonText: null }),
      );
    lanes.comeBack(sessionId, forSession > 0 ? forSession : soonestMs);
    return null;
  }

  /** The one accepted first: ids sort in the order of their making. */
  async function oldestDue(sessionId: string, now: number, except: readonly string[]): Promise<Message | null> {
    const { condition, parameter } = notAmong(database.reader, 'chatId', except);
    const oldest = async (due: string, values: readonly unknown[]): Promise<Message | undefined> =>
      (
        await readRows(
          database.reader,
          Message,
          `status = 'queued' AND "sessionId" = ? AND ${due} AND ${condition} ORDER BY "nextAttemptAt", id LIMIT 1`,
          [sessionId, ...values, parameter],
        )
      )[0];
    // Two questions, both in the order of the index `messages_due`: one with OR, or by id alone, would look through the queue for every send.
    const fresh = await oldest('"nextAttemptAt" IS NULL', []);
    const again = await oldest('"nextAttemptAt" <= ?', [now]);
    if (again && fresh) return again.id < fresh.id ? again : fresh;
    return again ?? fresh ?? null;
  }

  /**
   * One conditional update, committed with its event before anything leaves: from here on a crash leaves a message that is known to
   * have perhaps left. `gone`: somebody else moved it. `busy`: something of this session is in flight, perhaps from another backend.
   */
  async function claim(message: Message, before: Write | null): Promise<Session | 'gone' | 'busy'> {
    const claimed = await database.write.run(async (tx) => {
      await holdRows(tx, Session, [message.sessionId]);
      await before?.(tx);
      const [session = null] = await readRows(tx.manager, Session, 'id = ?', [message.sessionId]);
      if (!canSend(session)) return 'busy';
      if (await isInFlight(tx, session.id)) return 'busy';
      const lease = { leaseOwner: owner, leaseExpiresAt: time(options.leaseMs), epoch: session.leaseEpoch };
      const more = { ...lease, attempts: message.attempts + 1, nextAttemptAt: null };
      const isMine = await state.move(tx, message, 'sending', { from: ['queued'], more });
      failPoint('claim.written');
      return isMine ? session : 'gone';
    });
    if (before) failPoint('outcome.committed');
    return claimed;
  }

  async function isInFlight(tx: Transaction, sessionId: string): Promise<boolean> {
    const sql = `SELECT 1 AS one FROM messages WHERE status = 'sending' AND "sessionId" = ? LIMIT 1`;
    return (await runStatement(tx.manager, sql, [sessionId])).rows.length > 0;
  }

  /**
   * Gives what is still to be written, when the message has left; everything else it writes itself. `repeated`: an earlier call for the
   * same claim may have reached the worker, so that a refusal of this one proves nothing.
   */
  async function handOver(session: Session, message: Message, repeated: boolean): Promise<Write | null> {
    if (!repeated) pacing.note(session.id, message.chatId, session.settings.pacing, clock.now().getTime());
    const result = await wayOut.deliver(session, message, !repeated && message.attempts === 1);
    failPoint('outcome.heard');
    if (result.outcome !== 'refused') rests.delete(session.id);
    switch (result.outcome) {
      case 'sent':
        return (tx) =>
          state.acknowledge(tx, message, Math.max(1, result.ack), { whatsappId: result.whatsappId, at: new Date(result.at) });
      case 'failed':
        await settleFailure(message, result.reason, result.message, result.retryable);
        break;
      case 'uncertain':
        await doubts.raise(message, result.reason, { leaseOwner: owner });
        break;
      case 'unknown':
        await doubts.raise(message, 'TIMEOUT_AFTER_HANDOVER', { leaseOwner: owner });
        break;
      case 'refused':
        if (repeated) await doubts.raise(message, 'CRASHED_DURING_SEND', { leaseOwner: owner });
        else await putBack(message, result.reason);
        break;
      case 'sending':
        await database.write.run((tx) =>
          updateRows(tx, Message, { id: message.id, status: 'sending', leaseOwner: owner }, { leaseExpiresAt: time(askAgainMs) }),
        );
    }
    failPoint('outcome.committed');
    return null;
  }

  async function settleFailure(message: Message, reason: MessageReason, detail: string, retryable: boolean): Promise<void> {
    const mine = { from: ['sending'], where: { leaseOwner: owner }, detail } as const;
    if (!retryable) return void (await change(message, 'failed', { ...mine, reason }));
    if (message.attempts > options.maxRetries)
      return void (await change(message, 'failed', { ...mine, reason: 'RETRIES_EXHAUSTED' }));
    const at = time(options.retryIntervalMs * 2 ** (message.attempts - 1));
    await change(message, 'queued', { ...mine, reason: 'RETRY_SCHEDULED', more: { nextAttemptAt: at } });
  }

  /** Nothing left: it keeps its place in its chat and does not count as an attempt. The session rests, so that a worker that is away is not hammered. */
  async function putBack(message: Message, reason: MessageReason): Promise<void> {
    const { sessionId, attempts } = message;
    const ms = Math.min(restMs.longest, (rests.get(sessionId)?.ms ?? restMs.first / 2) * 2);
    rests.set(sessionId, { until: clock.now().getTime() + ms, ms });
    await change(message, 'queued', {
      from: ['sending'],
      where: { leaseOwner: owner },
      reason,
      more: { attempts: attempts - 1 },
    });
  }

  const change = (message: Message, to: Message['status'], how: Move): Promise<boolean> =>
    database.write.run((tx) => state.move(tx, message, to, how));

  /** A backend that is gone will not end its claims, however long their leases are. */
  async function releaseOrphans(): Promise<void> {
    const claims = await select<{ leaseOwner: string | null }>(
      database.reader,
      'SELECT DISTINCT "leaseOwner" FROM messages WHERE status = \'sending\' AND "leaseOwner" <> ?',
      [owner],
    );
    const owners = claims.flatMap(({ leaseOwner }) => leaseOwner ?? []);
    if (owners.length === 0) return;
    const gone = await presence.gone(owners);
    if (gone.length === 0) return;
    await database.write.run((tx) =>
      updateRows(tx, Message, { status: 'sending', leaseOwner: In(gone) }, { leaseExpiresAt: time() }),
    );
  }

  /** Claims whose lease ran out: their backend died, or the worker said that the first call still runs. */
  async function recover(): Promise<void> {
    await releaseOrphans();
    const left = await rows.find({
      where: { status: 'sending', leaseExpiresAt: LessThanOrEqual(time()) },
      order: { createdAt: 'ASC' },
      take: 100,
    });
    for (const message of left) lanes.run(message.sessionId, () => takeOver(message));
  }

  async function takeOver(message: Message): Promise<void> {
    const ranOut = { leaseExpiresAt: LessThanOrEqual(time()) };
    const session = await database.write.run(async (tx) => {
      const row = await tx.manager.findOneBy(Session, { id: message.sessionId });
      if (!canSend(row) || row.leaseEpoch !== message.epoch) return null;
      const lease = { leaseOwner: owner, leaseExpiresAt: time(options.leaseMs) };
      const taken = await updateRows(tx, Message, { id: message.id, status: 'sending', ...ranOut }, lease);
      return taken === 1 ? row : null;
    });
    if (session) await commit(await handOver(session, message, true));
    // Without a connection, or with another worker, nobody can answer for the first call; the doubt waits for the session.
    else await doubts.raise(message, 'CRASHED_DURING_SEND', ranOut);
  }

  async function poll(): Promise<void> {
    await recover();
    await doubts.end();
    // Lookups wait for pages; nothing else of the outbox waits for them.
    clearing ??= doubts
      .clear(() => stopped)
      .catch((error: unknown) => log.error('Doubts could not be looked into; it is tried again.', errorFields(error)))
      .finally(() => (clearing = null));
    const { rows: due } = await runStatement(database.reader, dueSql, [clock.now().getTime()]);
    for (const { id } of due as { id: string }[]) lanes.wake(id);
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

  const unsubscribe = events.subscribe(({ type, sessionId, data }) => {
    if (!sessionId || (type !== 'message.queued' && type !== 'session.status')) return;
    if (type === 'session.status') rests.delete(sessionId);
    if (data?.['status'] === 'connected')
      doubts.reopen(sessionId).catch((error: unknown) => log.error('Doubts could not be looked into again.', errorFields(error)));
    lanes.wake(sessionId);
  });

  return {
    start: schedule,
    wake: lanes.wake,
    async stop() {
      stopped = true;
      unsubscribe();
      clearTimeout(pollTimer);
      await polling;
      await clearing;
      await lanes.stop();
    },
  };
}
