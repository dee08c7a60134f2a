import { afterEach, describe } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { defaultLimits } from '../../src/db/connections.js';
import { openDatabase, type Database, type DatabaseOptions } from '../../src/db/database.js';
import { hasPostgres, ownDatabase } from './backend.js';

/** Databases of a test's own, with quick time limits. What is opened is closed after each test. */

/** What is closed after the test, the last opened first. */
export const closers: (() => Promise<unknown>)[] = [];

/** Closes after each test of the file what the test opened. Call it once in a test file. */
export function closeAfterEach(): void {
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });
}

/** Skips its tests, visibly, where no PostgreSQL runs. */
export const describeOnPostgres = (await hasPostgres()) ? describe : describe.skip;

/** Time limits that end within a second. */
export const quickLimits = {
  ...defaultLimits,
  connectMs: 600,
  lockMs: 300,
  idleInTransactionMs: 600,
  statementMs: 900,
  answerMs: 1_200,
};

/** Opens an empty database. */
export async function openOwn(
  database: 'sqlite' | 'postgres',
  options: DatabaseOptions = {},
): Promise<{ opened: Database; url: string; file: string }> {
  if (database === 'sqlite') {
    const folder = await mkdtemp(join(tmpdir(), 'chasqui-trouble-'));
    closers.push(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'backend.sqlite');
    const opened = await openDatabase({ file }, options);
    closers.push(opened.close);
    return { opened, url: '', file };
  }
  const own = await ownDatabase();
  closers.push(own.drop);
  const opened = await openDatabase({ url: own.url }, options);
  closers.push(opened.close);
  return { opened, url: own.url, file: '' };
}

/** Connects to PostgreSQL beside the backend. */
export async function client(url: string): Promise<Client> {
  const made = new Client({ connectionString: url });
  made.on('error', () => undefined);
  await made.connect();
  closers.push(() => made.end());
  return made;
}
