import { Table, type MigrationInterface, type QueryRunner, type TableColumnOptions } from 'typeorm';

const string = (name: string, length: number, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({
  name,
  type: 'varchar',
  length: String(length),
  ...more,
});

/** The last requests of each key, and the counts of error replies. */
export class RequestRecords1763809000000 implements MigrationInterface {
  name = 'RequestRecords1763809000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'api_key_requests',
        columns: [
          string('id', 36, { isPrimary: true }),
          string('keyId', 36),
          { name: 'at', type: 'bigint' },
          string('method', 10),
          string('route', 120),
          { name: 'status', type: 'integer' },
          string('code', 64, { isNullable: true }),
          { name: 'ms', type: 'integer' },
          string('requestId', 128),
        ],
        indices: [
          { name: 'api_key_requests_key', columnNames: ['keyId', 'id'] },
          { name: 'api_key_requests_time', columnNames: ['at'] },
        ],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'error_counts',
        columns: [
          string('code', 64, { isPrimary: true }),
          { name: 'at', type: 'bigint', isPrimary: true },
          { name: 'count', type: 'integer' },
          { name: 'lastAt', type: 'bigint' },
          { name: 'sample', type: 'text' },
        ],
        indices: [{ name: 'error_counts_time', columnNames: ['at'] }],
      }),
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
