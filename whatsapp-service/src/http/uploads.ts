import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError } from '@chasqui/shared';
import busboy from 'busboy';
import type { Request, Response } from 'express';
import type { SendFile } from '../sends/sender.js';

/** Files on their way through: kept while the request runs, under names of our own, and removed with its answer. */
export interface Uploads {
  /** Reads multipart with the parts `command` (JSON) or plain fields, and `file`. Gives the fields; the file waits in `fileOf`. */
  read(req: Request, res: Response): Promise<unknown>;
  fileOf(res: Response): SendFile | null;
  keep(res: Response, bytes: Buffer, about: { mimetype: string; filename: string | null }): Promise<SendFile>;
}

export function createUploads({ dir, maxFileSize }: { dir: string; maxFileSize: number }): Uploads {
  async function place(res: Response): Promise<string> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const path = join(dir, randomUUID());
    res.once('close', () => void rm(path, { force: true }));
    return path;
  }
  const remember = (res: Response, file: SendFile): SendFile => (res.locals['file'] = file);

  async function take(
    res: Response,
    stream: NodeJS.ReadableStream & { truncated?: boolean },
    info: busboy.FileInfo,
  ): Promise<void> {
    const path = await place(res);
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
      const fields: Record<string, string> = {};
      const files: Promise<void>[] = [];
      await new Promise<void>((resolve, reject) => {
        const parser = multipart(req, maxFileSize);
        parser.on('field', (name, value) => (fields[name] = value));
        parser.on('file', (_name, stream, info) => files.push(take(res, stream, info)));
        parser.on('error', () => reject(new AppError('MALFORMED_REQUEST')));
        parser.on('close', resolve);
        req.pipe(parser);
      });
      await Promise.all(files);
      if (fields['command'] === undefined) return fields;
      try {
        return JSON.parse(fields['command']) as unknown;
      } catch {
        throw new AppError('MALFORMED_REQUEST', { part: 'command' });
      }
    },
    fileOf: (res) => (res.locals['file'] as SendFile | undefined) ?? null,
    async keep(res, bytes, about) {
      if (bytes.length > maxFileSize) throw new AppError('FILE_TOO_LARGE', { limit: maxFileSize });
      const path = await place(res);
      await writeFile(path, bytes, { mode: 0o600 });
      return remember(res, { path, ...about, sha256: createHash('sha256').update(bytes).digest('hex') });
    },
  };
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
