import { Table, type MigrationInterface, type QueryRunner } from 'typeorm';

/** Exports and erasures of one contact. */
export class Privacy1763701000000 implements MigrationInterface {
  name = 'Privacy1763701000000';

  async up(runner: QueryRunner): Promise<void> {
    const string = (name: string, length: number) => ({ name, type: 'varchar', length: String(length) });
    const time = (name: string) => ({ name, type: 'bigint', isNullable: name !== 'createdAt' });
    await runner.createTable(
      new Table({
        name: 'privacy_requests',
        columns: [
          { ...string('id', 36), isPrimary: true },
          string('accountId', 36),
          string('kind', 8),
          string('status', 8),
          { ...string('contact', 128), isNullable: true },
          { name: 'forms', type: 'text', isNullable: true },
          { name: 'counts', type: 'text' },
          ...['createdAt', 'startedAt', 'finishedAt', 'expiresAt'].map(time),
        ],
        indices: [
          { name: 'privacy_requests_account', columnNames: ['accountId', 'createdAt'] },
          { name: 'privacy_requests_status', columnNames: ['status', 'startedAt'] },
        ],
      }),
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
