import { chmodSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';

export type Store = Database.Database;

/** Forward only; `user_version` counts how many have run. */
const migrations = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

  -- What must be known of a session before it runs again.
  CREATE TABLE marks (
    session_id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL DEFAULT 0,
    watermark INTEGER               -- time (ms) of the newest message taken in; NULL until first linked
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

  -- Events that the backend would not take: kept for a new epoch of the session, or for a person to look at.
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
  // Which attempt the record is of. What looked_up said follows from it: the backend counts a new attempt after it has settled the last one.
  `
  ALTER TABLE sends ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
  ALTER TABLE sends DROP COLUMN looked_up;
  `,
  `
  -- What was last told of a message beyond its content: edits, deletion, reactions. Empty: something changed since.
  ALTER TABLE seen_messages ADD COLUMN state TEXT NOT NULL DEFAULT '';
  `,
];

/**
 * The worker's own SQLite file. Everything in it is there because it must survive a kill, so each commit is on the disk
 * before it returns (`synchronous=FULL`).
 */
export function openStore(file: string): Store {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const store = new Database(file);
  chmodSync(file, 0o600);
  store.pragma('journal_mode = WAL');
  store.pragma('synchronous = FULL');
  // Short, because a wait stops the whole process: every writer keeps what it has and repeats it later.
  store.pragma('busy_timeout = 250');
  // What is deleted is overwritten: messages must not be found in pages that are free.
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

/** A value that is made once per file: the worker's id. */
export function onceInStore(store: Store, name: string, make: () => string): string {
  store.prepare('INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)').run(name, make());
  return store.prepare<[string], { value: string }>('SELECT value FROM meta WHERE name = ?').get(name)!.value;
}

/** Result codes that say that the file takes no writes now: what was to be written is not at fault and is kept. */
const trouble = [
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

/** Whether a failed statement says something about the store, not about its values. By shape: the error may be of another realm. */
export function isStoreTrouble(error: unknown): boolean {
  const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  const [prefix, kind] = code.split('_');
  return prefix === 'SQLITE' && trouble.includes(kind ?? '');
}
