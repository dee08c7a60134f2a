import { readFile } from 'node:fs/promises';
import { AppError } from '@chasqui/shared';
import type { OperationContext } from './context.js';

/** A file in the form in which the page receives it, as JSON. */
export interface PageFile {
  mimetype: string;
  /** Base64. */
  data: string;
}

/** Reads the file of the request. Throws `VALIDATION_FAILED` if the request has none. */
export async function readFileOf({ file }: Pick<OperationContext, 'file'>): Promise<PageFile> {
  if (!file) {
    const message = 'This operation needs a file. Send multipart with the parts command and file.';
    throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'file', code: 'REQUIRED', message }] }, message);
  }
  return { mimetype: file.mimetype, data: (await readFile(file.path)).toString('base64') };
}
