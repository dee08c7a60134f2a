import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The request that sent a message, and its API key. Both are unknown for older messages. */
export class MessageRequests1763825000000 implements MigrationInterface {
  name = 'MessageRequests1763825000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE messages ADD COLUMN "requestId" varchar(128)');
    await runner.query('ALTER TABLE messages ADD COLUMN "apiKeyId" varchar(36)');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
