import type { z } from 'zod';
import type { ControlOperations } from './index.js';
import type { Operation } from './operation.js';

export interface Described {
  name: string;
  about: string;
  /** The names of the input's fields, with a question mark after optional ones. */
  fields: string[];
}

/** Describes the control API, for `GET /api` and the README. */
export function reference(operations: ControlOperations): Described[] {
  return Object.entries(operations as unknown as Record<string, Operation>).map(([name, { about, input }]) => {
    const { shape } = input as z.ZodObject;
    const fields = Object.entries(shape).map(([field, type]) =>
      (type as z.ZodType).safeParse(undefined).success ? `${field}?` : field,
    );
    return { name, about, fields };
  });
}

export const asTable = (described: Described[]): string =>
  [
    '| operation | fields | what it does |',
    '| --- | --- | --- |',
    ...described.map(
      ({ name, about, fields }) => `| \`${name}\` | ${fields.length ? `\`${fields.join(', ')}\`` : '–'} | ${about} |`,
    ),
  ].join('\n');
