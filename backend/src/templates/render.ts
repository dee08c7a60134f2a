import { AppError, validationError, type FieldError } from '@chasqui/shared';
import { formatValue, formatOf, type Format, type Locale } from './formats.js';

/**
 * Placeholders in the contents of templates and bulk jobs. A placeholder may be in any string of a content, never in the name of a field:
 *
 * | placeholder | becomes |
 * | --- | --- |
 * | `{{name}}` | the value of the variable; it must have one |
 * | `{{name\|there}}` | the value, or `there` if the variable is absent or an empty text |
 * | `{{amount\|number}}`, `{{amount\|currency:EUR}}` | a number as the account's language writes it |
 * | `{{when\|date}}`, `{{when\|time}}`, `{{when\|datetime}}` | a time in the account's language and time zone |
 * | `{{amount\|number\|unknown}}` | both: the format comes first, and the default is inserted as it is |
 * | `{{kind\|text\|date}}` | the value unchanged, or the default `date`: `text` must come before a default that is the name of a format |
 *
 * Names consist of letters, digits and underscores, and do not begin with a digit. Blanks around names, formats and defaults are ignored. Braces that
 * are not a placeholder are left unchanged; `faultyPlaceholders` returns those that look like one. An inserted value is not parsed again: `{{other}}`
 * in a value stays text. All functions are pure and take time proportional to the content and the result.
 */

export type Variables = Record<string, string | number | boolean>;
export type { Locale } from './formats.js';

/**
 * The maximum length of all strings of a filled content, in UTF-16 units. It limits the memory that a short content can take by repeating a long
 * value.
 */
export const maxFilledLength = 262_144;

interface Placeholder {
  name: string;
  format: Format;
  /** Null if there is none. */
  fallback: string | null;
}

/** Returns the names of the variables of a content, in the order in which they appear, each once. */
export function variablesIn(content: unknown): string[] {
  return [...new Set([...placeholdersIn(content)].map(({ name }) => name))];
}

/** Returns the names of the variables that need a value and have none, in the order in which they appear, each once. */
export function missingVariables(content: unknown, variables: Variables): string[] {
  const missing = new Set<string>();
  for (const { name, fallback } of placeholdersIn(content))
    if (fallback === null && valueOf(variables, name) === undefined) missing.add(name);
  return [...missing];
}

/**
 * Returns the content with its placeholders replaced; the content itself is not changed. Throws `MISSING_VARIABLE` with the names in
 * `details.variables`, and `VALIDATION_FAILED` for a value that does not fit its format or if the result is longer than `maxFilledLength`.
 */
export function fill<T>(content: T, variables: Variables, locale: Locale): T {
  const missing = missingVariables(content, variables);
  if (missing.length > 0) throw missingVariable(missing);
  let length = 0;
  const errors = new Map<string, FieldError>();
  const insert = (placeholder: Placeholder): string => {
    const replacement = replacementOf(placeholder, variables, locale);
    if (typeof replacement === 'string') return replacement;
    errors.set(replacement.path, replacement);
    return '';
  };
  const filled = mapStrings(content, (text) => {
    let result = '';
    let end = 0;
    const add = (part: string): void => {
      length += part.length;
      if (length > maxFilledLength) throw tooLong();
      result += part;
    };
    for (const { match, index, placeholder } of matches(text)) {
      if (!placeholder) continue;
      add(text.slice(end, index));
      add(insert(placeholder));
      end = index + match.length;
    }
    add(text.slice(end));
    return result;
  });
  if (errors.size > 0) throw validationError([...errors.values()]);
  return filled as T;
}

/** Returns the texts in double braces that are not valid placeholders, such as `{{first name}}`, each once. */
export function faultyPlaceholders(content: unknown): string[] {
  const faulty = new Set<string>();
  for (const text of stringsIn(content)) for (const { match, placeholder } of matches(text)) if (!placeholder) faulty.add(match);
  return [...faulty];
}

/** Whether a text has a placeholder. */
export const hasVariables = (text: string): boolean => matches(text).some(({ placeholder }) => placeholder !== null);

/** Returns the error `MISSING_VARIABLE`, with the names in `details.variables`. */
export const missingVariable = (variables: string[]): AppError =>
  new AppError('MISSING_VARIABLE', { variables }, `These variables have no value: ${variables.slice(0, 20).join(', ')}.`);

const tooLong = (): AppError =>
  validationError([
    {
      path: 'variables',
      code: 'TOO_BIG',
      message: `The content is longer than ${maxFilledLength} characters once it is filled.`,
    },
  ]);

/** A placeholder contains no braces, so that a search reads no character more than twice. */
const placeholderForm = /\{\{([^{}]*)\}\}/g;
const nameForm = /^[\p{L}_][\p{L}\p{M}\p{N}_]{0,63}$/u;

interface Match {
  match: string;
  index: number;
  /** Null: the braces are not a valid placeholder. */
  placeholder: Placeholder | null;
}

function matches(text: string): Match[] {
  if (!text.includes('{{')) return [];
  return [...text.matchAll(placeholderForm)].map(({ 0: match, 1: inner, index }) => ({
    match,
    index,
    placeholder: parsePlaceholder(inner!),
  }));
}

function parsePlaceholder(inner: string): Placeholder | null {
  const [name, ...rest] = inner.split('|').map((part) => part.trim());
  if (!name || !nameForm.test(name)) return null;
  if (rest.length === 0) return { name, format: { kind: 'text' }, fallback: null };
  const format = formatOf(rest[0]!);
  if (format === 'faulty') return null;
  const fallback = format ? rest.slice(1) : rest;
  return { name, format: format ?? { kind: 'text' }, fallback: fallback.length > 0 ? fallback.join('|') : null };
}

function* placeholdersIn(content: unknown): Generator<Placeholder> {
  for (const text of stringsIn(content)) for (const { placeholder } of matches(text)) if (placeholder) yield placeholder;
}

function* stringsIn(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  else if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) yield* stringsIn(inner);
}

function mapStrings(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value);
  if (Array.isArray(value)) return value.map((item) => mapStrings(item, change));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, mapStrings(inner, change)]));
}

const valueOf = (variables: Variables, name: string): string | number | boolean | undefined =>
  Object.hasOwn(variables, name) ? variables[name] : undefined;

/** Returns the text that replaces a placeholder, or the error of a value that does not fit its format. */
function replacementOf({ name, format, fallback }: Placeholder, variables: Variables, locale: Locale): string | FieldError {
  const value = valueOf(variables, name);
  if (value === undefined || (value === '' && fallback !== null)) return fallback ?? '';
  const formatted = formatValue(value, format, locale);
  if (formatted !== null) return formatted;
  const message = `The value does not fit the format ${format.kind}. ${format.kind === 'number' || format.kind === 'currency' ? 'Send a number.' : 'Send a time such as 2026-11-20T20:15:00Z, or a date such as 2026-11-20.'}`;
  return { path: `variables.${name}`, code: 'INVALID_VARIABLE', message };
}
