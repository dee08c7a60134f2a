import { AppError } from '@chasqui/shared';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Message } from '../message.entity.js';

/** How long a count is reused while the queue is well below its limit. */
const cacheTtlMs = 1_000;

/** Counts a message into the queue of its session. Throws `QUEUE_FULL`. */
export type EnterQueue = (tx: Transaction, message: Pick<Message, 'sessionId' | 'status'>) => Promise<void>;

/**
 * Bounds the queue of each session to `maxQueued` messages, and those that are scheduled to as many more. Counting a long queue for every message would be slow, so a count is reused for a second,
 * plus the messages accepted since. Close to the limit every message counts the queue again.
 */
export function createQueueLimit({ maxQueued, now }: { maxQueued: number; now: () => number }): EnterQueue {
  const cached = new Map<string, { count: number; until: number }>();

  return async function enter(tx, { sessionId, status }) {
    const name = `${status} ${sessionId}`;
    const known = cached.get(name);
    if (known && known.until > now() && known.count < maxQueued * 0.9) return void (known.count += 1);
    const {
      rows: [row],
    } = await runStatement<{ n: number | string }>(
      tx.manager,
      'SELECT COUNT(*) AS n FROM messages WHERE status = ? AND "sessionId" = ?',
      [status, sessionId],
      { prepare: false },
    );
    const count = Number(row!.n);
    if (count >= maxQueued) throw new AppError('QUEUE_FULL', { limit: maxQueued });
    cached.set(name, { count: count + 1, until: now() + cacheTtlMs });
  };
}
