import type { MigrationInterface, QueryRunner } from 'typeorm';
import { postgresTriggers, sqliteTriggers } from '../search-triggers.js';

/**
 * The search finds messages by chat and person too, so messages without a text are indexed as well. Earlier ones are queued; the backend indexes them
 * while it runs.
 */
export class SearchChats1763818000000 implements MigrationInterface {
  name = 'SearchChats1763818000000';

  async up(runner: QueryRunner): Promise<void> {
    const isPostgres = runner.connection.options.type === 'postgres';
    const dropped = ['insert', 'update', 'delete'].map((name) => `DROP TRIGGER IF EXISTS messages_search_${name}`);
    for (const sql of isPostgres ? postgresTriggers : [...dropped, ...sqliteTriggers]) await runner.query(sql);
    await runner.query(
      'INSERT INTO search_queue ("messageId") SELECT id FROM messages WHERE text IS NULL ORDER BY "createdAt", id',
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
