import type { BasePropertyJSON } from 'adminjs';
import type { Field } from '../../src/admin/tables.js';
import { bulkWord, messageWord, sessionWord } from '../words.js';

/** Filters are in the address of a list: `filters.status=failed`, and `filters.createdAt~~from=…` for times. */

export type FilterKind = NonNullable<Field['filter']>;

export const kindOf = (property: BasePropertyJSON): FilterKind | undefined => (property.custom as { filter?: FilterKind }).filter;

/** The words of a value that can be chosen. */
export function valueWord(table: string, property: string, value: string): string {
  if (property !== 'status') return value;
  if (table === 'sessions') return sessionWord(value)[0];
  return table === 'bulk' ? bulkWord(value)[0] : messageWord(value)[0];
}

/** Sets or removes one filter, and returns to the first page. */
export function withFilter(search: string, name: string, value: string): string {
  const next = new URLSearchParams(search);
  next.delete('page');
  if (value) next.set(`filters.${name}`, value);
  else next.delete(`filters.${name}`);
  return next.toString();
}

/** The filters of an address, without the prefix. */
export const filtersIn = (search: string): [name: string, value: string][] =>
  [...new URLSearchParams(search)].flatMap(([key, value]) =>
    key.startsWith('filters.') && value ? [[key.slice(8), value]] : [],
  );
