import { AppError } from '@chasqui/shared';
import { UnreadableColumnError } from './unreadable.js';
import { isStorageFailure } from '../lib/storage-failed.js';
import { QueryRunnerAlreadyReleasedError, QueryRunnerProviderAlreadyReleasedError } from 'typeorm';

/**
 * What an error of the database means for the caller. Only this file knows the drivers' codes.
 *
 * | kind | meaning | what to do |
 * | --- | --- | --- |
 * | `unavailable` | the database, or the network to it; the call itself is fine | 503 with Retry-After; try again later |
 * | `full` | no room on the disk | 503 `STORAGE_FULL`; try again when there is room |
 * | `conflict` | a unique key exists | depends on the caller |
 * | `data` | a value or a constraint does not fit: the call's own fault | refuse this one item, continue with the others |
 * | null | anything else: a bug, or no error of a database | let it fail |
 */
export type DatabaseErrorKind = 'unavailable' | 'full' | 'conflict' | 'data';

/** The code of errors for which the driver has none: the connection is gone, or one of our time limits closed it. */
export const connectionLost = 'DATABASE_CONNECTION_LOST';

/** One of our time limits closed a connection, or ended the wait for one. */
export class DatabaseConnectionLost extends Error {
  readonly code = connectionLost;
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DatabaseConnectionLost';
  }
}

const ofConnections = new WeakSet<object>();

/** Remembers that an error came from a connection to the database, where its code alone (ECONNRESET) does not say so. Returns the error. */
export function markConnectionError<T>(error: T): T {
  if (typeof error === 'object' && error !== null) ofConnections.add(error);
  return error;
}

export function databaseErrorKind(error: unknown): DatabaseErrorKind | null {
  for (const one of chainOf(error)) {
    if (ofConnections.has(one) || isReleased(one)) return kindOf(codeOf(one)) ?? 'unavailable';
    const kind = kindOf(codeOf(one));
    if (kind) return kind;
  }
  return null;
}

/** The ORM releases a connection when it breaks; later calls in its transaction get these errors. */
const isReleased = (error: object): boolean =>
  error instanceof QueryRunnerAlreadyReleasedError || error instanceof QueryRunnerProviderAlreadyReleasedError;

/**
 * Returns the error that a caller receives when the database, or the disk below it, fails; null for every other error. Every place that
 * answers clients (the API, the panel, streams, WebSockets) uses it, so that none reports such a failure as a bug.
 */
export function databaseRefusal(error: unknown): AppError | null {
  const trouble = databaseErrorKind(error);
  const chain = [...chainOf(error)];
  if (trouble === 'full' || chain.some((one) => fullCodes.includes(codeOf(one) ?? ''))) return new AppError('STORAGE_FULL');
  if (trouble === 'unavailable') return new AppError('DATABASE_UNAVAILABLE');
  return chain.some(isStorageFailure) ? new AppError('STORAGE_UNAVAILABLE') : null;
}

/** Returns the error that a caller receives when a stored column that the request needs is damaged; null for every other error. */
export const damageRefusal = (error: unknown): AppError | null =>
  [...chainOf(error)].some((one) => one instanceof UnreadableColumnError) ? new AppError('STORED_DATA_UNREADABLE') : null;

/** Of Node: no room for a file, or the quota of the user is used up. */
const fullCodes: readonly string[] = ['ENOSPC', 'EDQUOT'];

/** Whether the database itself failed, not the call. */
export function isDatabaseDown(error: unknown): boolean {
  const kind = databaseErrorKind(error);
  return kind === 'unavailable' || kind === 'full';
}

/** Codes of Node for a disk, a descriptor or a connection, such as ENOSPC and ECONNRESET. Codes of its argument checks begin with ERR_. */
const systemCode = /^E(?!RR_)[A-Z0-9]{2,}$/;

/**
 * Whether the next item would fail in the same way: the database is down, or the disk or the network of this machine. The caller keeps the
 * item and repeats it. Everything else (a value that a column refuses, a bug in a handler) is the item's own fault, so the caller isolates it.
 */
export const isSystemError = (error: unknown): boolean => isDatabaseDown(error) || systemCode.test(codeOf(error) ?? '');

/** Codes of a lock that another transaction owns, of a full disk, and of an unreachable database: the statement is not the cause. */
const unrelated =
  /^(55P03|25006|53100|53300|57P0[1-3]|08\d\d\d|40001|40P01|SQLITE_(BUSY|LOCKED|FULL|READONLY)(_.*)?|SQLITE_IOERR_NOSPC|E(?!RR_)[A-Z0-9]{2,})$/;

/**
 * Whether a failure of the database was certainly not caused by the statement that met it. Other failures, such as a time limit, a broken
 * connection or a damaged page, may be caused by one statement, every time.
 */
