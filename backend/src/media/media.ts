/* eslint-disable max-lines -- every verb on the row of a file and its bytes */
import { createHash } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { Readable } from 'node:stream';
import { AppError, newId, warning, type MediaRef, type MediaType, type Warning } from '@chasqui/shared';
import type { Response } from 'express';
import { In, type DataSource } from 'typeorm';
import type { Core } from '../core.js';
import { deleteRows, insertRow, notAmong, readAmong, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { onDisk, opened, streamedFile, type FileBytes } from '../lib/file-bytes.js';
import type { SafeFetch } from '../lib/safe-fetch.js';
import { splitHead } from '../lib/sealed-pieces.js';
import { sendFile } from '../lib/send-file.js';
import type { Sealer } from '../lib/sealer.js';
import { documentName, safeName } from './file-names.js';
import { createFileStore, type FileStore } from './file-store.js';
import { kindOf, resolveType } from './file-types.js';
import { MediaFile } from './media-file.entity.js';
import { prepareFile } from './prepare.js';
import { readSource, type MediaOwner, type MediaSource, type SourceReader } from './sources.js';
import type { Convert } from './convert.js';

export { sourceOf, type MediaOwner, type MediaSource } from './sources.js';

/** Manages the files of messages and the uploads. Each has a row, and its bytes are on the disk (`file-store.ts`). */
export interface Media {
  /** The path of the bytes of a file. */
  pathOf(id: string): string;
  /**
   * Reads, checks and stores an outgoing file, sealed if `hints.isSealed`. `hints` are what the caller declares. Throws `FILE_TOO_LARGE`,
   * `FILE_TYPE_NOT_ALLOWED`, `FILE_TYPE_MISMATCH`, `VALIDATION_FAILED`, and the errors of its source.
   */
  receive(owner: MediaOwner, source: MediaSource, hints: FileHints): Promise<StoredFile>;
  /** Reads and checks an outgoing file and stores nothing. Throws as `receive`. */
  read(owner: MediaOwner, source: MediaSource, hints: Omit<FileHints, 'isSealed'>): Promise<ReadFile>;
  /** Inserts the row of a received file, in the transaction of its message, its template or its upload. */
  attach(tx: Transaction, file: StoredFile, owner: FileOwner): Promise<void>;
  /**
   * Stores a copy of a stored file, with the facts that `known` has of it: the row of a sealed file has neither its name nor its fingerprint. Returns
   * null if its bytes are gone.
   */
  copy(id: string, known: MediaRef, hints: { kind: MediaType; isSealed: boolean }): Promise<StoredFile | null>;
  /** Deletes the bytes of a message that was not accepted: no row names them. */
  discard(file: StoredFile): Promise<void>;

  /** Inserts the row of an inbound file that is still to be fetched. Returns its id. */
  announce(tx: Transaction, file: InboundFile): Promise<string>;
  /**
   * Returns the id of the file to fetch next for each connected session that has a due file, by session id. Leaves out sessions in `busy` and files
   * in `postponed`. Reads an index for each connected session, so that files of other sessions cost nothing.
   */
  due(now: Date, busy: readonly string[], postponed: readonly string[]): Promise<Map<string, string>>;
  /** Returns a file that is still to be fetched; null when it is settled or gone. */
  pending(id: string): Promise<MediaFile | null>;
  /** Returns pending files that can no longer be fetched, except `postponed`: their session was deleted, or they have waited since before `oldest`. */
  abandoned(oldest: Date, limit: number, postponed: readonly string[]): Promise<MediaFile[]>;
  /**
   * Writes the bytes of an inbound file to the disk as they arrive; the caller commits the result. Rejects with `FILE_TOO_LARGE` at the first byte
   * above `limit`, whatever size was announced, and with `StorageFailed` when the disk fails. Leaves nothing on the disk when it rejects.
   */
  storeStream(
    id: string,
    bytes: Readable,
    declared: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<Pick<MediaFile, 'mimetype' | 'size' | 'sha256'>>;
  /** Changes a pending file. Returns the number of changed rows: 0 when it is no longer pending. */
  settle(tx: Transaction, id: string, changes: Partial<MediaFile>): Promise<number>;

  /** Returns a file of the account; null if there is none. */
  find(accountId: string, id: string): Promise<MediaFile | null>;
  /** Returns the files of any account with these ids. The caller must check the access. */
  findMany(ids: string[]): Promise<MediaFile[]>;
  /**
   * Sends a file, or the part that `range` (the header) asks for. It is never rendered as a page: nosniff, a sandbox, and a download unless it
   * is an image type that cannot contain script. Throws `MEDIA_NOT_FOUND`, `MEDIA_EXPIRED`, `RANGE_NOT_SATISFIABLE`.
   */
  send(res: Response, file: MediaFile, range?: string): Promise<void>;
  /**
   * Returns the bytes of a stored file for the worker. They are read from the disk, and opened, while they are sent. Rejects when they are gone or were
   * changed. A sealed file is a `File` with this name.
   */
  blob(file: MediaFile, name: string): Promise<Blob>;

  /** Seals a sealed file again, under the current key. Returns false when it is already. Rejects when no key opens it. */
  reseal(file: Pick<MediaFile, 'id'>): Promise<boolean>;
  /** Deletes rows and bytes. If the process is killed after the commit, `sweep` removes the bytes. */
  remove(tx: Transaction, ids: readonly string[]): Promise<void>;
  /** Deletes the bytes. The rows stay, with `deletedAt`. */
  expire(tx: Transaction, ids: readonly string[]): Promise<void>;
  /**
   * Deletes files that a killed process left behind: no row names them, or their row says that they are deleted. Files younger than `olderThanMs`
   * stay, because they may belong to a message that is being accepted. Returns the number of deleted files.
   */
  sweep(olderThanMs?: number): Promise<number>;
}

/** The facts that the caller declares about a file. `isSealed`: the disk may have it only sealed. */
export interface FileHints {
  mimetype?: string | undefined;
  filename?: string | undefined;
  type?: MediaType | undefined;
  isSealed: boolean;
}

/** An outgoing file that was checked. `filename`: as the caller or the source names it. */
export interface ReadFile {
  /** The caller drops it. */
  bytes: FileBytes;
  mimetype: string;
  filename: string | null;
  kind: MediaType;
  /** The upload that it was read from; null for other sources. */
  uploadId: string | null;
}

/** A file that is on the disk and has no row yet. `attach` inserts the row in the transaction of its message. */
export interface StoredFile {
  id: string;
  mimetype: string;
  size: number;
  filename: string | null;
  sha256: string;
  kind: MediaType;
  isSealed: boolean;
  /** The upload that it is a copy of. */
  uploadId: string | null;
  /** The warnings about changes of the file, for the reply. */
  warnings: Warning[];
}

/** What a stored file belongs to: a message, a template, a recurring schedule or a bulk job (`isShared`), or (all null) an upload of an account or of one session. */
export interface FileOwner {
  accountId: string;
  messageId: string | null;
  templateId?: string | null;
  sessionId?: string | null;
  /** Several messages are made of it: it is no upload, and stays as long as its owner needs it. */
  isShared?: boolean;
}

/** A file of a received message, as WhatsApp announces it. */
export interface InboundFile {
  accountId: string;
  sessionId: string;
  messageId: string;
  mimetype: string;
  filename: string | null;
  size: number | null;
}

/** The maximum delay of a planned download. One that is planned later was planned before the clock was set back, and is due. */
export const longestRetryMs = 600_000;
/** Types that a browser may show. All other files are sent as downloads. */
const safeImages = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);
const sweepAfterMs = 3_600_000;

export interface MediaParts {
  /** The folder of the bytes. */
  dir: string;
  maxBytes: number;
  /** Patterns of the types that may be sent. */
  allowed: readonly string[];
  safeFetch: SafeFetch;
  convert: Convert;
  /** For files that the disk may have only sealed. */
  sealer: Sealer;
}

interface Context extends Omit<MediaParts, 'dir'>, Pick<Core, 'database' | 'clock'> {
  files: FileStore;
}

export function createMedia(core: Pick<Core, 'database' | 'clock'>, parts: MediaParts): Media {
  const files = createFileStore(parts.dir);
  const context: Context = { ...core, ...parts, files };
  const { reader } = core.database;
  const rows = reader.getRepository(MediaFile);
  return {
    pathOf: files.pathOf,
    receive: (owner, source, hints) => receive(context, owner, source, hints),
    read: (owner, source, hints) => read(context, owner, source, hints),
    attach: (tx, file, owner) => attach(context, tx, file, owner),
    copy: (id, known, hints) => copy(context, id, known, hints),
    discard: ({ id }) => files.delete([id]),
    announce: (tx, file) => announce(context, tx, file),
    due: (now, busy, postponed) => readDue(reader, now, busy, postponed),
    async pending(id) {
      const [file = null] = await readRows(reader, MediaFile, `id = ? AND state = 'pending'`, [id]);
      return file;
    },
    abandoned: (oldest, limit, postponed) => readAbandoned(reader, oldest, limit, postponed),
    async storeStream(id, bytes, declared, limit, signal) {
      const { mimetype, ...stored } = await files.writeStream(id, bytes, limit, signal);
      return { ...stored, mimetype: mimetype ?? storableType(declared) };
    },
    settle: (tx, id, changes) => updateRows(tx, MediaFile, { id, state: 'pending' }, changes),
    find: (accountId, id) => rows.findOneBy({ accountId, id }),
    findMany: (ids) => (ids.length > 0 ? rows.findBy({ id: In(ids) }) : Promise.resolve([])),
    send: (res, file, range) => send(files, res, file, range),
    blob: (file, name) => openBlob(context, file, name),
    reseal: ({ id }) => reseal(context, id),
    async remove(tx, ids) {
      for (const id of ids) await deleteRows(tx, MediaFile, { id });
      deleteAfterCommit(files, tx, ids);
    },
    async expire(tx, ids) {
      for (const id of ids) await updateRows(tx, MediaFile, { id }, { deletedAt: core.clock.now() });
      deleteAfterCommit(files, tx, ids);
    },
    sweep: (olderThanMs = sweepAfterMs) => files.sweep(olderThanMs, (ids) => usedAmong(reader, ids)),
  };
}

async function read(
  { database, files, maxBytes, allowed, safeFetch, sealer }: Context,
  owner: MediaOwner,
  source: MediaSource,
  hints: Omit<FileHints, 'isSealed'>,
): Promise<ReadFile> {
  const unseal: SourceReader['unseal'] = (id, sealed) => sealer.openFile(sealed, sealContextOf(id));
  const found = await readSource({ reader: database.reader, files, maxBytes, safeFetch, unseal }, source, owner);
  const { bytes, filename: foundName, uploadId = null } = found;
  try {
    if (bytes.size > maxBytes) throw new AppError('FILE_TOO_LARGE', { limit: maxBytes, size: bytes.size });
    if (bytes.size === 0)
      throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'file', code: 'TOO_SMALL', message: 'The file is empty.' }] });
    const { type } = hints;
    const filename = hints.filename ?? foundName;
    const declared = hints.mimetype ?? found.mimetype;
    const mimetype = await resolveType(bytes, { declared, served: found.served ?? null, filename, type }, allowed);
    return { bytes, mimetype, filename, kind: type ?? kindOf(mimetype), uploadId };
  } catch (error) {
    bytes.drop();
    throw error;
  }
}

