import { afterEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { findServerPrograms, startPostgresServer, type PostgresServer } from '../../bench/src/postgres-server.js';
import { startUnderLoad } from './support/database-load.js';

/**
 * Two built backends on a PostgreSQL that restarts without an orderly stop, and whose connections are all in use, while messages are accepted, sent and
 * taken in. After each fault everything flows again within 15 s (`flows` throws otherwise). At the end nothing is lost, doubled or
 * stuck, and every request that was refused was told 503 with Retry-After.
 */

const bin = findServerPrograms();

(bin ? describe : describe.skip)('two backends on PostgreSQL', () => {
  let server: PostgresServer;
  let loaded: Awaited<ReturnType<typeof startUnderLoad>> | null = null;
  afterEach(async () => {
    await loaded?.close();
    loaded = null;
    await server?.close();
  }, 60_000);

  async function expectHealed(): Promise<void> {
    const { judge, refusals, output } = loaded!;
    const { calls, ...found } = await judge();
    expect(found).toEqual({ lost: 0, doubled: 0, stuck: [], unheard: 0 });
    expect(calls).toBeGreaterThan(5);
    expect(refusals.filter(({ status, retryAfter }) => status !== 503 || retryAfter === null)).toEqual([]);
    const bugs = output.filter(
      (line) => /"level":"error"/.test(line) && /A request failed|programming error|Unhandled/.test(line),
    );
    expect(bugs).toEqual([]);
  }

  test('its connections are used up while both backends send', async () => {
    server = await startPostgresServer(bin!, { max_connections: '40' });
    loaded = await startUnderLoad(server, 2);
    const { database, flows } = loaded;
    await flows();
    for (let round = 0; round < 2; round += 1) {
      const clients: Client[] = [];
      const until = performance.now() + 5_000;
      while (performance.now() < until) {
        const client = new Client({ connectionString: server.url(database), application_name: 'greedy' });
        client.on('error', () => undefined);
        if (
          await client.connect().then(
            () => true,
            () => false,
          )
        ) {
          clients.push(client);
          if (clients.length % 10 === 0)
            await client.query(
              `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'chasqui%' LIMIT 6`,
            );
        } else await sleep(5);
      }
      expect(clients.length).toBeGreaterThan(10);
      await Promise.all(clients.map((client) => client.end()));
      await flows();
    }
    await expectHealed();
  }, 180_000);

  test('it is restarted without an orderly stop several times', async () => {
    server = await startPostgresServer(bin!);
    loaded = await startUnderLoad(server, 2);
    const { flows } = loaded;
    await flows();
    for (let round = 0; round < 5; round += 1) {
      await server.stopAtOnce();
      await sleep([0, 2_000, 0, 500, 4_000][round]!);
      await server.start();
      if (round % 2 === 1) await flows();
      else await sleep(Math.random() * 500);
    }
    await flows();
    await expectHealed();
  }, 180_000);
});
