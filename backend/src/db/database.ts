import 'reflect-metadata';
import { dirname } from 'node:path';
import { mkdirSync } from 'node:fs';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { ensurePrivateFile } from '../lib/private-files.js';
import { entities } from './entities.js';
import { migrations } from './migrations/index.js';
import { createTurn, type Turn } from './turn.js';
import { createUnitOfWork, type UnitOfWork } from './unit-of-work.js';

export interface Database {
  readonly dialect: 'sqlite' | 'postgres';
  /** Committed data only. Never written through. */
  readonly reader: DataSource;
  /** The one way to a transaction. */
  readonly write: UnitOfWork;
  readonly turn: Turn;
  /** Empties SQLite's journal, in which what was overwritten still stands. Nothing on PostgreSQL. */
  checkpoint(): Promise<void>;
  close(): Promise<void>;
}

/** `{ file }` is SQLite, `{ url }` PostgreSQL. */
export type DatabaseLocation = { file: string } | { url: string; schema?: string };

/**
 * Opens the database, migrates it and checks what durability rests on.
 * SQLite gets two connections: the writer, which `write` queues for, and a read-only one, so that a reader never sees what an
 * open transaction on the same connection may still roll back.
 */
export async function openDatabase(location: DatabaseLocation): Promise<Database> {
  const dialect = 'file' in location ? 'sqlite' : 'postgres';
  if ('file' in location) {
    mkdirSync(dirname(location.file), { recursive: true, mode: 0o700 });
    ensurePrivateFile(location.file);
  }
  const writer = await new DataSource(writerOptions(location)).initialize();
  await writer.runMigrations({ transaction: 'each' });
  if (dialect === 'sqlite') await assertDurable(writer);
  const reader = 'file' in location ? await new DataSource(readerOptions(location.file)).initialize() : writer;
  const turn = createTurn();
  const write = createUnitOfWork(writer, dialect, turn.forget);
  return {
    dialect,
    reader,
    write,
    turn,
    async checkpoint() {
      await write.idle();
      if (dialect === 'sqlite') await writer.query('PRAGMA wal_checkpoint(TRUNCATE)');
    },
    async close() {
      await write.idle();
      if (reader !== writer) await reader.destroy();
      await writer.destroy();
    },
  };
}

/** The little of better-sqlite3 that is set up here. */
interface SqliteConnection {
  pragma(text: string): unknown;
}

const common = { entities, migrations, migrationsTableName: 'migrations', synchronize: false, logging: false } as const;

function writerOptions(location: DatabaseLocation): DataSourceOptions {
  if ('url' in location) {
    return {
      ...common,
      type: 'postgres',
      url: location.url,
      ...(location.schema ? { schema: location.schema } : {}),
      installExtensions: false,
      poolSize: 10,
    };
  }
  return {
    ...common,
    type: 'better-sqlite3',
    database: location.file,
    enableWAL: true,
    prepareDatabase: (connection: SqliteConnection) => {
      connection.pragma('busy_timeout = 5000');
      // FULL: a commit is on the disk before it is answered. NORMAL would lose the last ones with the power.
      connection.pragma('synchronous = FULL');
      connection.pragma('foreign_keys = ON');
      // Pages that are written again and again go into the file once: with the usual 1,000 pages accepting is 8 % slower.
      connection.pragma('wal_autocheckpoint = 4000');
      // What is deleted is overwritten: messages must not be found in pages that are free.
      connection.pragma('secure_delete = ON');
      // What a savepoint may still undo is kept in memory: SQLite would make and delete a file for it with every batch of events.
      connection.pragma('temp_store = MEMORY');
    },
  };
}

function readerOptions(file: string): DataSourceOptions {
  return {
    ...common,
    type: 'better-sqlite3',
    database: file,
    readonly: true,
    prepareDatabase: (connection: SqliteConnection) => {
      connection.pragma('busy_timeout = 5000');
    },
  };
}

async function assertDurable(source: DataSource): Promise<void> {
  const [mode] = await source.query<{ journal_mode: string }[]>('PRAGMA journal_mode');
  const [synchronous] = await source.query<{ synchronous: number }[]>('PRAGMA synchronous');
  if (mode?.journal_mode !== 'wal' || synchronous?.synchronous !== 2) {
    throw new Error(
      `The database is not durable (journal ${mode?.journal_mode}, synchronous ${synchronous?.synchronous}). Use a local disk for DATA_DIR.`,
    );
  }
}
