import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The refusals of worker events, which are repeated when a batch comes again. */
export class RefusedEvents1763846000000 implements MigrationInterface {
  name = 'RefusedEvents1763846000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE inbox_events ADD COLUMN refusal varchar(40)');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
