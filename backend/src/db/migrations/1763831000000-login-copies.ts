import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The copy of a session's login that its worker last reported. */
export class LoginCopies1763831000000 implements MigrationInterface {
  name = 'LoginCopies1763831000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE sessions ADD COLUMN "loginCopy" text');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
