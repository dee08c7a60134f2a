import { doubtReasons, type MessageReason } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { In, IsNull, LessThanOrEqual, type FindOptionsWhere } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { Database } from '../db/database.js';
import { readRows, updateRows } from '../db/rows.js';
import { select } from '../db/sql.js';
import { isDatabaseTrouble } from '../db/trouble.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import type { Clock } from '../lib/clock.js';
import { Session } from '../sessions/session.entity.js';
import { Message } from './message.entity.js';
import type { MessageState, Move } from './state.js';

export type Found = { found: true; whatsappId: string; ack: number } | { found: false; proven: boolean };

/** A lookup that gets no answer at all is asked for so long beyond the grace time before the policy decides. Milliseconds. */
const silentMs = 10 * 60_000;
const together = 50;
/** After a lookup that failed because of the message itself. Milliseconds. */
const failedAgainMs = 60_000;

/**
 * Messages whose outcome nobody knows, and those whose time ran out. While a message is `uncertain`, `nextAttemptAt` is the next
 * lookup and `leaseExpiresAt` the end of the grace time in which one that is not found may still turn up.
 *
 * | the lookup says | then |
 * | --- | --- |
 * | found, acknowledged | it takes that status |
 * | found, not acknowledged yet | WhatsApp Web is still sending it: looked at again |
 * | found, refused | `failed` |
 * | absent, within the grace time (of the doubt, and of the session's return) | looked for again: history may not be synced |
 * | absent and proven | `queued` under the same reserved id, or how it ended otherwise: `failed`, `cancelled` |
 * | absent, unprovable | the account's policy: held for a person, or sent again under the same id, as often as a retry |
 * | no answer | asked again |
 *
 * Each is one conditional update from `uncertain`: an ack that comes at the same moment wins or loses as a whole. Killed anywhere, the
 * row is still `uncertain` and is looked up again.
 */
