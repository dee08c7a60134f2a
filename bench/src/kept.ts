import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { namedDatabase, ownDatabase } from './database.js';

/**
 * The databases of a measurement at a million messages. With `KEPT=.cache/chq_lists_million` the databases of one measurement are kept: SQLite in this
 * folder, and PostgreSQL in a database with the name of the folder. A later run uses them again. Without it, each run fills new ones and deletes them.
 */
export interface Place {
  dataDir: string;
  /** Null: SQLite. */
  databaseUrl: string | null;
  /** Null: the database is empty. */
  filled: Filled | null;
  /** Records that the database is filled. It is not recorded before, so an interrupted run fills it again. */
  keep: (filled: Filled) => void;
  close: () => Promise<void>;
}

/** What a later run needs to measure a filled database. */
export interface Filled {
  measurement: string;
  key: string;
  sessionIds: string[];
  rows: number;
  /** When the oldest message was created. */
  firstAt: number;
}

export async function openPlace(measurement: string, dialect: string, rows: number): Promise<Place> {
  const kept = process.env['KEPT'];
  if (kept) return openKept(resolve(kept), measurement, dialect, rows);
  const own = dialect === 'PostgreSQL' ? await ownDatabase() : null;
  const dataDir = await mkdtemp(join(tmpdir(), `chasqui-${measurement}-`));
  const close = async (): Promise<void> => {
    await own?.drop();
    await rm(dataDir, { recursive: true, force: true });
  };
  return { dataDir, databaseUrl: own?.url ?? null, filled: null, keep: () => undefined, close };
}

async function openKept(folder: string, measurement: string, dialect: string, rows: number): Promise<Place> {
  const dataDir = join(folder, dialect.toLowerCase());
  const file = join(dataDir, 'filled.json');
  const filled = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Filled) : null;
  if (filled && (filled.rows !== rows || filled.measurement !== measurement))
    throw new Error(
      `${dataDir} has ${filled.rows} messages for ${filled.measurement}: name another folder, or set ROWS to that number.`,
    );
  if (!filled) await rm(dataDir, { recursive: true, force: true });
  await mkdir(dataDir, { recursive: true });
  const databaseUrl = dialect === 'PostgreSQL' ? await namedDatabase(basename(folder), filled === null) : null;
  const keep = (now: Filled): void => writeFileSync(file, JSON.stringify(now));
  return { dataDir, databaseUrl, filled, keep, close: () => Promise.resolve() };
}
