import { createHash } from 'node:crypto';
import { createWriteStream, openAsBlob } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError, newId, warning, type MediaType, type Warning } from '@chasqui/shared';
import type { Response } from 'express';
import { fileTypeFromFile } from 'file-type';
import { In } from 'typeorm';
import type { Database } from '../db/database.js';
import { codeOf, deleteRows, insertRow, notAmong, readAmong, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Clock } from '../lib/clock.js';
import type { SafeFetch } from '../lib/safe-fetch.js';
import { sendFile } from '../lib/send-file.js';
import type { Sealer } from '../lib/sealer.js';
import { documentName, safeName } from './file-names.js';
import { kindOf, resolveType } from './file-types.js';
import { MediaFile } from './media-file.entity.js';
import { isOggOpus, type ConvertVoice } from './voice.js';

/** Where the bytes of an outgoing file come from; one normaliser for all. */
export type MediaSource =
  | { bytes: Buffer; mimetype?: string | undefined; filename?: string | undefined }
  | { url: string }
  | { base64: string }
  | { mediaId: string };

/** Whose files can be sent again by their id. `sessionId` null: those of all sessions of the account. */
export interface MediaOwner {
  accountId: string;
  sessionId: string | null;
  /** Whether the caller may read messages. Without that right, only files that were sent through this API can be sent again. */
  mayRead: boolean;
}

/** A file that lies on disk and has no row yet: `attach` gives it one in the transaction of its message. */
export interface StoredFile {
  id: string;
  mimetype: string;
  size: number;
  filename: string | null;
  sha256: string;
  kind: MediaType;
  isSealed: boolean;
  /** What was changed about it, for the reply. */
  warnings: Warning[];
}

/** The bytes of a file before they are checked, with what is said of them. */
interface FoundFile {
  bytes: Buffer;
  /** As the caller declares it. */
  mimetype: string | null;
  /** As the server of a URL calls it. */
  served?: string | null;
  filename: string | null;
}

const urlTimeoutMs = 20_000;
/** A download is planned at most this far ahead. What is further ahead was planned before the clock was set back, and is due. */
export const longestRetryMs = 600_000;
/** Shown in place; everything else is a download. */
const safeImages = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);

/** The disk could not take a file. Nothing is wrong with the file. */
export class StorageFailed extends Error {
  readonly code: string | null;
  constructor(cause: unknown) {
    super('The disk could not store a file.', { cause });
    this.name = 'StorageFailed';
    this.code = codeOf(cause);
  }
}

/** Errors of the file system name the call that failed; those of a stream of bytes do not. */
const isOfTheDisk = (error: unknown): boolean =>
  codeOf(error) !== null && typeof (error as { syscall?: unknown }).syscall === 'string';

export type Media = ReturnType<typeof createMedia>;

