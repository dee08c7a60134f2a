import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { FaultProxy } from '../../bench/src/fault-proxy.js';
import { databaseErrorKind } from '../src/db/database-errors.js';
import { openCommitProxy } from './support/commit-proxy.js';
import { startUnderLoad, type BackendProcess } from './support/database-load.js';
import { eventually } from './support/eventually.js';
import { findServerPrograms, startPostgresServer, type PostgresServer } from '../../bench/src/postgres-server.js';

/**
 * One and two built backends on a PostgreSQL that is killed, frozen, locked, filled up and cut off while messages are accepted, sent and
 * taken in. After each fault everything flows again within `againMs`. At the end nothing is lost, doubled or stuck, and every request that
 * was refused was told 503 with Retry-After.
 */

type Loaded = Awaited<ReturnType<typeof startUnderLoad<FaultProxy>>>;

const bin = findServerPrograms();
const describeWithServer = bin ? describe : describe.skip;

/** Another client's locks, for as long as it holds them. It takes them in an order of its own; of a deadlock the backends learn first. */
async function holding(server: PostgresServer, database: string, sql: string[], ms: number): Promise<void> {
  const client = new Client({ connectionString: server.url(database) });
  client.on('error', () => undefined);
  await client.connect();
  await client.query(`SET deadlock_timeout = '30s'`);
  await eventually(
    'the foreign locks',
    async () => {
      await client.query('BEGIN');
      try {
        for (const one of sql) await client.query(one);
        return true;
      } catch (error) {
        await client.query('ROLLBACK');
        if (databaseErrorKind(error) !== 'unavailable') throw error;
        return false;
      }
    },
    60_000,
  );
  await sleep(ms);
  await client.query('ROLLBACK');
  await client.end();
}

/** Every connection that the server has. */
async function useUp(server: PostgresServer, database: string, ms: number): Promise<void> {
  const clients: Client[] = [];
  const takeAll = async (): Promise<void> => {
    for (;;) {
      const client = new Client({ connectionString: server.url(database), application_name: 'greedy' });
      client.on('error', () => undefined);
      try {
        await client.connect();
        clients.push(client);
      } catch {
        return; // There are no more.
      }
    }
  };
  await takeAll();
  // What the backends have is ended and taken too.
  const [first] = clients;
  await first!.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'chasqui%'`);
  await takeAll();
  await sleep(ms);
  await Promise.all(clients.map((client) => client.end()));
}

/**
 * A file system of its own in memory, so small that it can be filled. Null where it cannot be mounted: only root may, and containers often forbid it.
 */
function mountSmall(megabytes: number): { folder: string; fill: () => () => void; unmount: () => void } | null {
  const folder = mkdtempSync(join(tmpdir(), 'chasqui-small-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0777`, 'chasqui-small', folder], { stdio: 'ignore' });
  } catch {
    rmSync(folder, { recursive: true });
    process.stderr.write('SKIPPED: the test of a full disk, because a small file system cannot be mounted (run as root).\n');
    return null;
  }
  const rest = join(folder, 'rest');
  return {
    folder,
    fill() {
      const file = openSync(rest, 'w');
      try {
        for (;;) writeSync(file, Buffer.alloc(65_536));
      } catch {
        // It is full.
      }
      closeSync(file);
      return () => rmSync(rest);
    },
    unmount() {
      execFileSync('umount', ['--lazy', folder]);
      rmSync(folder, { recursive: true });
    },
  };
}

