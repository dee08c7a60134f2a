import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../lib/paths.mjs';

/** After the last test file: deletes the databases that tests copied. Without PostgreSQL there is only the SQLite file. */
export default async function teardown() {
  rmSync(join(tmpdir(), `${process.env.CHASQUI_TEST_TEMPLATE}.sqlite`), { force: true });
  const { Client } = createRequire(join(root, 'backend/package.json'))('pg');
  const client = new Client({
    connectionString: `${process.env.TEST_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432'}/postgres`,
  });
  try {
    await client.connect();
  } catch (error) {
    if (error.code === 'ECONNREFUSED') return;
    throw error;
  }
  await client.query(`DROP DATABASE IF EXISTS ${process.env.CHASQUI_TEST_TEMPLATE} WITH (FORCE)`).finally(() => client.end());
}
