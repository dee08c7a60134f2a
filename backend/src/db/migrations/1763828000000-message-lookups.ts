import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How often an uncertain message was looked up, when last, and with which result. All three are unknown for earlier lookups. */
export class MessageLookups1763828000000 implements MigrationInterface {
  name = 'MessageLookups1763828000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE messages ADD COLUMN "lookups" integer');
    await runner.query('ALTER TABLE messages ADD COLUMN "lookedUpAt" bigint');
    await runner.query('ALTER TABLE messages ADD COLUMN "lookupResult" varchar(16)');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
