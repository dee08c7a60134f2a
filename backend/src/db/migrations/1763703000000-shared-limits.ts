import { Table, TableIndex, type MigrationInterface, type QueryRunner } from 'typeorm';

/**
 * Limits that hold over all backends: how fast each session may send, and windows such as failed logins. Pending files name their session,
 * so that those of connected sessions are found by an index.
 */
export class SharedLimits1763703000000 implements MigrationInterface {
  name = 'SharedLimits1763703000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'session_pace',
        columns: [
          { name: 'sessionId', type: 'varchar', length: '36', isPrimary: true },
          { name: 'buckets', type: 'text' },
          { name: 'updatedAt', type: 'bigint' },
        ],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'paced_sends',
        columns: [
          { name: 'messageId', type: 'varchar', length: '36', isPrimary: true },
          { name: 'sessionId', type: 'varchar', length: '36' },
          { name: 'at', type: 'bigint' },
          { name: 'jitter', type: 'integer' },
        ],
        indices: [{ name: 'paced_sends_recent', columnNames: ['sessionId', 'at'] }],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'rate_windows',
        columns: [
          { name: 'name', type: 'varchar', length: '100', isPrimary: true },
          { name: 'buckets', type: 'text' },
          { name: 'expiresAt', type: 'bigint' },
        ],
        indices: [{ name: 'rate_windows_expiry', columnNames: ['expiresAt'] }],
      }),
    );
    // Not by addColumn: on SQLite that would write the whole table again.
    await runner.query(`ALTER TABLE media_files ADD COLUMN "sessionId" varchar(36)`);
    await runner.query(
      `UPDATE media_files SET "sessionId" = (SELECT m."sessionId" FROM messages m WHERE m.id = media_files."messageId")
        WHERE state = 'pending'`,
    );
    await runner.createIndex(
      'media_files',
      new TableIndex({
        name: 'media_files_pending',
        columnNames: ['state', 'sessionId', 'nextAttemptAt'],
        where: `"state" = 'pending'`,
      }),
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
