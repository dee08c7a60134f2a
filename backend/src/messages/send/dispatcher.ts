import { type MessageReason, type SendOutcome } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Database } from '../../db/database.js';
import type { Presence } from '../../db/presence.js';
import { lockRows, notAmong, readRows, readRowsApart, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { isSystemError } from '../../db/database-errors.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Events } from '../../events/events.js';
import { describeError, type ReportFailure } from '../../failures/failures.js';
import { steadyTime, type Clock } from '../../lib/clock.js';
import { errorFields, type Log } from '../../lib/log.js';
import { createItemBackoff } from '../../lib/item-backoff.js';
import { isForAnotherAccount } from './linked-account.js';
import { Session } from '../../sessions/session.entity.js';
import { createUncertainMessages, type LookupResult } from './uncertain.js';
import { createHeldMessages, heldUntil } from './held.js';
import { createLanes } from './lanes.js';
import { Message } from '../message.entity.js';
import { createOutcomes, type Outcome } from './outcomes.js';
import type { Pacing } from './pacing.js';
import type { MessageState, Move } from '../state.js';
import { createTakeovers } from './takeovers.js';

/**
 * What the way out answers. `refused`: certainly nothing was handed over by this call. `unknown`: the answer was lost, and only the
 * worker's record or WhatsApp itself can tell.
 */
export type TransportResult = SendOutcome | { outcome: 'refused'; reason: MessageReason } | { outcome: 'unknown' };

/** The way out, handed in: this domain does not know how a worker is reached. Neither rejects. */
export interface MessageTransport {
  /** `isFirst`: no attempt was ever made before. */
  send(session: Session, message: Message, isFirst: boolean): Promise<TransportResult>;
  lookup(session: Session, message: Message): Promise<LookupResult | null>;
}

export interface DispatcherOptions {
  pollMs: number;
  leaseMs: number;
  graceMs: number;
  maxRetries: number;
  retryIntervalMs: number;
  /** After a refusal the whole session rests this long, then twice as long, up to `longest`: nothing would get out anyway. */
  restMs?: { first: number; longest: number };
}

export interface Dispatcher {
  start(): void;
  wake(sessionId: string): void;
  stop(): Promise<void>;
}

const defaultRestMs = { first: 1_000, longest: 10_000 };
/** The worker says that an earlier call still runs: asked again after this long. */
const askAgainMs = 1_000;
/** Stored times are compared with the clock, in case it was set back, with every so many polls. */
const correctEveryPolls = 10;

const canSend = (session: Session | null): session is Session =>
  session !== null && session.deletedAt === null && session.status === 'connected';

/** Sessions with something due. Asked of each by itself: looking through all that waits would take as long as the queue is. */
const dueSql = `SELECT s.id FROM sessions s JOIN accounts a ON a.id = s."accountId" WHERE a."isActive" AND (
  EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."nextAttemptAt" IS NULL)
  OR EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."nextAttemptAt" <= ?))`;

/** A retry that is further ahead than its schedule allows: the clock was set back since. Parameters: now, interval. Held messages have no schedule. */
const tooFarAhead = `attempts > 0 AND "nextAttemptAt" < ${heldUntil.getTime()} AND "nextAttemptAt" > CAST(? AS bigint) + CAST(? AS bigint) * (CAST(1 AS bigint) << (attempts - 1))`;
const aheadSql = `SELECT s.id FROM sessions s WHERE EXISTS
  (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."nextAttemptAt" > ? AND ${tooFarAhead})`;
const correctSql = `UPDATE messages SET "nextAttemptAt" = CAST(? AS bigint) + CAST(? AS bigint) * (CAST(1 AS bigint) << (attempts - 1))
  WHERE status = 'queued' AND "sessionId" = ? AND ${tooFarAhead}`;

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
 * | a claim and a session that is linked to another WhatsApp account | the claim compares the two under the lock of the session's row; see held.ts |
 *
 * | the database fails | what happens |
 * | --- | --- |
 * | a claim commits and its answer is lost | the message is `sending` under this backend's name and not in `inFlight`: the next poll takes it over |
 * | the outcome cannot be committed | it stays in memory and is committed before anything else of its session; see outcomes.ts |
 * | one message cannot be claimed while the database works | its chat is paused for a while; the session's other chats go on |
 *
 * The same call is repeated only to the worker that had it (same epoch), whose record is the proof. Another one knows nothing of it:
 * then the message is in doubt (see doubts.ts). Durations in memory are monotonic; stored times that a clock set back has left too far
 * ahead are corrected.
 */
export function createDispatcher(parts: {
  database: Database;
  events: Events;
  state: MessageState;
  pacing: Pacing;
  clock: Clock;
  log: Log;
  transport: MessageTransport;
  /** This backend's name on its claims, and which of the others are gone. */
  presence: Presence;
  options: DispatcherOptions;
  /** Reports messages that fail by themselves. */
  report?: ReportFailure;
}): Dispatcher {
  const { database, events, state, pacing, clock, log, transport, presence, options, report = () => undefined } = parts;
  const { owner } = presence;
  /** Sessions that rest after a refusal. `until` is monotonic. */
  const rests = new Map<string, { until: number; ms: number }>();
  /** Messages this process works on: from before the claim is sent until the outcome is committed. Nobody takes these over. */
  const inFlight = new Set<string>();
  /** Chats of a session, as `session chat`, whose first message could not be claimed. */
  const postponed = createItemBackoff(clock);
  const steadyMs = steadyTime(clock);
  const doubts = createUncertainMessages({ database, state, clock, log, lookup: transport.lookup, options, report });
  const held = createHeldMessages({ database, state });
  const lanes = createLanes({ drain, log });
  const outcomes = createOutcomes({
    database,
    log,
    settled: (messageId) => void inFlight.delete(messageId),
    async uncertain(tx, messageId) {
      const [message] = await readRows(tx.manager, Message, 'id = ?', [messageId]);
      if (message) await doubts.raise(tx, message, 'CRASHED_DURING_SEND', { leaseOwner: owner });
    },
  });
  const takeovers = createTakeovers({
    database,
    pacing,
    clock,
    log,
    presence,
    doubts,
    lanes,
    outcomes,
    inFlight,
    handOver,
    canSend,
    isStopped: () => stopped,
    leaseMs: options.leaseMs,
    steadyMs,
    report,
  });
  let stopped = false;
  let polling: Promise<void> = Promise.resolve();
  let clearing: Promise<unknown> | null = null;
  let pollTimer: NodeJS.Timeout | undefined;
  let polls = 0;

  const time = (inMs = 0): Date => new Date(clock.now().getTime() + inMs);

  /** Sends one after the other what is due. What became of each commits together with the claim of the next, which is there at once. */
  async function drain(sessionId: string): Promise<void> {
    await outcomes.settle(sessionId);
    try {
      while (!stopped) {
        const [session = null] = await readRows(database.reader, Session, 'id = ?', [sessionId]);
        if (!canSend(session)) return;
        const restMs = (rests.get(sessionId)?.until ?? 0) - clock.monotonic();
        if (restMs > 0) return lanes.comeBack(sessionId, restMs);
        const message = await nextDue(session);
        if (!message) return;
        if (isForAnotherAccount(message, session)) {
          await isolated(message, () => held.hold(message));
          failPoint('identity.held');
          continue;
        }
        if (message.expiresAt && message.expiresAt.getTime() <= clock.now().getTime()) {
          await isolated(message, () => change(message, 'failed', { from: ['queued'], reason: 'EXPIRED' }));
          continue;
        }
        const claimed = await isolated(message, () => claim(message));
        if (claimed === 'busy') return;
        if (typeof claimed === 'string') continue;
        failPoint('claim.committed');
        const outcome = await handOver(claimed, message, false);
        outcomes.add(sessionId, outcome);
        if (!outcome.joins) await outcomes.settle(sessionId);
      }
    } finally {
      // Also after a claim that failed: that the one before has left is known, and known once.
      await outcomes.settle(sessionId);
    }
  }

  /**
   * Runs one step on one message. When it fails although the database works, the message is at fault: its chat is paused, so that the
   * session's other chats go on and the order within the chat stays.
   */
  async function isolated<T>(message: Message, step: () => Promise<T>): Promise<T | 'failed'> {
    const name = `${message.sessionId} ${message.chatId}`;
    try {
      const result = await step();
      postponed.delete(name);
      return result;
    } catch (error) {
      // A connection that broke or a lock that was not given is no fault of the message, even if the database answers again a moment later.
      if (isSystemError(error)) throw error;
      await database.write.run((tx) => lockRows(tx, Session, [message.sessionId]));
      setApart(message, error);
      return 'failed';
    }
  }

  /** This message is at fault and cannot leave: its chat is paused, and staff are informed. */
  function setApart(message: Pick<Message, 'id' | 'accountId' | 'sessionId' | 'chatId'>, error: unknown): void {
    const { id: subject, accountId, sessionId, chatId } = message;
    const inMs = postponed.add(`${sessionId} ${chatId}`);
    lanes.comeBack(sessionId, inMs);
    log.error('A message could not be claimed; its chat is retried later, and the others go on.', {
      messageId: subject,
      sessionId,
      inMs,
      ...errorFields(error),
    });
    report({ kind: 'message', subject, accountId, sessionId, ...describeError(error) });
  }

  /** The oldest due message that the pace lets go now. When it holds all of them back, it says so on the row and comes back in time. */
  async function nextDue(session: Session): Promise<Message | null> {
    const { id: sessionId } = session;
    const pace = await pacing.look(database.reader, session, steadyMs());
    if (pace.isAhead) {
      await database.write.run(async (tx) => {
        await lockRows(tx, Session, [sessionId]);
        await pacing.rebase(tx, sessionId, steadyMs());
      });
      return nextDue(session);
    }
    const message = pace.waitMs > 0 ? null : await oldestDue(sessionId, pace.restedChats);
    if (message || pace.isFree) return message;
    const held = await oldestDue(sessionId, { condition: '1 = 1', parameters: [] });
    if (!held) return null;
    const waitMs = pace.waitMs > 0 ? pace.waitMs : await pace.firstChatMs();
    // Not held by the pace any more, or accepted meanwhile: the next look finds it.
    if (waitMs === null) return pace.waitMs > 0 ? null : held;
    if (held.reasonCode !== 'PACING')
      await database.write.run((tx) =>
        updateRows(tx, Message, { id: held.id, status: 'queued' }, { reasonCode: 'PACING', reasonText: null }),
      );
    lanes.comeBack(sessionId, waitMs);
    return null;
  }

  /** The one accepted first: ids sort in the order of their making. A row that cannot be read sets its chat aside. */
  async function oldestDue(
    sessionId: string,
    rested: { condition: string; parameters: readonly unknown[] },
  ): Promise<Message | null> {
    const prefix = `${sessionId} `;
    const apart = postponed.list().flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));
    apart.push(...takeovers.heldChats(sessionId));
    const others = apart.length > 0 ? notAmong(database.reader, 'chatId', apart) : null;
    const condition = others ? `${rested.condition} AND ${others.condition}` : rested.condition;
    const parameters = others ? [...rested.parameters, others.parameter] : rested.parameters;
    let broken = 0;
    const oldest = async (due: string, values: readonly unknown[]): Promise<Message | undefined> =>
      (
        await readRowsApart(
          database.reader,
          Message,
          `status = 'queued' AND "sessionId" = ? AND ${due} AND ${condition} ORDER BY "nextAttemptAt", id LIMIT 1`,
          [sessionId, ...values, ...parameters],
          ({ id, accountId, chatId }, error) => {
            broken += 1;
            setApart({ id: String(id), accountId: String(accountId), sessionId, chatId: String(chatId) }, error);
          },
        )
      )[0];
    // Two questions, both in the order of the index `messages_due`: one with OR, or by id alone, would look through the queue for every send.
    const fresh = await oldest('"nextAttemptAt" IS NULL', []);
    const again = await oldest('"nextAttemptAt" <= ?', [clock.now().getTime()]);
    if (broken > 0) return oldestDue(sessionId, rested);
    if (again && fresh) return again.id < fresh.id ? again : fresh;
    return again ?? fresh ?? null;
  }

  /**
   * One conditional update, committed with its event before anything leaves: from here on a crash leaves a message that is known to
   * have perhaps left. The outcome of the session's previous message, when there is one, commits with it. `gone`: somebody else moved
   * it. `busy`: something of this session is in flight, perhaps from another backend. `paced`: another backend has used up the pace.
   */
  async function claim(message: Message): Promise<Session | 'gone' | 'busy' | 'paced'> {
    const { sessionId } = message;
    const before = outcomes.of(sessionId);
    // Closes: the commit succeeds, its answer is lost, and a poll takes the claim over while this call still waits for the answer.
    inFlight.add(message.id);
    let claimed: Session | 'gone' | 'busy' | 'paced' = 'gone';
    try {
      claimed = await database.write.run(async (tx) => {
        await lockRows(tx, Session, [sessionId]);
        await before?.write(tx);
        const [session = null] = await readRows(tx.manager, Session, 'id = ?', [sessionId]);
        if (!canSend(session)) return 'busy';
        if (!(await isAccountActive(tx, session.accountId))) return 'busy';
        // Closes: another WhatsApp account was linked since the message was picked. The next look holds it back.
        if (isForAnotherAccount(message, session)) return 'gone';
        if (await isInFlight(tx, session.id)) return 'busy';
        if (!(await pacing.claim(tx, session, message.id, steadyMs()))) return 'paced';
        const lease = { leaseOwner: owner, leaseExpiresAt: time(options.leaseMs), epoch: session.leaseEpoch };
        const fields = { ...lease, attempts: message.attempts + 1, nextAttemptAt: null };
        const isMine = await state.move(tx, message, 'sending', { from: ['queued'], fields });
        failPoint('claim.written');
        return isMine ? session : 'gone';
      });
    } catch (error) {
      takeovers.neverCalled(message.id);
      throw error;
    } finally {
      if (typeof claimed === 'string') inFlight.delete(message.id);
    }
    if (before) outcomes.done(sessionId, before);
    return claimed;
  }

  /** A deactivated account sends nothing: its messages wait until it is activated, or expire. */
  async function isAccountActive(tx: Transaction, accountId: string): Promise<boolean> {
    const { rows } = await runStatement(tx.manager, 'SELECT 1 AS found FROM accounts WHERE id = ? AND "isActive"', [accountId]);
    return rows.length > 0;
  }

  async function isInFlight(tx: Transaction, sessionId: string): Promise<boolean> {
    const sql = `SELECT id FROM messages WHERE status = 'sending' AND "sessionId" = ?`;
    const { rows } = await runStatement(tx.manager, sql, [sessionId]);
    return (rows as { id: string }[]).some(({ id }) => !takeovers.isPostponed(id));
  }

  /**
   * Makes the call and returns what is to be written. `repeated`: an earlier call for the same claim may have reached the worker, so that a
   * refusal of this one proves nothing.
   */
  async function handOver(session: Session, message: Message, repeated: boolean): Promise<Outcome> {
    const isFirst = !repeated && message.attempts === 1;
    const result = await transport.send(session, message, isFirst).catch((error: unknown): TransportResult => {
      log.error('A message could not be handed over; it is uncertain and is looked up.', {
        messageId: message.id,
        ...errorFields(error),
      });
      return { outcome: 'unknown' };
    });
    failPoint('outcome.heard');
    if (result.outcome !== 'refused') rests.delete(session.id);
    const outcome = writeOf(session, message, result, repeated);
    const write = async (tx: Transaction): Promise<void> => {
      if (session.settings.pacing.perMinute > 0) {
        await lockRows(tx, Session, [session.id]);
        await pacing.ended(tx, session, message.id, steadyMs());
      }
      await outcome(tx);
    };
    return { messageId: message.id, joins: result.outcome === 'sent', write };
  }

  /** The write of an outcome. It works on a copy of the row each time, because it may run again after a commit that failed. */
  function writeOf(session: Session, message: Message, result: TransportResult, repeated: boolean): Outcome['write'] {
    const mine = { leaseOwner: owner };
    const doubt =
      (reason: MessageReason): Outcome['write'] =>
      (tx) =>
        doubts.raise(tx, { ...message }, reason, mine);
    const moves =
      (to: Message['status'], how: Move): Outcome['write'] =>
      async (tx) =>
        void (await state.move(tx, { ...message }, to, { from: ['sending'], where: mine, ...how }));
    switch (result.outcome) {
      case 'sent': {
        const { whatsappId, ack, at } = result;
        return (tx) => state.acknowledge(tx, { ...message }, Math.max(1, ack), { whatsappId, at: new Date(at) });
      }
      case 'failed':
        return moves(...failureOf(message, result));
      case 'uncertain':
        return doubt(result.reason);
      case 'unknown':
        return doubt('TIMEOUT_AFTER_HANDOVER');
      case 'refused':
        if (repeated) return doubt('CRASHED_DURING_SEND');
        rest(session.id);
        // Nothing left: it keeps its place in its chat and does not count as an attempt.
        return moves('queued', { reason: result.reason, fields: { attempts: message.attempts - 1 } });
      case 'sending':
        takeovers.askAgain(message.id, askAgainMs);
        return async (tx) =>
          void (await updateRows(
            tx,
            Message,
            { id: message.id, status: 'sending', leaseOwner: owner },
            { leaseExpiresAt: time(askAgainMs) },
          ));
    }
  }

  function failureOf(message: Message, result: Extract<TransportResult, { outcome: 'failed' }>): [Message['status'], Move] {
    const { reason, message: detail, retryable } = result;
    if (!retryable) return ['failed', { detail, reason }];
    if (message.attempts > options.maxRetries) return ['failed', { detail, reason: 'RETRIES_EXHAUSTED' }];
    const nextAttemptAt = time(options.retryIntervalMs * 2 ** (message.attempts - 1));
    return ['queued', { detail, reason: 'RETRY_SCHEDULED', fields: { nextAttemptAt } }];
  }

  /** The session rests, so that a worker that is away is not called again and again. */
  function rest(sessionId: string): void {
    const { first, longest } = options.restMs ?? defaultRestMs;
    const ms = Math.min(longest, (rests.get(sessionId)?.ms ?? first / 2) * 2);
    rests.set(sessionId, { until: clock.monotonic() + ms, ms });
  }

  const change = (message: Message, to: Message['status'], how: Move): Promise<boolean> =>
    database.write.run((tx) => state.move(tx, message, to, how));

  /** Brings forward retries that a clock set back has left further ahead than their schedule allows. */
  async function correctRetries(): Promise<void> {
    const now = clock.now().getTime();
    const interval = options.retryIntervalMs;
    const { rows } = await runStatement(database.reader, aheadSql, [now + interval, now, interval]);
    for (const { id } of rows as { id: string }[])
      await database.write.run((tx) => runStatement(tx.manager, correctSql, [now, interval, id, now, interval]));
  }

  async function wakeDue(): Promise<void> {
    const { rows } = await runStatement(database.reader, dueSql, [clock.now().getTime()]);
    for (const { id } of rows as { id: string }[]) lanes.wake(id);
  }

  /** One look through the outbox. A part that fails does not keep the others from their turn. */
  async function poll(): Promise<void> {
    polls += 1;
    await attempt('Claims could not be scanned; the scan is retried.', takeovers.poll);
    await attempt('Messages that ended could not be scanned; the scan is retried.', doubts.end);
    if (polls % correctEveryPolls === 1)
      await attempt('Retry times could not be compared with the clock; it is retried.', correctRetries);
    // Lookups wait for pages; nothing else of the outbox waits for them.
    clearing ??= attempt('Uncertain messages could not be looked up; it is retried.', () => doubts.clear(() => stopped)).finally(
      () => (clearing = null),
    );
    for (const sessionId of outcomes.sessions()) lanes.wake(sessionId);
    await attempt('The outbox could not be scanned; the scan is retried.', wakeDue);
  }

  async function attempt(failure: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      log.error(failure, errorFields(error));
    }
  }

  function schedule(): void {
    pollTimer = setTimeout(() => {
      polling = poll().finally(() => {
        if (!stopped) schedule();
      });
    }, options.pollMs);
  }

  const unsubscribe = events.subscribe(({ type, sessionId, data }) => {
    if (!sessionId || (type !== 'message.queued' && type !== 'session.status')) return;
    if (type === 'session.status') rests.delete(sessionId);
    if (data?.['status'] === 'connected')
      doubts
        .reopen(sessionId)
        .catch((error: unknown) => log.error('Uncertain messages could not be looked up again.', errorFields(error)));
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
