import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Files that are uploaded once and sent many times: when an upload was last used, and of which upload the file of a message is a copy. */
export class MediaUploads1763800010000 implements MigrationInterface {
  name = 'MediaUploads1763800010000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE media_files ADD COLUMN "usedAt" bigint`);
    await runner.query(`ALTER TABLE media_files ADD COLUMN "uploadId" varchar(36)`);
    await runner.query(`CREATE INDEX media_files_uploads ON media_files ("usedAt") WHERE "usedAt" IS NOT NULL`);
    await runner.query(`CREATE INDEX media_files_copies ON media_files ("uploadId") WHERE "uploadId" IS NOT NULL`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
