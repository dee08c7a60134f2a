import type { DataSource, ObjectLiteral } from 'typeorm';
import type { Webhook } from '../../webhooks/webhook.entity.js';
import { webhookTitle } from '../alerts.js';
import { webhookDays } from './webhook-day.js';
import { webhookStateOf } from './webhook.js';

/** What the list of webhooks shows besides their columns: what each is called, its state in one word, and its last 24 hours. */
export async function readWebhookRows(
  reader: DataSource,
  rows: readonly ObjectLiteral[],
): Promise<ReadonlyMap<string, Record<string, unknown>>> {
  const webhooks = rows as readonly Webhook[];
  const ids = webhooks.map(({ id }) => id);
  const days = await webhookDays(reader, ids, Date.now());
  return new Map(
    webhooks.map((row) => [
      row.id,
      { webhookTitle: webhookTitle(row), state: webhookStateOf(row), day: JSON.stringify(days.get(row.id)) },
    ]),
  );
}
