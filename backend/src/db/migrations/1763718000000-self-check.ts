import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What the worker's check of the page found, and what WhatsApp allows the account, for each session. */
export class SelfCheck1763718000000 implements MigrationInterface {
  name = 'SelfCheck1763718000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const name of ['selfCheck', 'accountLimits', 'throttle'])
      await runner.query(`ALTER TABLE sessions ADD COLUMN "${name}" text`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