async function receive(context: Context, owner: MediaOwner, source: MediaSource, hints: FileHints): Promise<StoredFile> {
  const file = await read(context, owner, source, hints);
  try {
    return await store(context, file, hints.isSealed);
  } finally {
    file.bytes.drop();
  }
}

async function store(context: Context, file: ReadFile, isSealed: boolean): Promise<StoredFile> {
  const { clock, convert } = context;
  const { kind, filename: name, uploadId } = file;
  const { bytes, mimetype, warnings } = await prepareFile(file, { convert, mayUseDisk: !isSealed });
  // The worker reads the picture of a sticker as a whole, because the page makes the sticker of it.
  if (kind === 'sticker') requireWhole(bytes);
  // The name of a picture that was converted has the wrong ending.
  const isRenamed = (kind === 'sticker' || kind === 'video') && bytes !== file.bytes;
  const filename = kind === 'document' ? documentName(name, mimetype) : isRenamed ? null : safeName(name);
  // The receiver sees only the name of a document.
  if (kind === 'document' && name !== null && filename !== name.normalize('NFC'))
    warnings.push(warning('FILENAME_CHANGED', `The receiver sees ${filename}.`));
  const id = newId(clock.now().getTime());
  const sha256 = await write(context, id, bytes, isSealed).finally(() => bytes !== file.bytes && bytes.drop());
  return { id, mimetype, size: bytes.size, filename, sha256, kind, isSealed, uploadId, warnings };
}

