import { Table, type MigrationInterface, type QueryRunner } from 'typeorm';

const fill = `INSERT INTO conversations ("sessionId", "chatId", "accountId", "lastAt", "lastId", unread, "readTo")
  SELECT "sessionId", "chatId", "accountId", "createdAt", id, 0, id FROM (
    SELECT "sessionId", "chatId", "accountId", "createdAt", id,
      ROW_NUMBER() OVER (PARTITION BY "sessionId", "chatId" ORDER BY "createdAt" DESC, id DESC) AS place
    FROM messages WHERE type <> 'notice' AND "deletedAt" IS NULL AND "chatType" <> 'status' AND "chatId" <> 'erased') newest
  WHERE place = 1`;

/**
 * One row for each chat of a session, filled from the stored messages: some seconds for a million. What was received before counts as read, because
 * earlier versions did not record what was read on the phone.
 */
export class Conversations1763812000000 implements MigrationInterface {
  name = 'Conversations1763812000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'conversations',
        // On SQLite the rows are stored in the order of their key.
        withoutRowid: true,
        columns: [
          { name: 'sessionId', type: 'varchar', length: '36', isPrimary: true },
          { name: 'chatId', type: 'varchar', length: '80', isPrimary: true },
          { name: 'accountId', type: 'varchar', length: '36' },
          { name: 'lastAt', type: 'bigint' },
          { name: 'lastId', type: 'varchar', length: '36' },
          { name: 'unread', type: 'integer' },
          { name: 'readTo', type: 'varchar', length: '36', isNullable: true },
        ],
        indices: [
          { name: 'conversations_time', columnNames: ['sessionId', 'lastAt', 'lastId'] },
          { name: 'conversations_unread', columnNames: ['sessionId', 'lastAt', 'lastId'], where: '"unread" > 0' },
        ],
      }),
    );
    await runner.query(fill);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
