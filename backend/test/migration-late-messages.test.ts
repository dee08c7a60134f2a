import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { migrations } from '../src/db/migrations/index.js';
import { databases, ownDatabase } from './support/backend.js';

/** The upgrade to the search that marks messages whose ids are much later than they are. */

const day = 86_400_000;
const time = 1_763_000_000_000;

test.each(await databases())(
  'messages whose ids are more than a day late are queued for the search once, on %s',
  async (kind) => {
    const own = kind === 'postgres' ? await ownDatabase() : null;
    const dir = await mkdtemp(join(tmpdir(), 'chasqui-late-'));
    const at = migrations.findIndex(({ name }) => name.startsWith('SearchLate'));
    const open = (count: number): Promise<DataSource> =>
      new DataSource({
        ...(own ? { type: 'postgres', url: own.url } : { type: 'better-sqlite3', database: join(dir, 'late.sqlite') }),
        migrations: migrations.slice(0, count),
        migrationsTransactionMode: 'each',
      } as DataSourceOptions).initialize();
    try {
      const before = await open(at);
      await before.runMigrations();
      await before.query(`INSERT INTO accounts (id, username, email, "passwordHash", "jwtSecret", role, "createdAt", "updatedAt")
      VALUES ('a', 'a', 'a@x.test', 'h', 's', 'user', ${time}, ${time})`);
      await before.query(`INSERT INTO sessions (id, "accountId", name, "liveName", settings, metadata, "createdAt", "updatedAt")
      VALUES ('s', 'a', 's', 's', '{}', '{}', ${time}, ${time})`);
      const ids = [time - day, time, time + day - 1, time + day + 1, time + 400 * day].map((made) => newId(made));
      for (const id of ids)
        await before.query(`INSERT INTO messages (id, "accountId", "sessionId", "whatsappKey", direction, origin, type, status, "chatId", "chatType",
        mentions, "createdAt") VALUES ('${id}', 'a', 's', '${id.slice(-12)}', 'inbound', 'live', 'text', 'delivered', 'x@c.us', 'private', '[]', ${time})`);
      const late = ids.slice(3);
      await before.query('DELETE FROM search_queue');
      // One of them is queued already.
      await before.query(`INSERT INTO search_queue ("messageId") VALUES ('${late[0]}')`);
      await before.destroy();
      const after = await open(at + 1);
      await after.runMigrations();
      const queued = await after.query<{ messageId: string }[]>('SELECT "messageId" FROM search_queue');
      await after.destroy();
      expect(queued.map(({ messageId }) => messageId).sort()).toEqual(late);
    } finally {
      await own?.drop();
      await rm(dir, { recursive: true, force: true });
    }
  },
);