/** The largest file that a process reads into memory as a whole, in bytes, whatever MAX_FILE_SIZE is. */
const maxWholeBytes = 10_485_760;

/** Throws `FILE_TOO_LARGE`, and drops the bytes, if the file is too large to be read into memory as a whole. */
export function requireWhole(bytes: FileBytes): void {
  if (bytes.size <= maxWholeBytes) return;
  bytes.drop();
  throw new AppError('FILE_TOO_LARGE', { limit: maxWholeBytes, size: bytes.size });
}

async function copy(
  context: Context,
  of: string,
  { mimetype, filename, sha256 }: MediaRef,
  { kind, isSealed }: { kind: MediaType; isSealed: boolean },
): Promise<StoredFile | null> {
  const { clock, database } = context;
  const [source] = await readRows(database.reader, MediaFile, `id = ? AND state = 'stored' AND "deletedAt" IS NULL`, [of]);
  const bytes = source ? await storedBytes(context, source).catch(() => null) : null;
  if (!source || !bytes) return null;
  const id = newId(clock.now().getTime());
  const hash = await write(context, id, bytes, isSealed).finally(() => bytes.drop());
  const rest = { kind, isSealed, uploadId: null, warnings: [] };
  return { id, mimetype, size: bytes.size, filename, sha256: sha256 ?? hash, ...rest };
}

