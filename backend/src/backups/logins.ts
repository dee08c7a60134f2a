import { createWriteStream, createReadStream } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import Sqlite from 'better-sqlite3';
import { workerRoutes } from '@chasqui/shared';
import { z } from 'zod';
import { backedUpLogin, type BackupContents } from './archive/members.js';
import type { ArchiveWriter } from './archive/writer.js';

/**
 * The logins of a backup. They are on the disks of the workers: a running worker sends them (`GET /api/archive`); of a worker that is stopped,
 * and whose folder is on this machine, they are read from its folder, which the caller has locked. The login of a running browser is never read:
 * both ways read the last good copy of each login.
 */
export interface LoginParts {
  archive: ArchiveWriter;
  serviceKey: string;
  /** A folder for temporary files. The archive of a worker is stored there first, so that an incomplete one is not added to the backup. */
  tmp: string;
  /** The folder of a stopped worker. Null: there is none here, or it runs. */
  stoppedWorker: string | null;
}

type Logins = BackupContents['workers'][string];

const loginsFile = z.record(z.string().regex(/^[\w-]{1,64}$/), backedUpLogin);
/** The timeout of a request for an archive. A worker copies each login before it sends it. */
const answerMs = 600_000;

/** Adds the database and the logins of a worker. Returns its logins; null if neither the worker nor its folder can be read. */
export async function addWorker(parts: LoginParts, worker: { id: string; url: string }): Promise<Logins | null> {
  const file = join(parts.tmp, 'worker.tar');
  if (await download(parts, worker, file)) return addArchive(parts, worker.id, file);
  return parts.stoppedWorker !== null && workerIdOf(parts.stoppedWorker) === worker.id
    ? addFolder(parts, worker.id, parts.stoppedWorker)
    : null;
}

/** Downloads the archive of a worker. Returns false if the worker does not answer, is another one, or its archive is not complete. */
async function download({ serviceKey }: LoginParts, { id, url }: { id: string; url: string }, file: string): Promise<boolean> {
  const base = url.endsWith('/') ? url.slice(0, -1) : url;
  const headers = { 'X-API-Key': serviceKey };
  try {
    const health = await fetch(base + workerRoutes.health.path, { signal: AbortSignal.timeout(5_000) });
    const { data } = z.object({ data: z.object({ workerId: z.string() }) }).parse(await health.json());
    if (data.workerId !== id) return false;
    const answer = await fetch(base + workerRoutes.archive.path, { headers, signal: AbortSignal.timeout(answerMs) });
    if (!answer.ok || !answer.body) return false;
    await pipeline(
      Readable.fromWeb(answer.body as import('node:stream/web').ReadableStream),
      createWriteStream(file, { mode: 0o600 }),
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw error;
    return false;
  }
  return (await loginsOf(file)) !== null;
}

type TarEntries = AsyncIterable<AsyncIterable<Buffer> & { header: Header; resume(): void }>;

async function eachEntry(file: string, visit: (header: Header, bytes: AsyncIterable<Buffer>) => Promise<void>): Promise<void> {
  const tar = extract();
  const visiting = (async () => {
    for await (const entry of tar as unknown as TarEntries) {
      await visit(entry.header, entry);
      entry.resume();
    }
  })();
  await Promise.all([pipeline(createReadStream(file), tar as unknown as NodeJS.WritableStream), visiting]);
}

/** Returns the logins that the last entry of a worker's archive lists; null if the archive is not complete. */
async function loginsOf(file: string): Promise<Logins['logins'] | null> {
  let logins: Logins['logins'] | null = null;
  try {
    await eachEntry(file, async ({ name }, bytes) => {
      if (name !== 'logins.json') return;
      const chunks: Buffer[] = [];
      for await (const chunk of bytes) chunks.push(chunk);
      logins = loginsFile.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')));
    });
  } catch (error) {
    if (typeof (error as { syscall?: unknown }).syscall === 'string') throw error;
    return null; // The archive is not complete, or the file is not an archive.
  }
  return logins;
}

async function addArchive({ archive }: LoginParts, id: string, file: string): Promise<Logins> {
  const logins = (await loginsOf(file)) ?? {};
  await eachEntry(file, async ({ name, size = 0 }, bytes) => {
    const [, sessionId] = /^logins\/([\w-]{1,64})\/./.exec(name) ?? [];
    const isWanted = name === 'worker.sqlite' || (sessionId !== undefined && Object.hasOwn(logins, sessionId));
    if (isWanted) await archive.addStream(`workers/${id}/${name}`, size, Readable.from(bytes));
  });
  return { logins };
}

async function addFolder({ archive, tmp }: LoginParts, id: string, folder: string): Promise<Logins> {
  const snapshot = join(tmp, 'worker.sqlite');
  const store = new Sqlite(join(folder, 'worker.sqlite'), { readonly: true, fileMustExist: true });
  try {
    await store.backup(snapshot, { progress: () => 0x7fff_ffff });
  } finally {
    store.close();
  }
  await archive.addFile(`workers/${id}/worker.sqlite`, snapshot);
  const logins: Logins['logins'] = {};
  for (const [sessionId, copy] of await copiesIn(join(folder, 'copies'))) {
    for (const path of await filesBelow(copy))
      await archive.addFile(`workers/${id}/logins/${sessionId}/${relative(copy, path).split(sep).join('/')}`, path);
    logins[sessionId] = { savedAt: Math.round((await stat(copy)).birthtimeMs), fresh: false };
  }
  return { logins };
}

/**
 * Returns the copies of the logins of a stopped worker, by session id. A copy that was being replaced when its process died is at `<sessionId>.old`.
 */
async function copiesIn(folder: string): Promise<Map<string, string>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const names = await readdir(folder);
  const whole = names.filter((name) => /^[\w-]{1,64}$/.test(name));
  const older = names.filter((name) => name.endsWith('.old') && !whole.includes(name.slice(0, -4)));
  return new Map([
    ...whole.map((name) => [name, join(folder, name)] as const),
    ...older.map((name) => [name.slice(0, -4), join(folder, name)] as const),
  ]);
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function workerIdOf(folder: string): string | null {
  try {
    const store = new Sqlite(join(folder, 'worker.sqlite'), { readonly: true, fileMustExist: true });
    try {
      const row = store.prepare<[], { value: string }>(`SELECT value FROM meta WHERE name = 'workerId'`).get();
      return row?.value ?? null;
    } finally {
      store.close();
    }
  } catch {
    return null; // There is no worker here, or its file cannot be read.
  }
}
