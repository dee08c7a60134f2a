import { join } from 'node:path';
import { root } from './paths.mjs';

/**
 * Starts the PostgreSQL server of one test run where its programs are installed. Its files are in the temporary folder of the run and no commit
 * waits for a disk, so that a test gets a database of its own in a quarter of the time that a server on a disk takes.
 *
 * Returns its URL without a database, and `close`. Without the programs, or where the environment names a server, it returns null: tests use that one, or the
 * one on 127.0.0.1:5432.
 */
export async function startTestDatabase() {
  if (process.env.TEST_POSTGRES_URL) return null;
  const { findServerPrograms, startPostgresServer } = await import(join(root, 'bench/dist/postgres-server.js'));
  const programs = findServerPrograms();
  if (!programs) return null;
  const settings = { max_connections: '400', shared_buffers: '128MB', full_page_writes: 'off', synchronous_commit: 'off' };
  const { port, close } = await startPostgresServer(programs, settings);
  return { url: `postgres://postgres@127.0.0.1:${port}`, close };
}
