import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The search index marks messages whose ids begin with a time more than a day after `createdAt`. Those of before are queued once, and the backend
 * indexes them while it runs. Few installations have any: the clock was set back by more than a day.
 */
export class SearchLate1763821000000 implements MigrationInterface {
  name = 'SearchLate1763821000000';

  async up(runner: QueryRunner): Promise<void> {
    const latest = '"createdAt" + 86400000';
    const place =
      runner.connection.options.type === 'postgres'
        ? `(SUBSTR(id, 1, 8) || SUBSTR(id, 10, 4)) COLLATE "C" > LPAD(TO_HEX(${latest}), 12, '0')`
        : `SUBSTR(id, 1, 8) || SUBSTR(id, 10, 4) > PRINTF('%012x', ${latest})`;
    await runner.query(`INSERT INTO search_queue ("messageId") SELECT id FROM messages WHERE ${place}
      EXCEPT SELECT "messageId" FROM search_queue ORDER BY id`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
