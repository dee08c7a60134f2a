import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Recurring schedules. Their occurrences are messages (`messages.scheduleId`). */
export class RecurringSchedules1763802001000 implements MigrationInterface {
  name = 'RecurringSchedules1763802001000';

  async up(runner: QueryRunner): Promise<void> {
    // SQLite has no words for booleans.
    const no = runner.connection.options.type === 'better-sqlite3' ? '0' : 'false';
    await runner.query(`CREATE TABLE schedules (
      id varchar(36) PRIMARY KEY NOT NULL,
      "accountId" varchar(36) NOT NULL,
      "sessionId" varchar(36) NOT NULL,
      name varchar(100) NOT NULL,
      status varchar(8) NOT NULL,
      "reasonCode" varchar(40),
      "reasonText" text,
      cron varchar(100) NOT NULL,
      timezone varchar(64) NOT NULL,
      "endsAt" bigint,
      "maxOccurrences" integer,
      occurrences integer NOT NULL DEFAULT 0,
      missed integer NOT NULL DEFAULT 0,
      "nextAt" bigint,
      "lastAt" bigint,
      recipient text NOT NULL,
      type varchar(20) NOT NULL,
      message text,
      sealed text,
      "mediaId" varchar(36),
      "isUrgent" boolean NOT NULL DEFAULT ${no},
      "linkedAccountNumber" integer NOT NULL DEFAULT 1,
      version integer NOT NULL DEFAULT 1,
      "createdAt" bigint NOT NULL,
      "updatedAt" bigint NOT NULL
    )`);
    await runner.query('CREATE INDEX schedules_account ON schedules ("accountId", id)');
    await runner.query('CREATE INDEX schedules_due ON schedules (status, "nextAt")');
    await runner.query('CREATE INDEX schedules_session ON schedules ("sessionId", status)');
    await runner.query('CREATE INDEX schedules_media ON schedules ("mediaId")');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
