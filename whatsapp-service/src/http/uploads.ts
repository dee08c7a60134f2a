import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdirSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError } from '@chasqui/shared';
import busboy from 'busboy';
import type { Request, Response } from 'express';
import type { SendFile } from '../sends/sender.js';

/**
 * Files on their way through, under names of our own. A file is removed when its request's handler has ended and not when the
 * caller hangs up: the page may still be reading it.
 */
export interface Uploads {
  /** Reads multipart with the parts `command` (JSON) or plain fields, and `file`. Gives the fields; the file waits in `fileOf`. */
  read(req: Request, res: Response): Promise<unknown>;
  fileOf(res: Response): SendFile | null;
  /** Removes what the request brought. */
  drop(res: Response): Promise<void>;
  keep(res: Response, bytes: Buffer, about: { mimetype: string; filename: string | null }): Promise<SendFile>;
}

export function createUploads({ dir, maxFileSize }: { dir: string; maxFileSize: number }): Uploads {
  mkdirSync(dir, { recursive: true, mode: 0o700 });

  function place(res: Response): string {
    const path = join(dir, randomUUID());
    res.locals['filePath'] = path;
    return path;
  }
  async function drop(res: Response): Promise<void> {
    const path: unknown = res.locals['filePath'];
    if (typeof path === 'string') await rm(path, { force: true });
  }
  const remember = (res: Response, file: SendFile): SendFile => (res.locals['file'] = file);

  async function take(
    res: Response,
    stream: NodeJS.ReadableStream & { truncated?: boolean },
    info: busboy.FileInfo,
  ): Promise<void> {
    // Nothing is waited for before the stream has its listeners: one that breaks without them would end the process.
    const path = place(res);
    const hash = createHash('sha256');
    const measure = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        done(null, chunk);
      },
    });
    await pipeline(stream, measure, createWriteStream(path, { mode: 0o600 }));
    if (stream.truncated) throw new AppError('FILE_TOO_LARGE', { limit: maxFileSize });
    remember(res, { path, mimetype: info.mimeType, filename: info.filename ?? null, sha256: hash.digest('hex') });
  }

  return {
    async read(req, res) {
      const fields: Record<string, unknown> = {};
      const parser = multipart(req, maxFileSize);
      let taken: Promise<void> = Promise.resolve();
      parser.on('field', (name, value) => (fields[name] = value));
      parser.on('file', (_name, stream, info) => {
        taken = take(res, stream, info);
        // Waited for below, once the rest is read; a rejection before that is nobody's yet.
        taken.catch(() => undefined);
      });
      try {
        await pour(req, parser);
        await taken;
        return fieldsOf(fields, (res.locals['file'] as SendFile | undefined) ?? null);
      } catch (error) {
        await taken.catch(() => undefined);
        await drop(res);
        throw error;
      }
    },
    drop,
    fileOf: (res) => (res.locals['file'] as SendFile | undefined) ?? null,
    async keep(res, bytes, about) {
      if (bytes.length > maxFileSize) throw new AppError('FILE_TOO_LARGE', { limit: maxFileSize });
      const path = place(res);
      await writeFile(path, bytes, { mode: 0o600 });
      return remember(res, { path, ...about, sha256: createHash('sha256').update(bytes).digest('hex') });
    },
  };
}

/** Resolves when all of the request is parsed. A caller that hangs up half way ends the parser, and with it the file's stream. */
function pour(req: Request, parser: busboy.Busboy): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (): void => {
      req.unpipe(parser);
      req.resume(); // The rest is read and thrown away, so that the answer can be.
      reject(new AppError('MALFORMED_REQUEST'));
    };
    parser.on('close', resolve);
    parser.on('error', fail);
    req.once('close', () => {
      if (!req.complete) parser.destroy(new Error('The caller hung up.'));
    });
    req.pipe(parser);
  });
}

function multipart(req: Request, maxFileSize: number): busboy.Busboy {
  try {
    return busboy({
      headers: req.headers,
      defParamCharset: 'utf8',
      limits: { files: 1, fileSize: maxFileSize, fields: 20, fieldSize: 262_144 },
    });
  } catch {
    throw new AppError('MALFORMED_REQUEST'); // No boundary, or one that cannot be.
  }
}

/** The part `command` is the whole body; plain fields are text, so the one number among them is read, and the file tells its own type. */
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
