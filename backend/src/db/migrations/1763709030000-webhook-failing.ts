import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How long an endpoint has failed, on a clock that cannot be set. */
export class WebhookFailing1763709030000 implements MigrationInterface {
  name = 'WebhookFailing1763709030000';

  async up(runner: QueryRunner): Promise<void> {
    // Not by addColumn: on SQLite that would copy the table.
    await runner.query(`ALTER TABLE webhooks ADD COLUMN "failingMs" bigint NOT NULL DEFAULT 0`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
