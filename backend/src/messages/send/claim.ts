import { failPoint } from '@chasqui/shared/fail-point';
import { withSums } from '../../db/additions.js';
import { lockRows, readRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { timeIn } from '../../lib/clock.js';
import { Session } from '../../sessions/session.entity.js';
import type { Message } from '../message.entity.js';
import { canSend, type SendContext } from './context.js';
import { isForAnotherAccount } from './linked-account.js';
import { quietEnd } from './quiet.js';

/**
 * Why a message was not claimed. `gone`: another writer moved it. `busy`: the session cannot send, or has a message in flight, perhaps from
 * another backend. `paced`: another backend used up the pace. `quiet`: quiet hours have begun.
 */
export type NotClaimed = 'gone' | 'busy' | 'paced' | 'quiet';

/**
 * Claims a message: one conditional update, committed with its event before anything is handed over. From then on, a crash leaves a message
 * that is known to have been sent perhaps. The pending outcome of the session's previous message commits in the same transaction. Returns
 * the session as it was under its lock.
 */
export async function claim(context: SendContext, message: Message): Promise<Session | NotClaimed> {
  const { database, outcomes, inFlight } = context;
  const previous = outcomes.pendingOf(message.sessionId);
  // Closes: the commit succeeds, its reply is lost, and a poll takes the claim over while this call still waits for the reply.
  inFlight.add(message.id);
  let claimed: Session | NotClaimed = 'gone';
  try {
    claimed = await database.write.run(async (tx) => {
      await lockRows(tx, Session, [message.sessionId]);
      return withSums(tx, async (own) => {
        await previous?.write(own);
        return writeClaim(context, own, message);
      });
    });
  } catch (error) {
    context.takeovers.neverCalled.add(message.id);
    throw error;
  } finally {
    if (typeof claimed === 'string') inFlight.delete(message.id);
  }
  if (previous) outcomes.committed(message.sessionId, previous);
  return claimed;
}

/** The transaction must have locked the session's row. */
async function writeClaim(context: SendContext, tx: Transaction, message: Message): Promise<Session | NotClaimed> {
  const { state, pacing, clock, presence, options } = context;
  const [session = null] = await readRows(tx.manager, Session, 'id = ?', [message.sessionId]);
  if (!canSend(session)) return 'busy';
  if (!(await isAccountActive(tx, session.accountId))) return 'busy';
  // Closes: another WhatsApp account was linked after the message was picked. The next pass of the queue holds it back.
  if (isForAnotherAccount(message, session)) return 'gone';
  if (await hasMessageInFlight(context, tx, session.id)) return 'busy';
  // Closes: quiet hours begin, or are set, after the message was picked.
  if (!message.isUrgent && (await quietEnd(context, tx.manager, session))) return 'quiet';
  if (!(await pacing.claim(tx, session, message.id, context.steadyMs()))) return 'paced';
  const lease = { leaseOwner: presence.owner, leaseExpiresAt: timeIn(clock, options.leaseMs), epoch: session.leaseEpoch };
  const fields = { ...lease, attempts: message.attempts + 1, nextAttemptAt: null };
  // Closes: another backend has sent the message since it was read, and queued it again. Then its number of attempts has grown.
  const where = { attempts: message.attempts };
  const isClaimed = await state.move(tx, message, 'sending', { from: ['queued'], where, fields });
  failPoint('claim.written');
  return isClaimed ? session : 'gone';
}

/** A deactivated account sends nothing: its messages wait until it is activated, or expire. */
async function isAccountActive(tx: Transaction, accountId: string): Promise<boolean> {
  const { rows } = await runStatement(tx.manager, 'SELECT 1 AS found FROM accounts WHERE id = ? AND "isActive"', [accountId]);
  return rows.length > 0;
}

async function hasMessageInFlight({ takeovers }: SendContext, tx: Transaction, sessionId: string): Promise<boolean> {
  const sql = `SELECT id FROM messages WHERE status = 'sending' AND "sessionId" = ?`;
  const { rows } = await runStatement<{ id: string }>(tx.manager, sql, [sessionId]);
  return rows.some(({ id }) => !takeovers.postponed.has(id));
}
