import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { migrations } from '../src/db/migrations/index.js';
import { IdempotencySessions1763715000000 } from '../src/db/migrations/1763715000000-idempotency-sessions.js';
import { databases, ownDatabase } from './support/backend.js';

test.each(await databases())(
  'records of earlier versions keep their replies and get the session of their message, on %s',
  async (kind) => {
    const dir = await mkdtemp(join(tmpdir(), 'chasqui-migration-'));
    const own = kind === 'postgres' ? await ownDatabase() : null;
    const options = (some: DataSourceOptions['migrations']): DataSourceOptions => ({
      ...(own ? { type: 'postgres', url: own.url } : { type: 'better-sqlite3', database: join(dir, 'test.sqlite') }),
      migrations: some!,
      migrationsTransactionMode: 'each',
    });
    try {
      const before = await new DataSource(
        options(migrations.slice(0, migrations.indexOf(IdempotencySessions1763715000000))),
      ).initialize();
      await before.runMigrations();
      const later = Date.now() + 3_600_000;
      // Only the columns that the migration reads; the others are filled with what their type allows.
      const insertMessage = `INSERT INTO messages (id, "accountId", "sessionId", "whatsappKey", direction, origin, type, status, "chatId", "chatType", mentions, "createdAt")
      VALUES ('m1', 'a1', 's1', 'K1', 'outbound', 'api', 'text', 'sent', 'c', 'private', '[]', 1)`;
      await before.query(insertMessage);
      const insertRecord = (key: string, message: string, expiresAt: number): Promise<unknown> =>
        before.query(
          `INSERT INTO idempotency_records ("accountId", key, "requestHash", "messageId", status, body, "createdAt", "expiresAt")
          VALUES ('a1', '${key}', 'v2:x', ${message}, 200, 'the reply', 1, ${expiresAt})`,
        );
      await insertRecord('kept', `'m1'`, later);
      await insertRecord('message deleted', `'gone'`, later);
      await insertRecord('expired', `'m1'`, 1);
      await before.destroy();

      const after = await new DataSource(options([...migrations])).initialize();
      await after.runMigrations();
      const rows = await after.query<object[]>(
        'SELECT key, "sessionId", "isDefaultSession", body, "messageId" FROM idempotency_records ORDER BY key',
      );
      expect(
        rows.map((row) => ({ ...row, isDefaultSession: Boolean((row as { isDefaultSession: unknown }).isDefaultSession) })),
      ).toEqual([
        { key: 'kept', sessionId: 's1', isDefaultSession: true, body: 'the reply', messageId: 'm1' },
        { key: 'message deleted', sessionId: '', isDefaultSession: true, body: 'the reply', messageId: 'gone' },
      ]);
      await after.destroy();
    } finally {
      await own?.drop();
      await rm(dir, { recursive: true, force: true });
    }
  },
);
