import { allows, fileSourceFields, type Operation } from '@chasqui/shared';
import type { z } from 'zod';
import type { Caller } from '../accounts/caller.js';
import type { Upload } from '../lib/uploads.js';
import { requireWhole, sourceOf, type Media } from '../media/media.js';
import type { OutgoingFile } from './client.js';

/** The fields with which a request names the file of an operation. */
export type FileFields = z.output<z.ZodObject<typeof fileSourceFields>>;

/**
 * Reads and checks the file of an operation. It goes to the worker at once and is not stored. Null: the operation has no file, or needs none and the
 * request has none. Throws the errors of `Media.read`.
 */
export async function fileOf(
  media: Pick<Media, 'read'>,
  caller: Caller,
  { file: type, isFileOptional }: Pick<Operation, 'file' | 'isFileOptional'>,
  { fields, upload }: { fields: FileFields; upload: Upload | null },
): Promise<OutgoingFile | null> {
  if (type === null) return null;
  const hasFile = upload !== null || Boolean(fields.mediaUrl ?? fields.mediaBase64 ?? fields.mediaId);
  if (isFileOptional && !hasFile) return null;
  const owner = { ...caller, mayRead: allows(caller.permissions, 'messages.receive') };
  const { bytes: read, mimetype } = await media.read(owner, sourceOf(fields, upload), { ...fields, type });
  requireWhole(read);
  const bytes = await read.whole().finally(() => read.drop());
  const blob = async (): Promise<Blob> => new Blob([new Uint8Array(bytes)], { type: mimetype });
  return { name: 'file', blob };
}

/** Returns the fields of a request without those that name its file, for which the worker gets the bytes. */
export const withoutFile = (fields: object): object =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !Object.hasOwn(fileSourceFields, name)));
