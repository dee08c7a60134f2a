import type { MigrationInterface, QueryRunner } from 'typeorm';
import { postgresTriggers, sqliteTriggers } from '../search-triggers.js';

/**
 * The index of the text search, and the queue of what is to be indexed. Earlier messages are queued, which takes a second or two for a million; the
 * backend indexes them while it runs, newest first, and goes on after a restart.
 */
export class Search1763714010000 implements MigrationInterface {
  name = 'Search1763714010000';

  async up(runner: QueryRunner): Promise<void> {
    const isPostgres = runner.connection.options.type === 'postgres';
    const statements = isPostgres
      ? [
          'CREATE TABLE search_queue (n bigserial PRIMARY KEY, "messageId" varchar(36) NOT NULL)',
          'CREATE TABLE message_grams (id varchar(36) PRIMARY KEY, grams int[] NOT NULL)',
          'CREATE INDEX message_grams_grams ON message_grams USING gin (grams)',
          // How frequent each of many numbers is, so that the planner knows a rare one.
          'ALTER TABLE message_grams ALTER COLUMN grams SET STATISTICS 1000',
          ...postgresTriggers,
        ]
      : [
          'CREATE TABLE search_queue (n INTEGER PRIMARY KEY, "messageId" varchar(36) NOT NULL)',
          `CREATE VIRTUAL TABLE message_grams USING fts5(grams, content='', contentless_delete=1, detail=none, tokenize='ascii')`,
          ...sqliteTriggers,
        ];
    for (const sql of statements) await runner.query(sql);
    await runner.query(
      'INSERT INTO search_queue ("messageId") SELECT id FROM messages WHERE text IS NOT NULL ORDER BY "createdAt", id',
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
