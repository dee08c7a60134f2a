import { AppError } from '@chasqui/shared';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';

/** How long a count is believed, while the queue is far from full. Milliseconds. */
const believedMs = 1_000;

/**
 * The queue of a session is bounded. Counting it for every accept would make a long queue slow to grow, so a count is believed for a
 * second with what was accepted since added to it; close to the limit every accept counts again.
 */
export function createQueueLimit({ most, now }: { most: number; now: () => number }) {
  const counts = new Map<string, { n: number; until: number }>();

  return async function enter(tx: Transaction, sessionId: string): Promise<void> {
    const known = counts.get(sessionId);
    if (known && known.until > now() && known.n < most * 0.9) return void (known.n += 1);
    const {
      rows: [row],
    } = await runStatement<{ n: number | string }>(
      tx.manager,
      'SELECT COUNT(*) AS n FROM messages WHERE status = \'queued\' AND "sessionId" = ?',
      [sessionId],
      { prepare: false },
    );
    const n = Number(row!.n);
    if (n >= most) throw new AppError('QUEUE_FULL', { limit: most });
    counts.set(sessionId, { n: n + 1, until: now() + believedMs });
  };
}