export function createMedia({
  database,
  clock,
  dir,
  maxBytes,
  allowed,
  safeFetch,
  convertVoice,
  sealer,
}: {
  database: Database;
  clock: Clock;
  dir: string;
  maxBytes: number;
  allowed: readonly string[];
  safeFetch: SafeFetch;
  convertVoice: ConvertVoice;
  /** Of files that may lie on the disk only sealed. */
  sealer: Sealer;
}) {
  const rows = database.reader.getRepository(MediaFile);
  const pathOf = (id: string): string => join(dir, id.slice(-2), id);
  const placeOf = (id: string): string => `media_files:${id}`;

  /** Written aside, synced, renamed: a file is whole or not there. */
  async function write(id: string, bytes: Buffer): Promise<void> {
    const path = pathOf(id);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const draft = `${path}.part`;
    const handle = await open(draft, 'w', 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, path);
  }

  async function unlinkAll(ids: readonly string[]): Promise<void> {
    for (const id of ids) await rm(pathOf(id), { force: true });
  }
  const unlink = (ids: readonly string[]): void => void unlinkAll(ids).catch(() => undefined); // Left for the sweep.

  /** Of these ids those whose bytes somebody may still ask for. */
  async function living(ids: readonly string[]): Promise<Set<string>> {
    const found = ids.length > 0 ? await readAmong(database.reader.manager, MediaFile, 'id', ids) : [];
    return new Set(found.filter(({ deletedAt }) => deletedAt === null).map(({ id }) => id));
  }

  /** A stored file of the account, by its id; of a message of one session where the caller reaches no other. */
  async function storedFile({ accountId, sessionId, mayRead }: MediaOwner, id: string): Promise<MediaFile | null> {
    const which = `id = ? AND "accountId" = ? AND state = 'stored' AND NOT "isSealed"`;
    const conditions = [
      ...(sessionId === null ? [] : ['m."sessionId" = ?']),
      ...(mayRead ? [] : [`m.origin IN ('api', 'panel')`]),
    ];
    const ofMessage = `EXISTS (SELECT 1 FROM messages m
      WHERE m.id = media_files."messageId" AND m."deletedAt" IS NULL AND ${conditions.join(' AND ')})`;
    const parameters = [id, accountId, ...(sessionId === null ? [] : [sessionId])];
    const [file = null] = await readRows(
      database.reader,
      MediaFile,
      conditions.length > 0 ? `${which} AND ${ofMessage}` : which,
      parameters,
    );
    return file;
  }

  async function read(source: MediaSource, owner: MediaOwner): Promise<FoundFile> {
    if ('bytes' in source) return { bytes: source.bytes, mimetype: source.mimetype ?? null, filename: source.filename ?? null };
    if ('url' in source) {
      const { bytes, mimetype, filename } = await safeFetch(source.url, { maxBytes, timeoutMs: urlTimeoutMs });
      return { bytes, mimetype: null, served: mimetype, filename };
    }
    if ('mediaId' in source) {
      const file = await storedFile(owner, source.mediaId);
      if (!file) throw new AppError('MEDIA_NOT_FOUND', { mediaId: source.mediaId });
      const handle = await open(pathOf(file.id)).catch(() => {
        throw new AppError('MEDIA_EXPIRED', { mediaId: file.id });
      });
      const bytes = await handle.readFile().finally(() => handle.close());
      return { bytes, mimetype: file.mimetype, filename: file.filename };
    }
    const { declared, text: given } = partsOfBase64(source.base64);
    const text = given.replace(/\s/g, '');
    if (!isBase64(text))
      throw new AppError('VALIDATION_FAILED', {
        fields: [
          {
            path: 'mediaBase64',
            code: 'INVALID_FORMAT',
            message: 'This is not the whole base64 of a file, nor a data URL with base64.',
          },
        ],
      });
    return { bytes: Buffer.from(text, 'base64'), mimetype: declared, filename: null };
  }

  /** The bytes as WhatsApp needs them for this kind of message. */
  async function prepared(
    kind: MediaType,
    bytes: Buffer,
    mimetype: string,
    mayUseDisk: boolean,
  ): Promise<{ bytes: Buffer; mimetype: string; warnings: Warning[] }> {
    const asItIs = {
      bytes,
      mimetype: kind === 'audio' || kind === 'voice' ? soundOf(mimetype) : mimetype,
      warnings: [] as Warning[],
    };
    if (kind === 'sticker' && isAnimated(bytes, mimetype)) return { ...asItIs, warnings: [warning('STICKER_NOT_ANIMATED')] };
    if (kind !== 'voice') return asItIs;
    if (isOggOpus(bytes)) return { ...asItIs, mimetype: 'audio/ogg' };
    const converted = await convertVoice(bytes, mimetype, mayUseDisk);
    if ('bytes' in converted) return { bytes: converted.bytes, mimetype: 'audio/ogg', warnings: [] };
    return { ...asItIs, warnings: [warning('VOICE_NOT_CONVERTED', converted.reason)] };
  }

  return {
    pathOf,
    /** Reads, checks and stores an outgoing file, sealed when the disk may not hold it otherwise. `hints` are what the caller said of it. */
    async receive(
      owner: MediaOwner,
      source: MediaSource,
      hints: { mimetype?: string | undefined; filename?: string | undefined; type?: MediaType | undefined; isSealed: boolean },
    ): Promise<StoredFile> {
      const found = await read(source, owner);
      if (found.bytes.length > maxBytes) throw new AppError('FILE_TOO_LARGE', { limit: maxBytes, size: found.bytes.length });
      if (found.bytes.length === 0)
        throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'file', code: 'TOO_SMALL', message: 'The file is empty.' }] });
      const { isSealed } = hints;
      const given = hints.filename ?? found.filename;
      const declared = hints.mimetype ?? found.mimetype;
      const about = { declared, served: found.served ?? null, filename: given, type: hints.type };
      const sniffed = await resolveType(found.bytes, about, allowed);
      const kind = hints.type ?? kindOf(sniffed);
      const { bytes, mimetype, warnings } = await prepared(kind, found.bytes, sniffed, !isSealed);
      const filename = kind === 'document' ? documentName(given, mimetype) : safeName(given);
      // Only of a document the receiver sees the name.
      if (kind === 'document' && given !== null && filename !== given.normalize('NFC'))
        warnings.push(warning('FILENAME_CHANGED', `The receiver sees ${filename}.`));
      const id = newId(clock.now().getTime());
      await write(id, isSealed ? sealer.sealFile(bytes, placeOf(id)) : bytes);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      return { id, mimetype, size: bytes.length, filename, sha256, kind, isSealed, warnings };
    },
    async attach(tx: Transaction, file: StoredFile, owner: { accountId: string; messageId: string | null }): Promise<void> {
      const { id, mimetype, size, filename, sha256, isSealed } = file;
      // What is sealed has no name and no fingerprint in the open either.
      const known = isSealed ? { filename: null, sha256: null } : { filename, sha256 };
      await insertRow(tx, MediaFile, {
        id,
        mimetype,
        size,
        ...known,
        isSealed,
        ...owner,
        sessionId: null,
        state: 'stored',
        reason: null,
        attempts: 0,
        nextAttemptAt: null,
        createdAt: clock.now(),
        deletedAt: null,
      });
    },
    /** Deletes the bytes of a message that was not accepted: no row names them. */
    discard: (file: StoredFile): Promise<void> => rm(pathOf(file.id), { force: true }),

    /** An inbound file that WhatsApp has and we do not, yet. */
    async announce(
      tx: Transaction,
      about: {
        accountId: string;
        sessionId: string;
        messageId: string;
        mimetype: string;
        filename: string | null;
        size: number | null;
      },
    ): Promise<string> {
      const id = newId(clock.now().getTime());
      await insertRow(tx, MediaFile, {
        id,
        ...about,
        filename: safeName(about.filename),
        state: 'pending',
        reason: null,
        sha256: null,
        isSealed: false,
        attempts: 0,
        nextAttemptAt: clock.now(),
        createdAt: clock.now(),
        deletedAt: null,
      });
      return id;
    },
    /**
     * The file to fetch next of each connected session that has one due, by session; the caller chooses among the sessions. Sessions in
     * `busy` are left out, and so are the files in `postponed`. Each session is asked by an index, so that files of sessions that are not
     * connected cost nothing.
     */
    async due(now: Date, busy: readonly string[], postponed: readonly string[]): Promise<Map<string, string>> {
      const others = notAmong(database.reader, 'id', postponed);
      const planned = [now.getTime(), now.getTime() + longestRetryMs];
      const free = notAmong(database.reader, 'id', busy);
      const ofSession = `SELECT f.id FROM media_files f WHERE f.state = 'pending' AND f."sessionId" = s.id
        AND (f."nextAttemptAt" <= ? OR f."nextAttemptAt" > ?) AND ${others.condition.replace('"id"', 'f."id"')}
        ORDER BY f."nextAttemptAt" LIMIT 1`;
      const sql = `SELECT due.id, due.file FROM (SELECT s.id, (${ofSession}) AS file FROM sessions s
        WHERE s.status = 'connected' AND s."deletedAt" IS NULL AND s."workerId" IS NOT NULL AND ${free.condition}) due
        WHERE due.file IS NOT NULL`;
      const parameters = [...planned, others.parameter, free.parameter];
      const { rows: found } = await runStatement(database.reader, sql, parameters);
      return new Map((found as { id: string; file: string }[]).map(({ id, file }) => [id, file]));
    },
    /** A file that is still to be fetched; null when it is settled or gone. */
    async pending(id: string): Promise<MediaFile | null> {
      const [file = null] = await readRows(database.reader, MediaFile, `id = ? AND state = 'pending'`, [id]);
      return file;
    },
    /** Pending files that nobody will be able to fetch, except `postponed`: their session was deleted, or they wait since before `oldest`. */
    async abandoned(oldest: Date, limit: number, postponed: readonly string[]): Promise<MediaFile[]> {
      const others = notAmong(database.reader, 'id', postponed);
      const ofDeleted = `"sessionId" IN (SELECT s.id FROM sessions s WHERE s."deletedAt" IS NOT NULL)`;
      const condition = `state = 'pending' AND (${ofDeleted} OR "sessionId" IS NULL OR "createdAt" < ?)
        AND ${others.condition} LIMIT ${limit}`;
      return readRows(database.reader, MediaFile, condition, [oldest, others.parameter]);
    },
    /**
     * Writes the bytes of an inbound file to the disk as they come; the caller commits what this returns. Rejects with `FILE_TOO_LARGE`
     * at the first byte above `limit`, whatever size was announced, with `StorageFailed` when the disk is at fault and not the bytes, and
     * leaves nothing on the disk when it rejects.
     */
    async keepStream(
      id: string,
      bytes: Readable,
      declared: string,
      limit: number,
      signal: AbortSignal,
    ): Promise<Pick<MediaFile, 'mimetype' | 'size' | 'sha256'>> {
      const path = pathOf(id);
      const draft = `${path}.part`;
      const hash = createHash('sha256');
      let size = 0;
      async function* measured(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
        for await (const chunk of source) {
          size += chunk.length;
          if (size > limit) throw new AppError('FILE_TOO_LARGE', { limit });
          hash.update(chunk);
          yield chunk;
        }
      }
      // Once the bytes have failed, everything after it is their fault. What else fails is the disk's.
      let isOurs = true;
      bytes.once('error', () => (isOurs = false));
      try {
        await mkdir(dirname(path), { recursive: true, mode: 0o700 });
        await pipeline(bytes, measured, createWriteStream(draft, { mode: 0o600, flush: true }), { signal });
        const sniffed = await fileTypeFromFile(draft);
        await rename(draft, path);
        return { mimetype: sniffed?.mime ?? storableType(declared), size, sha256: hash.digest('hex') };
      } catch (error) {
        bytes.destroy();
        await rm(draft, { force: true }).catch(() => undefined); // Left for the sweep.
        if (isOurs && !signal.aborted && isOfTheDisk(error)) throw new StorageFailed(error);
        throw error;
      }
    },
    settle: (tx: Transaction, id: string, changes: Partial<MediaFile>): Promise<number> =>
      updateRows(tx, MediaFile, { id, state: 'pending' }, changes),
    /** Seals a sealed file under the key that writes now; false when it is so already. Rejects when no key opens it. */
    async reseal({ id }: Pick<MediaFile, 'id'>): Promise<boolean> {
      const sealed = await readFile(pathOf(id)).catch(() => null); // Sent and gone meanwhile.
      if (!sealed || !sealer.isStale(sealed)) return false;
      await write(id, sealer.sealFile(sealer.openFile(sealed, placeOf(id)), placeOf(id)));
      return true;
    },
    /** The bytes of a stored file as it goes out: read while they are sent, or opened in memory. Rejects when they are not there any more. */
    async blob(file: MediaFile): Promise<Blob> {
      if (!file.isSealed) return openAsBlob(pathOf(file.id), { type: file.mimetype });
      return new Blob([new Uint8Array(sealer.openFile(await readFile(pathOf(file.id)), placeOf(file.id)))], {
        type: file.mimetype,
      });
    },
    /** Rows and bytes go. Killed between the commit and the disk, `sweep` removes the bytes. */
    async remove(tx: Transaction, ids: readonly string[]): Promise<void> {
      for (const id of ids) await deleteRows(tx, MediaFile, { id });
      tx.afterCommit(() => unlink(ids));
    },
    /** The bytes go; the row stays and tells that they are gone. */
    async expire(tx: Transaction, ids: readonly string[]): Promise<void> {
      for (const id of ids) await updateRows(tx, MediaFile, { id }, { deletedAt: clock.now() });
      tx.afterCommit(() => unlink(ids));
    },
    /**
     * Removes files that no row names, or whose row says that they are gone: what a kill left behind. Younger ones may belong to a
     * message that is being accepted. Gives how many.
     */
    async sweep(olderThanMs = 3_600_000): Promise<number> {
      const oldest = Date.now() - olderThanMs;
      let removed = 0;
      let failed: { error: unknown } | null = null;
      for (const folder of await readdir(dir).catch(() => [])) {
        const names = await readdir(join(dir, folder)).catch(() => []); // Not a folder: not ours.
        const kept = await living(names.map((name) => name.replace(/\.part$/, '')));
        for (const name of names) {
          const path = join(dir, folder, name);
          if (kept.has(name)) continue;
          try {
            const info = await stat(path).catch(() => null); // Removed meanwhile.
            if (!info || info.mtimeMs > oldest) continue;
            await rm(path, { force: true });
            removed += 1;
          } catch (error) {
            failed ??= { error }; // A file that cannot be removed keeps no other one from being removed.
          }
        }
      }
      if (failed) throw failed.error;
      return removed;
    },
    find: (accountId: string, id: string): Promise<MediaFile | null> => rows.findOneBy({ accountId, id }),
    findMany: (ids: string[]): Promise<MediaFile[]> => (ids.length > 0 ? rows.findBy({ id: In(ids) }) : Promise.resolve([])),

    /** Sends a file, or the part that `range` (the header) asks for. It is never rendered as a page: nosniff, a sandbox, and a download unless it is an image type that cannot hold script. */
    async send(res: Response, file: MediaFile, range?: string): Promise<void> {
      // Sealed files are kept for the transfer to WhatsApp alone, until the message is final.
      if (file.isSealed) throw new AppError('MEDIA_NOT_FOUND');
      if (file.state === 'failed' || file.deletedAt) throw new AppError('MEDIA_EXPIRED', { reason: file.reason });
      const handle = await openIfThere(pathOf(file.id));
      if (!handle && file.state === 'stored') throw new AppError('MEDIA_EXPIRED', { reason: file.reason });
      if (!handle) throw new AppError('MEDIA_NOT_FOUND', {}, 'The file is still being fetched. Try again in a moment.');
      const place = safeImages.has(file.mimetype) ? 'inline' : 'attachment';
      const name = encodeURIComponent(file.filename ?? `${file.id}`);
      const headers = {
        'Content-Type': file.mimetype,
        'X-Content-Type-Options': 'nosniff',
        'Content-Security-Policy': "sandbox; default-src 'none'",
        'Content-Disposition': `${place}; filename*=UTF-8''${name}`,
        'Cache-Control': 'private, max-age=3600',
      };
      await sendFile(res, handle, { headers, range });
    },
  };
}

