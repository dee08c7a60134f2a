import type { DataSource, EntityMetadata, ObjectLiteral } from 'typeorm';

/** SQL texts and stored values of entities, from TypeORM's metadata. Only rows.ts uses them. */

export type Column = EntityMetadata['columns'][number];

export const columnsToRead = ({ columns }: EntityMetadata, also: readonly string[]): Column[] =>
  columns.filter((column) => column.isSelect || also.includes(column.propertyName));

/** A set of columns by their places in the table: one bit each, in numbers of 32 bits. */
class ColumnSet {
  private readonly words: number[] = [];

  add(place: number): void {
    const word = place >>> 5;
    while (this.words.length <= word) this.words.push(0);
    this.words[word]! |= 1 << (place & 31);
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

const inserts = new WeakMap<EntityMetadata, Map<string, Insert>>();

/** The maximum number of texts of a table that leave columns out: PostgreSQL prepares each of them on each connection. */
const maxNarrow = 32;

/**
 * Returns the insert of these rows without the columns that are null in all of them: a new message has 54 columns, and half of them say that
 * nothing has happened to it yet. Building the text costs more than running it, so each text is built once.
 */
export function insertOf(metadata: EntityMetadata, rows: readonly ObjectLiteral[], form: InsertForm): Insert {
  let known = inserts.get(metadata);
  if (!known) inserts.set(metadata, (known = new Map()));
  const canNarrow = known.size < maxNarrow;
  const narrow = columnsIn(metadata, rows, form, true);
  const found = known.get(`${form} ${narrow.which.key()}`);
  if (found) return found;
  const { columns, which } = canNarrow ? narrow : columnsIn(metadata, rows, form, false);
  const key = `${form} ${which.key()}`;
  let insert = known.get(key);
  if (!insert) known.set(key, (insert = { columns, sql: insertSql(metadata, columns, form) }));
  return insert;
}

function columnsIn(
  { columns }: EntityMetadata,
  rows: readonly ObjectLiteral[],
  form: InsertForm,
  isNarrow: boolean,
): { columns: Column[]; which: ColumnSet } {
  const which = new ColumnSet();
  const used = columns.filter((column, place) => {
    const canOmit = isNarrow && column.isNullable && column.default === undefined;
    const isUsed = rows.some((row) => {
      const value: unknown = row[column.propertyName];
      return value === undefined ? form === 'many' && !canOmit : value !== null || !canOmit;
    });
    if (isUsed) which.add(place);
    return isUsed;
  });
  return { columns: used, which };
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

const selects = new WeakMap<EntityMetadata, Map<string, string>>();

export function selectSql(metadata: EntityMetadata, columns: readonly Column[]): string {
  let known = selects.get(metadata);
  if (!known) selects.set(metadata, (known = new Map()));
  // Columns that are always read are in every set; the others identify it.
  const key = columns
    .filter(({ isSelect }) => !isSelect)
    .map(({ propertyName }) => propertyName)
    .join();
  let written = known.get(key);
  if (!written) {
    written = `SELECT ${columns.map((column) => `"${column.databaseName}"`).join(', ')} FROM "${metadata.tableName}"`;
    known.set(key, written);
  }
  return written;
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
