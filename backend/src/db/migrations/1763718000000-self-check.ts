import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What the worker's check of the page found, for each session. */
export class SelfCheck1763718000000 implements MigrationInterface {
  name = 'SelfCheck1763718000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE sessions ADD COLUMN "selfCheck" text`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
