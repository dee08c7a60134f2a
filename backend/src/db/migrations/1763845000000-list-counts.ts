import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The total of a list is counted in the index alone: it also says which messages are deleted, so that not each message of a chat is read from its own page
 * of the table. And a search by the name of a group reads the groups, not all conversations. Half a minute for a million messages.
 */
export class ListCounts1763845000000 implements MigrationInterface {
  name = 'ListCounts1763845000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const { name, columns, where } of indexes) {
      await runner.query(`DROP INDEX ${name}`);
      await runner.query(`CREATE INDEX ${name} ON messages (${columns}, "createdAt", id, "deletedAt")${where}`);
    }
    await runner.query(
      `CREATE INDEX conversations_groups ON conversations ("sessionId") WHERE "chatId" LIKE '%@g.us' OR "chatId" LIKE '%@newsletter'`,
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}

const indexes = [
  { name: 'messages_chat', columns: '"accountId", "chatId"', where: '' },
  { name: 'messages_author', columns: '"accountId", "fromId"', where: ` WHERE "chatType" <> 'private'` },
];
