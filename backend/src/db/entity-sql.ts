import type { DataSource, EntityMetadata, ObjectLiteral } from 'typeorm';

/** SQL texts and stored values of entities, from TypeORM's metadata. Only rows.ts and additions.ts use them. */

export type Column = EntityMetadata['columns'][number];

/** A set of columns by their places in the table: one bit each, in numbers of 32 bits. */
class ColumnSet {
  private readonly words: number[] = [];

  add(place: number): void {
    const word = place >>> 5;
    while (this.words.length <= word) this.words.push(0);
    this.words[word]! |= 1 << (place & 31);
  }

  has(place: number): boolean {
    return (((this.words[place >>> 5] ?? 0) >>> (place & 31)) & 1) === 1;
  }

  /** The same text for the same set. */
  key(): string {
    return this.words.join(' ');
  }
}

/** The columns of an insert, and its text. */
export interface Insert {
  columns: readonly Column[];
  sql: string;
}

/** `one`: the text inserts one row and leaves out undefined values. `many`: any number of whole rows, on PostgreSQL. */
type InsertForm = 'one' | 'many';

/** The inserts of a table that were built, and its nullable columns without a default, by their places. */
interface KnownInserts {
  byColumns: Map<string, Insert>;
  canOmit: readonly boolean[];
}
const inserts = new WeakMap<EntityMetadata, KnownInserts>();

/** The maximum number of texts of a table that leave columns out: PostgreSQL prepares each of them on each connection. */
const maxNarrow = 32;

/**
 * Returns the insert of these rows without the columns that are null in all of them: a new message has 54 columns, and half of them say that
 * nothing has happened to it yet. Building the text costs more than running it, so each text is built once.
 */
export function insertOf(metadata: EntityMetadata, rows: readonly ObjectLiteral[], form: InsertForm): Insert {
  const { byColumns, canOmit } = knownInserts(metadata);
  const narrow = columnsIn(metadata, rows, form, canOmit);
  const found = byColumns.get(`${form} ${narrow.key()}`);
  if (found) return found;
  const which = byColumns.size < maxNarrow ? narrow : columnsIn(metadata, rows, form, []);
  const key = `${form} ${which.key()}`;
  let insert = byColumns.get(key);
  if (!insert) {
    const columns = metadata.columns.filter((_, place) => which.has(place));
    byColumns.set(key, (insert = { columns, sql: insertSql(metadata, columns, form) }));
  }
  return insert;
}

function knownInserts(metadata: EntityMetadata): KnownInserts {
  let known = inserts.get(metadata);
  if (!known) {
    const canOmit = metadata.columns.map((column) => column.isNullable && column.default === undefined);
    inserts.set(metadata, (known = { byColumns: new Map(), canOmit }));
  }
  return known;
}

/** The columns that an insert of these rows names. `canOmit`: those that it leaves out if they are null in all rows. Runs for each row on SQLite. */
function columnsIn(
  { columns }: EntityMetadata,
  rows: readonly ObjectLiteral[],
  form: InsertForm,
  canOmit: readonly boolean[],
): ColumnSet {
  const which = new ColumnSet();
  for (let place = 0; place < columns.length; place += 1) {
    const name = columns[place]!.propertyName;
    for (const row of rows) {
      const value: unknown = row[name];
      const isUsed = value === undefined ? form === 'many' && !canOmit[place] : value !== null || !canOmit[place];
      if (!isUsed) continue;
      which.add(place);
      break;
    }
  }
  return which;
}

function insertSql({ tableName }: EntityMetadata, columns: readonly Column[], form: InsertForm): string {
  const names = columns.map((column) => `"${column.databaseName}"`).join(', ');
  const source = form === 'many' ? unnested(columns) : `VALUES (${columns.map(() => '?').join(', ')})`;
  return `INSERT INTO "${tableName}" (${names}) ${source}`;
}

/** What an insert does to a row with the same primary key: replaces its values, or adds to its numbers. */
export type Change = 'replace' | 'add';

const upserts = new WeakMap<EntityMetadata, Map<Change, string>>();

/** On PostgreSQL the text inserts any number of rows, on SQLite one. */
export function upsertSql(metadata: EntityMetadata, change: Change, isPostgres: boolean): string {
  let known = upserts.get(metadata);
  if (!known) upserts.set(metadata, (known = new Map()));
  let written = known.get(change);
  if (!written) {
    const { columns, primaryColumns, tableName } = metadata;
    const quoted = (some: readonly Column[]): string => some.map(({ databaseName }) => `"${databaseName}"`).join(', ');
    const set = columns
      .filter((column) => !column.isPrimary)
      .map(({ databaseName: name }) => `"${name}" = ${change === 'add' ? `"${tableName}"."${name}" + ` : ''}excluded."${name}"`);
    const source = isPostgres ? unnested(columns) : `VALUES (${columns.map(() => '?').join(', ')})`;
    const onConflict = `ON CONFLICT (${quoted(primaryColumns)}) DO UPDATE SET ${set.join(', ')}`;
    written = `INSERT INTO "${tableName}" (${quoted(columns)}) ${source} ${onConflict}`;
    known.set(change, written);
  }
  return written;
}

/** The columns that a read returns, and the beginning of its text. */
export interface Selection {
  columns: readonly Column[];
  sql: string;
}
const selections = new WeakMap<EntityMetadata, Map<string, Selection>>();

/** Returns the selection of the columns that are always read and those that `also` names. */
export function selectionOf(metadata: EntityMetadata, also: readonly string[]): Selection {
  let known = selections.get(metadata);
  if (!known) selections.set(metadata, (known = new Map()));
  const key = also.join();
  let selection = known.get(key);
  if (!selection) {
    const columns = metadata.columns.filter(({ isSelect, propertyName }) => isSelect || also.includes(propertyName));
    const names = columns.map((column) => `"${column.databaseName}"`).join(', ');
    known.set(key, (selection = { columns, sql: `SELECT ${names} FROM "${metadata.tableName}"` }));
  }
  return selection;
}

/** The value as the column's transformer writes it; SQLite has no booleans. */
export function toStored(source: DataSource, { transformer }: Column, value: unknown): unknown {
  const written: unknown = transformer && !Array.isArray(transformer) ? transformer.to(value) : value;
  return typeof written === 'boolean' && source.options.type !== 'postgres' ? Number(written) : written;
}

export function hydrate<T extends ObjectLiteral>(
  metadata: EntityMetadata,
  columns: readonly Column[],
  raw: Record<string, unknown>,
): T {
  const entity = metadata.create() as Record<string, unknown>;
  for (const { transformer, propertyName, databaseName, type } of columns) {
    const value = raw[databaseName];
    const read: unknown = transformer && !Array.isArray(transformer) ? transformer.from(value) : value;
    entity[propertyName] = type === 'boolean' && typeof read === 'number' ? read === 1 : read;
  }
  return entity as T;
}

export const unnested = (columns: readonly Column[]): string =>
  `SELECT * FROM unnest(${columns.map((column) => `?::${arrayTypes[String(column.type)] ?? 'text[]'}`).join(', ')})`;

export const columnwise = (source: DataSource, columns: readonly Column[], rows: readonly ObjectLiteral[]): unknown[] =>
  columns.map((column) => rows.map((row) => toStored(source, column, row[column.propertyName]) ?? null));

/** PostgreSQL's array types of the column types in columns.ts that are not text. */
const arrayTypes: Record<string, string> = { bigint: 'bigint[]', integer: 'integer[]', boolean: 'boolean[]' };
