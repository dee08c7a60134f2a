import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, rename, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import type { FirstAdmin } from '../../src/accounts/accounts.js';
import type { mountPanel } from '../../src/admin/panel.js';
import { hasPostgres, postgresPort, postgresUrl } from '../../../bench/src/database.js';
import { startBackend, type Backend } from '../../src/app/app.js';
import { readConfig } from '../../src/config.js';
import { openDatabase } from '../../src/db/database.js';
import type { Clock } from '../../src/lib/clock.js';
import type { Log } from '../../src/lib/log.js';
import { requireLists, watchLists } from './list-plans.js';

/** A whole backend in this process, on a free port and a folder or database of its own. */

export const password = 'correct horse battery';
export const serviceKey = randomBytes(32).toString('hex');

export interface Reply {
  status: number;
  headers: Headers;
  // What a test expects of a body it says by its assertions.
  body: {
    success?: boolean;
    data?: unknown;
    meta?: Record<string, unknown>;
    error?: { code: string; message: string; details: Record<string, unknown> };
    requestId?: string;
  };
  /** What the log says of a 500. */
  cause: string | undefined;
}

export interface Rig extends Backend {
  /** Null where an account was there already. */
  firstAdmin: FirstAdmin | null;
  apiKey: string;
  lines: string[];
  dataDir: string;
  /** Null on SQLite. */
  databaseUrl: string | null;
  call(
    method: string,
    path: string,
    options?: { key?: string | null; body?: unknown; headers?: Record<string, string> },
  ): Promise<Reply>;
}

/** Two services that tests may use; without them their tests are skipped, and say so. */
export { hasPostgres };
async function answers(port: number): Promise<boolean> {
  const socket = createConnection(port, '127.0.0.1');
  return Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]).finally(() =>
    socket.destroy(),
  );
}

/** A Redis of which tests use database 9, under names of their own. */
export const redisUrl = 'redis://127.0.0.1:6379/9';
export const hasRedis = (): Promise<boolean> => answers(6379);

export interface OwnDatabase {
  url: string;
  drop: () => Promise<void>;
}

async function query(sql: string, parameters: string[] = []): Promise<unknown[]> {
  const client = new Client({ connectionString: `${postgresUrl}/postgres` });
  await client.connect();
  const { rows } = await client.query(sql, parameters).finally(() => client.end());
  return rows as unknown[];
}

let made = 0;
/** Creates an empty database, for tests of migrations and for programs that migrate it themselves. */
export async function ownDatabase(template = 'template1'): Promise<OwnDatabase> {
  // Random, because a run that was killed leaves its databases behind, and process numbers come again.
  const name = `chq_test_${process.pid}_${(made += 1)}_${randomBytes(4).toString('hex')}`;
  await query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  // Tests end processes, never the server, so no test needs commits to wait for the disk.
  await query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
  return { url: `${postgresUrl}/${name}`, drop: async () => void (await query(`DROP DATABASE ${name} WITH (FORCE)`)) };
}

let template: Promise<string> | null = null;
/** Creates a database that has the newest tables and no rows. It is a copy, which takes a fraction of the time of the migrations. */
export async function migratedDatabase(): Promise<OwnDatabase> {
  return ownDatabase(await (template ??= migrateTemplate()));
}

/** Returns the name of the run's template. The first test file that needs it migrates it; `scripts/jest/teardown.mjs` drops it. */
async function migrateTemplate(): Promise<string> {
  const name = process.env['CHASQUI_TEST_TEMPLATE'];
  if (!name) throw new Error('The jest configuration of the repository sets CHASQUI_TEST_TEMPLATE; run the tests with it.');
  const lock = new Client({ connectionString: `${postgresUrl}/postgres` });
  await lock.connect();
  try {
    // Held until the connection ends, so that test files that run at the same time wait for the first one.
    await lock.query('SELECT pg_advisory_lock(hashtext($1))', [name]);
    const { rowCount } = await lock.query('SELECT 1 FROM pg_database WHERE datname = $1', [name]);
    if (rowCount) return name;
    const draft = await ownDatabase();
    try {
      await (await openDatabase({ url: draft.url })).close();
      await lock.query(`ALTER DATABASE ${new URL(draft.url).pathname.slice(1)} RENAME TO ${name}`);
    } catch (error) {
      await draft.drop();
      throw error;
    }
    return name;
  } finally {
    await lock.end();
  }
}

/** Copies a SQLite file that has the newest tables and no rows into a new data folder. The first test of the run migrates it. */
async function copyMigratedFile(dataDir: string): Promise<void> {
  const name = process.env['CHASQUI_TEST_TEMPLATE'];
  if (!name) throw new Error('The jest configuration of the repository sets CHASQUI_TEST_TEMPLATE; run the tests with it.');
  const file = join(tmpdir(), `${name}.sqlite`);
  if (!existsSync(file)) {
    // Test files that run at the same time may each migrate one; the last rename wins, and all are the same.
    const draft = `${file}.${process.pid}`;
    await (await openDatabase({ file: draft })).close();
    await rename(draft, file);
  }
  await copyFile(file, join(dataDir, 'chasqui.sqlite'));
}

