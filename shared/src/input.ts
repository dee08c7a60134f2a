import { z } from 'zod';
import type { FieldError } from './errors.js';

/**
 * Checks that apply to every value from outside, whatever its schema says, and schemas for values that arrive as text.
 *
 * PostgreSQL has no U+0000 in a text column, so such a string would be accepted by one database and fail in the other. The number of
 * values and their depth bound what validation and error reporting cost.
 */

/** More values than most requests of the API need: the longest list that a schema allows has some hundred items. A route may allow more. */
const usualMaxValues = 20_000;
const maxDepth = 32;

/** The first problem of a value, or null when it is fit to be validated. Walks iteratively: nesting cannot exhaust the stack. */
export function findUnfit(value: unknown, maxValues = usualMaxValues): FieldError | null {
  if (typeof value === 'string') return value.includes('\0') ? nulIn('') : null;
  if (typeof value !== 'object' || value === null) return null;
  const pending: { value: object; path: string; depth: number }[] = [{ value, path: '', depth: 1 }];
  let values = 0;
  for (let next = pending.pop(); next; next = pending.pop()) {
    if (next.depth > maxDepth) return { path: next.path, code: 'TOO_BIG', message: `Nested deeper than ${maxDepth} levels.` };
    for (const name in next.value) {
      if (!Object.hasOwn(next.value, name)) continue;
      values += 1;
      if (values > maxValues) return { path: '', code: 'TOO_BIG', message: `More than ${maxValues} values.` };
      const inner = (next.value as Record<string, unknown>)[name];
      const path = next.path === '' ? name : `${next.path}.${name}`;
      if (name.includes('\0') || (typeof inner === 'string' && inner.includes('\0'))) return nulIn(path);
      if (typeof inner === 'object' && inner !== null) pending.push({ value: inner, path, depth: next.depth + 1 });
    }
  }
  return null;
}

const nulIn = (path: string): FieldError => ({
  path: path.replaceAll('\0', '\\u0000').slice(0, 200),
  code: 'INVALID_CHARACTER',
  message: 'The character U+0000 is not allowed. Remove it.',
});

/**
 * A number from `min` to `max`, as a number or as decimal text (query strings and forms have only text). Nothing else becomes a
 * number: `null`, an empty text, `true` or `0x10` would otherwise be read as 0, 1 or 16.
 */
export const decimal = (min: number, max: number) =>
  numberFrom(/^[+-]?(\d+(\.\d*)?|\.\d+)$/, 'Write a decimal number such as -23.55.', z.number().min(min).max(max));

/** A whole number, by the rules of `decimal`. */
export const whole = (min: number, max: number) =>
  numberFrom(/^[+-]?\d+$/, 'Write a whole number.', z.number().int().min(min).max(max));

/**
 * An instant as a caller writes it. An offset can move the ends of the years 0 and 9999 into years that have no four digits in UTC; such a time could be
 * stored, but no reply could name it.
 */
export const instant = z.iso.datetime({ offset: true }).refine((text) => {
  const year = new Date(text).getUTCFullYear();
  // NaN: another check has refused the text.
  return !(year < 0 || year > 9_999);
}, 'The year of this time must have four digits in UTC.');

const numberFrom = (form: RegExp, message: string, range: z.ZodNumber) =>
  z.union([range, z.string().trim().regex(form, message).transform(Number).pipe(range)]);

/** Several values of a query parameter, separated by commas, each once. `extra`: names of several values. An unknown value is refused by name. */
export const commaList = <T extends string>(values: readonly T[], extra: Record<string, readonly T[]> = {}) =>
  z
    .string()
    .max(200)
    .transform((value, context): T[] => {
      const named = value.split(',').flatMap((item): readonly T[] => {
        if ((values as readonly string[]).includes(item)) return [item as T];
        // `constructor` is not a name of this table, though every object has one.
        const several = Object.hasOwn(extra, item) ? extra[item] : undefined;
        if (several) return several;
        context.addIssue({ code: 'custom', message: `${item} is not one of ${values.join(', ')}.` });
        return [];
      });
      return [...new Set(named)];
    })
    .optional();
