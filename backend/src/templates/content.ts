import {
  fieldErrors,
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
import { z } from 'zod';
import { faultyPlaceholders, fill, hasVariables, variablesIn, type Locale, type Variables } from './render.js';

/** The contents of templates: their schemas, their checks, and the send request that a filled content becomes. */

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
 * Checks a content against the schema of its type. A value with a placeholder may become valid once it is filled, and is checked again then.
 * `countryCode`: see `RequestContext`. Throws `VALIDATION_FAILED`, with paths that begin with `content`.
 */
export function checkContent(type: TemplateType, content: Fields, countryCode?: string): void {
  const errors = faultyPlaceholders(content).map((placeholder) =>
    problem('', 'INVALID_PLACEHOLDER', messageOfFaulty(placeholder)),
  );
  if (JSON.stringify(content).length > maxContent)
    errors.push(problem('', 'TOO_BIG', `The content is longer than ${maxContent} characters of JSON.`));
  // A content is stored as JSON and returned by the API, so it must not contain the bytes of a file.
  const hasBytes = isMediaType(type) && content['mediaBase64'] !== undefined;
  const { mediaBase64: _, ...rest } = content;
  const result = schemas.get(type)!.safeParse(hasBytes ? rest : content);
  const issues = result.error?.issues ?? [];
  errors.push(...prefixed(fieldErrors(issues.filter((issue) => !mayBecomeValid(issue, content)))));
  if (hasBytes) errors.push(problem('mediaBase64', 'NOT_FOR_TEMPLATES', uploadFirst));
  else if (isMediaType(type)) errors.push(...sourceErrors(content));
  if (errors.length > 0) throw validationError(errors);
  // `contentOf` checks what a schema cannot, such as the order of two times.
  if (!isMediaType(type) && result.success && variablesIn(content).length === 0)
    withPrefix(() => contentOf(type, result.data as Fields, countryCode));
}

/**
 * Returns the fields of a send request: the content with its variables filled, checked by the schema of the type. Throws the errors of `fill`, and
 * `VALIDATION_FAILED`.
 */
export function filledFields(type: TemplateType, content: Fields, variables: Variables, locale: Locale): Fields {
  const filled = fill(content, variables, locale);
  const result = schemas.get(type)!.safeParse(filled);
  if (!result.success) throw validationError(prefixed(fieldErrors(result.error.issues)));
  return result.data as Fields;
}

/** Returns the content of a message of a type without a file. `countryCode`: see `RequestContext`. */
export const contentOf = (type: RequestType, fields: Fields, countryCode?: string) =>
  requestOf(type).toContent(fields, { countryCode });

const uploadFirst =
  'A template names its file. Upload the bytes with POST /api/v1/media, and give the id of the reply as mediaId.';

const messageOfFaulty = (placeholder: string): string =>
  `${placeholder.slice(0, 80)} is not a variable. Names have letters, digits and underscores: {{name}}, {{name|default}}, {{amount|currency:EUR}}.`;

/** Whether filling the placeholders may resolve an issue. It cannot change the type of a value, the length of a list or the names of the fields. */
function mayBecomeValid(issue: z.core.$ZodIssue, content: Fields): boolean {
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
  // The file that `mediaId` names is copied when the template is created, before any variable has a value.
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

/** Runs a check, and puts `content` before the paths of its `VALIDATION_FAILED`. */
function withPrefix(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    const fields = (error as { details?: { fields?: FieldError[] } }).details?.fields;
    throw fields ? validationError(prefixed(fields)) : error;
  }
}
