import { AppError } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { readRows } from '../db/rows.js';
import { inMemory, onDisk, opened, type FileBytes } from '../lib/file-bytes.js';
import type { SafeFetch } from '../lib/safe-fetch.js';
import type { FileStore } from './file-store.js';
import { MediaFile } from './media-file.entity.js';

/** The source of the bytes of an outgoing file. */
export type MediaSource =
  | { bytes: FileBytes; mimetype?: string | undefined; filename?: string | undefined }
  | { url: string }
  | { base64: string }
  | { mediaId: string };

/** Returns the source of the file of a request. Throws `VALIDATION_FAILED` if the request names none, or several. */
export function sourceOf(
  {
    mediaUrl,
    mediaBase64,
    mediaId,
  }: { mediaUrl?: string | undefined; mediaBase64?: string | undefined; mediaId?: string | undefined },
  upload: Extract<MediaSource, { bytes: FileBytes }> | null,
): MediaSource {
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

/** Whose files can be sent again by their id. `sessionId` null: those of all sessions of the account. */
export interface MediaOwner {
  accountId: string;
  sessionId: string | null;
  /** Whether the caller may read messages. Without that right, only files that were sent through this API can be sent again. */
  mayRead: boolean;
}

/** The bytes of a file before they are checked, with what is declared about them. */
interface FoundFile {
  bytes: FileBytes;
  /** As the caller declares it. */
  mimetype: string | null;
  /** The type that the server of a URL declares. */
  served?: string | null;
  filename: string | null;
  /** The upload that the bytes come from. */
  uploadId?: string | null;
}

const urlTimeoutMs = 20_000;

/** The parts that reading a source needs. */
export interface SourceReader {
  reader: DataSource;
  files: Pick<FileStore, 'open'>;
  maxBytes: number;
  safeFetch: SafeFetch;
  /** Opens the sealed bytes of a file, in pieces. */
  unseal(id: string, sealed: AsyncIterable<Buffer>): AsyncGenerator<Buffer>;
}

/** Reads an outgoing file. Throws `MEDIA_NOT_FOUND`, `MEDIA_EXPIRED`, `VALIDATION_FAILED`, and the errors of a download. */
export async function readSource(context: SourceReader, source: MediaSource, owner: MediaOwner): Promise<FoundFile> {
  if ('bytes' in source) return { bytes: source.bytes, mimetype: source.mimetype ?? null, filename: source.filename ?? null };
  if ('url' in source) return download(context, source.url);
  return 'mediaId' in source ? readStored(context, owner, source.mediaId) : decodeBase64(source.base64);
}

async function download({ safeFetch, maxBytes }: SourceReader, url: string): Promise<FoundFile> {
  const { bytes, mimetype, filename } = await safeFetch(url, { maxBytes, timeoutMs: urlTimeoutMs });
  return { bytes, mimetype: null, served: mimetype, filename };
}

async function readStored({ reader, files, unseal }: SourceReader, owner: MediaOwner, mediaId: string): Promise<FoundFile> {
  const file = await findStored(reader, owner, mediaId);
  if (!file) throw new AppError('MEDIA_NOT_FOUND', { mediaId });
  const handle = await files.open(file.id).catch(() => null);
  if (!handle) throw new AppError('MEDIA_EXPIRED', { mediaId });
  const { id, mimetype, filename, isSealed, size } = file;
  const uploadId = file.usedAt ? id : null;
  const stored = onDisk(handle, (await handle.stat()).size);
  if (!isSealed) return { bytes: stored, mimetype, filename, uploadId };
  return { bytes: opened(stored, size ?? 0, (sealed) => unseal(id, sealed)), mimetype, filename, uploadId };
}

/**
 * Returns a stored file of the account, by its id: an upload, a file of a template, or a file of a message that is not sealed. A caller that is
 * bound to one session reaches only the uploads and messages of that session; templates belong to the account.
 */
async function findStored(
  reader: DataSource,
  { accountId, sessionId, mayRead }: MediaOwner,
  id: string,
): Promise<MediaFile | null> {
  const which = `id = ? AND "accountId" = ? AND state = 'stored'`;
  const conditions = [
    ...(sessionId === null ? [] : ['m."sessionId" = ?']),
    ...(mayRead ? [] : [`m.origin IN ('api', 'panel', 'bulk')`]),
  ];
  const ofMessage = `EXISTS (SELECT 1 FROM messages m
      WHERE m.id = media_files."messageId" AND m."deletedAt" IS NULL AND ${conditions.join(' AND ')})`;
  const bound = sessionId === null ? [] : [sessionId];
  const upload = `("usedAt" IS NOT NULL AND "deletedAt" IS NULL${sessionId === null ? '' : ' AND "sessionId" = ?'})`;
  const template = `("templateId" IS NOT NULL AND "deletedAt" IS NULL)`;
  const ofJob = `EXISTS (SELECT 1 FROM bulk_jobs j WHERE j."mediaId" = media_files.id${sessionId === null ? '' : ' AND j."sessionId" = ?'})`;
  const isReachable = conditions.length > 0 ? ` AND (${ofMessage} OR ${ofJob})` : '';
  // A message that was deleted from the log is not shown again, whatever the caller may read.
  const ofHidden = `EXISTS (SELECT 1 FROM messages m WHERE m.id = media_files."messageId" AND m."deletedAt" IS NOT NULL)`;
  const sent = `(NOT "isSealed" AND "usedAt" IS NULL AND "templateId" IS NULL AND NOT ${ofHidden}${isReachable})`;
  const parameters = [id, accountId, ...bound, ...bound, ...bound];
  const condition = `${which} AND (${upload} OR ${template} OR ${sent})`;
  const [file = null] = await readRows(reader, MediaFile, condition, parameters);
  return file;
}

function decodeBase64(base64: string): FoundFile {
  const { declared, text: written } = splitDataUrl(base64);
  const text = blanks.some((blank) => written.includes(blank)) ? written.replace(/[ \t\r\n]/g, '') : written;
  const bytes = Buffer.from(text, 'base64');
  if (!isBase64Of(text, bytes)) {
    const message = 'This is not the whole base64 of a file, nor a data URL with base64.';
    throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'mediaBase64', code: 'INVALID_FORMAT', message }] });
  }
  return { bytes: inMemory(bytes), mimetype: declared, filename: null };
}

