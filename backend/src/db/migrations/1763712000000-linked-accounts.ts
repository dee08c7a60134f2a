import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Which WhatsApp account a session is linked to, and which one each message was accepted for. */
export class LinkedAccounts1763712000000 implements MigrationInterface {
  name = 'LinkedAccounts1763712000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE sessions ADD COLUMN "linkedAccount" text`);
    await runner.query(`ALTER TABLE sessions ADD COLUMN "linkedAccountNumber" integer NOT NULL DEFAULT 1`);
    await runner.query(`ALTER TABLE messages ADD COLUMN "linkedAccountNumber" integer NOT NULL DEFAULT 1`);
    const rows = (await runner.query(
      `SELECT id, "phoneNumber", lid FROM sessions WHERE "phoneNumber" IS NOT NULL OR lid IS NOT NULL`,
    )) as { id: string; phoneNumber: string | null; lid: string | null }[];
    const isPostgres = runner.connection.options.type === 'postgres';
    const update = `UPDATE sessions SET "linkedAccount" = ${isPostgres ? '$1' : '?'} WHERE id = ${isPostgres ? '$2' : '?'}`;
    for (const { id, phoneNumber, lid } of rows) await runner.query(update, [JSON.stringify({ phoneNumber, lid }), id]);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
