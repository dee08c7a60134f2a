import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The number for which a session requests pairing codes, and the newest code. */
export class PairingNumbers1763841000000 implements MigrationInterface {
  name = 'PairingNumbers1763841000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE sessions ADD COLUMN "pairingNumber" varchar(20)');
    await runner.query('ALTER TABLE sessions ADD COLUMN "pairingCode" text');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
