import { once } from 'node:events';
import { createConnection } from 'node:net';
import { Client } from 'pg';

/** The PostgreSQL server of tests and benchmarks, without a database. `npm test` starts one and names it here where it can. */
export const postgresUrl = process.env['TEST_POSTGRES_URL'] ?? 'postgres://postgres@127.0.0.1:5432';
export const postgresPort = Number(new URL(postgresUrl).port);

export async function hasPostgres(): Promise<boolean> {
  const socket = createConnection(postgresPort, '127.0.0.1');
  return Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]).finally(() =>
    socket.destroy(),
  );
}

let made = 0;

/** An empty PostgreSQL database of our own; `drop` closes connections that still use it. */
export async function ownDatabase(): Promise<{ url: string; drop: () => Promise<void> }> {
  const name = `chq_crash_${process.pid}_${(made += 1)}`;
  await runOnServer(`CREATE DATABASE ${name}`);
  return { url: `${postgresUrl}/${name}`, drop: () => runOnServer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

/** The URL of the database of this name, which is not deleted; with `isNew`, an empty one replaces it. */
export async function namedDatabase(name: string, isNew: boolean): Promise<string> {
  if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new Error(`${name} is no name for a database: use small letters, digits and _.`);
  if (isNew) {
    await runOnServer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    await runOnServer(`CREATE DATABASE ${name}`);
  }
  return `${postgresUrl}/${name}`;
}

async function runOnServer(sql: string): Promise<void> {
  const client = new Client({ connectionString: `${postgresUrl}/postgres` });
  await client.connect();
  await client.query(sql).finally(() => client.end());
}
