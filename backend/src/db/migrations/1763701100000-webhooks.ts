import { Table, type MigrationInterface, type QueryRunner, type TableColumnOptions } from 'typeorm';

const string = (name: string, length: number, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({
  name,
  type: 'varchar',
  length: String(length),
  ...more,
});
const id = (name: string, more: Partial<TableColumnOptions> = {}): TableColumnOptions => string(name, 36, more);
const text = (name: string, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({ name, type: 'text', ...more });
const big = (name: string, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({ name, type: 'bigint', ...more });
const integer = (name: string, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({
  name,
  type: 'integer',
  ...more,
});
const optional = { isNullable: true };
const primary = { isPrimary: true };

/** Endpoints, what is to be delivered to them, and each attempt. */
export class Webhooks1763701100000 implements MigrationInterface {
  name = 'Webhooks1763701100000';

  async up(runner: QueryRunner): Promise<void> {
    const yes = { default: runner.connection.options.type === 'postgres' ? 'true' : '1' };
    await runner.createTable(
      new Table({
        name: 'webhooks',
        columns: [
          id('id', primary),
          id('accountId'),
          id('sessionId', optional),
          text('url'),
          string('description', 200, optional),
          text('events'),
          text('types'),
          text('secret'),
          text('oldSecret', optional),
          big('oldSecretUntil', optional),
          text('headers', optional),
          { name: 'isActive', type: 'boolean', ...yes },
          { name: 'includeContent', type: 'boolean', ...yes },
          ...['filter', 'transform', 'retry'].map((name) => text(name, optional)),
          string('disabledReason', 16, optional),
          big('disabledAt', optional),
          big('failingSince', optional),
          integer('failures', { default: '0' }),
          big('openUntil', optional),
          big('lastDeliveredAt', optional),
          big('createdAt'),
          big('updatedAt'),
          big('deletedAt', optional),
        ],
        indices: [{ name: 'webhooks_account', columnNames: ['accountId', 'deletedAt'] }],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'webhook_deliveries',
        columns: [
          id('id', primary),
          id('webhookId'),
          id('accountId'),
          id('sessionId', optional),
          big('eventCursor'),
          id('eventId'),
          string('type', 40),
          string('status', 10),
          integer('attempts', { default: '0' }),
          big('nextAttemptAt', optional),
          id('leaseOwner', optional),
          big('leaseExpiresAt', optional),
          integer('statusCode', optional),
          string('error', 200, optional),
          big('createdAt'),
          big('finishedAt', optional),
        ],
        indices: [
          { name: 'webhook_deliveries_event', columnNames: ['webhookId', 'eventCursor'], isUnique: true },
          { name: 'webhook_deliveries_due', columnNames: ['status', 'webhookId', 'nextAttemptAt', 'eventCursor'] },
          { name: 'webhook_deliveries_age', columnNames: ['createdAt'] },
          { name: 'webhook_deliveries_cursor', columnNames: ['eventCursor'] },
        ],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'webhook_attempts',
        columns: [
          id('id', primary),
          id('deliveryId'),
          id('webhookId'),
          big('at'),
          integer('durationMs'),
          integer('statusCode', optional),
          string('error', 200, optional),
          text('requestHeaders'),
          text('requestBody', optional),
          text('response', optional),
        ],
        indices: [
          { name: 'webhook_attempts_delivery', columnNames: ['deliveryId', 'at'] },
          { name: 'webhook_attempts_webhook', columnNames: ['webhookId', 'at'] },
        ],
      }),
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
