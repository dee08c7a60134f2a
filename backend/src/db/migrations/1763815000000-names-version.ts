import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The version of the names of people, in the row that every event's transaction updates. */
export class NamesVersion1763815000000 implements MigrationInterface {
  name = 'NamesVersion1763815000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE event_counters ADD COLUMN "namesVersion" bigint NOT NULL DEFAULT 0');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
