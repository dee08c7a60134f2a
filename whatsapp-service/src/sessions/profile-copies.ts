import { constants } from 'node:fs';
import { copyFile, link, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';

/**
 * Copies logins. A browser that is killed at the wrong moment can leave its profile damaged, and then the account would have to be linked again.
 * Each session has at most one copy, `<dir>/copies/<sessionId>`, of a profile that was proven to work. A copy gives access like the login itself,
 * so it is deleted with the login.
 */
export interface ProfileCopies {
  /**
   * Copies a profile in place of the earlier copy. Returns false, and keeps the earlier copy, if `signal` aborted, a file changed during the copy, or
   * another copy of this session is being made: a copy of a browser's databases is usable only if nothing was written meanwhile.
   */
  save(sessionId: string, profile: string, signal: AbortSignal): Promise<boolean>;
  /** When the copy was made, in milliseconds since 1970. Null: there is none. */
  savedAt(sessionId: string): Promise<number | null>;
  /** The copy with the size of its files. Null: there is none. */
  describe(sessionId: string): Promise<LoginCopy | null>;
  /** Replaces the profile by the copy. No browser may run. Returns false, and changes nothing, if there is no copy. */
  restore(sessionId: string, profile: string): Promise<boolean>;
  remove(sessionId: string): Promise<void>;
  /** The sessions that have a copy. */
  list(): Promise<string[]>;
  /**
   * Links the files of a copy into a folder, where they stay as they are when the copy is replaced or removed meanwhile. Returns when the copy was
   * made, in milliseconds since 1970; null, and leaves no folder, if there is no whole copy.
   */
  link(sessionId: string, target: string): Promise<number | null>;
}

export interface LoginCopy {
  bytes: number;
  /** Milliseconds since 1970. */
  savedAt: number;
}

/** Files that are not copied: Chromium creates them again, or they belong to a running browser. */
const leftOut = /cache|^Singleton|^Crashpad$|^Service Worker$|^BrowserMetrics/i;

export function createProfileCopies(copies: string): ProfileCopies {
  const at = (sessionId: string): string => path.join(copies, sessionId);
  /** Sessions whose copy is being made. A second one at the same time would write into the same folder. */
  const saving = new Set<string>();
  return {
    async save(sessionId, profile, signal) {
      if (saving.has(sessionId)) return false;
      saving.add(sessionId);
      try {
        return await save(at(sessionId), profile, signal);
      } finally {
        saving.delete(sessionId);
      }
    },
    savedAt: (sessionId) => savedAt(at(sessionId)),
    describe: (sessionId) => describe(at(sessionId)),
    restore: (sessionId, profile) => restore(at(sessionId), profile),
    remove: (sessionId) => remove(at(sessionId)),
    list: () => list(copies),
    link: (sessionId, target) => linkCopy(at(sessionId), target),
  };
}

interface FileState {
  /** Relative to the profile. */
  name: string;
  size: number;
  modifiedAt: number;
}

async function save(copy: string, profile: string, signal: AbortSignal): Promise<boolean> {
  const unfinished = `${copy}.new`;
  await rm(unfinished, { recursive: true, force: true });
  try {
    const before = await filesIn(profile);
    for (const { name } of before) {
      if (signal.aborted) return false;
      const target = path.join(unfinished, name);
      await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
      await copyFile(path.join(profile, name), target, constants.COPYFILE_FICLONE);
    }
    if (before.length === 0 || !isSame(before, await filesIn(profile))) return false;
    await replace(copy, unfinished);
    return true;
  } catch (error) {
    // The browser has deleted a file after it was listed.
    if (isMissing(error)) return false;
    throw error;
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** Moves the new copy into place. After a crash between the two renames, `<copy>.old` is the copy; see `current`. */
async function replace(copy: string, by: string): Promise<void> {
  const former = `${copy}.old`;
  const existing = await current(copy);
  if (existing !== former) {
    await rm(former, { recursive: true, force: true });
    if (existing) await rename(existing, former);
  }
  await rename(by, copy);
  await rm(former, { recursive: true, force: true });
}

async function current(copy: string): Promise<string | null> {
  for (const candidate of [copy, `${copy}.old`]) if (await stat(candidate).catch(() => null)) return candidate;
  return null;
}

async function savedAt(copy: string): Promise<number | null> {
  const existing = await current(copy);
  return existing ? (await stat(existing)).birthtimeMs : null;
}

async function describe(copy: string): Promise<LoginCopy | null> {
  const existing = await current(copy);
  if (!existing) return null;
  const bytes = (await filesIn(existing)).reduce((sum, { size }) => sum + size, 0);
  return { bytes, savedAt: (await stat(existing)).birthtimeMs };
}

async function restore(copy: string, profile: string): Promise<boolean> {
  const existing = await current(copy);
  if (!existing) return false;
  const files = await filesIn(existing);
  // Copied next to the profile first, then moved. A crash leaves the damaged profile, the copy, or no profile. Without one the page shows a code
  // at the next start, and the copy is restored again.
  const unfinished = `${copy}.restoring`;
  await rm(unfinished, { recursive: true, force: true });
  for (const { name } of files) {
    const target = path.join(unfinished, name);
    await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
    await copyFile(path.join(existing, name), target, constants.COPYFILE_FICLONE);
  }
  await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  await rename(unfinished, profile);
  return true;
}

async function remove(copy: string): Promise<void> {
  for (const suffix of ['', '.old', '.new', '.restoring'])
    await rm(`${copy}${suffix}`, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

async function list(copies: string): Promise<string[]> {
  const names = await readdir(copies).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  return [...new Set(names.filter((name) => !/\.(new|restoring)$/.test(name)).map((name) => name.replace(/\.old$/, '')))].sort();
}

async function linkCopy(copy: string, target: string): Promise<number | null> {
  // The second attempt is for a copy that was replaced by a newer one during the first.
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const existing = await current(copy);
    if (!existing) return null;
    try {
      const { birthtimeMs } = await stat(existing);
      for (const { name } of await filesIn(existing)) {
        const file = path.join(target, name);
        await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
        await linkOrCopy(path.join(existing, name), file);
      }
      return birthtimeMs;
    } catch (error) {
      await rm(target, { recursive: true, force: true });
      if (!isMissing(error)) throw error;
    }
  }
  return null;
}

/** Some file systems have no links. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (isMissing(error)) throw error;
    await copyFile(from, to, constants.COPYFILE_FICLONE);
  }
}

async function filesIn(folder: string, below = ''): Promise<FileState[]> {
  const found: FileState[] = [];
  for (const entry of await readdir(path.join(folder, below), { withFileTypes: true })) {
    if (leftOut.test(entry.name)) continue;
    const name = path.join(below, entry.name);
    if (entry.isDirectory()) found.push(...(await filesIn(folder, name)));
    else if (entry.isFile()) {
      const { size, mtimeMs } = await stat(path.join(folder, name));
      found.push({ name, size, modifiedAt: mtimeMs });
    }
  }
  return found;
}

const isSame = (before: FileState[], after: FileState[]): boolean =>
  before.length === after.length &&
  before.every(({ name, size, modifiedAt }, index) => {
    const now = after[index]!;
    return now.name === name && now.size === size && now.modifiedAt === modifiedAt;
  });

const isMissing = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT';
