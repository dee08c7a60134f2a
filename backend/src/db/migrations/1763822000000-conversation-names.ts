import { setTimeout as sleep } from 'node:timers/promises';
import { foldText } from '@chasqui/shared';
import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The name of each chat in its conversation, from the newest of its last 50 messages that has one: some seconds for a hundred thousand chats. */
export class ConversationNames1763822000000 implements MigrationInterface {
  name = 'ConversationNames1763822000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE conversations ADD COLUMN "chatName" varchar(256)');
    await runner.query('ALTER TABLE conversations ADD COLUMN "foldedName" text');
    const isPostgres = runner.connection.options.type === 'postgres';
    let last: [string, string] = ['', ''];
    for (; ; await sleep(0)) {
      const rows = (await runner.query(isPostgres ? numbered(page) : page, last)) as Row[];
      if (rows.length === 0) return;
      const named = rows.flatMap(({ sessionId, chatId, name }) => (name === null ? [] : [{ sessionId, chatId, name }]));
      const values = named.map(({ sessionId, chatId, name }) => [name, foldText(name), sessionId, chatId]);
      if (isPostgres)
        await runner.query(
          writeAll,
          [0, 1, 2, 3].map((column) => values.map((row) => row[column])),
        );
      else for (const row of values) await runner.query(writeOne, row);
      const { sessionId, chatId } = rows.at(-1)!;
      last = [sessionId, chatId];
    }
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}

interface Row {
  sessionId: string;
  chatId: string;
  name: string | null;
}

const page = `SELECT c."sessionId", c."chatId", (SELECT newest."chatName" FROM (SELECT m."chatName", m."sessionId", m."createdAt" FROM messages m
    WHERE m."accountId" = c."accountId" AND m."chatId" = c."chatId" ORDER BY m."createdAt" DESC LIMIT 50) newest
    WHERE newest."sessionId" = c."sessionId" AND newest."chatName" IS NOT NULL ORDER BY newest."createdAt" DESC LIMIT 1) AS name
  FROM conversations c WHERE (c."sessionId", c."chatId") > (?, ?) ORDER BY c."sessionId", c."chatId" LIMIT 500`;
const writeOne = 'UPDATE conversations SET "chatName" = ?, "foldedName" = ? WHERE "sessionId" = ? AND "chatId" = ?';
const writeAll = `UPDATE conversations SET "chatName" = n.name, "foldedName" = n.folded
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS n(name, folded, "sessionId", "chatId")
  WHERE conversations."sessionId" = n."sessionId" AND conversations."chatId" = n."chatId"`;

/** The parameters as PostgreSQL names them. */
function numbered(sql: string): string {
  let number = 0;
  return sql.replace(/\?/g, () => `$${(number += 1)}`);
}
