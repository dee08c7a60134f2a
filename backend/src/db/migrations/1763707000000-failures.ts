import { Table, type MigrationInterface, type QueryRunner } from 'typeorm';

/** Items that failed by themselves and were isolated, so that staff see them. */
export class Failures1763707000000 implements MigrationInterface {
  name = 'Failures1763707000000';

  async up(runner: QueryRunner): Promise<void> {
    const string = (name: string, length: number) => ({ name, type: 'varchar', length: String(length) });
    await runner.createTable(
      new Table({
        name: 'failures',
        columns: [
          { ...string('id', 36), isPrimary: true },
          string('kind', 32),
          string('subject', 120),
          { ...string('accountId', 36), isNullable: true },
          { ...string('sessionId', 36), isNullable: true },
          string('code', 64),
          string('detail', 200),
          { name: 'firstAt', type: 'bigint' },
          { name: 'lastAt', type: 'bigint' },
          { name: 'count', type: 'integer' },
        ],
        indices: [
          { name: 'failures_item', columnNames: ['kind', 'subject', 'code'], isUnique: true },
          { name: 'failures_last', columnNames: ['lastAt'] },
        ],
      }),
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