/**
 * Splits a `data:` URL into its type and its base64; a plain text is base64 as a whole. Without a regular expression: the text is as long
 * as a file may be, and a pattern with two quantifiers before the comma takes quadratic time when there is no comma.
 */
function partsOfBase64(given: string): { declared: string | null; text: string } {
  if (!given.slice(0, 'data:'.length).toLowerCase().startsWith('data:')) return { declared: null, text: given };
  const comma = given.indexOf(',');
  const head = given.slice('data:'.length, Math.max(comma, 0));
  // Other data URLs hold percent-encoded text, which is no base64.
  if (!head.toLowerCase().endsWith(';base64')) return { declared: null, text: '' };
  return { declared: head.split(';', 1)[0] || null, text: given.slice(comma + 1) };
}

/**
 * Whether a text is the whole base64 of something, in the usual alphabet or in the one of URLs, with or without its filling. The decoder stops
 * at the first filling and drops the remainder, so that a text that was cut off or joined would become another file.
 */
function isBase64(text: string): boolean {
  const filling = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const length = text.length - filling;
  const isWhole = filling > 0 ? text.length % 4 === 0 : length % 4 !== 1;
  return length > 0 && isWhole && /^[A-Za-z0-9+/_-]+$/.test(text.slice(0, length));
}

/** Null where there is no such file. Anything else, a lack of descriptors for example, is an error and not an expired file. */
async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return await open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** A type as somebody else declared it, where it has the form of one and fits its column. */
const storableType = (declared: string): string =>
  declared.length <= 127 && /^[a-z0-9][\w!#$&^.+-]*\/[\w!#$&^.+-]+(\s*;[\x20-\x7e]*)?$/i.test(declared)
    ? declared
    : 'application/octet-stream';

/**
 * Containers such as WebM hold sound or film, and their bytes say film for both. WhatsApp goes by the type, and would send it as a video
 * where sound was asked for.
 */
const soundOf = (mimetype: string): string =>
  mimetype === 'video/quicktime'
    ? 'audio/mp4'
    : mimetype.replace(/^video\/(x-)?matroska$/, 'audio/webm').replace(/^video\//, 'audio/');

/** Several pictures in one file, of the types that become a still sticker. Animated WebP stays animated. */
const isAnimated = (bytes: Buffer, mimetype: string): boolean =>
  (mimetype === 'image/gif' && bytes.includes('NETSCAPE2.0')) || mimetype === 'image/apng';
