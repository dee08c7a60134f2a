import { z } from 'zod';
import type { FieldError } from './errors.js';

/**
 * Why the fields of a body were refused, in sentences for people. A schema that has its own sentence keeps it; for all others this file replaces
 * zod's, such as `Invalid input: expected string, received undefined`.
 */

/** Converts zod's issues to `details.fields` of the API. For a union, those of the branch with the fewest issues are returned. */
export function fieldErrors(issues: readonly z.core.$ZodIssue[]): FieldError[] {
  return issues.flatMap((issue): FieldError[] => {
    const path = issue.path.map(String).join('.');
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        path: path ? `${path}.${key}` : key,
        code: 'UNKNOWN_FIELD',
        message: 'Unknown field. Remove it, or check its spelling.',
      }));
    }
    if (issue.code === 'invalid_union' && issue.errors.length > 0) {
      const best = [...issue.errors].sort((a, b) => a.length - b.length)[0]!;
      return fieldErrors(best.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })));
    }
    // A name in a record: what is wrong with it is said by the schema of the names.
    if (issue.code === 'invalid_key' && issue.issues.length > 0)
      return fieldErrors(issue.issues.map((inner) => ({ ...inner, path: issue.path })));
    if (issue.code === 'custom' && typeof issue.params?.['code'] === 'string')
      return [{ path, code: issue.params['code'], message: issue.message }];
    return [{ path, code: issue.code.toUpperCase(), message: issue.message }];
  });
}

type RawIssue = Parameters<z.core.$ZodErrorMap>[0];

const kinds: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  null: 'null',
  date: 'a time',
};

const formats: Readonly<Record<string, string>> = {
  datetime: 'a time in ISO 8601 with its zone, such as 2026-01-31T12:00:00Z',
  date: 'a date, such as 2026-01-31',
  time: 'a time of day, such as 09:30',
  email: 'an e-mail address',
  url: 'a URL',
  base64: 'base64',
  uuid: 'a UUID',
  ipv4: 'an IPv4 address',
  ipv6: 'an IPv6 address',
};

/** How many values of a choice are named. */
const maxNamed = 20;

/** What is counted by the limits of a value of this kind, after the number; empty for numbers. */
function countedBy(origin: string, limit: number | bigint): string {
  const isOne = Number(limit) === 1;
  if (origin === 'string') return isOne ? ' character' : ' characters';
  if (origin === 'array' || origin === 'set' || origin === 'map') return isOne ? ' entry' : ' entries';
  return '';
}

function limitSentence(issue: RawIssue & { code: 'too_small' | 'too_big' }): string {
  const isSmall = issue.code === 'too_small';
  const limit = isSmall ? issue.minimum : issue.maximum;
  const { origin, inclusive = true } = issue;
  const counts = countedBy(origin, limit);
  if (isSmall && counts && Number(limit) === 1 && inclusive) return 'Must not be empty.';
  const bound = inclusive ? (isSmall ? 'at least' : 'at most') : isSmall ? 'more than' : 'less than';
  return counts ? `Must have ${bound} ${limit}${counts}.` : `Must be ${bound} ${limit}.`;
}

/** The sentence of an issue whose schema has none. `undefined`: zod's own. */
export function sentenceOf(issue: RawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'Required.' : `Must be ${kinds[issue.expected] ?? issue.expected}.`;
    case 'too_small':
    case 'too_big':
      return limitSentence(issue as RawIssue & { code: 'too_small' | 'too_big' });
    case 'invalid_format':
      return `Must be ${formats[issue.format] ?? 'in the form that the documents show'}.`;
    case 'invalid_value':
      if (issue.input === undefined) return 'Required.';
      return choiceSentence(issue.values.map(String));
    case 'not_multiple_of':
      return `Must be a multiple of ${issue.divisor}.`;
    case 'invalid_union':
      return issue.input === undefined ? 'Required.' : 'Matches none of the allowed forms.';
    default:
      return undefined;
  }
}

function choiceSentence(values: readonly string[]): string {
  if (values.length === 1) return `Must be ${values[0]}.`;
  const more = values.length > maxNamed ? ` and ${values.length - maxNamed} others` : '';
  return `Must be one of ${values.slice(0, maxNamed).join(', ')}${more}.`;
}

z.config({ customError: sentenceOf });
