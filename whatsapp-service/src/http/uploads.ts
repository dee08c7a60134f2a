import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdirSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError } from '@chasqui/shared';
import { checkBoundary, feed } from '@chasqui/shared/express';
import busboy from 'busboy';
import type { Request, Response } from 'express';
import type { SendFile } from '../sends/sender.js';

/**
 * Stores the files of requests temporarily, under random names. A file is removed when the handler of its request has ended, not when the caller
 * disconnects, because the page may still read it.
 */
export interface Uploads {
  /** Reads multipart with the parts `command` (JSON) or plain fields, and `file`. Resolves to the fields; `fileOf` returns the file. */
  read(req: Request, res: Response): Promise<unknown>;
  /** The file that the request contained or that `keep` stored. */
  fileOf(res: Response): SendFile | null;
  /** Removes the file of the request. */
  drop(res: Response): Promise<void>;
  /** Stores bytes as the file of the request. Throws FILE_TOO_LARGE. */
  keep(res: Response, bytes: Buffer, about: { mimetype: string; filename: string | null }): Promise<SendFile>;
}

interface Options {
  dir: string;
  maxFileSize: number;
}

export function createUploads(options: Options): Uploads {
  mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  return {
    read: (req, res) => read(options, req, res),
    fileOf: storedFile,
    drop,
    keep: (res, bytes, about) => keep(options, res, bytes, about),
  };
}

/** The path of the request's file, which `drop` removes. */
function newPath({ dir }: Options, res: Response): string {
  const path = join(dir, randomUUID());
  res.locals['filePath'] = path;
  return path;
}

const remember = (res: Response, file: SendFile): SendFile => (res.locals['file'] = file);
const storedFile = (res: Response): SendFile | null => (res.locals['file'] as SendFile | undefined) ?? null;

async function drop(res: Response): Promise<void> {
  const path: unknown = res.locals['filePath'];
  if (typeof path === 'string') await rm(path, { force: true });
}

async function read(options: Options, req: Request, res: Response): Promise<unknown> {
  const parser = multipart(req, options.maxFileSize);
  let written: Promise<void> = Promise.resolve();
  let isRefused = false;
  const onFile = async (stream: NodeJS.ReadableStream, info: busboy.FileInfo): Promise<void> => {
    // Closes: the parser reaches the file after the request was refused and its files were removed.
    if (isRefused) return void stream.on('error', () => undefined).resume();
    await (written = storeUpload(options, res, stream, info));
  };
  try {
    const fields = await parse(req, parser, onFile);
    await written;
    return fieldsOf(fields, storedFile(res));
  } catch (error) {
    isRefused = true;
    await written.catch(() => undefined); // The reason is in `error`.
    await drop(res);
    throw error;
  }
}

async function storeUpload(
  options: Options,
  res: Response,
  stream: NodeJS.ReadableStream & { truncated?: boolean },
  info: busboy.FileInfo,
): Promise<void> {
  // `pipeline` attaches the listeners before anything is awaited: an `error` event without a listener would end the process.
  const path = newPath(options, res);
  const hash = createHash('sha256');
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  const file = createWriteStream(path, { mode: 0o600 });
  // Closes: the pipeline fails while the file is still being opened; it would be created after it was removed.
  const closed = new Promise<void>((resolve) => file.once('close', resolve));
  await pipeline(stream, measure, file).finally(() => closed);
  if (stream.truncated) throw new AppError('FILE_TOO_LARGE', { limit: options.maxFileSize });
  remember(res, { path, mimetype: info.mimeType, filename: info.filename ?? null, sha256: hash.digest('hex') });
}

async function keep(
  options: Options,
  res: Response,
  bytes: Buffer,
  about: { mimetype: string; filename: string | null },
): Promise<SendFile> {
  if (bytes.length > options.maxFileSize) throw new AppError('FILE_TOO_LARGE', { limit: options.maxFileSize });
  const path = newPath(options, res);
  await writeFile(path, bytes, { mode: 0o600 });
  return remember(res, { path, ...about, sha256: createHash('sha256').update(bytes).digest('hex') });
}

/**
 * Resolves with the text fields when the whole body is parsed. `onFile` consumes the stream of the file part; it must attach its `error`
 * listener before it returns. On the first problem, its rejection included, the parser and with it that stream are destroyed, and the rest
 * of the body is read and dropped, so that the caller can read the refusal.
 */
function parse(
  req: Request,
  parser: busboy.Busboy,
  onFile: (stream: NodeJS.ReadableStream, info: busboy.FileInfo) => Promise<void>,
): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    // Without a prototype: a field may be called `__proto__`.
    const fields = Object.create(null) as Record<string, unknown>;
    const refuse = (error: unknown): void => {
      reject(error);
      stop();
    };
    const malformed = (): void => refuse(new AppError('MALFORMED_REQUEST'));
    const tooMany = (): void => refuse(new AppError('BODY_TOO_LARGE', {}, `At most ${maxFields} fields and one file.`));
    parser.on('error', malformed);
    parser.on('close', () => resolve(fields));
    parser.on('field', (name, value, { nameTruncated, valueTruncated }) => {
      if (nameTruncated || valueTruncated) return refuse(new AppError('BODY_TOO_LARGE', { field: name, limit: maxFieldSize }));
      fields[name] = value;
    });
    parser.on('file', (_name, stream, info) => void onFile(stream, info).catch(refuse));
    for (const limit of ['fieldsLimit', 'filesLimit', 'partsLimit'] as const) parser.on(limit, tooMany);
    const stop = feed(req, parser, malformed);
  });
}

const maxFields = 20;
const maxFieldSize = 1_048_576;

function multipart(req: Request, maxFileSize: number): busboy.Busboy {
  checkBoundary(req);
  try {
    return busboy({
      headers: req.headers,
      defParamCharset: 'utf8',
      limits: { files: 1, fileSize: maxFileSize, fields: maxFields, fieldSize: maxFieldSize, parts: maxFields + 2 },
    });
  } catch {
    throw new AppError('MALFORMED_REQUEST'); // The boundary is missing or invalid.
  }
}

/** Returns the body: the part `command`, or the plain fields. Fields are text, so `epoch` is converted to a number; type and name come from the file. */
function fieldsOf(fields: Record<string, unknown>, file: SendFile | null): unknown {
  const { command, epoch } = fields;
  if (typeof command === 'string') {
    try {
      return JSON.parse(command) as unknown;
    } catch {
      throw new AppError('MALFORMED_REQUEST', { part: 'command' });
    }
  }
  const fromFile = file ? { mimetype: file.mimetype, filename: file.filename } : {};
  return { ...fromFile, ...fields, ...(typeof epoch === 'string' && /^\d+$/.test(epoch) ? { epoch: Number(epoch) } : {}) };
}
