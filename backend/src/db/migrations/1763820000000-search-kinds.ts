import type { MigrationInterface, QueryRunner } from 'typeorm';
import { postgresTriggers, sqliteTriggers } from '../search-triggers.js';

/**
 * A message is indexed again when its type or origin changes, as that of a placeholder does when its content arrives. What arrived without a text until
 * now is queued once: no column says which of these messages were placeholders. The backend indexes them while it runs.
 */
export class SearchKinds1763820000000 implements MigrationInterface {
  name = 'SearchKinds1763820000000';

  async up(runner: QueryRunner): Promise<void> {
    const isPostgres = runner.connection.options.type === 'postgres';
    const changed = 'messages_search_update';
    const statements = isPostgres ? postgresTriggers : [`DROP TRIGGER IF EXISTS ${changed}`, ...sqliteTriggers];
    for (const sql of statements) await runner.query(sql);
    await runner.query(`INSERT INTO search_queue ("messageId") SELECT id FROM messages
      WHERE text IS NULL AND type <> 'unknown' AND origin IN ('live', 'backfill', 'device')
      EXCEPT SELECT "messageId" FROM search_queue ORDER BY id`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
