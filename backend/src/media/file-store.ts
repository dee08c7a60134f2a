import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError } from '@chasqui/shared';
import { fileTypeFromFile } from 'file-type';
import { codeOf } from '../db/rows.js';
import { StorageFailed } from '../lib/storage-failed.js';

/** Stores the bytes of files on the disk, under their ids. A file exists completely or not at all: it is written as a draft, synced and renamed. */
export interface FileStore {
  pathOf(id: string): string;
  write(id: string, bytes: Buffer): Promise<void>;
  /**
   * Writes bytes as they arrive. `mimetype` is the type that they show, or null. Rejects with `FILE_TOO_LARGE` at the first byte above `limit`, and
   * with `StorageFailed` when the disk fails and not the source of the bytes. Leaves nothing on the disk when it rejects.
   */
  writeStream(
    id: string,
    bytes: Readable,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ mimetype: string | null; size: number; sha256: string }>;
  /** Opens a file. Returns null where there is none; a lack of descriptors, for example, is an error. */
  open(id: string): Promise<FileHandle | null>;
  /** Deletes files; those that do not exist are no error. */
  delete(ids: readonly string[]): Promise<void>;
  /**
   * Deletes files that were last written before `olderThanMs` and that are not in use. Returns their number. `usedAmong` returns those of some
   * ids that are in use.
   */
  sweep(olderThanMs: number, usedAmong: (ids: readonly string[]) => Promise<ReadonlySet<string>>): Promise<number>;
}

/** The name of a draft until it is renamed. */
const draftEnding = '.part';

export function createFileStore(dir: string): FileStore {
  const pathOf = (id: string): string => join(dir, id.slice(-2), id);
  return {
    pathOf,
    write: (id, bytes) => writeFile(pathOf(id), bytes),
    writeStream: (id, bytes, limit, signal) => writeStream(pathOf(id), bytes, limit, signal),
    open: (id) => openIfThere(pathOf(id)),
    async delete(ids) {
      for (const id of ids) await rm(pathOf(id), { force: true });
    },
    sweep: (olderThanMs, usedAmong) => sweep(dir, Date.now() - olderThanMs, usedAmong),
  };
}

async function writeFile(path: string, bytes: Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}${draftEnding}`;
  const handle = await open(draft, 'w', 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(draft, path);
}

async function writeStream(
  path: string,
  bytes: Readable,
  limit: number,
  signal: AbortSignal,
): ReturnType<FileStore['writeStream']> {
  const draft = `${path}${draftEnding}`;
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
  // Once the source of the bytes has failed, every later error follows from that. All other errors come from the disk.
  let isOurs = true;
  bytes.once('error', () => (isOurs = false));
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await pipeline(bytes, measured, createWriteStream(draft, { mode: 0o600, flush: true }), { signal });
    const sniffed = await fileTypeFromFile(draft);
    await rename(draft, path);
    return { mimetype: sniffed?.mime ?? null, size, sha256: hash.digest('hex') };
  } catch (error) {
    bytes.destroy();
    await rm(draft, { force: true }).catch(() => undefined); // Left for the sweep.
    if (isOurs && !signal.aborted && isOfTheDisk(error)) throw new StorageFailed(error);
    throw error;
  }
}

/** Whether the error comes from the file system. Such errors name the failed call; errors of a stream do not. */
const isOfTheDisk = (error: unknown): boolean =>
  codeOf(error) !== null && typeof (error as { syscall?: unknown }).syscall === 'string';

async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return await open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function sweep(
  dir: string,
  oldest: number,
  usedAmong: (ids: readonly string[]) => Promise<ReadonlySet<string>>,
): Promise<number> {
  let removed = 0;
  let failed: { error: unknown } | null = null;
  for (const folder of await readdir(dir).catch(() => [])) {
    const names = await readdir(join(dir, folder)).catch(() => []); // Not a folder: not ours.
    const used = await usedAmong(names.map((name) => name.replace(/\.part$/, '')));
    for (const name of names) {
      const path = join(dir, folder, name);
      if (used.has(name)) continue;
      try {
        const info = await stat(path).catch(() => null); // Removed meanwhile.
        if (!info || info.mtimeMs > oldest) continue;
        await rm(path, { force: true });
        removed += 1;
      } catch (error) {
        failed ??= { error }; // A file that cannot be removed does not prevent the removal of the others.
      }
    }
  }
  if (failed) throw failed.error;
  return removed;
}
