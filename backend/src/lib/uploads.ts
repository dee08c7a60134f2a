import { AppError, isMediaType, validationError, type AnyRoute, type FieldError } from '@chasqui/shared';
import { checkBoundary, feed, type CountBytes } from '@chasqui/shared/express';
import busboy from 'busboy';
import type { Request, Response } from 'express';
import { z } from 'zod';
import type { Spool, Spooled } from './file-bytes.js';

/**
 * Multipart requests: the text fields as the schema of the route expects them, and at most one file.
 *
 * Every stream that busboy hands over gets its `error` listener first: a body that ends inside a part makes busboy destroy the stream of
 * that part, and an `error` event without a listener ends the process. Input that exceeds a limit is refused with 413 and never truncated, because a
 * truncated part would be sent as if it were whole.
 */

/**
 * The file part of a multipart request. A large one is on the disk (`file-bytes.ts`). `MAX_FILE_SIZE` bounds it, and a shared budget bounds all of them.
 * It is dropped when the response has ended.
 */
export interface Upload {
  bytes: Spooled;
  mimetype: string;
  filename: string | undefined;
}

export const uploadOf = (res: Response): Upload | null => (res.locals['upload'] as Upload | undefined) ?? null;

const maxFields = 40;
const maxParts = maxFields + 2;
/** The longest text message that is allowed has 65,536 characters, each of at most four bytes. */
const longestText = 262_144;

/** Returns the reader of multipart bodies. It runs after authentication. A file part may be named for its type (`image`, `voice` …), which then is the type. */
export function createUploadReader({ maxFileSize, spool }: { maxFileSize: number; spool: Spool }) {
  // A file may also come as base64 in a field, which is a third longer than the file.
  const fieldSize = Math.max(longestText, Math.ceil(maxFileSize * 1.4) + 65_536);
  const maxBytes = fieldSize + longestText;

  return async function readUpload(route: AnyRoute, req: Request, res: Response, countBytes: CountBytes): Promise<unknown> {
    const fields = new Map<string, string[]>();
    const { upload, type } = await readParts(
      req,
      createParser(req, { maxFileSize, fieldSize }),
      { maxFileSize, fieldSize, maxBytes },
      fields,
      countBytes,
      spool,
    );
    if (upload) {
      res.locals['upload'] = upload;
      const { bytes } = upload;
      if (res.closed) bytes.drop();
      else res.once('close', () => bytes.drop());
    }
    if (type) nameType(fields, type);
    return typedFields(route, fields);
  };
}

function createParser(req: Request, { maxFileSize, fieldSize }: { maxFileSize: number; fieldSize: number }): busboy.Busboy {
  checkBoundary(req);
  try {
    return busboy({
      headers: req.headers,
      defParamCharset: 'utf8',
      // A slash inside a name is not a path; `safeName` distinguishes the two.
      preservePath: true,
      limits: { files: 1, fileSize: maxFileSize, fields: maxFields, fieldSize, parts: maxParts },
    });
  } catch {
    throw new AppError('MALFORMED_REQUEST', {}, 'The multipart boundary is missing or not valid.');
  }
}

interface Parts {
  upload: Upload | null;
  /** The type that the name of the file part declares. */
  type: string | null;
}

/** Resolves when the whole body is parsed. On the first problem the rest is read and dropped, so that the caller can read the refusal. */
function readParts(
  req: Request,
  parser: busboy.Busboy,
  limits: { maxFileSize: number; fieldSize: number; maxBytes: number },
  fields: Map<string, string[]>,
  countBytes: CountBytes,
  spool: Spool,
): Promise<Parts> {
  return new Promise((resolve, reject) => {
    const parts: Parts = { upload: null, type: null };
    let received = 0;
    let isRefused = false;
    let spooling: Promise<void> = Promise.resolve();
    const refuse = (error: Error): void => {
      if (isRefused) return;
      isRefused = true;
      void spooling.then(() => parts.upload?.bytes.drop());
      req.off('data', count);
      stop();
      reject(error);
    };
    const tooMany = (message: string) => (): void => refuse(new AppError('BODY_TOO_LARGE', {}, message));
    const broken = (): void => refuse(new AppError('MALFORMED_REQUEST'));
    const count = (chunk: Buffer): void => {
      received += chunk.length;
      if (received > limits.maxBytes) return refuse(new AppError('BODY_TOO_LARGE', { limit: limits.maxBytes }));
      try {
        countBytes(chunk.length);
      } catch (error) {
        refuse(error as AppError);
      }
    };

    parser.on('error', broken);
    parser.on('field', (name, value, { nameTruncated, valueTruncated }) => {
      if (nameTruncated) return refuse(new AppError('BODY_TOO_LARGE', {}, 'The name of a form field is too long.'));
      if (valueTruncated) return refuse(new AppError('BODY_TOO_LARGE', { field: name, limit: limits.fieldSize }));
      // The parser inserts this character for bytes that are invalid in their charset; the message would be sent with wrong characters.
      if (value.includes('\ufffd')) return refuse(noText(name));
      fields.set(name, [...(fields.get(name) ?? []), value]);
    });
    parser.on('file', (name, stream, info) => {
      stream.on('error', broken);
      if (isRefused) return void stream.resume();
      if (name !== 'file' && !isMediaType(name)) return refuse(unknownFile(name));
      stream.on('limit', () => refuse(new AppError('FILE_TOO_LARGE', { limit: limits.maxFileSize })));
      if (name !== 'file') parts.type = name;
      const { mimeType: mimetype, filename } = info;
      // A stream that was cut at the limit ends like any other; it was refused then. An error of the stream itself is reported by its listener.
      spooling = spool(stream, limits.maxFileSize).then(
        (bytes) => void (parts.upload = { bytes, mimetype, filename }),
        (error: unknown) => refuse(error as Error),
      );
    });
    parser.on('filesLimit', tooMany('Send one file per message.'));
    parser.on('fieldsLimit', tooMany(`A form has at most ${maxFields} fields.`));
    parser.on('partsLimit', tooMany(`A form has at most ${maxFields} fields and one file.`));
    parser.on('close', () => void spooling.then(() => resolve(parts)));
    req.on('data', count);
    const stop = feed(req, parser, broken);
  });
}

