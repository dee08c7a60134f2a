import { chmodSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';

export type Store = Database.Database;

/** The migrations of the worker's store; only forward. `user_version` counts those that have run. */
const migrations = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

  -- What must be known of a session before it runs again.
  CREATE TABLE marks (
    session_id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL DEFAULT 0,
    watermark INTEGER               -- time (ms) of the newest message that was read; NULL until first linked
  ) WITHOUT ROWID;

  CREATE TABLE sequences (
    session_id TEXT NOT NULL, epoch INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (session_id, epoch)
  ) WITHOUT ROWID;

  -- AUTOINCREMENT: a cursor is never used twice, even when its row is long gone.
  CREATE TABLE outlet (
    cursor INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL, session_id TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
    type TEXT NOT NULL, occurred_at TEXT NOT NULL, payload TEXT NOT NULL
  );
  CREATE INDEX outlet_by_sequence ON outlet (session_id, epoch, sequence);

  -- Events that the backend refused: stored for a new epoch of the session, or for a person to look at.
  CREATE TABLE parked (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL, epoch INTEGER NOT NULL,
    type TEXT NOT NULL, occurred_at TEXT NOT NULL, payload TEXT NOT NULL,
    code TEXT NOT NULL, parked_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX parked_by_session ON parked (session_id);

  CREATE TABLE seen_messages (
    session_id TEXT NOT NULL, key TEXT NOT NULL, seen_at INTEGER NOT NULL,
    PRIMARY KEY (session_id, key)
  ) WITHOUT ROWID;
  CREATE INDEX seen_by_time ON seen_messages (seen_at);

  CREATE TABLE sends (
    message_id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL, reserved_id TEXT NOT NULL, hash TEXT NOT NULL,
    state TEXT NOT NULL,            -- accepted, handed_over, settled
    outcome TEXT,                   -- JSON, when settled
    looked_up INTEGER NOT NULL,     -- 1 after a lookup that did not find it
    updated_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX sends_by_reserved ON sends (session_id, reserved_id);
  CREATE INDEX sends_by_time ON sends (updated_at);
  `,
  // The attempt of the record. It replaces looked_up: the backend counts a new attempt after it has settled the last one.
  `
  ALTER TABLE sends ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
  ALTER TABLE sends DROP COLUMN looked_up;
  `,
  `
  -- The state that was last reported of a message beyond its content: edits, deletion, reactions. Empty: something changed since.
  ALTER TABLE seen_messages ADD COLUMN state TEXT NOT NULL DEFAULT '';
  `,
  `
  -- Incoming calls. payload: the event of a call that is not in the outlet yet; NULL once it is.
  CREATE TABLE calls (
    session_id TEXT NOT NULL, call_id TEXT NOT NULL, payload TEXT, seen_at INTEGER NOT NULL,
    PRIMARY KEY (session_id, call_id)
  ) WITHOUT ROWID;
  CREATE INDEX calls_by_time ON calls (seen_at);
  `,
];

/**
 * Opens the worker's own SQLite file. Its data must survive a kill, so each commit is on disk before it returns (`synchronous=FULL`). Throws `DamagedStoreError`.
 */
export function openStore(file: string): Store {
  try {
    return openFile(file);
  } catch (error) {
    const code = String((error as { code?: unknown } | null)?.code ?? '');
    // SQLITE_ERROR: a header whose numbers SQLite does not support, or tables that do not fit the version that the file names.
    if (/^SQLITE_(NOTADB|CORRUPT|ERROR$)/.test(code)) throw new DamagedStoreError(file, code);
    throw error;
  }
}

/** Thrown when the file is damaged or is not a database. The message says what to do. */
export class DamagedStoreError extends Error {
  constructor(file: string, code: string) {
    super(
      `The worker's database ${file} cannot be read: the file is damaged or is not an SQLite database (${code}). ` +
        'It holds events that the backend has not received yet and the record of sends. Stop the worker, keep a copy of the file and of those beside it ' +
        '(-wal, -shm), and replace it with a backup. Without a backup, move the file away and start the worker: it creates an empty one, the sessions stay linked, and ' +
        'messages that were being sent become uncertain.',
    );
    this.name = 'DamagedStoreError';
  }
}

function openFile(file: string): Store {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const store = new Database(file);
  chmodSync(file, 0o600);
  store.pragma('journal_mode = WAL');
  store.pragma('synchronous = FULL');
  // Short, because a wait blocks the whole process. Every writer retries later.
  store.pragma('busy_timeout = 250');
  // Deleted data is overwritten, so that messages cannot be found in free pages.
  store.pragma('secure_delete = ON');
  const version = Number(store.pragma('user_version', { simple: true }));
  for (let next = version; next < migrations.length; next += 1) {
    store.transaction(() => {
      store.exec(migrations[next]!);
      store.pragma(`user_version = ${next + 1}`);
    })();
  }
  return store;
}

/** Returns a value that is created once per file, such as the worker's id. */
export function onceInStore(store: Store, name: string, make: () => string): string {
  store.prepare('INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)').run(name, make());
  return store.prepare<[string], { value: string }>('SELECT value FROM meta WHERE name = ?').get(name)!.value;
}

/** Result codes that mean that the file accepts no writes now. The values are not at fault; the write is retried. */
const unavailableCodes = [
  'BUSY',
  'LOCKED',
  'FULL',
  'IOERR',
  'READONLY',
  'CANTOPEN',
  'NOMEM',
  'PROTOCOL',
  'PERM',
  'CORRUPT',
  'NOTADB',
  'INTERRUPT',
  'AUTH',
];

/** Whether a statement failed because of the store, not because of its values. Checks the shape, because the error may be of another realm. */
export function isStoreUnavailable(error: unknown): boolean {
  const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  const [prefix, kind] = code.split('_');
  return prefix === 'SQLITE' && unavailableCodes.includes(kind ?? '');
}