/** Returns the bytes of a stored file, opened in pieces if they are sealed; null if it is not on the disk. The caller drops them. */
async function storedBytes(
  { files, sealer }: Pick<Context, 'files' | 'sealer'>,
  { id, size, isSealed }: MediaFile,
): Promise<FileBytes | null> {
  const handle = await files.open(id);
  if (!handle) return null;
  const stored = onDisk(handle, (await handle.stat()).size);
  return isSealed ? opened(stored, size ?? 0, (sealed) => sealer.openFile(sealed, sealContextOf(id))) : stored;
}

/** Writes a file and returns its SHA-256. */
async function write({ files, sealer }: Context, id: string, bytes: FileBytes, isSealed: boolean): Promise<string> {
  if (!isSealed) return (await files.writeStream(id, bytes.stream(), bytes.size, never)).sha256;
  const hash = createHash('sha256');
  async function* hashed(): AsyncGenerator<Buffer> {
    for await (const chunk of bytes.stream()) {
      hash.update(chunk as Buffer);
      yield chunk as Buffer;
    }
  }
  const sealed = Readable.from(sealer.sealFile(hashed(), sealContextOf(id)), { objectMode: false });
  await files.writeStream(id, sealed, Infinity, never);
  return hash.digest('hex');
}

const never = new AbortController().signal;

async function attach(
  { clock }: Context,
  tx: Transaction,
  { id, mimetype, size, filename, sha256, isSealed, uploadId }: StoredFile,
  { isShared = false, ...owner }: FileOwner,
): Promise<void> {
  // The row of a sealed file has neither its name nor its fingerprint.
  const known = isSealed ? { filename: null, sha256: null } : { filename, sha256 };
  await insertRow(tx, MediaFile, {
    id,
    mimetype,
    size,
    ...known,
    isSealed,
    sessionId: null,
    templateId: null,
    ...owner,
    usedAt: owner.messageId === null && !owner.templateId && !isShared ? clock.now() : null,
    uploadId,
    state: 'stored',
    reason: null,
    attempts: 0,
    nextAttemptAt: null,
    createdAt: clock.now(),
    deletedAt: null,
  });
  // If the upload was removed in the meantime, nothing is updated. The copy does not depend on it.
  if (uploadId) await updateRows(tx, MediaFile, { id: uploadId }, { usedAt: clock.now() });
}

async function announce({ clock }: Context, tx: Transaction, file: InboundFile): Promise<string> {
  const id = newId(clock.now().getTime());
  await insertRow(tx, MediaFile, {
    id,
    ...file,
    filename: safeName(file.filename),
    state: 'pending',
    reason: null,
    sha256: null,
    isSealed: false,
    usedAt: null,
    uploadId: null,
    templateId: null,
    attempts: 0,
    nextAttemptAt: clock.now(),
    createdAt: clock.now(),
    deletedAt: null,
  });
  return id;
}

async function readDue(
  reader: DataSource,
  now: Date,
  busy: readonly string[],
  postponed: readonly string[],
): Promise<Map<string, string>> {
  const others = notAmong(reader, 'id', postponed);
  const free = notAmong(reader, 'id', busy);
  const planned = [now.getTime(), now.getTime() + longestRetryMs];
  const ofSession = `SELECT f.id FROM media_files f WHERE f.state = 'pending' AND f."sessionId" = s.id
        AND (f."nextAttemptAt" <= ? OR f."nextAttemptAt" > ?) AND ${others.condition.replace('"id"', 'f."id"')}
        ORDER BY f."nextAttemptAt" LIMIT 1`;
  const sql = `SELECT due.id, due.file FROM (SELECT s.id, (${ofSession}) AS file FROM sessions s
        WHERE s.status = 'connected' AND s."deletedAt" IS NULL AND s."workerId" IS NOT NULL AND ${free.condition}) due
        WHERE due.file IS NOT NULL`;
  const parameters = [...planned, others.parameter, free.parameter];
  const { rows } = await runStatement<{ id: string; file: string }>(reader, sql, parameters);
  return new Map(rows.map(({ id, file }) => [id, file]));
}