/** The type that the name of the file part declares must not contradict the field `type`. */
function nameType(fields: Map<string, string[]>, type: string): void {
  const values = fields.get('type') ?? [];
  if (values.some((one) => one !== type))
    throw validationError([
      {
        path: 'type',
        code: 'AMBIGUOUS',
        message: `The file part is named ${type}, but the field type has another value. Name the part file.`,
      },
    ]);
  fields.set('type', [type]);
}

const noText = (name: string): AppError =>
  validationError([
    {
      path: name.slice(0, 200),
      code: 'INVALID_CHARACTER',
      message: 'The field contains bytes that are not UTF-8, or U+FFFD, which replaces such bytes. Send the text as UTF-8.',
    },
  ]);

const unknownFile = (name: string): AppError =>
  new AppError('VALIDATION_FAILED', {
    fields: [{ path: name.slice(0, 200), code: 'UNKNOWN_FIELD', message: 'Name the file part `file`.' }],
  });

type JsonSchema = { type?: string | string[]; const?: unknown; properties?: Record<string, JsonSchema> } & Partial<
  Record<'anyOf' | 'oneOf' | 'allOf', JsonSchema[]>
>;

/** The JSON types that the schema of a route's body allows for each field. Derived once for each route. */
const typesOfRoutes = new WeakMap<AnyRoute, Map<string, Set<string>>>();

function typesOf(route: AnyRoute): Map<string, Set<string>> {
  const known = typesOfRoutes.get(route);
  if (known) return known;
  const types = new Map<string, Set<string>>();
  collect(z.toJSONSchema(route.body, { io: 'input', unrepresentable: 'any' }) as JsonSchema, types);
  typesOfRoutes.set(route, types);
  return types;
}

const branchesOf = (schema: JsonSchema): JsonSchema[] => [
  ...(schema.anyOf ?? []),
  ...(schema.oneOf ?? []),
  ...(schema.allOf ?? []),
];

function collect(schema: JsonSchema, types: Map<string, Set<string>>): void {
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const all = types.get(name) ?? new Set();
    types.set(name, all);
    collectTypes(property, all);
  }
  for (const branch of branchesOf(schema)) collect(branch, types);
}

function collectTypes(schema: JsonSchema, types: Set<string>): void {
  for (const type of [schema.type ?? []].flat()) types.add(type);
  if (schema.type === undefined && schema.const !== undefined) types.add(typeof schema.const);
  for (const branch of branchesOf(schema)) collectTypes(branch, types);
}

/**
 * Parses the texts of a form. A field whose schema allows no text but a flag, a list or an object is parsed as such; every other text stays
 * unchanged, `true`, `[1]` and phone numbers included. A value that cannot be parsed is left for the schema to refuse by name.
 */
function typedFields(route: AnyRoute, fields: ReadonlyMap<string, string[]>): Record<string, unknown> {
  const types = typesOf(route);
  // Without a prototype: a field may be called `__proto__`, which the schema then refuses like any other unknown field.
  const body = Object.create(null) as Record<string, unknown>;
  const twice: FieldError[] = [];
  for (const [name, texts] of fields) {
    const allowed = types.get(name);
    if (texts.length === 1) body[name] = typed(texts[0]!, allowed);
    // Forms write a list by repeating a field.
    else if (allowed?.has('array')) body[name] = texts;
    else
      twice.push({
        path: name.slice(0, 200),
        code: 'REPEATED',
        message: 'This form field appears more than once. Send it once.',
      });
  }
  if (twice.length > 0) throw validationError(twice);
  return body;
}

function typed(text: string, types: ReadonlySet<string> | undefined): unknown {
  if (!types || types.has('string')) return text;
  const isFlag = types.has('boolean') && (text === 'true' || text === 'false');
  // One item of a list that could be repeated.
  if (types.size === 1 && types.has('array') && !text.startsWith('[')) return [text];
  const isStructure = (types.has('array') && text.startsWith('[')) || (types.has('object') && text.startsWith('{'));
  if (!isFlag && !isStructure) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
