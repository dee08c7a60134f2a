import { IsNull } from 'typeorm';
import type { Database } from '../../db/database.js';
import type { Presence } from '../../db/presence.js';
import { lockRows, readRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { isSystemError } from '../../db/database-errors.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { requireReadable } from '../../db/unreadable.js';
import { describeError, type ReportFailure } from '../../failures/failures.js';
import type { Clock } from '../../lib/clock.js';
import { errorFields, type Log } from '../../lib/log.js';
import { createItemBackoff } from '../../lib/item-backoff.js';
import { isForAnotherAccount } from './linked-account.js';
import { Session } from '../../sessions/session.entity.js';
import type { UncertainMessages } from './uncertain.js';
import type { Lanes } from './lanes.js';
import { Message } from '../message.entity.js';
import type { Outcome, Outcomes } from './outcomes.js';
import type { Pacing } from './pacing.js';

/** A handover that began this recently was counted in the session's pace with its claim. */
const countedForMs = 60_000;
/** Two backends' clocks may differ by this much before a stored time counts as wrong. */
const clockSkewMs = 5_000;

/** All claims: one for each session at most. */
const claimsSql = `SELECT id, "accountId", "sessionId", "chatId", "leaseOwner", "leaseExpiresAt" FROM messages WHERE status = 'sending'`;

interface Claim {
  id: string;
  accountId: string;
  sessionId: string;
  chatId: string;
  leaseOwner: string | null;
  leaseExpiresAt: number | string | null;
}

/**
 * Takes over the claims that no backend works on: of backends that are gone, those whose lease ran out, and those under our own name that are not
 * in `inFlight`. The call is made again under the same id; the worker's record answers it, or sends.
 *
 * | a claim | then |
 * | --- | --- |
 * | of a worker or session that cannot answer for the first call | its message is uncertain |
 * | whose lease is longer than any lease | a clock was set back: the lease is shortened |
 * | that cannot be taken over although the database works | reported and tried again later; the other chats of its session go on meanwhile |
 */
export function createTakeovers(parts: {
  database: Database;
  pacing: Pacing;
  clock: Clock;
  log: Log;
  presence: Presence;
  doubts: UncertainMessages;
  lanes: Lanes;
  outcomes: Outcomes;
  inFlight: Set<string>;
  /** Makes the call. `repeated`: an earlier one for the same claim may have reached the worker. */
  handOver: (session: Session, message: Message, repeated: boolean) => Promise<Outcome>;
  canSend: (session: Session | null) => session is Session;
  isStopped: () => boolean;
  leaseMs: number;
  steadyMs: () => number;
  report: ReportFailure;
}) {
  const { database, pacing, clock, log, presence, doubts, lanes, outcomes, inFlight, leaseMs } = parts;
  const { owner } = presence;
  /** Messages whose first call still runs at the worker, and when to ask again. Monotonic milliseconds. */
  const askAgainAt = new Map<string, number>();
  /** Messages that could not be taken over. Nobody hands them over, so they do not keep their session. */
  const postponed = createItemBackoff(clock);
  /** Claims of this process whose commit got no answer: nothing was handed over for them. */
  const uncalled = new Set<string>();
  /** The chats of these messages. */
  const chats = new Map<string, { sessionId: string; chatId: string }>();
  const leaseEnd = (): Date => new Date(clock.now().getTime() + leaseMs);

  async function poll(): Promise<void> {
    const { rows } = await runStatement(database.reader, claimsSql, []);
    const claims = rows as Claim[];
    const others = [...new Set(claims.flatMap(({ leaseOwner }) => (leaseOwner && leaseOwner !== owner ? [leaseOwner] : [])))];
    const gone = new Set(others.length > 0 ? await presence.gone(others) : []);
    const now = clock.now().getTime();
    for (const id of uncalled) if (!claims.some((one) => one.id === id)) uncalled.delete(id);
    for (const id of chats.keys()) if (!claims.some((one) => one.id === id)) chats.delete(id);
    for (const id of askAgainAt.keys()) if (!claims.some((one) => one.id === id)) askAgainAt.delete(id);
    for (const claim of claims) {
      const { id, sessionId, leaseOwner } = claim;
      if (postponed.has(id)) continue;
      const ends = Number(claim.leaseExpiresAt ?? 0);
      if (leaseOwner === owner) {
        if (!inFlight.has(id) && (askAgainAt.get(id) ?? 0) <= clock.monotonic()) lanes.run(sessionId, () => isolated(claim));
      } else if (leaseOwner === null || gone.has(leaseOwner) || ends <= now) lanes.run(sessionId, () => isolated(claim));
      else if (ends > now + leaseMs + clockSkewMs) await shorten(id, leaseOwner);
    }
  }

  /** No lease is longer than this one: a clock was set back since it was written. */
  async function shorten(id: string, leaseOwner: string): Promise<void> {
    await database.write.run((tx) =>
      updateRows(tx, Message, { id, status: 'sending', leaseOwner }, { leaseExpiresAt: leaseEnd() }),
    );
  }

  /** Throws only trouble of the database. */
  async function isolated(claim: Claim): Promise<void> {
    try {
      await takeOver(claim);
      postponed.delete(claim.id);
      chats.delete(claim.id);
    } catch (error) {
      if (isSystemError(error)) throw error;
      const { id: subject, accountId, sessionId } = claim;
      // Whatever the code says: it is not the message's fault while the database does not work.
      await database.write.run((tx) => lockRows(tx, Session, [sessionId]));
      const inMs = postponed.add(subject);
      chats.set(subject, { sessionId, chatId: claim.chatId });
      log.error('A claim could not be taken over; it is retried later, and the other chats go on.', {
        messageId: subject,
        sessionId,
        inMs,
        ...errorFields(error),
      });
      parts.report({ kind: 'message', subject, accountId, sessionId, ...describeError(error) });
      lanes.wake(sessionId);
    }
  }

  async function takeOver({ id, sessionId, leaseOwner: from }: Claim): Promise<void> {
    await outcomes.settle(sessionId);
    if (parts.isStopped() || inFlight.has(id)) return;
    inFlight.add(id);
    let taken: { session: Session; message: Message } | null = null;
    try {
      taken = await database.write.run((tx) => takeLease(tx, id, sessionId, from));
    } finally {
      if (!taken) inFlight.delete(id);
    }
    if (!taken) return;
    const repeated = from !== owner || !uncalled.delete(id);
    outcomes.add(sessionId, await parts.handOver(taken.session, taken.message, repeated));
    await outcomes.settle(sessionId);
  }

  /** Null when there is nothing to call: it was moved or taken meanwhile, its pace does not allow it now, or nobody could answer for it. */
  async function takeLease(
    tx: Transaction,
    id: string,
    sessionId: string,
    from: string | null,
  ): Promise<{ session: Session; message: Message } | null> {
    await lockRows(tx, Session, [sessionId]);
    const [message] = await readRows(tx.manager, Message, 'id = ?', [id]);
    if (message?.status !== 'sending' || message.leaseOwner !== from) return null;
    // Nothing is called, and nothing decided, for a message that cannot be read: its claim waits until it can.
    requireReadable(message);
    const [session = null] = await readRows(tx.manager, Session, 'id = ?', [sessionId]);
    const where = { leaseOwner: from ?? IsNull() };
    // Without a connection, or with another worker, nobody can answer for the first call; the doubt waits for the session.
    // Another WhatsApp account's page neither sends it nor knows of it.
    if (!parts.canSend(session) || session.leaseEpoch !== message.epoch || isForAnotherAccount(message, session)) {
      await doubts.raise(tx, message, 'CRASHED_DURING_SEND', where);
      return null;
    }
    // The outcome of the call could not be written without them.
    requireReadable({ settings: session.settings });
    // The call may be what hands the message over: it counts, unless its claim was counted within this window.
    const claimedAgoMs = clock.now().getTime() + leaseMs - (message.leaseExpiresAt?.getTime() ?? 0);
    const isCounted = askAgainAt.has(id) || (claimedAgoMs >= 0 && claimedAgoMs < countedForMs);
    if (!isCounted && !(await pacing.claim(tx, session, id, parts.steadyMs()))) return null;
    const lease = { leaseOwner: owner, leaseExpiresAt: leaseEnd() };
    const taken = await updateRows(tx, Message, { id, status: 'sending', ...where }, lease);
    return taken === 1 ? { session, message: Object.assign(message, lease) } : null;
  }

  return {
    /** One look through all claims. */
    poll,
    /** The first call of this claim still runs at the worker. */
    askAgain: (messageId: string, inMs: number): void => void askAgainAt.set(messageId, clock.monotonic() + inMs),
    /** The commit of this process' claim got no answer, and the call was not made. */
    neverCalled: (messageId: string): void => void uncalled.add(messageId),
    /** Whether this claim could not be taken over and waits for the next attempt. */
    isPostponed: postponed.has,
    /** Chats of a session in which such a claim comes first. */
    heldChats: (sessionId: string): string[] =>
      [...chats].flatMap(([id, one]) => (one.sessionId === sessionId && postponed.has(id) ? [one.chatId] : [])),
  };
}
