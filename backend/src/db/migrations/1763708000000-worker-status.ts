import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Whether a worker called itself degraded in its last heartbeat. */
export class WorkerStatus1763708000000 implements MigrationInterface {
  name = 'WorkerStatus1763708000000';

  async up(runner: QueryRunner): Promise<void> {
    // SQLite has no words for booleans.
    const no = runner.connection.options.type === 'better-sqlite3' ? '0' : 'false';
    await runner.query(`ALTER TABLE workers ADD COLUMN "degraded" boolean NOT NULL DEFAULT ${no}`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
