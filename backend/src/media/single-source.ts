import { AppError } from '@chasqui/shared';
import type { Response } from 'express';
import { uploadOf } from '../lib/uploads.js';
import type { MediaSource } from './sources.js';

interface FileFields {
  mediaUrl?: string | undefined;
  mediaBase64?: string | undefined;
  mediaId?: string | undefined;
}

/** The one source of the file. Throws `VALIDATION_FAILED` if the request names none, or several. */
export function singleSource({ mediaUrl, mediaBase64, mediaId }: FileFields, res: Response): MediaSource {
  const upload = uploadOf(res);
  const sources: MediaSource[] = [
    ...(upload ? [upload] : []),
    ...(mediaUrl ? [{ url: mediaUrl }] : []),
    ...(mediaBase64 ? [{ base64: mediaBase64 }] : []),
    ...(mediaId ? [{ mediaId }] : []),
  ];
  if (sources.length === 1) return sources[0]!;
  const code = sources.length === 0 ? 'REQUIRED' : 'AMBIGUOUS';
  const message =
    sources.length === 0
      ? 'Send a file: a multipart part `file`, mediaUrl, mediaBase64 or mediaId.'
      : 'Send the file in one way only.';
  throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'file', code, message }] }, message);
}
