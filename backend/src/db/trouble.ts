import { codeOf } from './rows.js';

/** SQLite codes that describe the file or the disk, not the row that was being written. */
const sqliteTrouble =
  /^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CORRUPT|NOTADB|CANTOPEN|NOMEM|INTERRUPT|PROTOCOL|PERM|AUTH|SCHEMA)(_|$)/;

/**
 * PostgreSQL classes that describe the connection, the server or other transactions: connection exception, read-only or aborted
 * transaction, rollback by a deadlock, out of resources, lock not available, operator intervention, system error.
 */
const postgresTrouble = /^(08|25|40|53|55|57|58)[0-9A-Z]{3}$/;

/** Error codes of Node for a connection or a disk, such as ECONNRESET and ENOSPC. Codes of Node's own argument checks begin with ERR_. */
const systemTrouble = /^E(?!RR_)[A-Z0-9]{2,}$/;

/**
 * Whether an error is about the database itself and not about the item that was being written. The caller keeps the item and repeats it.
 * Everything else (a value that a column refuses, a bug in a handler) fails in the same way when it is repeated, so the caller
 * isolates the item.
 */
export function isDatabaseTrouble(error: unknown): boolean {
  const code = codeOf(error);
  if (code === null) return false;
  return sqliteTrouble.test(code) || postgresTrouble.test(code) || systemTrouble.test(code);
}
