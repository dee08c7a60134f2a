import type { MigrationInterface, QueryRunner } from 'typeorm';

interface StoredWebhook {
  id: string;
  filter: string | null;
  retry: string | null;
}

/** Filters and retry lists of endpoints under the names that the API has now; and when a delivery was asked for again. */
export class WebhookNames1763716000000 implements MigrationInterface {
  name = 'WebhookNames1763716000000';

  async up(runner: QueryRunner): Promise<void> {
    // Not by addColumn: on SQLite that would copy the table.
    await runner.query(`ALTER TABLE webhook_deliveries ADD COLUMN "redeliveredAt" bigint`);
    const rows = (await runner.query(
      `SELECT id, filter, retry FROM webhooks WHERE filter IS NOT NULL OR retry IS NOT NULL`,
    )) as StoredWebhook[];
    const isPostgres = runner.connection.options.type === 'postgres';
    for (const { id, filter, retry } of rows) {
      const values = [renamed(filter, renameFilter), renamed(retry, renameRetry), id];
      await runner.query(
        isPostgres
          ? `UPDATE webhooks SET filter = $1, retry = $2 WHERE id = $3`
          : `UPDATE webhooks SET filter = ?, retry = ? WHERE id = ?`,
        values,
      );
    }
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}

type Fields = Record<string, unknown>;

function renameFilter({ direction, messageTypes, ...rest }: Fields): Fields {
  return {
    ...rest,
    ...(direction === undefined ? {} : { directions: [direction] }),
    ...(messageTypes === undefined ? {} : { types: messageTypes }),
  };
}

function renameRetry({ delays, ...rest }: Fields): Fields {
  return { ...rest, ...(delays === undefined ? {} : { delaysMs: delays }) };
}

/** A damaged value stays as it is: it is read as absent, and the failure log reports it. */
function renamed(text: string | null, rename: (fields: Fields) => Fields): string | null {
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? JSON.stringify(rename(value as Fields)) : text;
  } catch {
    return text;
  }
}
