import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The newest failed messages, which the panel's overview shows. Without the index, all failed messages ever would be read for it. */
export class FailedMessages1763824000000 implements MigrationInterface {
  name = 'FailedMessages1763824000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX messages_failed ON messages (id) WHERE status IN ('failed', 'uncertain')`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
