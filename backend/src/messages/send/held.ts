import { AppError, messageReasons } from '@chasqui/shared';
import type { Core } from '../../core.js';
import type { Database } from '../../db/database.js';
import { lockRows, readRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { Session } from '../../sessions/session.entity.js';
import { heldUntil, Message } from '../message.entity.js';
import type { MessageState } from '../state.js';
import { accountFieldsOf, isForAnotherAccount } from './linked-account.js';

/** The result of a decision on the held messages of a session. */
export interface HeldDecision {
  /** Messages that the decision was applied to. */
  messages: number;
  /** Messages that may have been sent as the earlier account. Each is settled by `POST /messages/:id/resolve`. */
  uncertain: number;
}

/**
 * Messages that were accepted for another WhatsApp account than the one to which their session is linked now. None of them is sent until a
 * person decides.
 *
 * | the message is | then |
 * | --- | --- |
 * | `queued` | it stays `queued` with SESSION_IDENTITY_CHANGED, from the first time that it would have been claimed |
 * | `scheduled` | it becomes `queued` at its time, and then the same. A decision before that applies to it as well |
 * | `sending` when the account changes | the worker refuses it, or its outcome is unknown and it becomes `uncertain` |
 * | `uncertain` | it is not looked up, because the history of another account proves nothing. It stays so with the same reason |
 *
 * The claim compares the two accounts under the lock of the session's row, and the worker compares them again right before the page. So it
 * does not matter which of them learns of the change first.
 */
export interface HeldMessages {
  /** Holds a queued message back and emits `message.queued` with the reason. Does nothing if the accounts are the same by now. */
  markHeld(message: Message): Promise<void>;
  /** Applies a person's decision to all held messages of a session. A repeat after a crash continues where the first call ended. */
  decide(sessionId: string, decision: 'send' | 'cancel'): Promise<HeldDecision>;
  /** Returns the columns with which a message is sent as the account to which the session is linked now. Locks the session's row. */
  currentAccountFields(tx: Transaction, sessionId: string): Promise<Partial<Message>>;
}

/** Messages that are decided on in one transaction. */
const batchSize = 200;

interface Context {
  database: Database;
  state: MessageState;
}

export function createHeldMessages({ database }: Pick<Core, 'database'>, { state }: { state: MessageState }): HeldMessages {
  const context: Context = { database, state };
  return {
    markHeld: (message) => markHeld(context, message),
    decide: (sessionId, decision) => decide(context, sessionId, decision),
    currentAccountFields: async (tx, sessionId) => accountFieldsOf(await lockSession(tx, sessionId)),
  };
}

const markHeld = ({ database, state }: Context, message: Message): Promise<void> =>
  database.write.run(async (tx) => {
    const session = await lockSession(tx, message.sessionId);
    if (!isForAnotherAccount(message, session)) return;
    const reasonCode = 'SESSION_IDENTITY_CHANGED';
    await state.requeue(tx, { ...message }, { nextAttemptAt: heldUntil, reasonCode, reasonText: messageReasons[reasonCode] });
  });

async function decide(context: Context, sessionId: string, decision: 'send' | 'cancel'): Promise<HeldDecision> {
  let messages = 0;
  for (;;) {
    const decided = await context.database.write.run((tx) => decideBatch(context, tx, sessionId, decision));
    messages += decided;
    if (decided < batchSize) return { messages, uncertain: await countUncertain(context.database, sessionId) };
  }
}

/** Returns the number of messages that were decided on. */
async function decideBatch({ state }: Context, tx: Transaction, sessionId: string, decision: 'send' | 'cancel'): Promise<number> {
  const session = await lockSession(tx, sessionId);
  // A message whose earlier attempt may have been sent is left to `resolve`. If it is cancelled here, it becomes `uncertain`.
  const onlyCertain = decision === 'send' ? 'AND NOT "doubted"' : '';
  const batch = await readRows(
    tx.manager,
    Message,
    `status IN ('scheduled', 'queued') AND "sessionId" = ? AND "linkedAccountNumber" <> ? ${onlyCertain} ORDER BY id LIMIT ${batchSize}`,
    [sessionId, session.linkedAccountNumber],
  );
  for (const message of batch) {
    if (decision === 'cancel') await state.move(tx, message, 'cancelled', { from: ['scheduled', 'queued'] });
    else if (message.status === 'scheduled') await state.reschedule(tx, message, accountFieldsOf(session));
    else
      await state.requeue(tx, message, {
        ...accountFieldsOf(session),
        nextAttemptAt: null,
        reasonCode: null,
        reasonText: null,
      });
  }
  return batch.length;
}

async function countUncertain(database: Database, sessionId: string): Promise<number> {
  const { rows } = await runStatement<{ count: number | string }>(
    database.reader,
    `SELECT COUNT(*) AS count FROM messages m JOIN sessions s ON s.id = m."sessionId"
      WHERE m."sessionId" = ? AND m."linkedAccountNumber" <> s."linkedAccountNumber"
      AND (m.status = 'uncertain' OR (m.status = 'queued' AND m."doubted"))`,
    [sessionId],
    { prepare: false },
  );
  return Number(rows[0]?.count ?? 0);
}

/** Reads the session's row and locks it until the end of the transaction. */
async function lockSession(tx: Transaction, id: string): Promise<Session> {
  await lockRows(tx, Session, [id]);
  const [session] = await readRows(tx.manager, Session, 'id = ?', [id]);
  if (!session || session.deletedAt) throw new AppError('SESSION_NOT_FOUND');
  return session;
}
