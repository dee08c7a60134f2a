import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The uploads of an account, which are counted before each further one. Without the index, all files of the account would be read for it. */
export class UploadRoom1763823000000 implements MigrationInterface {
  name = 'UploadRoom1763823000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX media_files_room ON media_files ("accountId") WHERE "usedAt" IS NOT NULL`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
