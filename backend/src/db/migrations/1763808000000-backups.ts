import { Table, TableIndex, type MigrationInterface, type QueryRunner, type TableColumnOptions } from 'typeorm';

const string = (name: string, length: number, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({
  name,
  type: 'varchar',
  length: String(length),
  ...more,
});
const nullable = { isNullable: true } as const;

/** Backups, and the restores of this installation. */
export class Backups1763808000000 implements MigrationInterface {
  name = 'Backups1763808000000';

  async up(runner: QueryRunner): Promise<void> {
    // SQLite has no words for booleans.
    const no = runner.connection.options.type === 'better-sqlite3' ? '0' : 'false';
    await runner.createTable(
      new Table({
        name: 'backups',
        columns: [
          string('id', 36, { isPrimary: true }),
          string('status', 8),
          string('trigger', 8),
          { name: 'parts', type: 'text' },
          string('host', 255),
          { name: 'file', type: 'text' },
          { name: 'size', type: 'bigint', ...nullable },
          string('sha256', 64, nullable),
          { name: 'verified', type: 'boolean', default: no },
          { name: 'contents', type: 'text', ...nullable },
          string('errorCode', 40, nullable),
          { name: 'errorText', type: 'text', ...nullable },
          { name: 'createdAt', type: 'bigint' },
          { name: 'finishedAt', type: 'bigint', ...nullable },
        ],
      }),
    );
    await runner.createIndex('backups', new TableIndex({ name: 'backups_created', columnNames: ['createdAt', 'id'] }));
    await runner.createTable(
      new Table({
        name: 'restores',
        columns: [
          string('id', 36, { isPrimary: true }),
          string('backupId', 36),
          { name: 'takenAt', type: 'bigint' },
          { name: 'restoredAt', type: 'bigint' },
          string('mode', 8),
          { name: 'startsSessions', type: 'boolean' },
          { name: 'appliedAt', type: 'bigint', ...nullable },
          { name: 'counts', type: 'text', ...nullable },
        ],
      }),
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
