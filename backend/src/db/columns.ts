import type { ColumnOptions, ValueTransformer } from 'typeorm';

type More = Pick<ColumnOptions, 'nullable' | 'select' | 'default'>;

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
  to: (value: unknown) => (value === null || value === undefined ? value : JSON.stringify(value)),
  from: (value: unknown) => (typeof value === 'string' ? (JSON.parse(value) as unknown) : value),
};
const asNumber: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: unknown) => (value === null || value === undefined ? value : Number(value)),
};

const varying = <M extends More>(length: number, more: M) => ({ type: 'varchar' as const, length, ...more });
const plain = <T extends 'text' | 'integer' | 'boolean', M extends More>(type: T, more: M) => ({ type, ...more });
const through = <T extends 'text' | 'bigint', M extends More>(type: T, transformer: ValueTransformer, more: M) => ({
  type,
  transformer,
  ...more,
});

// The type of `more` is kept, because a primary column must not be nullable and TypeORM's types say so.
const none: Record<never, never> = {};
export const column = {
  id: <M extends More>(more: M = none as M) => varying(36, more),
  string: <M extends More>(length: number, more: M = none as M) => varying(length, more),
  text: <M extends More>(more: M = none as M) => plain('text', more),
  integer: <M extends More>(more: M = none as M) => plain('integer', more),
  big: <M extends More>(more: M = none as M) => through('bigint', asNumber, more),
  flag: <M extends More>(more: M = none as M) => plain('boolean', more),
  time: <M extends More>(more: M = none as M) => through('bigint', asDate, more),
  json: <M extends More>(more: M = none as M) => through('text', asJson, more),
};

export const nullable = { nullable: true } as const;