describeWithServer('PostgreSQL in trouble', () => {
  let server: PostgresServer;
  let loaded: Loaded | null = null;
  beforeAll(async () => {
    server = await startPostgresServer(bin!);
  }, 60_000);
  afterEach(async () => {
    await loaded?.close();
    loaded = null;
  }, 60_000);
  afterAll(async () => server?.close());

  async function expectHealed(
    { judge, refusals, output }: Pick<Loaded, 'judge' | 'refusals' | 'output'>,
    least = 100,
  ): Promise<void> {
    const { calls, ...found } = await judge();
    expect(found).toEqual({ lost: 0, doubled: 0, stuck: [], unheard: 0 });
    expect(calls).toBeGreaterThan(least);
    const untrue = refusals.filter(({ status, retryAfter }) => status !== 503 || retryAfter === null);
    expect(untrue).toEqual([]);
    const bugs = output.filter(
      (line) => /"level":"error"/.test(line) && /A request failed|programming error|Unhandled/.test(line),
    );
    expect(bugs).toEqual([]);
  }

  test('one backend: the server frozen for 20 s, killed, locked by others, full of connections, read-only', async () => {
    loaded = await startUnderLoad(server, 1);
    const { database, flows } = loaded;
    await flows();

    const thaw = server.freeze();
    await sleep(20_000);
    thaw();
    await flows();

    await server.kill();
    await sleep(3_000);
    await server.start();
    await flows();

    for (const locks of [
      ['SELECT id FROM messages FOR UPDATE', 'SELECT id FROM sessions FOR UPDATE'],
      ['LOCK TABLE messages IN ACCESS EXCLUSIVE MODE'],
      [`SELECT last FROM event_counters WHERE scope = 'log' FOR UPDATE`],
    ]) {
      await holding(server, database, locks, 7_000);
      await flows();
    }

    await useUp(server, database, 5_000);
    await flows();

    await server.query('postgres', `ALTER DATABASE ${database} SET default_transaction_read_only = on`);
    const endAll = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${database}'`;
    await server.query('postgres', endAll);
    await sleep(3_000);
    await server.query('postgres', `ALTER DATABASE ${database} RESET default_transaction_read_only`);
    for (let times = 0; times < 10; times += 1) {
      await server.query('postgres', endAll);
      await sleep(100);
    }
    await flows();

    await expectHealed(loaded);
  }, 240_000);

  test('of two backends that start at once on an empty database, a frozen, disconnected or killed one does not stop the other', async () => {
    loaded = await startUnderLoad(server, 2);
    const { backends, lines, flows, firstAdmins } = loaded;
    const [a, b] = backends as [BackendProcess, BackendProcess];
    expect(firstAdmins).toHaveLength(1);
    await flows();

    for (let times = 0; times < 3; times += 1) {
      await sleep(Math.random() * 300);
      a.signal('SIGSTOP');
      const tookMs = await flows([b]);
      expect(tookMs).toBeLessThan(15_000);
      a.signal('SIGCONT');
      await flows();
    }

    const endSilence = lines[0]!.silence();
    expect(await flows([b])).toBeLessThan(15_000);
    const ready = await fetch(`${a.url}/health/ready`, { signal: AbortSignal.timeout(5_000) });
    expect([ready.status, ready.headers.get('retry-after')]).toEqual([503, '5']);
    await sleep(4_000);
    endSilence();
    await flows();

    for (const line of lines) line.forget();
    await flows();

    await a.end('SIGKILL');
    expect(await flows([b])).toBeLessThan(15_000);
    a.spawn();
    await eventually('the killed backend to be ready', a.isReady, 60_000);
    await flows();

    await expectHealed(loaded);
  }, 240_000);

  test('two backends whose commits lose their replies lose and double no message', async () => {
    const lossy = await startUnderLoad(server, 2, openCommitProxy);
    try {
      await lossy.flows();
      const lostSoFar = (): number => lossy.lines.reduce((sum, { state }) => sum + state.lost, 0);
      for (const { state } of lossy.lines) state.share = 0.3;
      await eventually('many answers to be lost', async () => lostSoFar() > 40, 60_000);
      for (const { state } of lossy.lines) state.share = 0;
      await lossy.flows();
      await expectHealed(lossy, 20);
    } finally {
      await lossy.close();
    }
  }, 240_000);

  const small = bin ? mountSmall(220) : null;
  (small ? test : test.skip)(
    'two backends while the disk of the server is full: calls are refused with 503, and then all flows again',
    async () => {
      const { folder, fill, unmount } = small!;
      const full = await startPostgresServer(bin!, { min_wal_size: '32MB', max_wal_size: '48MB' }, folder);
      try {
        loaded = await startUnderLoad(full, 2);
        const { flows, refusals, database } = loaded;
        await flows();
        for (let times = 0; times < 2; times += 1) {
          const before = refusals.length;
          const free = fill();
          // Rows that are larger than what is left in the files of the tables.
          const growing = full.query(
            database,
            'CREATE TABLE grown AS SELECT repeat(md5(i::text), 100) FROM generate_series(1, 200000) i',
          );
          await expect(growing).rejects.toMatchObject({ code: expect.any(String) });
          // Until the tables need a new page, calls are still accepted.
          await eventually('calls to be refused', async () => refusals.length > before + 10, 60_000);
          await sleep(5_000);
          free();
          // It cannot recover from its log without room, and ends.
          if (!full.isUp()) await full.start();
          await flows();
        }
        await expectHealed(loaded, 20);
        await loaded.close();
        loaded = null;
      } finally {
        await full.close();
        unmount();
      }
    },
    240_000,
  );
});