/** Limits are for the tests that are about them. */
const unlimited = { API_KEY_RATE_LIMIT: '0', IP_RATE_LIMIT: '0', DEFAULT_DAILY_MESSAGE_LIMIT: '0' };

export async function startRig(
  options: {
    database?: 'sqlite' | 'postgres';
    settings?: Record<string, string>;
    clock?: Clock;
    /** Of its machine; on PostgreSQL the backend follows the database's. */
    machineClock?: Clock;
    /** Another rig's, which then goes on living. */
    dataDir?: string;
    databaseUrl?: string;
    mountPanel?: typeof mountPanel;
    /** How the scheduler of the jobs behaves, and what jobs do. */
    jobs?: Pick<NonNullable<Parameters<typeof startBackend>[1]>, 'jobDelays' | 'jobSteps' | 'leaderTimes'>;
    streamTimes?: NonNullable<Parameters<typeof startBackend>[1]>['streamTimes'];
  } = {},
): Promise<Rig> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'chasqui-backend-')));
  const own = options.database === 'postgres' && !options.databaseUrl ? await migratedDatabase() : null;
  const databaseUrl = options.databaseUrl ?? own?.url ?? null;
  if (!databaseUrl && !options.dataDir) await copyMigratedFile(dataDir);
  if (!databaseUrl) watchLists();
  const lines: string[] = [];
  const note = (sentence: string, fields: object = {}): void => void lines.push(JSON.stringify({ sentence, ...fields }));
  const log: Log = { error: note, warn: note, info: note, debug: note, isDebug: true };
  const env = {
    DATA_DIR: dataDir,
    SERVICE_API_KEY: serviceKey,
    ADMIN_PASSWORD: password,
    WORKER_URLS: 'http://127.0.0.1:9',
    INIT_WAIT_MS: '300',
    SEND_WAIT_MS: '2000',
    LOG_LEVEL: 'debug',
    ...unlimited,
    ...(databaseUrl ? { DATABASE_URL: databaseUrl } : {}),
    ...options.settings,
  };
  let firstAdmin: FirstAdmin | null = null;
  const backend = await startBackend(readConfig(env, dataDir), {
    log,
    port: 0,
    // The tests run with production's settings, and fail where a transaction reads through the pool.
    guard: { kind: 'throw' },
    showFirstAdminPassword: (first) => void (firstAdmin = first),
    ...(options.clock ? { clock: options.clock } : {}),
    ...(options.machineClock ? { machineClock: options.machineClock } : {}),
    ...(options.mountPanel ? { mountPanel: options.mountPanel } : {}),
    ...options.jobs,
    ...(options.streamTimes ? { streamTimes: options.streamTimes } : {}),
  });
  // A second backend on one database makes no admin.
  const first = firstAdmin as FirstAdmin | null;
  const apiKey = first?.apiKey ?? '';
  return {
    ...backend,
    firstAdmin: first,
    apiKey,
    lines,
    dataDir,
    databaseUrl,
    async call(method, path, { key = apiKey, body, headers = {} } = {}) {
      const form = body instanceof FormData;
      const text = typeof body === 'string' || form || body === undefined ? body : JSON.stringify(body);
      const answer = await fetch(`${backend.url}${path.startsWith('//') ? path.slice(1) : `/api/v1${path}`}`, {
        method,
        redirect: 'manual',
        headers: {
          ...(key === null ? {} : { authorization: `ApiKey ${key}` }),
          ...(text === undefined || form ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(text === undefined ? {} : { body: text }),
      });
      const raw = await answer.text();
      return {
        status: answer.status,
        headers: answer.headers,
        body: (answer.headers.get('content-type')?.includes('json') ? JSON.parse(raw) : { data: raw }) as Reply['body'],
        cause: answer.status === 500 ? lines.findLast((line) => line.includes('A request failed.')) : undefined,
      };
    },
    async close() {
      const unfinished = await backend.close();
      await own?.drop();
      if (!options.dataDir) await rm(dataDir, { recursive: true, force: true });
      requireLists();
      return unfinished;
    },
  };
}

/** Runs a suite on both databases; without PostgreSQL it says loudly that half was not run. */
export async function databases(): Promise<('sqlite' | 'postgres')[]> {
  if (await hasPostgres()) return ['sqlite', 'postgres'];
  process.stderr.write(`SKIPPED: the tests on PostgreSQL, because nothing answers on port ${postgresPort}.\n`);
  return ['sqlite'];
}
