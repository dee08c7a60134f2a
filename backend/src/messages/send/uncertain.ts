import { uncertainReasons, type LookupResult as LookupWord, type MessageReason } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { IsNull, type FindOptionsWhere } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import type { Core } from '../../core.js';
import { readRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { timeIn } from '../../lib/clock.js';
import { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';
import type { MessageState, Move } from '../state.js';
import type { PostponedMessages } from './isolation.js';
import { isForAnotherAccount } from './linked-account.js';
import type { LookupResult, MessageTransport } from './transport.js';

/**
 * Messages whose outcome is unknown. While a message is `uncertain`, `nextAttemptAt` is its next lookup, and `leaseExpiresAt` is the end of the
 * grace time in which a message that was not found may still turn up.
 *
 * | the lookup returns | then |
 * | --- | --- |
 * | found, acknowledged | the message gets that status |
 * | found, not acknowledged | it proves nothing: it is looked up again within the grace time, then the policy decides (it only waits in the page) |
 * | found, refused | `failed` |
 * | absent, within the grace time (since the message became uncertain, and since the session connected) | it is looked up again: the history may not be synced |
 * | absent and proven | `queued` under the same reserved id, or the status that it would have ended in: `failed`, `cancelled` |
 * | absent, and accepted before a restore of the database | as if it were not provable |
 * | absent, not provable | the account's policy: it is held for a person, or sent again under the same id, as often as a retry |
 * | no answer | it is looked up again |
 * | (the session is linked to another WhatsApp account) | it is not looked up, because another history proves nothing. It is held for a person |
 *
 * Each step is one conditional update from `uncertain`, which also counts the lookup and keeps its result: an ack that comes at the same moment wins or loses as a whole. If the process dies
 * anywhere, the row is still `uncertain` and is looked up again.
 */
export interface UncertainMessages {
  /** Moves a message from `sending` to `uncertain`. `where` names the backend that handed it over. */
  mark(tx: Transaction, message: Message, reason: MessageReason, where: FindOptionsWhere<Message>): Promise<void>;
  /** Looks up the due messages of all connected sessions. A slow page delays only its own session; a failed step only its own message. */
  lookUpDue(isStopped: () => boolean): Promise<void>;
  /** Plans one more lookup of the held messages of a session that is connected again, because its history may be complete now. */
  lookUpHeld(sessionId: string): Promise<void>;
}

interface Parts {
  state: MessageState;
  lookup: MessageTransport['lookup'];
  options: { graceMs: number; maxRetries: number };
  postponed: PostponedMessages;
  /**
   * After a restore, absence proves nothing for messages that were accepted before this time (milliseconds): the restored login is older than what
   * the earlier installation sent, and WhatsApp does not send a device its own messages once more. Absent: absence always counts.
   */
  absenceProvenFrom?: () => number;
}

interface Context extends Pick<Core, 'database' | 'clock'>, Parts {
  lookupIntervalMs: number;
  /** Sessions whose time of connection is ahead of the clock, and when that was first seen. Monotonic milliseconds. */
  connectedAhead: Map<string, { connectedAt: number; seenAt: number }>;
}

/** A lookup without an answer is repeated for so long after the grace time before the policy decides. Milliseconds. */
const unansweredMs = 10 * 60_000;
/** The delay after a lookup without an answer. */
const unansweredIntervalMs = 10_000;
/** Messages of one session that are looked up in one pass. */
const batchSize = 10;
/** No lookup is planned further ahead than this. One that is was planned before the clock was set back, and is due. */
const maxPlanMs = 15_000;

/** Connected sessions with a due lookup, and deleted ones with anything left. The rows of other sessions wait at no cost. */
const dueSql = `SELECT s.id FROM sessions s WHERE (s.status = 'connected' OR s."deletedAt" IS NOT NULL) AND (
  EXISTS (SELECT 1 FROM messages m WHERE m.status = 'uncertain' AND m."sessionId" = s.id AND m."nextAttemptAt" <= ?)
  OR EXISTS (SELECT 1 FROM messages m WHERE m.status = 'uncertain' AND m."sessionId" = s.id AND m."nextAttemptAt" > ?))`;

export function createUncertainMessages({ database, clock }: Pick<Core, 'database' | 'clock'>, parts: Parts): UncertainMessages {
  const lookupIntervalMs = Math.max(100, Math.min(2_000, parts.options.graceMs / 2));
  const context: Context = { database, clock, ...parts, lookupIntervalMs, connectedAhead: new Map() };
  return {
    mark: (tx, message, reason, where) => mark(context, tx, message, reason, where),
    lookUpDue: (isStopped) => lookUpDue(context, isStopped),
    lookUpHeld: (sessionId) => lookUpHeld(context, sessionId),
  };
}

async function mark(
  { state, clock, options }: Context,
  tx: Transaction,
  message: Message,
  reason: MessageReason,
  where: FindOptionsWhere<Message>,
): Promise<void> {
  const noLookups = { lookups: null, lookedUpAt: null, lookupResult: null };
  const fields = { ...noLookups, nextAttemptAt: clock.now(), leaseExpiresAt: timeIn(clock, options.graceMs) };
  await state.move(tx, message, 'uncertain', { from: ['sending'], where, reason, fields });
}

async function lookUpDue(context: Context, isStopped: () => boolean): Promise<void> {
  const now = context.clock.now().getTime();
  const { rows } = await runStatement<{ id: string }>(context.database.reader, dueSql, [now, now + maxPlanMs]);
  const sessions = rows.map(({ id }) => lookUpSession(context, id, now, isStopped));
  const failed = (await Promise.allSettled(sessions)).find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}

async function lookUpHeld({ database, clock }: Context, sessionId: string): Promise<void> {
  await database.write.run((tx) =>
    updateRows(tx, Message, { sessionId, status: 'uncertain', nextAttemptAt: IsNull() }, { nextAttemptAt: clock.now() }),
  );
}

async function lookUpSession(context: Context, id: string, now: number, isStopped: () => boolean): Promise<void> {
  const { postponed } = context;
  const [session = null] = await readRows(context.database.reader, Session, 'id = ?', [id]);
  const due = await postponed.readOthers(
    `status = 'uncertain' AND "sessionId" = ? AND ("nextAttemptAt" <= ? OR "nextAttemptAt" > ?)`,
    [id, now, now + maxPlanMs],
    `ORDER BY "nextAttemptAt" LIMIT ${batchSize}`,
  );
  for (const message of due) {
    if (isStopped()) return;
    try {
      if (!session || session.deletedAt) await markHeld(context, message, 'HELD_BY_POLICY');
      else if (session.status === 'connected') await lookUp(context, session, message);
      else return;
      postponed.delete(message.id);
    } catch (error) {
      postponed.add(message, error, 'An uncertain message could not be looked up; it is retried later.');
    }
  }
}

async function lookUp(context: Context, session: Session, message: Message): Promise<void> {
  const { database, state, clock } = context;
  if (isForAnotherAccount(message, session)) return void (await markHeld(context, message, 'SESSION_IDENTITY_CHANGED'));
  const result = await context.lookup(session, message);
  failPoint('lookup.received');
  // Part of the update that the result causes. A process that dies before it has not counted this lookup, and repeats it.
  const looked = { lookups: (message.lookups ?? 0) + 1, lookedUpAt: clock.now(), lookupResult: wordOf(result) };
  if (result?.found) {
    const { whatsappId, ack } = result;
    if (ack >= 1) return database.write.run((tx) => state.acknowledge(tx, message, ack, { whatsappId, fields: looked }));
    const fields = { ...looked, hasUncertainAttempt: false };
    if (ack < 0)
      return void (await move(context, message, 'failed', { from: ['uncertain'], reason: 'WHATSAPP_REFUSED', fields }));
    failPoint('lookup.unacknowledged');
  }
  const now = clock.now().getTime();
  const graceEnds = Math.max(await graceEndOf(context, message, now), now + graceLeftMs(context, session, now));
  if (now < graceEnds) return lookUpIn(context, message, Math.min(context.lookupIntervalMs, graceEnds - now), looked);
  if (result?.found) return applyPolicy(context, message, 'NOT_ACKNOWLEDGED', looked);
  const isBeforeRestore = message.createdAt.getTime() < (context.absenceProvenFrom?.() ?? 0);
  if (result?.proven && !isBeforeRestore) return afterProof(context, message, looked);
  if (result === null && now < graceEnds + unansweredMs) return lookUpIn(context, message, unansweredIntervalMs, looked);
  await applyPolicy(context, message, isBeforeRestore ? 'RESTORED' : 'HELD_BY_POLICY', looked);
}

/** The columns that say how a message was looked up. */
type Looked = Pick<Message, 'lookups' | 'lookedUpAt' | 'lookupResult'>;

function wordOf(result: LookupResult | null): LookupWord {
  if (result === null) return 'no_answer';
  if (!result.found) return result.proven ? 'proven_absent' : 'absent';
  return result.ack >= 1 ? 'acknowledged' : result.ack < 0 ? 'refused' : 'pending';
}

async function lookUpIn({ database, clock }: Context, message: Message, ms: number, looked: Looked): Promise<void> {
  await database.write.run((tx) =>
    updateRows(tx, Message, { id: message.id, status: 'uncertain' }, { ...looked, nextAttemptAt: timeIn(clock, ms) }),
  );
}

/** Returns when the message's grace time ends. An end that is too far ahead dates from before the clock was set back: the time restarts now. */
async function graceEndOf({ database, options }: Context, message: Message, now: number): Promise<number> {
  const stored = message.leaseExpiresAt?.getTime() ?? 0;
  if (stored <= now + options.graceMs) return stored;
  const leaseExpiresAt = new Date(now + options.graceMs);
  await database.write.run((tx) => updateRows(tx, Message, { id: message.id, status: 'uncertain' }, { leaseExpiresAt }));
  return leaseExpiresAt.getTime();
}

/** Returns how much of the grace time is left since the session connected. If the clock was set back since then, it counts from this call. */
function graceLeftMs({ clock, options, connectedAhead }: Context, session: Session, now: number): number {
  const connectedAt = session.connectedAt?.getTime() ?? now;
  if (connectedAt <= now) {
    connectedAhead.delete(session.id);
    return connectedAt + options.graceMs - now;
  }
  const monotonic = clock.monotonic();
  let known = connectedAhead.get(session.id);
  if (known?.connectedAt !== connectedAt) connectedAhead.set(session.id, (known = { connectedAt, seenAt: monotonic }));
  return known.seenAt + options.graceMs - monotonic;
}

/** No attempt was sent: the message is sent again, unless it ended in the meantime. */
async function afterProof(context: Context, message: Message, looked: Looked): Promise<void> {
  const how = { from: ['uncertain'], fields: { ...looked, nextAttemptAt: null, hasUncertainAttempt: false } } as const;
  const end = endOf(context, message);
  if (end === 'CANCELLED_IN_DOUBT') await move(context, message, 'cancelled', how);
  else if (end) await move(context, message, 'failed', { ...how, reason: end });
  else await move(context, message, 'queued', { ...how, reason: 'PROVEN_ABSENT' });
}

/** Returns why the message must not be sent again; null if it may be. */
function endOf({ clock }: Context, { reasonCode, expiresAt }: Message): MessageReason | null {
  const reason = reasonCode as MessageReason | null;
  if (reason && !uncertainReasons.has(reason)) return reason;
  return expiresAt !== null && expiresAt <= clock.now() ? 'EXPIRED' : null;
}

/** Sends the message again if the account's policy says so. Otherwise holds it for a person, with this reason. */
async function applyPolicy(context: Context, message: Message, reason: MessageReason, looked: Looked): Promise<void> {
  const { database, options } = context;
  const account = await database.reader.getRepository(Account).findOneByOrFail({ id: message.accountId });
  const mayRetry =
    account.uncertainPolicy === 'retry' && message.attempts <= options.maxRetries && endOf(context, message) === null;
  if (!mayRetry) return void (await markHeld(context, message, reason, looked));
  const fields = { ...looked, nextAttemptAt: null, hasUncertainAttempt: true };
  await move(context, message, 'queued', { from: ['uncertain'], reason: 'POLICY_RETRY', fields });
}

const move = ({ database, state }: Context, message: Message, to: Message['status'], how: Move): Promise<boolean> =>
  database.write.run((tx) => state.move(tx, message, to, how));

const markHeld = ({ database, state }: Context, message: Message, reason: MessageReason, looked?: Looked): Promise<boolean> =>
  database.write.run((tx) => state.markHeld(tx, message, reason, looked));
