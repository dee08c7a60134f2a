import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Messages that are accepted for a later time, urgent messages, and the occurrences of recurring schedules. The indexes find what is due, what waits for the end of
 * quiet hours, and the message of an occurrence.
 */
export class ScheduledMessages1763802000000 implements MigrationInterface {
  name = 'ScheduledMessages1763802000000';

  async up(runner: QueryRunner): Promise<void> {
    // SQLite has no words for booleans.
    const no = runner.connection.options.type === 'better-sqlite3' ? '0' : 'false';
    await runner.query(`ALTER TABLE messages ADD COLUMN "isUrgent" boolean NOT NULL DEFAULT ${no}`);
    await runner.query(`ALTER TABLE messages ADD COLUMN "scheduleId" varchar(36)`);
    await runner.query(`ALTER TABLE messages ADD COLUMN "occurrenceAt" bigint`);
    await runner.query(`CREATE INDEX messages_scheduled ON messages (status, "nextAttemptAt", id) WHERE "status" = 'scheduled'`);
    await runner.query(
      `CREATE INDEX messages_quiet ON messages (status, "sessionId", "nextAttemptAt") WHERE "status" = 'queued' AND "reasonCode" = 'QUIET_HOURS'`,
    );
    await runner.query(
      `CREATE UNIQUE INDEX messages_occurrence ON messages ("scheduleId", "occurrenceAt") WHERE "scheduleId" IS NOT NULL`,
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