export function createDoubts({
  database,
  state,
  clock,
  lookup,
  options,
  report = () => undefined,
}: {
  database: Database;
  state: MessageState;
  clock: Clock;
  lookup: (session: Session, message: Message) => Promise<Found | null>;
  options: { graceMs: number; maxRetries: number };
  report?: ReportFailure | undefined;
}) {
  const rows = database.reader.getRepository(Message);
  const lookEveryMs = Math.max(100, Math.min(2_000, options.graceMs / 2));
  const time = (inMs = 0): Date => new Date(clock.now().getTime() + inMs);
  let polls = 0;
  /** Until when a message that failed by itself is left alone. */
  const failedUntil = new Map<string, number>();

  const change = (message: Message, to: Message['status'], how: Move): Promise<boolean> =>
    database.write.run((tx) => state.move(tx, message, to, how));

  const lookAgain = async (message: Message, inMs: number): Promise<void> =>
    void (await database.write.run((tx) =>
      updateRows(tx, Message, { id: message.id, status: 'uncertain' }, { nextAttemptAt: time(inMs) }),
    ));

  /** A message that fails by itself is reported and tried again later; those behind it go on. Trouble of the database ends the pass. */
  async function isolate(message: Message, work: () => Promise<unknown>): Promise<void> {
    if ((failedUntil.get(message.id) ?? 0) > performance.now()) return;
    failedUntil.delete(message.id);
    try {
      await work();
    } catch (error) {
      if (isDatabaseTrouble(error)) throw error;
      failedUntil.set(message.id, performance.now() + failedAgainMs);
      const { id: subject, accountId, sessionId } = message;
      report({ kind: 'message', subject, accountId, sessionId, ...describeError(error) });
      const later = { nextAttemptAt: time(failedAgainMs) };
      await database.write.run((tx) => updateRows(tx, Message, { id: message.id, status: 'uncertain' }, later));
    }
  }

  async function clearOne(session: Session, message: Message): Promise<void> {
    const found = await lookup(session, message);
    failPoint('lookup.heard');
    if (found?.found) {
      const { whatsappId, ack } = found;
      if (ack >= 1) return database.write.run((tx) => state.acknowledge(tx, message, ack, { whatsappId }));
      const more = { doubted: false };
      if (ack < 0) return void (await change(message, 'failed', { from: ['uncertain'], reason: 'WHATSAPP_REFUSED', more }));
      return lookAgain(message, lookEveryMs);
    }
    const now = clock.now().getTime();
    const graceEnds = Math.max(message.leaseExpiresAt?.getTime() ?? 0, (session.connectedAt?.getTime() ?? now) + options.graceMs);
    if (now < graceEnds) return lookAgain(message, Math.min(lookEveryMs, graceEnds - now));
    if (found?.proven) return afterProof(message);
    if (found === null && now < graceEnds + silentMs) return lookAgain(message, 10_000);
    await byPolicy(message);
  }

  /** No attempt left: it is sent again, unless it came to its end in the meantime. */
  async function afterProof(message: Message): Promise<void> {
    const how = { from: ['uncertain'], more: { nextAttemptAt: null, doubted: false } } as const;
    const end = endOf(message);
    if (end === 'CANCELLED_IN_DOUBT') await change(message, 'cancelled', how);
    else if (end) await change(message, 'failed', { ...how, reason: end });
    else await change(message, 'queued', { ...how, reason: 'PROVEN_ABSENT' });
  }

  const isLate = ({ expiresAt }: Message): boolean => expiresAt !== null && expiresAt <= clock.now();

  /** Why it is not to be sent again, if so. */
  function endOf(message: Message): MessageReason | null {
    const reason = message.reasonCode as MessageReason | null;
    if (reason && !doubtReasons.has(reason)) return reason;
    return isLate(message) ? 'EXPIRED' : null;
  }

  async function byPolicy(message: Message): Promise<void> {
    const account = await database.reader.getRepository(Account).findOneByOrFail({ id: message.accountId });
    const mayRetry = account.uncertainPolicy === 'retry' && message.attempts <= options.maxRetries && endOf(message) === null;
    if (!mayRetry) return void (await hold(message));
    const more = { nextAttemptAt: null, doubted: true };
    await change(message, 'queued', { from: ['uncertain'], reason: 'POLICY_RETRY', more });
  }

  const hold = (message: Message): Promise<boolean> => database.write.run((tx) => state.hold(tx, message, 'HELD_BY_POLICY'));

  return {
    /** From `sending` on, under the conditions of whoever had it in hand. */
    async raise(message: Message, reason: MessageReason, where: FindOptionsWhere<Message>): Promise<void> {
      const more = { nextAttemptAt: time(), leaseExpiresAt: time(options.graceMs) };
      await change(message, 'uncertain', { from: ['sending'], where, reason, more });
    },
    /** Looks up what is due of connected sessions. */
    async clear(isStopped: () => boolean): Promise<void> {
      const doubts = await rows.find({
        where: { status: 'uncertain', nextAttemptAt: LessThanOrEqual(time()) },
        order: { nextAttemptAt: 'ASC' },
        take: together,
      });
      if (doubts.length === 0) return;
      const found = await database.reader.getRepository(Session).findBy({ id: In(doubts.map((message) => message.sessionId)) });
      const sessions = new Map(found.map((session) => [session.id, session]));
      const ofSession = async (id: string): Promise<void> => {
        const session = sessions.get(id);
        for (const message of doubts.filter((candidate) => candidate.sessionId === id)) {
          if (isStopped()) return;
          await isolate(message, () => {
            if (!session || session.deletedAt) return hold(message);
            return session.status === 'connected' ? clearOne(session, message) : lookAgain(message, 1_000);
          });
        }
      };
      // A page that is slow to answer holds up the doubts of its own session alone.
      await Promise.all([...new Set(doubts.map((message) => message.sessionId))].map(ofSession));
    },
    /** The session is back: what was held is looked up once more, in the history that it has now. */
    async reopen(sessionId: string): Promise<void> {
      await database.write.run((tx) =>
        updateRows(tx, Message, { sessionId, status: 'uncertain', nextAttemptAt: IsNull() }, { nextAttemptAt: time() }),
      );
    },
    /** What waited too long, and what waits for a session that is deleted. */
    async end(): Promise<void> {
      const late = await readRows(
        database.reader,
        Message,
        `status = 'queued' AND "expiresAt" <= ? ORDER BY "expiresAt" LIMIT 200`,
        [time()],
      );
      for (const message of late)
        await isolate(message, () => change(message, 'failed', { from: ['queued'], reason: 'EXPIRED' }));
      polls += 1;
      if (polls % 10 !== 1) return;
      const gone = await select<{ id: string }>(
        database.reader,
        `SELECT s.id FROM sessions s WHERE s."deletedAt" IS NOT NULL AND EXISTS
          (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id)`,
      );
      for (const { id } of gone) {
        const left = await rows.find({ where: { sessionId: id, status: 'queued' }, take: 500 });
        for (const message of left)
          await isolate(message, () => change(message, 'failed', { from: ['queued'], reason: 'SESSION_DELETED' }));
      }
    },
  };
}
