import { once } from 'node:events';
import { createConnection } from 'node:net';
import { Client } from 'pg';

const server = 'postgres://postgres@127.0.0.1:5432';

export async function hasPostgres(): Promise<boolean> {
  const socket = createConnection(5432, '127.0.0.1');
  return Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]).finally(() =>
    socket.destroy(),
  );
}

let made = 0;

/** An empty PostgreSQL database of our own; `drop` closes connections that still use it. */
export async function ownDatabase(): Promise<{ url: string; drop: () => Promise<void> }> {
  const name = `chq_crash_${process.pid}_${(made += 1)}`;
  const run = async (sql: string): Promise<void> => {
    const client = new Client({ connectionString: `${server}/postgres` });
    await client.connect();
    await client.query(sql).finally(() => client.end());
  };
  await run(`CREATE DATABASE ${name}`);
  return { url: `${server}/${name}`, drop: () => run(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}
