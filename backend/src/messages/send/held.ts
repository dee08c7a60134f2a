import { AppError, messageReasons } from '@chasqui/shared';
import type { Database } from '../../db/database.js';
import { lockRows, readRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { isForAnotherAccount } from './linked-account.js';
import { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';
import type { MessageState } from '../state.js';

/** `nextAttemptAt` of a held message: it is never due, and sorts behind everything that is. */
export const heldUntil = new Date('9999-12-31T00:00:00Z');

/** As many messages are decided on in one transaction. */
const batchSize = 200;

const foreign = `"sessionId" = ? AND "linkedAccountNumber" <> ?`;

export interface HeldDecision {
  /** Messages that the decision was carried out on. */
  messages: number;
  /** Messages of the earlier account that may have left as that account. Each is settled by `POST /messages/:id/resolve`. */
  uncertain: number;
}

/**
 * Messages that were accepted for another WhatsApp account than the one their session is linked to now. None of them leaves until a person
 * decides.
 *
 * | the message is | then |
 * | --- | --- |
 * | `queued` | it stays so with SESSION_IDENTITY_CHANGED, the first time that it would have been claimed |
 * | `sending` when the account changes | the worker refuses it, or its outcome is unknown and it becomes `uncertain` |
 * | `uncertain` | nothing is looked up: the history of another account proves nothing. It stays so with the same reason |
 *
 * The claim compares the two under the lock of the session's row, and the worker compares the account again right before the page, so that it
 * does not matter which of them learns of the change first.
 */
export function createHeldMessages({ database, state }: { database: Database; state: MessageState }) {
  /** The session's row, locked until the end of the transaction. */
  async function lockSession(tx: Transaction, id: string): Promise<Session> {
    await lockRows(tx, Session, [id]);
    const [session] = await readRows(tx.manager, Session, 'id = ?', [id]);
    if (!session || session.deletedAt) throw new AppError('SESSION_NOT_FOUND');
    return session;
  }

  /** The fields with which a message leaves as the account that the session is linked to now. */
  const accepted = (session: Session): Partial<Message> => ({
    linkedAccountNumber: session.linkedAccountNumber,
    fromId: session.phoneNumber ? `${session.phoneNumber.replace(/^\+/, '')}@c.us` : null,
  });

  async function decideBatch(tx: Transaction, sessionId: string, decision: 'send' | 'cancel'): Promise<number> {
    const session = await lockSession(tx, sessionId);
    // One whose earlier attempt may have left is for `resolve`; cancelled, it becomes `uncertain`.
    const certain = decision === 'send' ? 'AND NOT "doubted"' : '';
    const found = await readRows(
      tx.manager,
      Message,
      `status = 'queued' AND ${foreign} ${certain} ORDER BY id LIMIT ${batchSize}`,
      [sessionId, session.linkedAccountNumber],
    );
    for (const message of found) {
      if (decision === 'cancel') await state.move(tx, message, 'cancelled', { from: ['queued'] });
      else await state.requeue(tx, message, { ...accepted(session), nextAttemptAt: null, reasonCode: null, reasonText: null });
    }
    return found.length;
  }

  async function uncertainOf(sessionId: string): Promise<number> {
    const {
      rows: [row],
    } = await runStatement<{ count: number | string }>(
      database.reader,
      `SELECT COUNT(*) AS count FROM messages m JOIN sessions s ON s.id = m."sessionId"
        WHERE m."sessionId" = ? AND m."linkedAccountNumber" <> s."linkedAccountNumber"
        AND (m.status = 'uncertain' OR (m.status = 'queued' AND m."doubted"))`,
      [sessionId],
      { prepare: false },
    );
    return Number(row?.count ?? 0);
  }

  return {
    accepted,
    /** Holds a queued message back, and says so once. */
    hold: (message: Message): Promise<void> =>
      database.write.run(async (tx) => {
        const session = await lockSession(tx, message.sessionId);
        if (!isForAnotherAccount(message, session)) return;
        const reasonCode = 'SESSION_IDENTITY_CHANGED';
        await state.requeue(tx, { ...message }, { nextAttemptAt: heldUntil, reasonCode, reasonText: messageReasons[reasonCode] });
      }),
    /** Carries out a person's decision for all held messages of a session. Repeated after a crash, it goes on where it was. */
    async decide(sessionId: string, decision: 'send' | 'cancel'): Promise<HeldDecision> {
      let messages = 0;
      for (;;) {
        const done = await database.write.run((tx) => decideBatch(tx, sessionId, decision));
        messages += done;
        if (done < batchSize) return { messages, uncertain: await uncertainOf(sessionId) };
      }
    },
    /** The fields for a message that a person tells to be sent, whatever account it was accepted for. */
    async acceptedNow(tx: Transaction, sessionId: string): Promise<Partial<Message>> {
      return accepted(await lockSession(tx, sessionId));
    },
  };
}
export type HeldMessages = ReturnType<typeof createHeldMessages>;
