import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The sealed password of a session's proxy. */
export class SessionProxies1763830000000 implements MigrationInterface {
  name = 'SessionProxies1763830000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE sessions ADD COLUMN "proxyPassword" text');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
