import { TableColumn, TableIndex, type MigrationInterface, type QueryRunner } from 'typeorm';

/**
 * A long queue costs as little as a short one: what is due is found by an index in its own order, and so is what waited too long.
 * And an export or erasure says who works on it, so that it is taken over the moment that this one is gone.
 */
export class Queues1763701200000 implements MigrationInterface {
  name = 'Queues1763701200000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.dropIndex('messages', 'messages_due');
    await runner.createIndices('messages', [
      new TableIndex({ name: 'messages_due', columnNames: ['status', 'sessionId', 'nextAttemptAt', 'id'] }),
      new TableIndex({ name: 'messages_waiting', columnNames: ['status', 'expiresAt'], where: `"status" = 'queued'` }),
    ]);
    await runner.addColumn(
      'privacy_requests',
      new TableColumn({ name: 'owner', type: 'varchar', length: '36', isNullable: true }),
    );
    await runner.dropIndex('webhook_deliveries', 'webhook_deliveries_due');
    await runner.createIndex(
      'webhook_deliveries',
      new TableIndex({ name: 'webhook_deliveries_due', columnNames: ['status', 'webhookId', 'eventCursor', 'nextAttemptAt'] }),
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
