import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Marking messages as seen, restarts for memory, restrictions of the account and its first contacts. */
export class AccountHealth1763804000000 implements MigrationInterface {
  name = 'AccountHealth1763804000000';

  async up(runner: QueryRunner): Promise<void> {
    const columns = [
      '"autoReadSince" bigint',
      'recycles integer NOT NULL DEFAULT 0',
      'restriction text',
      `"firstContacts" varchar(64) NOT NULL DEFAULT ''`,
    ];
    for (const definition of columns) await runner.query(`ALTER TABLE sessions ADD COLUMN ${definition}`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
