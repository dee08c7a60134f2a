import Sqlite from 'better-sqlite3';

/**
 * Watches how SQLite finds the rows of a list of keys (`among`). Without statistics it may prefer the index of another condition, such as a status, and
 * read thousands of rows to find a few: then every call costs more, the more rows wait, and blocks the process meanwhile. Such a condition must be written
 * in a form that no index has (`status || '' = ?`).
 */

/** Lists whose rows are filtered among a few others on purpose. */
const filtered = [
  /usage_chats.*"accountId" = \?/,
  /FROM privacy_requests WHERE kind = 'export'/,
  /FROM sessions WHERE "deletedAt" IS NULL AND status = 'connected' AND "workerId"/,
];

const list = ' IN (SELECT value FROM json_each(?))';

/** Texts whose lists SQLite does not look up in an index, with their plans. */
const found = new Map<string, string>();
const seen = new Set<string>();
let isWatching = false;

export function watchLists(): void {
  if (isWatching) return;
  isWatching = true;
  const { prepare } = Sqlite.prototype;
  Sqlite.prototype.prepare = function (this: Sqlite.Database, text: string) {
    if (text.includes('json_each(?)') && !text.startsWith('EXPLAIN') && !seen.has(text)) {
      seen.add(text);
      const plan = planOf((sql) => prepare.call(this, sql), text);
      if (plan !== null && columnsOf(text).some((column) => !isLookedUp(plan, column))) found.set(text, plan.join('\n  '));
    }
    return prepare.call(this, text);
  } as typeof prepare;
}

/** Throws if a statement since the last call reads more rows than those of its list. */
export function requireLists(): void {
  const texts = [...found].filter(([text]) => !filtered.some((pattern) => pattern.test(text.replace(/\s+/g, ' '))));
  found.clear();
  if (texts.length > 0)
    throw new Error(`SQLite does not look up these lists:\n${texts.map(([text, plan]) => `${text}\n  ${plan}`).join('\n\n')}`);
}

function planOf(prepare: (sql: string) => Sqlite.Statement, text: string): string[] | null {
  const values = Array.from({ length: text.match(/\?/g)?.length ?? 0 }, () => '1');
  try {
    return (prepare(`EXPLAIN QUERY PLAN ${text}`).all(...values) as { detail: string }[]).map(({ detail }) => detail);
  } catch {
    return null; // A text for another connection, or one that a test made wrong.
  }
}

/** The columns that must have one of the values of a list. Not those of `NOT (… IN …)`; expressions have no index. */
const columnsOf = (text: string): string[] =>
  text
    .split(list)
    .slice(0, -1)
    .flatMap((before) => {
      const [operator, column] = before.slice(-100).split(/\s/).slice(-2);
      return operator === 'NOT' || operator === '||' ? [] : [column!.replace(/^[("]*(?:\w\.)?"?|"$/g, '')];
    });

const isLookedUp = (plan: readonly string[], column: string): boolean =>
  plan.some((detail) => new RegExp(`[( ](?:${column}|rowid)=\\?`).test(detail));
