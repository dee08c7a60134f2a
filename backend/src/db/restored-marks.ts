import Sqlite from 'better-sqlite3';
import type pg from 'pg';
import { runStatement } from './statement.js';
import type { Transaction } from './unit-of-work.js';

/**
 * Marks a database that was restored. The mark is there before any process can open the database in its place: SQLite's in the file before it is moved,
 * PostgreSQL's in a schema of its own until the row is written.
 */
export interface RestoredMark {
  id: string;
  backupId: string;
  takenAt: number;
  restoredAt: number;
  mode: 'copy' | 'move';
  startsSessions: boolean;
}

/**
 * The snapshot was taken while its own backup was being made. Closes: the next backup takes that row for one of a process that died, and deletes the
 * file from which this database was restored.
 */
const forgetRunningSql = `DELETE FROM backups WHERE status = 'running'`;

const insertSql = (values: string): string =>
  `INSERT INTO restores (id, "backupId", "takenAt", "restoredAt", mode, "startsSessions") VALUES (${values})`;

/** Checks the file and writes the mark. Throws `SQLITE_…` errors for a file that is no database of this program. */
export function markSqlite(file: string, mark: RestoredMark): void {
  const database = new Sqlite(file, { fileMustExist: true });
  try {
    const [result] = database.pragma('quick_check(1)') as { quick_check: string }[];
    if (result?.quick_check !== 'ok') throw Object.assign(new Error('The database is damaged.'), { code: 'SQLITE_CORRUPT' });
    const { id, backupId, takenAt, restoredAt, mode, startsSessions } = mark;
    database.prepare(forgetRunningSql).run();
    database.prepare('DELETE FROM restores WHERE id = ?').run(id);
    database.prepare(insertSql('?, ?, ?, ?, ?, ?')).run(id, backupId, takenAt, restoredAt, mode, startsSessions ? 1 : 0);
    database.pragma('wal_checkpoint(TRUNCATE)');
    // Without a journal beside it, the file alone is the database. The backend sets WAL again.
    database.pragma('journal_mode = DELETE');
  } finally {
    database.close();
  }
}

/** The schema that exists while a restore into PostgreSQL is not finished. A backend does not start on such a database. */
export const pendingSchema = 'chasqui_restore';

/** How far an earlier restore into this database came. `foreign`: it holds tables that no restore of ours made. */
export type PendingState = 'empty' | 'begun' | 'loaded' | 'foreign';

export async function pendingStateOf(client: pg.Client, backupId: string): Promise<PendingState> {
  const { rows } = await client.query<{ pending: string | null; tables: string }>(
    `SELECT to_regclass('${pendingSchema}.pending')::text AS pending,
      (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema())::text AS tables`,
  );
  const { pending, tables } = rows[0]!;
  const isEmpty = Number(tables) === 0;
  if (pending === null) return isEmpty ? 'empty' : 'foreign';
  const begun = await client.query<{ backupId: string }>(`SELECT "backupId" FROM ${pendingSchema}.pending`);
  if (!isEmpty && begun.rows[0]?.backupId !== backupId) return 'foreign';
  return isEmpty ? 'begun' : 'loaded';
}

export async function beginPostgres(client: pg.Client, backupId: string): Promise<void> {
  await client.query('BEGIN');
  await client.query(`DROP SCHEMA IF EXISTS ${pendingSchema} CASCADE`);
  await client.query(`CREATE SCHEMA ${pendingSchema}`);
  await client.query(`CREATE TABLE ${pendingSchema}.pending ("backupId" varchar(64) NOT NULL)`);
  await client.query(`INSERT INTO ${pendingSchema}.pending VALUES ($1)`, [backupId]);
  await client.query('COMMIT');
}

/** Writes the mark and ends the pending state, in one transaction. */
export async function markPostgres(client: pg.Client, mark: RestoredMark): Promise<void> {
  const { id, backupId, takenAt, restoredAt, mode, startsSessions } = mark;
  await client.query('BEGIN');
  await client.query(forgetRunningSql);
  await client.query(insertSql('$1, $2, $3, $4, $5, $6'), [id, backupId, takenAt, restoredAt, mode, startsSessions]);
  await client.query(`DROP SCHEMA ${pendingSchema} CASCADE`);
  await client.query('COMMIT');
}

/** Whether this mark is written. */
export async function isMarked(client: pg.Client, id: string): Promise<boolean> {
  const { rows } = await client.query<{ found: string | null }>(`SELECT to_regclass('restores')::text AS found`);
  if (!rows[0]?.found) return false;
  return (await client.query('SELECT 1 FROM restores WHERE id = $1', [id])).rows.length > 0;
}

/** Raises the epoch of every session: workers may have received later ones from the installation that was backed up. */
export async function raiseEpochs(tx: Transaction, by: number): Promise<void> {
  await runStatement(tx.manager, `UPDATE sessions SET "leaseEpoch" = "leaseEpoch" + ?`, [by]);
}
