import { spawn } from 'node:child_process';
import Sqlite from 'better-sqlite3';
import pg from 'pg';

/**
 * Snapshots of the database: a copy of one moment, made while backends write. For the command of backups, which is a process of its own: copying an
 * SQLite file blocks it.
 */
export interface SnapshotFacts {
  messages: number;
  sessions: number;
  /** Sessions with a linked phone, and the worker that has the login. */
  linked: { id: string; workerId: string | null }[];
  workers: { id: string; url: string }[];
  migration: string;
  /** Of PostgreSQL: the major version of the server. */
  serverVersion: number | null;
}

/** The tool of PostgreSQL is missing, too old, or has failed. The message says which. */
export class DatabaseToolError extends Error {
  constructor(
    readonly kind: 'missing' | 'failed',
    message: string,
  ) {
    super(message);
    this.name = 'DatabaseToolError';
  }
}

/** Copies an SQLite database in one step, with what its journal holds. `to` must not exist. */
export async function snapshotSqlite(file: string, to: string): Promise<SnapshotFacts> {
  const source = new Sqlite(file, { readonly: true, fileMustExist: true, timeout: 5_000 });
  try {
    // All pages in one step: the steps of a longer copy begin again with every commit of another process.
    await source.backup(to, { progress: () => 0x7fff_ffff });
  } finally {
    source.close();
  }
  const copy = new Sqlite(to, { readonly: true });
  try {
    return await readFacts((sql) => Promise.resolve(copy.prepare(sql).all()), null);
  } finally {
    copy.close();
  }
}

/** Dumps a PostgreSQL database with `pg_dump`, in its custom format. The facts are of the same moment. */
export async function snapshotPostgres(url: string, to: string): Promise<SnapshotFacts> {
  const client = new pg.Client({ connectionString: url, application_name: 'chasqui backup' });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('SET statement_timeout = 0');
    await client.query('SET idle_in_transaction_session_timeout = 0');
    const serverVersion = await versionOf(client);
    await requireTool('pg_dump', serverVersion);
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const { rows } = await client.query<{ id: string }>('SELECT pg_export_snapshot() AS id');
    const facts = await readFacts(async (sql) => (await client.query(sql)).rows as unknown[], serverVersion);
    const options = ['--format=custom', '--compress=0', '--no-owner', '--no-privileges', `--snapshot=${rows[0]!.id}`];
    await runTool('pg_dump', [...options, `--file=${to}`], url);
    await client.query('COMMIT');
    return facts;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Loads a dump into an empty database, in one transaction. */
export async function loadPostgres(url: string, file: string): Promise<void> {
  const options = ['--no-owner', '--no-privileges', '--exit-on-error', '--single-transaction'];
  await runTool('pg_restore', [...options, `--dbname=${databaseOf(url)}`, file], url);
}

/** Throws `DatabaseToolError` unless a tool is installed that is not older than the server. */
export async function requireTool(tool: 'pg_dump' | 'pg_restore', serverVersion: number): Promise<void> {
  const output = await runTool(tool, ['--version'], null);
  const version = Number(/\(PostgreSQL\) (\d+)/.exec(output)?.[1] ?? 0);
  if (version < serverVersion)
    throw new DatabaseToolError('missing', `${tool} has version ${version}, and the server has version ${serverVersion}.`);
}

export async function versionOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ version: string }>(`SELECT current_setting('server_version_num') AS version`);
  return Math.floor(Number(rows[0]!.version) / 10_000);
}

async function readFacts(query: (sql: string) => Promise<unknown[]>, serverVersion: number | null): Promise<SnapshotFacts> {
  const count = async (sql: string): Promise<number> => Number(((await query(sql)) as { n: number | string }[])[0]?.n ?? 0);
  const migrations = (await query('SELECT name FROM migrations ORDER BY timestamp DESC LIMIT 1')) as { name: string }[];
  return {
    messages: await count('SELECT COUNT(*) AS n FROM messages'),
    sessions: await count('SELECT COUNT(*) AS n FROM sessions WHERE "deletedAt" IS NULL'),
    linked: (await query(
      'SELECT id, "workerId" FROM sessions WHERE "deletedAt" IS NULL AND "phoneNumber" IS NOT NULL ORDER BY id',
    )) as SnapshotFacts['linked'],
    workers: (await query('SELECT id, url FROM workers ORDER BY id')) as SnapshotFacts['workers'],
    migration: migrations[0]?.name ?? '',
    serverVersion,
  };
}

const databaseOf = (url: string): string => decodeURIComponent(new URL(url).pathname.slice(1));

/** The connection as the tools read it from the environment: an argument with the password would be visible to every user of the machine. */
function connectionOf(url: string): Record<string, string> {
  const { hostname, port, username, password, searchParams } = new URL(url);
  const host = searchParams.get('host') ?? decodeURIComponent(hostname);
  const known = {
    PGHOST: host,
    PGPORT: port,
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: databaseOf(url),
    PGSSLMODE: searchParams.get('sslmode') ?? '',
    PGSSLROOTCERT: searchParams.get('sslrootcert') ?? '',
  };
  return Object.fromEntries(Object.entries(known).filter(([, value]) => value !== ''));
}

function runTool(tool: string, args: readonly string[], url: string | null): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { PATH: process.env['PATH'], LC_ALL: 'C', ...(url === null ? {} : connectionOf(url)) };
    const child = spawn(tool, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-4_000)));
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ENOENT' ? new DatabaseToolError('missing', `${tool} is not installed.`) : error),
    );
    child.once('close', (code) => {
      if (code === 0) return resolve(output);
      const lines = output.trim().split('\n').slice(-3).join(' ');
      reject(new DatabaseToolError('failed', `${tool} ended with code ${code}: ${lines}`));
    });
  });
}
