import type { ColumnOptions, ValueTransformer } from 'typeorm';
import { parseColumn, storedTextOf } from './unreadable.js';

type More = Pick<ColumnOptions, 'select' | 'default'>;

/**
 * Column types that are the same on SQLite and PostgreSQL, so that one set of entities and one set of migrations serves both and
 * nothing is chosen per dialect (docs/decisions/030-portable-columns.md): times are whole milliseconds since 1970 in a bigint,
 * JSON is text (it keeps its bytes, which signatures need), ids are text.
 */

const asDate: ValueTransformer = {
  to: (value: unknown) => (value instanceof Date ? value.getTime() : value),
  from: (value: unknown) => (value === null || value === undefined ? value : new Date(Number(value))),
};
const asJson: ValueTransformer = {
  // An unreadable value is written back unchanged.
  to: (value: unknown) => (value === null || value === undefined ? value : (storedTextOf(value) ?? JSON.stringify(value))),
  from: (value: unknown) => (typeof value === 'string' ? parseColumn(value) : value),
};
const asNumber: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: unknown) => (value === null || value === undefined ? value : Number(value)),
};

export const column = {
  id: (more: More = {}) => ({ type: 'varchar' as const, length: 36, ...more }),
  string: (length: number, more: More = {}) => ({ type: 'varchar' as const, length, ...more }),
  text: (more: More = {}) => ({ type: 'text' as const, ...more }),
  integer: (more: More = {}) => ({ type: 'integer' as const, ...more }),
  big: (more: More = {}) => ({ type: 'bigint' as const, transformer: asNumber, ...more }),
  flag: (more: More = {}) => ({ type: 'boolean' as const, ...more }),
  time: (more: More = {}) => ({ type: 'bigint' as const, transformer: asDate, ...more }),
  json: (more: More = {}) => ({ type: 'text' as const, transformer: asJson, ...more }),
};

/** The same column, nullable. */
export const orNull = (options: ColumnOptions): ColumnOptions => ({ ...options, nullable: true });
