import { uncertainReasons, type MessageReason } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { IsNull, type FindOptionsWhere } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import type { Database } from '../../db/database.js';
import { notAmong, readRows, readRowsApart, updateRows } from '../../db/rows.js';
import { isSystemError } from '../../db/database-errors.js';
import { describeError, type ReportFailure } from '../../failures/failures.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Clock } from '../../lib/clock.js';
import { errorFields, type Log } from '../../lib/log.js';
import { createItemBackoff } from '../../lib/item-backoff.js';
import { isForAnotherAccount } from './linked-account.js';
import { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';
import type { MessageState, Move } from '../state.js';

export type LookupResult = { found: true; whatsappId: string; ack: number } | { found: false; proven: boolean };

/** A lookup that gets no answer at all is asked for so long beyond the grace time before the policy decides. Milliseconds. */
const silentMs = 10 * 60_000;
/** As many of one session are looked up in one round. */
const perSession = 10;
/** No lookup is planned further ahead than this. What is, was planned before the clock was set back, and is due. */
const longestPlanMs = 15_000;

/** Connected sessions with a lookup that is due, and deleted ones with anything left. Others are not asked: their rows wait without cost. */
const dueSql = `SELECT s.id FROM sessions s WHERE (s.status = 'connected' OR s."deletedAt" IS NOT NULL) AND (
  EXISTS (SELECT 1 FROM messages m WHERE m.status = 'uncertain' AND m."sessionId" = s.id AND m."nextAttemptAt" <= ?)
  OR EXISTS (SELECT 1 FROM messages m WHERE m.status = 'uncertain' AND m."sessionId" = s.id AND m."nextAttemptAt" > ?))`;

export type UncertainMessages = ReturnType<typeof createUncertainMessages>;

/**
 * Messages whose outcome is unknown, and those whose time ran out. While a message is `uncertain`, `nextAttemptAt` is the next
 * lookup and `leaseExpiresAt` the end of the grace time in which one that is not found may still turn up.
 *
 * | the lookup says | then |
 * | --- | --- |
 * | found, acknowledged | it takes that status |
 * | found, not acknowledged yet | it proves nothing: looked at again within the grace time, then as the policy says (the page only waits for it) |
 * | found, refused | `failed` |
 * | absent, within the grace time (of the doubt, and of the session's return) | looked for again: history may not be synced |
 * | absent and proven | `queued` under the same reserved id, or how it ended otherwise: `failed`, `cancelled` |
 * | absent, unprovable | the account's policy: held for a person, or sent again under the same id, as often as a retry |
 * | no answer | asked again |
 * | (the session is linked to another WhatsApp account) | not looked up: another history proves nothing. Held for a person |
 *
 * Each is one conditional update from `uncertain`: an ack that comes at the same moment wins or loses as a whole. Killed anywhere, the
 * row is still `uncertain` and is looked up again.
 */
export function createUncertainMessages({
  database,
  state,
  clock,
  log,
  lookup,
  options,
  report = () => undefined,
}: {
  database: Database;
  state: MessageState;
  clock: Clock;
  log: Log;
  lookup: (session: Session, message: Message) => Promise<LookupResult | null>;
  options: { graceMs: number; maxRetries: number };
  report?: ReportFailure | undefined;
}) {
  const lookEveryMs = Math.max(100, Math.min(2_000, options.graceMs / 2));
  const time = (inMs = 0): Date => new Date(clock.now().getTime() + inMs);
  /** Sessions whose time of connection is ahead of the clock, and when that was first seen. Monotonic milliseconds. */
  const connectedAhead = new Map<string, { connectedAt: number; seenAt: number }>();
  /** Messages whose step failed, which are left alone for a while so that they do not stop the others. */
  const postponed = createItemBackoff(clock);
  let polls = 0;

  const change = (message: Message, to: Message['status'], how: Move): Promise<boolean> =>
    database.write.run((tx) => state.move(tx, message, to, how));

  const lookAgain = async (message: Message, inMs: number): Promise<void> =>
    void (await database.write.run((tx) =>
      updateRows(tx, Message, { id: message.id, status: 'uncertain' }, { nextAttemptAt: time(inMs) }),
    ));

  /**
   * Messages that meet a condition, without those that are left alone now: however many of these there are, they take no one's place. A row
   * that cannot be read is left alone like one whose step fails.
   */
  function readDue(condition: string, parameters: readonly unknown[], rest: string): Promise<Message[]> {
    const others = notAmong(database.reader, 'id', postponed.list());
    return readRowsApart(
      database.reader,
      Message,
      `${condition} AND ${others.condition} ${rest}`,
      [...parameters, others.parameter],
      ({ id, accountId, sessionId }, error) =>
        leaveAlone(
          { id: String(id), accountId: String(accountId), sessionId: String(sessionId) },
          error,
          'A message could not be read; it is retried later.',
        ),
    );
  }

  /** A message that fails by itself is reported and left alone for a while; those behind it go on. Trouble of the database is no message's own. */
  function leaveAlone(message: Pick<Message, 'id' | 'accountId' | 'sessionId'>, error: unknown, sentence: string): void {
    postponed.add(message.id);
    log.error(sentence, { messageId: message.id, ...errorFields(error) });
    if (isSystemError(error)) return;
    const { id: subject, accountId, sessionId } = message;
    report({ kind: 'message', subject, accountId, sessionId, ...describeError(error) });
  }

  async function clearOne(session: Session, message: Message): Promise<void> {
    if (isForAnotherAccount(message, session)) return void (await hold(message, 'SESSION_IDENTITY_CHANGED'));
    const found = await lookup(session, message);
    failPoint('lookup.heard');
    if (found?.found) {
      const { whatsappId, ack } = found;
      if (ack >= 1) return database.write.run((tx) => state.acknowledge(tx, message, ack, { whatsappId }));
      const fields = { hasUncertainAttempt: false };
      if (ack < 0) return void (await change(message, 'failed', { from: ['uncertain'], reason: 'WHATSAPP_REFUSED', fields }));
      failPoint('lookup.unacknowledged');
    }
    const now = clock.now().getTime();
    const graceEnds = Math.max(await graceOf(message, now), now + graceLeftMs(session, now));
    if (now < graceEnds) return lookAgain(message, Math.min(lookEveryMs, graceEnds - now));
    if (found?.found) return byPolicy(message, 'NOT_ACKNOWLEDGED');
    if (found?.proven) return afterProof(message);
    if (found === null && now < graceEnds + silentMs) return lookAgain(message, 10_000);
    await byPolicy(message, 'HELD_BY_POLICY');
  }

  /** When the grace time of this message ends. One that is too far ahead is from before the clock was set back: it starts over now. */
  async function graceOf(message: Message, now: number): Promise<number> {
    const stored = message.leaseExpiresAt?.getTime() ?? 0;
    if (stored <= now + options.graceMs) return stored;
    const leaseExpiresAt = new Date(now + options.graceMs);
    await database.write.run((tx) => updateRows(tx, Message, { id: message.id, status: 'uncertain' }, { leaseExpiresAt }));
    return leaseExpiresAt.getTime();
  }

  /** How much of the grace time is left since the session connected; counted from the first look where the clock was set back since then. */
  function graceLeftMs(session: Session, now: number): number {
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

  /** No attempt left: it is sent again, unless it came to its end in the meantime. */
  async function afterProof(message: Message): Promise<void> {
    const how = { from: ['uncertain'], fields: { nextAttemptAt: null, hasUncertainAttempt: false } } as const;
    const end = endOf(message);
    if (end === 'CANCELLED_IN_DOUBT') await change(message, 'cancelled', how);
    else if (end) await change(message, 'failed', { ...how, reason: end });
    else await change(message, 'queued', { ...how, reason: 'PROVEN_ABSENT' });
  }

  const isLate = ({ expiresAt }: Message): boolean => expiresAt !== null && expiresAt <= clock.now();

  /** Why it is not to be sent again, if so. */
  function endOf(message: Message): MessageReason | null {
    const reason = message.reasonCode as MessageReason | null;
    if (reason && !uncertainReasons.has(reason)) return reason;
    return isLate(message) ? 'EXPIRED' : null;
  }

  /** `reason`: why it is held, where the policy does not send it again. */
  async function byPolicy(message: Message, reason: MessageReason): Promise<void> {
    const account = await database.reader.getRepository(Account).findOneByOrFail({ id: message.accountId });
    const mayRetry = account.uncertainPolicy === 'retry' && message.attempts <= options.maxRetries && endOf(message) === null;
    if (!mayRetry) return void (await hold(message, reason));
    const fields = { nextAttemptAt: null, hasUncertainAttempt: true };
    await change(message, 'queued', { from: ['uncertain'], reason: 'POLICY_RETRY', fields });
  }

  const hold = (message: Message, reason: MessageReason): Promise<boolean> =>
    database.write.run((tx) => state.markHeld(tx, message, reason));

  return {
    /** Moves a message from `sending` to `uncertain`, under the conditions of whoever was handing it over. */
    async raise(tx: Transaction, message: Message, reason: MessageReason, where: FindOptionsWhere<Message>): Promise<void> {
      const fields = { nextAttemptAt: time(), leaseExpiresAt: time(options.graceMs) };
      await state.move(tx, message, 'uncertain', { from: ['sending'], where, reason, fields });
    },
    /** Looks up what is due of connected sessions. A session whose page is slow, and a message whose step fails, hold up themselves only. */
    async clear(isStopped: () => boolean): Promise<void> {
      const now = clock.now().getTime();
      const { rows: due } = await runStatement(database.reader, dueSql, [now, now + longestPlanMs]);
      const ofSession = async (id: string): Promise<void> => {
        const [session = null] = await readRows(database.reader, Session, 'id = ?', [id]);
        const due = await readDue(
          `status = 'uncertain' AND "sessionId" = ? AND ("nextAttemptAt" <= ? OR "nextAttemptAt" > ?)`,
          [id, now, now + longestPlanMs],
          `ORDER BY "nextAttemptAt" LIMIT ${perSession}`,
        );
        for (const message of due) {
          if (isStopped()) return;
          try {
            if (!session || session.deletedAt) await hold(message, 'HELD_BY_POLICY');
            else if (session.status === 'connected') await clearOne(session, message);
            else return;
            postponed.delete(message.id);
          } catch (error) {
            leaveAlone(message, error, 'An uncertain message could not be looked up; it is retried later.');
          }
        }
      };
      const results = await Promise.allSettled((due as { id: string }[]).map(({ id }) => ofSession(id)));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed) throw failed.reason;
    },
    /** The session is back: what was held is looked up once more, in the history that it has now. */
    async reopen(sessionId: string): Promise<void> {
      await database.write.run((tx) =>
        updateRows(tx, Message, { sessionId, status: 'uncertain', nextAttemptAt: IsNull() }, { nextAttemptAt: time() }),
      );
    },
    /** Ends what waited too long, and what waits for a session that is deleted. */
    async end(): Promise<void> {
      const end = async (message: Message, reason: MessageReason): Promise<void> => {
        try {
          await change(message, 'failed', { from: ['queued'], reason });
          postponed.delete(message.id);
        } catch (error) {
          leaveAlone(message, error, 'A message could not be ended; it is retried later.');
        }
      };
      const late = await readDue(`status = 'queued' AND "expiresAt" <= ?`, [time()], 'ORDER BY "expiresAt" LIMIT 200');
      for (const message of late) await end(message, 'EXPIRED');
      polls += 1;
      if (polls % 10 !== 1) return;
      const { rows: gone } = await runStatement<{ id: string }>(
        database.reader,
        `SELECT s.id FROM sessions s WHERE s."deletedAt" IS NOT NULL AND EXISTS
          (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id)`,
        [],
        { prepare: false },
      );
      for (const { id } of gone) {
        const left = await readDue(`status = 'queued' AND "sessionId" = ?`, [id], 'LIMIT 500');
        for (const message of left) await end(message, 'SESSION_DELETED');
      }
    },
  };
}
