import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Bulk jobs, their recipients, and the job of a message. */
export class Bulk1763803000000 implements MigrationInterface {
  name = 'Bulk1763803000000';

  async up(runner: QueryRunner): Promise<void> {
    // The one difference: SQLite has no words for booleans.
    const off = runner.connection.options.type === 'postgres' ? 'FALSE' : '0';
    const counts = [
      'pending',
      'queued',
      'sent',
      'delivered',
      'readCount',
      'failed',
      'uncertain',
      'skipped',
      'cancelled',
      'outcomes',
      'failures',
      'fed',
    ];
    for (const sql of [
      `CREATE TABLE bulk_jobs (
        id varchar(36) PRIMARY KEY NOT NULL,
        "accountId" varchar(36) NOT NULL,
        "sessionId" varchar(36) NOT NULL,
        name varchar(200),
        status varchar(12) NOT NULL,
        "reasonCode" varchar(40),
        "waitingUntil" bigint,
        type varchar(20) NOT NULL,
        content text,
        sealed text,
        "isSealed" boolean NOT NULL DEFAULT ${off},
        "mediaId" varchar(36),
        "templateId" varchar(36),
        "gapMinMs" integer NOT NULL,
        "gapMaxMs" integer NOT NULL,
        "checkNumbers" boolean NOT NULL DEFAULT ${off},
        "linkedAccountNumber" integer NOT NULL DEFAULT 1,
        total integer NOT NULL,
        ${counts.map((name) => `"${name}" integer NOT NULL DEFAULT 0`).join(', ')},
        "nextAt" bigint,
        "fedAt" bigint,
        "scheduledAt" bigint,
        "startedAt" bigint,
        "finishedAt" bigint,
        "createdAt" bigint NOT NULL
      )`,
      'CREATE INDEX bulk_jobs_account ON bulk_jobs ("accountId", id)',
      'CREATE INDEX bulk_jobs_session ON bulk_jobs ("sessionId", status)',
      'CREATE INDEX bulk_jobs_status ON bulk_jobs (status, "finishedAt")',
      'CREATE INDEX bulk_jobs_media ON bulk_jobs ("mediaId") WHERE "mediaId" IS NOT NULL',
      `CREATE TABLE bulk_recipients (
        "jobId" varchar(36) NOT NULL,
        position integer NOT NULL,
        "accountId" varchar(36) NOT NULL,
        recipient varchar(80),
        address varchar(80),
        variables text,
        sealed text,
        status varchar(12) NOT NULL,
        "reasonCode" varchar(40),
        "reasonText" text,
        "messageId" varchar(36),
        "isChecked" boolean NOT NULL DEFAULT ${off},
        PRIMARY KEY ("jobId", position)
      )`,
      'CREATE INDEX bulk_recipients_status ON bulk_recipients ("jobId", status, position)',
      'CREATE UNIQUE INDEX bulk_recipients_message ON bulk_recipients ("messageId") WHERE "messageId" IS NOT NULL',
      'CREATE INDEX bulk_recipients_address ON bulk_recipients ("accountId", address) WHERE "address" IS NOT NULL',
      'ALTER TABLE messages ADD COLUMN "bulkJobId" varchar(36)',
      'CREATE INDEX messages_bulk ON messages ("bulkJobId", "createdAt", id) WHERE "bulkJobId" IS NOT NULL',
    ])
      await runner.query(sql);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
