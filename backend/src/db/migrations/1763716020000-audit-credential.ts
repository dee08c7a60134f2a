import type { MigrationInterface, QueryRunner } from 'typeorm';

/** With which kind of credential an audited action was done. Entries of earlier versions have none. */
export class AuditCredential1763716020000 implements MigrationInterface {
  name = 'AuditCredential1763716020000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE audit_logs ADD COLUMN credential varchar(8)`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
