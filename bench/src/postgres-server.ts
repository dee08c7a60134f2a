import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { freePort } from './ports.js';
import { treeOf } from './processes.js';
import { eventually } from './stack.js';

/** A PostgreSQL server that one test or soak starts for itself, and may kill, freeze and fill up. */
export interface PostgresServer {
  port: number;
  /** Of a database on it. */
  url(database: string): string;
  query<T = Record<string, unknown>>(database: string, sql: string, values?: unknown[]): Promise<T[]>;
  /** Freezes every process of the server; returns a function that resumes them. */
  freeze(): () => void;
  /** SIGKILL to every process of the server. */
  kill(): Promise<void>;
  /** Ends the server as `pg_ctl stop -m immediate` does: its next start begins with a recovery. */
  stopAtOnce(): Promise<void>;
  start(): Promise<void>;
  /** Whether the server process still runs. It ends by itself when it cannot recover, as on a full disk. */
  isUp(): boolean;
  close(): Promise<void>;
}

const places = '/usr/lib/postgresql';

/** The folder of the server's programs; null where PostgreSQL is not installed, and then the reason is written to stderr. */
export function findServerPrograms(): string | null {
  const versions = existsSync(places) ? readdirSync(places).sort((a, b) => Number(b) - Number(a)) : [];
  const found = versions.map((version) => join(places, version, 'bin')).find((bin) => existsSync(join(bin, 'initdb')));
  if (!found)
    process.stderr.write(
      `SKIPPED: the tests on a PostgreSQL server of their own, because ${places}/*/bin/initdb does not exist.\n`,
    );
  return found ?? null;
}

/** PostgreSQL refuses to run as root. */
const asServerUser = (command: string, args: string[]): [string, string[]] =>
  process.getuid?.() === 0
    ? ['setpriv', ['--reuid=postgres', '--regid=postgres', '--clear-groups', command, ...args]]
    : [command, args];

/** Starts a server whose files are in a new folder below `parent`. */
export async function startPostgresServer(
  bin: string,
  settings: Record<string, string> = {},
  parent = tmpdir(),
): Promise<PostgresServer> {
  const folder = mkdtempSync(join(parent, 'chasqui-postgres-'));
  const data = join(folder, 'data');
  const port = await freePort();
  chmodSync(folder, 0o777);
  const [initdb, initArgs] = asServerUser(join(bin, 'initdb'), [
    '-D',
    data,
    '-U',
    'postgres',
    '-A',
    'trust',
    '-N',
    '-E',
    'UTF8',
    '--locale=C.UTF-8',
  ]);
  execFileSync(initdb, initArgs, { stdio: 'ignore', cwd: folder });
  const options = Object.entries({
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: folder,
    // A killed process loses nothing that it has written; only a killed machine would.
    fsync: 'off',
    shared_buffers: '32MB',
    max_connections: '60',
    ...settings,
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  let server: ChildProcess | null = null;

  const url = (database: string): string => `postgres://postgres@127.0.0.1:${port}/${database}`;
  async function query<T>(database: string, sql: string, values: unknown[] = []): Promise<T[]> {
    const client = new Client({ connectionString: url(database), connectionTimeoutMillis: 3_000 });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query(sql, values)).rows as T[];
    } finally {
      await client.end();
    }
  }
  const signalAll = (signal: NodeJS.Signals): void => {
    for (const pid of server?.pid ? treeOf(server.pid) : [])
      try {
        process.kill(pid, signal);
      } catch {
        // It has ended meanwhile.
      }
  };
  const isUp = (): boolean => server !== null && server.exitCode === null && server.signalCode === null;
  async function endBy(signal: () => void): Promise<void> {
    if (!isUp()) return;
    const ended = once(server!, 'exit');
    signal();
    await ended;
  }
  const kill = (): Promise<void> => endBy(() => signalAll('SIGKILL'));
  async function start(): Promise<void> {
    const [command, args] = asServerUser(join(bin, 'postgres'), ['-D', data, ...options]);
    await eventually('the server to accept connections', async () => {
      if (!isUp()) server = spawn(command, args, { stdio: 'ignore', cwd: folder });
      return query('postgres', 'SELECT 1').catch(() => null);
    });
  }
  await start();
  return {
    port,
    url,
    query,
    freeze() {
      signalAll('SIGSTOP');
      return () => signalAll('SIGCONT');
    },
    kill,
    stopAtOnce: () => endBy(() => void server?.kill('SIGQUIT')),
    start,
    isUp,
    async close() {
      signalAll('SIGCONT');
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
