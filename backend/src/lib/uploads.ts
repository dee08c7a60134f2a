import { AppError, isMediaType, type AnyRoute } from '@chasqui/shared';
import busboy from 'busboy';
import type { Request, Response } from 'express';

/** The file part of a multipart request, in memory until it has been looked at; `MAX_FILE_SIZE` bounds it. */
export interface Upload {
  bytes: Buffer;
  mimetype: string;
  filename: string | undefined;
}

export const uploadOf = (res: Response): Upload | null => (res.locals['upload'] as Upload | undefined) ?? null;

/** Reads multipart after authentication. A file part may be called by its type (`image`, `voice` …), which then is the type. */
export function createUploadReader({ maxFileSize }: { maxFileSize: number }) {
  return function readUpload(_route: AnyRoute, req: Request, res: Response): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const fields: Record<string, unknown> = {};
      const refuse = (error: AppError): void => {
        req.unpipe();
        req.resume();
        reject(error);
      };
      let parser: busboy.Busboy;
      try {
        parser = busboy({
          headers: req.headers,
          defParamCharset: 'utf8',
          limits: { files: 1, fileSize: maxFileSize, fields: 40, fieldSize: 131_072, parts: 50 },
        });
      } catch {
        return reject(new AppError('MALFORMED_REQUEST')); // No boundary, or one that cannot be.
      }
      parser.on('field', (name, value) => {
        if (name !== '__proto__') fields[name] = plain(value);
      });
      parser.on('file', (name, stream, info) => {
        if (name !== 'file' && !isMediaType(name))
          return void (
            stream.resume(),
            refuse(
              new AppError('VALIDATION_FAILED', {
                fields: [{ path: name, code: 'UNKNOWN_FIELD', message: 'Call the part of the file `file`.' }],
              }),
            )
          );
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('limit', () => refuse(new AppError('FILE_TOO_LARGE', { limit: maxFileSize })));
        stream.on('end', () => {
          if (isMediaType(name)) fields['type'] ??= name;
          const upload: Upload = { bytes: Buffer.concat(chunks), mimetype: info.mimeType, filename: info.filename };
          res.locals['upload'] = upload;
        });
      });
      parser.on('filesLimit', () => refuse(new AppError('MALFORMED_REQUEST', {}, 'Send one file a message.')));
      parser.on('error', () => refuse(new AppError('MALFORMED_REQUEST')));
      parser.on('close', () => resolve(fields));
      req.on('aborted', () => refuse(new AppError('MALFORMED_REQUEST')));
      req.pipe(parser);
    });
  };
}

/** A text field as the schema expects it: forms have no booleans and no lists. Numbers stay text, a phone number is one too. */
function plain(value: string): unknown {
  if (value === 'true') return true;
  if (value === 'false') return false;
  if (!value.startsWith('[')) return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return value; // A text that begins with a bracket.
  }
}
