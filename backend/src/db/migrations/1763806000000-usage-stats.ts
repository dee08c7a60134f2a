import { Table, type MigrationInterface, type QueryRunner, type TableColumnOptions } from 'typeorm';

const string = (name: string, length: number, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({
  name,
  type: 'varchar',
  length: String(length),
  ...more,
});
const key = { isPrimary: true } as const;
const statuses = ['scheduled', 'queued', 'sending', 'sent', 'delivered', 'read', 'played', 'failed', 'uncertain', 'cancelled'];
const counters = [...statuses, 'cost', 'responses', 'responseMs', 'responsesIn5Minutes', 'responsesIn1Hour'];
const isBig = (name: string): boolean => name === 'cost' || name === 'responseMs';

const keyNames = `"accountId", span, at, "sessionId", direction, type, reason`;
const counterNames = counters.map((name) => `"${name}"`).join(', ');

/** From every stored message. Response times of earlier messages are unknown. */
const quarters = `INSERT INTO usage_stats (${keyNames}, ${counterNames})
  SELECT "accountId", 15, "createdAt" - "createdAt" % 900000, "sessionId", direction, type,
    CASE WHEN status = 'failed' THEN COALESCE("reasonCode", '') ELSE '' END,
    ${statuses.map((status) => `SUM(CASE WHEN status = '${status}' THEN 1 ELSE 0 END)`).join(', ')},
    SUM(CASE WHEN status IN ('failed', 'cancelled') THEN 0 ELSE CAST(ROUND(CAST(cost AS decimal(20, 4)) * 10000) AS bigint) END), 0, 0, 0, 0
  FROM messages WHERE type <> 'notice'
  GROUP BY "accountId", "createdAt" - "createdAt" % 900000, "sessionId", direction, type,
    CASE WHEN status = 'failed' THEN COALESCE("reasonCode", '') ELSE '' END`;
const days = `INSERT INTO usage_stats (${keyNames}, ${counterNames})
  SELECT "accountId", 1440, at - at % 86400000, "sessionId", direction, type, reason,
    ${counters.map((name) => `SUM("${name}")`).join(', ')}
  FROM usage_stats WHERE span = 15 GROUP BY "accountId", at - at % 86400000, "sessionId", direction, type, reason`;
const chats = `INSERT INTO usage_chats ("accountId", at, "sessionId", "chatId", inbound, outbound)
  SELECT "accountId", "createdAt" - "createdAt" % 86400000, "sessionId", "chatId",
    SUM(CASE WHEN direction = 'inbound' THEN 1 ELSE 0 END), SUM(CASE WHEN direction = 'outbound' THEN 1 ELSE 0 END)
  FROM messages WHERE type <> 'notice' AND "chatType" IN ('private', 'group') AND "chatId" <> 'erased'
  GROUP BY "accountId", "createdAt" - "createdAt" % 86400000, "sessionId", "chatId"`;

/** Counts of messages for statistics, which remain when the messages are deleted. Filled from the stored messages: some seconds for a million. */
export class UsageStats1763806000000 implements MigrationInterface {
  name = 'UsageStats1763806000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE messages ADD COLUMN "responseMs" bigint');
    await runner.query('ALTER TABLE accounts ADD COLUMN "messagesKeptFrom" bigint NOT NULL DEFAULT 0');
    await runner.createTable(
      new Table({
        name: 'usage_stats',
        // On SQLite the rows are stored in the order of their key, which is how they are read.
        withoutRowid: true,
        columns: [
          string('accountId', 36, key),
          { name: 'span', type: 'integer', ...key },
          { name: 'at', type: 'bigint', ...key },
          string('sessionId', 36, key),
          string('direction', 8, key),
          string('type', 20, key),
          string('reason', 40, key),
          ...counters.map((name) => ({ name, type: isBig(name) ? 'bigint' : 'integer' })),
        ],
        indices: [{ name: 'usage_stats_time', columnNames: ['span', 'at'] }],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'usage_chats',
        withoutRowid: true,
        columns: [
          string('accountId', 36, key),
          { name: 'at', type: 'bigint', ...key },
          string('sessionId', 36, key),
          string('chatId', 80, key),
          { name: 'inbound', type: 'integer' },
          { name: 'outbound', type: 'integer' },
        ],
        indices: [{ name: 'usage_chats_time', columnNames: ['at'] }],
      }),
    );
    for (const sql of [quarters, days, chats]) await runner.query(sql);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