const blanks = [' ', '\t', '\r', '\n'];

/**
 * Splits a `data:` URL into its type and its base64; any other text counts as base64. Uses no regular expression: the text may be as long as a file,
 * and a pattern with two quantifiers before the comma takes quadratic time when there is no comma.
 */
function splitDataUrl(text: string): { declared: string | null; text: string } {
  if (!text.slice(0, 'data:'.length).toLowerCase().startsWith('data:')) return { declared: null, text };
  const comma = text.indexOf(',');
  const head = text.slice('data:'.length, Math.max(comma, 0));
  // Other data URLs contain percent-encoded text, which is not base64.
  if (!head.toLowerCase().endsWith(';base64')) return { declared: null, text: '' };
  return { declared: head.split(';', 1)[0] || null, text: text.slice(comma + 1) };
}

/**
 * Whether a text is the whole base64 of these bytes, in the usual alphabet or in the one of URLs, with or without its padding. The decoder
 * stops at the first padding, ignores characters that are not in the alphabet and reads others by their lowest byte, so that a text that was
 * cut off or joined would become another file. Without a regular expression: on a text of many megabytes, the test of `/^[A-Za-z0-9+/_-]+$/`
 * sometimes ends with "Maximum call stack size exceeded".
 */
function isBase64Of(text: string, bytes: Buffer): boolean {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const length = text.length - padding;
  const isWhole = padding > 0 ? text.length % 4 === 0 : length % 4 !== 1;
  const isAscii = Buffer.byteLength(text, 'utf8') === text.length;
  return length > 0 && isWhole && isAscii && bytes.length === Math.floor((length * 3) / 4);
}
