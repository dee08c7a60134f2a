import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The groups that an observed message mentions. Messages of earlier versions have none. */
export class GroupMentions1763813000000 implements MigrationInterface {
  name = 'GroupMentions1763813000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE messages ADD COLUMN "groupMentions" text');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
