import { Table, TableIndex, type MigrationInterface, type QueryRunner } from 'typeorm';

/**
 * What a page of the log needs to cost the same at any length of it, whatever is filtered for: each index ends in the cursor.
 * `events_session` had the sequence instead, which grows with the cursor anyway. And the tickets of streams.
 */
export class EventPages1763700500000 implements MigrationInterface {
  name = 'EventPages1763700500000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.dropIndex('events', 'events_session');
    await runner.createIndices('events', [
      new TableIndex({ name: 'events_session', columnNames: ['sessionId', 'type', 'cursor'] }),
      new TableIndex({ name: 'events_type', columnNames: ['accountId', 'type', 'cursor'] }),
    ]);
    await runner.createTable(
      new Table({
        name: 'stream_tickets',
        columns: [
          { name: 'hash', type: 'varchar', length: '64', isPrimary: true },
          { name: 'accountId', type: 'varchar', length: '36' },
          { name: 'grant', type: 'text' },
          { name: 'expiresAt', type: 'bigint' },
        ],
        indices: [{ name: 'stream_tickets_expiry', columnNames: ['expiresAt'] }],
      }),
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
