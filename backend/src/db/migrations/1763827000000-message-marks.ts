import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Whether a message is starred, and until when it is pinned. Both are unknown for older messages, and shown as not. */
export class MessageMarks1763827000000 implements MigrationInterface {
  name = 'MessageMarks1763827000000';

  async up(runner: QueryRunner): Promise<void> {
    const no = runner.connection.options.type === 'postgres' ? 'false' : '0';
    await runner.query(`ALTER TABLE messages ADD COLUMN "starred" boolean NOT NULL DEFAULT ${no}`);
    await runner.query('ALTER TABLE messages ADD COLUMN "pinnedUntil" bigint');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
