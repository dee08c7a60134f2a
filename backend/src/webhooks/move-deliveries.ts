import { Between, In } from 'typeorm';
import { updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { WebhookDelivery, type DeliveryStatus } from './webhook.entity.js';

const batchSize = 5_000;

/**
 * Changes all deliveries of an endpoint that have one of these states, some thousands with each statement; returns how many. One statement over the
 * backlog of a long outage would meet the time limit of statements, with every repeat again, and the endpoint could never be switched on.
 */
export async function moveDeliveries(
  tx: Transaction,
  webhookId: string,
  from: readonly DeliveryStatus[],
  changes: Partial<WebhookDelivery>,
): Promise<number> {
  const lastOfPage = `SELECT MAX("eventCursor") AS last FROM
    (SELECT "eventCursor" FROM webhook_deliveries WHERE "webhookId" = ? AND "eventCursor" > ? ORDER BY "eventCursor" LIMIT ${batchSize}) page`;
  let total = 0;
  for (let after = -1; ;) {
    const {
      rows: [page],
    } = await runStatement<{ last: number | string | null }>(tx.manager, lastOfPage, [webhookId, after], { prepare: false });
    if (!page || page.last === null) return total;
    const last = Number(page.last);
    const where = { webhookId, status: In([...from]), eventCursor: Between(after + 1, last) };
    total += await updateRows(tx, WebhookDelivery, where, changes);
    after = last;
  }
}
