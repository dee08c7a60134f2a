import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What the changed fields of an audit entry were before. Unknown for older entries. */
export class AuditBefore1763829000000 implements MigrationInterface {
  name = 'AuditBefore1763829000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE audit_logs ADD COLUMN "previous" text');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
