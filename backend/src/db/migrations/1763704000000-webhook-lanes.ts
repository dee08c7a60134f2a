import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Webhook lanes that backends share, a circuit whose probes grow, and waiting times that survive a change of the clock. */
export class WebhookLanes1763704000000 implements MigrationInterface {
  name = 'WebhookLanes1763704000000';

  async up(runner: QueryRunner): Promise<void> {
    // Not by addColumn: on SQLite that would copy both tables.
    await runner.query(`ALTER TABLE webhooks ADD COLUMN "openMs" integer`);
    await runner.query(`ALTER TABLE webhooks ADD COLUMN "laneOwner" varchar(36)`);
    await runner.query(`ALTER TABLE webhooks ADD COLUMN "laneUntil" bigint`);
    await runner.query(`ALTER TABLE webhooks ADD COLUMN "behindSince" bigint`);
    await runner.query(`ALTER TABLE webhook_deliveries ADD COLUMN "waitMs" bigint`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
