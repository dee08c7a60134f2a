import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from '../lib/paths.mjs';

/** After the last test file: drops the database that tests copied. Without PostgreSQL there is none. */
export default async function teardown() {
  const { Client } = createRequire(join(root, 'backend/package.json'))('pg');
  const client = new Client({ connectionString: 'postgres://postgres@127.0.0.1:5432/postgres' });
  try {
    await client.connect();
  } catch (error) {
    if (error.code === 'ECONNREFUSED') return;
    throw error;
  }
  await client.query(`DROP DATABASE IF EXISTS ${process.env.CHASQUI_TEST_TEMPLATE} WITH (FORCE)`).finally(() => client.end());
}
