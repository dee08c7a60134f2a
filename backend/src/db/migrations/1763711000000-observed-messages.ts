import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The direction becomes part of what tells messages apart, so that an inbound message may have the key of one of ours. Messages that had
 * to take another key for that reason get their own back.
 */
export class ObservedMessages1763711000000 implements MigrationInterface {
  name = 'ObservedMessages1763711000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX messages_session_key`);
    await runner.query(
      `UPDATE messages SET "whatsappKey" = substr("whatsappKey", 1, length("whatsappKey") - 6)
       WHERE "whatsappKey" LIKE '%~other' AND NOT EXISTS (
         SELECT 1 FROM messages m WHERE m."sessionId" = messages."sessionId" AND m.direction = messages.direction
           AND m."whatsappKey" = substr(messages."whatsappKey", 1, length(messages."whatsappKey") - 6))`,
    );
    await runner.query(`CREATE UNIQUE INDEX messages_session_key ON messages ("sessionId", "whatsappKey", direction)`);
    await runner.query(`ALTER TABLE sessions ADD COLUMN "caughtUpAt" bigint`);
    await runner.query(`ALTER TABLE sessions ADD COLUMN "caughtUpNumber" varchar(20)`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
