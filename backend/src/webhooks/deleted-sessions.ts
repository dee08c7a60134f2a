import { IsNull } from 'typeorm';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { lockRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { moveDeliveries } from './move-deliveries.js';
import type { Subscriptions } from './subscriptions.js';
import { Webhook } from './webhook.entity.js';

/** Messages that were queued when their session was deleted fail in this time. Their events still have to be delivered. */
const lastEventsMs = 3_600_000;

/** A condition for SQL: the endpoint is of a session that was deleted before the time of the parameter. Such endpoints count towards no limit. */
export const isOfDeletedSession = `EXISTS (SELECT 1 FROM sessions WHERE sessions.id = webhooks."sessionId" AND sessions."deletedAt" <= ?)`;

const isBusy = `EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.status IN ('pending', 'sending') AND d."webhookId" = webhooks.id)`;
const dueSql = `SELECT id, "accountId" FROM webhooks WHERE "deletedAt" IS NULL AND ${isOfDeletedSession} AND NOT ${isBusy} AND id > ?
  ORDER BY id LIMIT 200`;

/**
 * Deletes the endpoints of sessions that were deleted an hour ago or longer, as soon as no delivery waits any more. They are not deleted together
 * with the session because its last events, `session.deleted` among them, are still to be delivered. May run twice and may end halfway. Returns their number.
 */
export async function removeEndpointsOfDeletedSessions(
  { database, clock }: Pick<Core, 'database' | 'clock'>,
  { subscriptions }: { subscriptions: Pick<Subscriptions, 'forget'> },
): Promise<number> {
  let removedInAll = 0;
  const before = new Date(clock.now().getTime() - lastEventsMs);
  for (let after = ''; ;) {
    const { rows: due } = await runStatement<{ id: string; accountId: string }>(database.reader, dueSql, [before, after], {
      prepare: false,
    });
    for (const { id, accountId } of due)
      await database.write.run(async (tx) => {
        await lockRows(tx, Webhook, [id]);
        const at = clock.now();
        const removed = await updateRows(tx, Webhook, { id, deletedAt: IsNull() }, { deletedAt: at, isActive: false });
        if (removed === 0) return;
        await moveDeliveries(tx, id, ['pending', 'held'], { status: 'cancelled', finishedAt: at });
        const changes = { reason: 'SESSION_DELETED' };
        await recordAudit(tx, null, { action: 'webhook.delete', objectType: 'webhook', objectId: id, accountId, changes, at });
        removedInAll += removed;
        tx.afterCommit(() => subscriptions.forget(accountId));
      });
    if (due.length === 0) return removedInAll;
    after = due.at(-1)!.id;
  }
}
