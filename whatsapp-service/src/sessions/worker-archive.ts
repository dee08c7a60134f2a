import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';
import type { Store } from '../store.js';
import type { Profiles } from './profiles.js';
import type { Registry } from './registry.js';

/**
 * What a backup stores of a worker, as a tar archive:
 *
 * | entry | content |
 * | --- | --- |
 * | `worker.sqlite` | a snapshot of the worker's database: its id, the send record, undelivered events, epochs and watermarks |
 * | `logins/<sessionId>/…` | the files of the session's login, as its last good copy has them |
 * | `logins.json` | `{ "<sessionId>": { "savedAt": milliseconds, "fresh": boolean } }`; the last entry: without it the archive is not whole |
 *
 * The login of a running browser is never read. A connected session that sends nothing is copied first (profile-copies.ts), and `fresh` says
 * that its copy is of this moment. The snapshot comes first, because the backend's own is older than it and asks for the events since.
 */
export interface WorkerArchive {
  /** Starts an archive. The caller reads or destroys the stream; an error on the way destroys it. */
  open(): Readable;
}

export interface WorkerArchiveParts {
  store: Store;
  profiles: Pick<Profiles, 'copied' | 'linkCopy'>;
  registry: Pick<Registry, 'all'>;
  /** A folder on the disk of the logins, which is emptied at the start of the worker. */
  tmp: string;
}

export function createWorkerArchive(parts: WorkerArchiveParts): WorkerArchive {
  return {
    open() {
      const archive = pack();
      write(parts, archive).catch((error: unknown) => archive.destroy(error as Error));
      return archive as unknown as Readable;
    },
  };
}

async function write({ store, profiles, registry, tmp }: WorkerArchiveParts, archive: Pack): Promise<void> {
  const folder = path.join(tmp, `backup-${randomUUID()}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    const snapshot = path.join(folder, 'worker.sqlite');
    await store.backup(snapshot);
    await addFile(archive, 'worker.sqlite', snapshot);
    await rm(snapshot);
    const fresh = new Set<string>();
    for (const session of registry.all()) if (await session.copyLogin()) fresh.add(session.id);
    const logins: Record<string, { savedAt: number; fresh: boolean }> = {};
    for (const sessionId of await profiles.copied()) {
      if (archive.destroyed) return;
      const links = path.join(folder, sessionId);
      const savedAt = await profiles.linkCopy(sessionId, links);
      if (savedAt === null) continue;
      for (const name of await filesBelow(links)) await addFile(archive, `logins/${sessionId}/${name}`, path.join(links, name));
      await rm(links, { recursive: true, force: true });
      logins[sessionId] = { savedAt: Math.round(savedAt), fresh: fresh.has(sessionId) };
    }
    archive.entry({ name: 'logins.json', mode: 0o600 }, JSON.stringify(logins));
    archive.finalize();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function addFile(archive: Pack, name: string, file: string): Promise<void> {
  const { size, mtime } = await stat(file);
  await pipeline(createReadStream(file), archive.entry({ name, size, mtime, mode: 0o600 }));
}

/** The files below a folder, relative to it, with `/` between the parts. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'))
    .sort();
}
