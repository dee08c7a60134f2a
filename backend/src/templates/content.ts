import {
  fileOptionFields,
  fileSourceFields,
  isMediaType,
  mediaTypes,
  requestOf,
  requestTypes,
  validationError,
  type FieldError,
  type FileOptionValues,
  type MediaType,
  type RequestType,
} from '@chasqui/shared';
import { fieldErrors } from '@chasqui/shared/express';
import { z } from 'zod';
import { faultyPlaceholders, fill, hasVariables, variablesIn, type Locale, type Variables } from './render.js';

/** The contents of templates, and what a request to send makes of them. */

export const templateTypes = [...requestTypes, ...mediaTypes] as const;
export type TemplateType = RequestType | MediaType;
export type Fields = Record<string, unknown>;

/** Fields of a file template. Its bytes are an upload, or are downloaded. */
export interface FileFields extends FileOptionValues {
  mediaId?: string | undefined;
  mediaUrl?: string | undefined;
  mimetype?: string | undefined;
  filename?: string | undefined;
}

/** The maximum length of a content as JSON. */
export const maxContent = 131_072;

const { mediaUrl, mediaId, mimetype, filename } = fileSourceFields;
const fileFields = z.strictObject({ mediaUrl, mediaId, mimetype, filename, ...fileOptionFields });

const schemas = new Map<TemplateType, z.ZodType>(
  templateTypes.map((type) => [type, isMediaType(type) ? fileFields : z.strictObject(requestOf(type).fields)]),
);

/**
 * Checks a content by the schema of its type, with the variables in place: a value with a variable may become right once it is filled, and is
 * checked again then. Throws `VALIDATION_FAILED`, with paths that begin with `content`.
 */
export function checkContent(type: TemplateType, content: Fields, countryCode?: string): void {
  const errors = faultyPlaceholders(content).map((placeholder) => problem('', 'INVALID_PLACEHOLDER', faulty(placeholder)));
  if (JSON.stringify(content).length > maxContent)
    errors.push(problem('', 'TOO_BIG', `The content is longer than ${maxContent} characters of JSON.`));
  const result = schemas.get(type)!.safeParse(content);
  const issues = result.error?.issues ?? [];
  errors.push(...prefixed(fieldErrors(issues.filter((issue) => !mayBecomeRight(issue, content)))));
  if (isMediaType(type)) errors.push(...sourceErrors(content));
  if (errors.length > 0) throw validationError(errors);
  // What a schema cannot check, such as the order of two times.
  if (!isMediaType(type) && result.success && variablesIn(content).length === 0)
    withPrefix(() => contentOf(type, result.data as Fields, countryCode));
}

/** Returns the fields of a send request: the content with its variables filled, checked by the type's schema. Throws as `fill`, and `VALIDATION_FAILED`. */
export function filledFields(type: TemplateType, content: Fields, variables: Variables, locale: Locale): Fields {
  const filled = fill(content, variables, locale);
  const result = schemas.get(type)!.safeParse(filled);
  if (!result.success) throw validationError(prefixed(fieldErrors(result.error.issues)));
  return result.data as Fields;
}

/** Returns the content of a message of a type without a file. `countryCode`: see `RequestContext`. */
export const contentOf = (type: RequestType, fields: Fields, countryCode?: string) =>
  requestOf(type).toContent(fields, { countryCode });

const faulty = (placeholder: string): string =>
  `${placeholder.slice(0, 80)} is not a variable. Names have letters, digits and underscores: {{name}}, {{name|default}}, {{amount|currency:EUR}}.`;

/** No variable makes a list or a flag of a text or changes the length of a list, and no field becomes known. */
function mayBecomeRight(issue: z.core.$ZodIssue, content: Fields): boolean {
  if (issue.code === 'unrecognized_keys' || issue.code === 'invalid_type') return false;
  const value = valueAt(content, issue.path);
  if (Array.isArray(value) && (issue.code === 'too_small' || issue.code === 'too_big')) return false;
  return typeof value === 'string' ? hasVariables(value) : variablesIn(value).length > 0;
}

const valueAt = (content: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined),
    content,
  );

function sourceErrors({ mediaId: id, mediaUrl: url, mimetype: type }: Fields): FieldError[] {
  if ((id === undefined) === (url === undefined))
    return [
      problem(
        'mediaId',
        id === undefined ? 'REQUIRED' : 'AMBIGUOUS',
        'Name the file by mediaId (POST /api/v1/media) or by mediaUrl.',
      ),
    ];
  // A file by its id is copied when the template is created.
  return [['mediaId', id] as const, ['mimetype', type] as const].flatMap(([name, value]) =>
    typeof value === 'string' && hasVariables(value)
      ? [problem(name, 'INVALID_FORMAT', `${name} cannot have variables. Use them in mediaUrl.`)]
      : [],
  );
}

const problem = (path: string, code: string, message: string): FieldError => ({
  path: path ? `content.${path}` : 'content',
  code,
  message,
});
const prefixed = (errors: readonly FieldError[]): FieldError[] =>
  errors.map(({ path, code, message }) => problem(path, code, message));

function withPrefix(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    const fields = (error as { details?: { fields?: FieldError[] } }).details?.fields;
    throw fields ? validationError(prefixed(fields)) : error;
  }
}