export const isUnrelatedToStatement = (error: unknown): boolean => {
  for (const one of chainOf(error)) {
    const code = codeOf(one);
    if (code !== null) return unrelated.test(code);
  }
  return false;
};

/** Whether tables or columns are missing: only a restart, which migrates the database, makes it match this program again. */
export const isSchemaMissing = (error: unknown): boolean => {
  for (const one of chainOf(error)) if (['42P01', '42703'].includes(codeOf(one) ?? '')) return true;
  return false;
};

/** Whether a write violated a unique key. */
export const isConflict = (error: unknown): boolean => databaseErrorKind(error) === 'conflict';

/**
 * The driver's code of an error, or null. Looked up in the object alone: better-sqlite3 creates its errors with the `Error` of the realm
 * that loaded it first, so `instanceof` may not know them.
 */
export function codeOf(error: unknown): string | null {
  if (typeof error !== 'object' || error === null || !('code' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}

/** Five characters, of which the first is a digit or a capital; codes of Node (`EPIPE`) look alike but begin with E. */
const sqlState = /^[0-9A-DF-Z][0-9A-Z]{4}$/;

/**
 * Errors that a connection would return for the same statement forever, while a new connection may not: the session is read-only (it was opened while
 * the database was, or leads to a server that is a standby now), or its prepared statement is gone or no longer matches the tables.
 */
const connectionIsUnfit: readonly string[] = ['25006', '26000', '0A000'];

/** Whether the connection that gave this error has to be closed instead of being used again. */
export const needsNewConnection = (error: unknown): boolean => connectionIsUnfit.includes(codeOf(error) ?? '');

/** The error, what the ORM wrapped in it, what caused it, and the errors of an `AggregateError` (one for each address that was tried). */
function* chainOf(error: unknown): Iterable<object> {
  const open: unknown[] = [error];
  for (let steps = 0; open.length > 0 && steps < 10; steps += 1) {
    const one = open.shift();
    if (typeof one !== 'object' || one === null) continue;
    yield one;
    const { driverError, cause, errors } = one as { driverError?: unknown; cause?: unknown; errors?: unknown };
    open.push(driverError, cause, ...(Array.isArray(errors) ? (errors as unknown[]) : []));
  }
}

function kindOf(code: string | null): DatabaseErrorKind | null {
  if (code === null) return null;
  if (code === connectionLost) return 'unavailable';
  if (code.startsWith('SQLITE_')) return kindOfSqlite(code);
  return sqlState.test(code) ? kindOfSqlState(code) : null;
}

const sqliteUnavailable = /^SQLITE_(BUSY|LOCKED|IOERR|READONLY|CANTOPEN|PROTOCOL|INTERRUPT|NOMEM|CORRUPT|NOTADB|PERM|AUTH)(_|$)/;

function kindOfSqlite(code: string): DatabaseErrorKind | null {
  if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_NOSPC') return 'full';
  if (code === 'SQLITE_CONSTRAINT_UNIQUE' || code === 'SQLITE_CONSTRAINT_PRIMARYKEY') return 'conflict';
  if (code.startsWith('SQLITE_CONSTRAINT') || code === 'SQLITE_MISMATCH' || code === 'SQLITE_TOOBIG') return 'data';
  return sqliteUnavailable.test(code) ? 'unavailable' : null;
}

/** Of a SQLSTATE's first two characters, which name its class. */
const unavailableClasses: readonly string[] = [
  '08', // connection exceptions
  '28', // the password or pg_hba.conf were changed while we run
  '40', // rolled back: serialization failure, deadlock, completion unknown
  '53', // insufficient resources: too many connections, out of memory
  '57', // operator intervention: cancelled, shut down, starting up
  '58', // input and output errors of the server
  'XX', // internal errors and damage of the server, and what poolers answer for it when they cannot connect to it
];
const unavailableStates: readonly string[] = [
  '25006', // read-only: a standby after a failover
  '25P03', // idle in a transaction for too long
  '25P04', // the transaction took too long
  '26000', // the prepared statement is gone: the connection was given to another server, or was reset
  '3D000', // the database is not there (any more)
  '3F000', // nor is the schema
  '42P01', // nor is a table: the database was replaced by an older one, or by an empty one, while this program ran
  '42703', // nor is a column
  '42501', // the rights were taken away, or are not given yet after a failover
  '55006', // in use
  '55P03', // a lock was not given in time
];

function kindOfSqlState(code: string): DatabaseErrorKind | null {
  if (code === '53100') return 'full';
  if (code === '23505') return 'conflict';
  const sqlClass = code.slice(0, 2);
  if (sqlClass === '22' || sqlClass === '23') return 'data';
  return unavailableClasses.includes(sqlClass) || unavailableStates.includes(code) ? 'unavailable' : null;
}