function readAbandoned(reader: DataSource, oldest: Date, limit: number, postponed: readonly string[]): Promise<MediaFile[]> {
  const others = notAmong(reader, 'id', postponed);
  const ofDeleted = `"sessionId" IN (SELECT s.id FROM sessions s WHERE s."deletedAt" IS NOT NULL)`;
  const condition = `state = 'pending' AND (${ofDeleted} OR "sessionId" IS NULL OR "createdAt" < ?)
        AND ${others.condition} LIMIT ${limit}`;
  return readRows(reader, MediaFile, condition, [oldest, others.parameter]);
}

async function send(files: FileStore, res: Response, file: MediaFile, range?: string): Promise<void> {
  // Sealed files are stored for the transfer to WhatsApp alone, until the message is final.
  if (file.isSealed) throw new AppError('MEDIA_NOT_FOUND');
  if (file.state === 'failed' || file.deletedAt) throw new AppError('MEDIA_EXPIRED', { reason: file.reason });
  const handle = await files.open(file.id);
  if (!handle && file.state === 'stored') throw new AppError('MEDIA_EXPIRED', { reason: file.reason });
  if (!handle) throw new AppError('MEDIA_NOT_FOUND', {}, 'The file is still being fetched. Try again in a moment.');
  const disposition = safeImages.has(file.mimetype) ? 'inline' : 'attachment';
  const name = encodeURIComponent(file.filename ?? file.id);
  const headers = {
    'Content-Type': file.mimetype,
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "sandbox; default-src 'none'",
    'Content-Disposition': `${disposition}; filename*=UTF-8''${name}`,
    'Cache-Control': 'private, max-age=3600',
  };
  await sendFile(res, handle, { headers, range });
}

async function openBlob(context: Context, file: MediaFile, name: string): Promise<Blob> {
  const { id, mimetype, isSealed, size } = file;
  if (!isSealed) return openAsBlob(context.files.pathOf(id), { type: mimetype });
  async function* open(): AsyncGenerator<Buffer> {
    const bytes = await storedBytes(context, file);
    if (!bytes) throw new Error('The file is not on the disk.');
    try {
      yield* bytes.stream();
    } finally {
      bytes.drop();
    }
  }
  // A file that was changed is found before anything is sent: a call that breaks off in the middle leaves a message whose outcome is not known.
  let length = 0;
  for await (const piece of open()) length += piece.length;
  if (length !== size) throw new Error('A sealed file has another size than its row says.');
  return streamedFile({ name, type: mimetype, size: length }, open);
}

async function reseal({ files, sealer }: Context, id: string): Promise<boolean> {
  const handle = await files.open(id).catch(() => null); // Sent and deleted meanwhile.
  if (!handle) return false;
  const stored = onDisk(handle, (await handle.stat()).size);
  try {
    const { head } = await splitHead(stored.stream(), 17);
    if (!sealer.isStale(head)) return false;
    const place = sealContextOf(id);
    const resealed = Readable.from(sealer.sealFile(sealer.openFile(stored.stream(), place), place), { objectMode: false });
    await files.writeStream(id, resealed, Infinity, never);
    return true;
  } finally {
    stored.drop();
  }
}

/** Binds a sealed file to its id, so that it opens under no other id. */
const sealContextOf = (id: string): string => `media_files:${id}`;

/** A file that cannot be deleted is left for the sweep. */
function deleteAfterCommit(files: FileStore, tx: Transaction, ids: readonly string[]): void {
  tx.afterCommit(() => void files.delete(ids).catch(() => undefined));
}

/** Returns those of these ids whose bytes may still be requested. */
async function usedAmong(reader: DataSource, ids: readonly string[]): Promise<Set<string>> {
  const found = ids.length > 0 ? await readAmong(reader, MediaFile, 'id', ids) : [];
  return new Set(found.filter(({ deletedAt }) => deletedAt === null).map(({ id }) => id));
}

/** The type that WhatsApp declared, if it has the form of one and fits its column. */
const storableType = (declared: string): string =>
  declared.length <= 127 && /^[a-z0-9][\w!#$&^.+-]*\/[\w!#$&^.+-]+(\s*;[\x20-\x7e]*)?$/i.test(declared)
    ? declared
    : 'application/octet-stream';
