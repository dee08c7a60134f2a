import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Whether staff want a worker to take no new sessions. */
export class WorkerDrain1763716010000 implements MigrationInterface {
  name = 'WorkerDrain1763716010000';

  async up(runner: QueryRunner): Promise<void> {
    // SQLite has no words for booleans.
    const no = runner.connection.options.type === 'better-sqlite3' ? '0' : 'false';
    await runner.query(`ALTER TABLE workers ADD COLUMN "drainRequested" boolean NOT NULL DEFAULT ${no}`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
