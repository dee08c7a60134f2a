import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Which report a failure was counted by last, so that one that comes twice counts once. */
export class FailureReports1763717000000 implements MigrationInterface {
  name = 'FailureReports1763717000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE failures ADD COLUMN report varchar(36)`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
