import { newId } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { createWriteStream, existsSync, statfsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { z } from 'zod';
import { migrations } from '../db/migrations/index.js';
import { beginPostgres, isMarked, markPostgres, markSqlite, pendingStateOf, type RestoredMark } from '../db/restored-marks.js';
import { DatabaseToolError, loadPostgres, requireTool, versionOf } from '../db/snapshot.js';
import { acquireExclusive } from '../lib/exclusive.js';
import { syncFolder } from '../lib/sync-folder.js';
import { restoringFolder } from '../lib/unfinished-restore.js';
import type { BackupKey } from './archive/key.js';
import { backupContents, backupHeader, type BackupHeader } from './archive/members.js';
import { readArchive, type ReadArchive } from './archive/reader.js';
import { BackupProblem, diskProblem } from './problem.js';

/**
 * Restores a backup into an empty installation: everything or nothing.
 *
 * | the process dies | what is on disk | what the same command does next |
 * | --- | --- | --- |
 * | while it extracts and checks | `.restoring` without `plan.json` | deletes it and begins again |
 * | while PostgreSQL loads | `.restoring` with `plan.json`; the server rolled back | loads again |
 * | after PostgreSQL has loaded | the data, and the schema `chasqui_restore` | writes the mark |
 * | while the parts move to their places | some are in place; `plan.json` names them | moves the others |
 *
 * Neither a backend nor a worker starts while `.restoring` exists, and no backend on a database with the schema `chasqui_restore`.
 */
export interface RestoreRequest {
  file: string;
  key: BackupKey;
  dataDir: string;
  /** Absent: SQLite. */
  databaseUrl: string | undefined;
  /** The keys of the environment, which would replace those of the backup. */
  encryptionKeys: string | undefined;
  mode: RestoredMark['mode'];
  startsSessions: boolean;
  /** The worker whose part is restored here. Absent: the only one. */
  workerId: string | undefined;
}

const plan = z.object({
  /** The backup, as an absolute path. */
  file: z.string(),
  mark: z.object({
    id: z.string(),
    backupId: z.string(),
    takenAt: z.number(),
    restoredAt: z.number(),
    mode: z.enum(['copy', 'move']),
    startsSessions: z.boolean(),
  }),
  header: backupHeader,
  contents: backupContents,
  workerId: z.string().nullable(),
});
type Plan = z.infer<typeof plan>;

/** The files and folders of an installation in DATA_DIR. Other files there, such as backups, do not prevent a restore. */
const places = ['chasqui.sqlite', 'media', 'worker', 'secrets.json'] as const;

/**
 * Restores a backup, or continues an earlier attempt. Returns what was restored. Throws `BackupProblem`; then either nothing was restored, or the
 * same command continues.
 */
export async function restoreBackup(request: RestoreRequest): Promise<Plan> {
  const { dataDir } = request;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const release = acquireExclusive(
    join(dataDir, 'backend.lock'),
    (owner) => new BackupProblem('RUNNING', `A backend${owner} runs on ${dataDir}. Stop it, or restore into another DATA_DIR.`),
  );
  try {
    const folder = join(dataDir, restoringFolder);
    const begun = await readPlan(folder);
    if (begun) requireSame(request, begun);
    const made = begun ?? (await prepare(request, folder));
    if (request.databaseUrl !== undefined) await load(request.databaseUrl, folder, made);
    await moveAll(dataDir, folder);
    return made;
  } catch (error) {
    throw diskProblem(error, dataDir);
  } finally {
    release();
  }
}

/** Returns the plan of an earlier attempt that had checked everything; null if there is none. */
async function readPlan(folder: string): Promise<Plan | null> {
  const text = await readFile(join(folder, 'plan.json'), 'utf8').catch(() => null);
  return text === null ? null : plan.parse(JSON.parse(text));
}

/** A restore that had begun is continued by the same command alone: with another one, parts of two restores would be put together. */
function requireSame(request: RestoreRequest, { file, mark, header, workerId }: Plan): void {
  requireFitting(request, header);
  const differing = [
    ...(resolve(request.file) === file ? [] : [`the file ${file}`]),
    ...(request.mode === mark.mode ? [] : [mark.mode === 'move' ? '--moved' : 'no --moved']),
    ...(request.startsSessions === mark.startsSessions
      ? []
      : [mark.startsSessions ? 'no --stopped-sessions' : '--stopped-sessions']),
    ...(request.workerId === undefined || request.workerId === workerId ? [] : [`the worker ${workerId ?? 'none'}`]),
  ];
  if (differing.length === 0) return;
  throw new BackupProblem(
    'NOT_EMPTY',
    `A restore with ${differing.join(' and ')} has begun in ${request.dataDir}. Run that command again, which continues it; or delete ${join(request.dataDir, restoringFolder)} and begin again.`,
  );
}

/** Extracts the archive below `.restoring`, checks it and writes the plan. Deletes `.restoring` if it throws. */
async function prepare(request: RestoreRequest, folder: string): Promise<Plan> {
  await rm(folder, { recursive: true, force: true });
  await requireEmpty(request);
  await mkdir(folder, { mode: 0o700 });
  try {
    const files = join(folder, 'files');
    await mkdir(files, { mode: 0o700 });
    const read = await readArchive(request.file, request.key, {
      onHeader: (header) => requireFitting(request, header),
      onMember: (name, size, bytes) => extractMember(files, name, size, bytes),
    });
    failPoint('restore.extracted');
    await requireSecrets(request, files);
    const made = await planOf(request, read);
    await arrange(files, made);
    if (made.header.database === 'sqlite') markFile(join(files, 'chasqui.sqlite'), made.mark);
    await writeFile(join(folder, 'plan.json.new'), JSON.stringify(made), { mode: 0o600, flush: true });
    await rename(join(folder, 'plan.json.new'), join(folder, 'plan.json'));
    await syncFolder(folder);
    failPoint('restore.checked');
    return made;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function requireEmpty({ dataDir, databaseUrl }: RestoreRequest): Promise<void> {
  const found: string[] = [];
  for (const name of places) {
    const path = join(dataDir, name);
    if (!existsSync(path)) continue;
    const isEmptyFolder = name === 'media' && (await readdir(path)).length === 0;
    if (!isEmptyFolder) found.push(name);
  }
  if (found.length > 0)
    throw new BackupProblem(
      'NOT_EMPTY',
      `${dataDir} holds an installation already (${found.join(', ')}). A restore never overwrites one: name an empty folder with DATA_DIR, or move this one away.`,
    );
  if (databaseUrl !== undefined)
    await withClient(databaseUrl, async (client) => {
      if ((await pendingStateOf(client, '')) === 'foreign')
        throw new BackupProblem(
          'NOT_EMPTY',
          'The database of DATABASE_URL holds tables already. Create an empty one and name it.',
        );
    });
}

function requireFitting({ databaseUrl, mode }: RestoreRequest, header: BackupHeader): void {
  const known = new Set(migrations.map((migration) => migration.name));
  if (!known.has(header.migration))
    throw new BackupProblem(
      'ARCHIVE_NEWER',
      `The backup was made by a newer version of this program (${header.version}). Install that version, then run the same command again.`,
    );
  if (header.database === 'postgres' && databaseUrl === undefined)
    throw new BackupProblem(
      'WRONG_DATABASE',
      'The backup is of PostgreSQL. Set DATABASE_URL to an empty database of a PostgreSQL server.',
    );
  if (header.database === 'sqlite' && databaseUrl !== undefined)
    throw new BackupProblem('WRONG_DATABASE', 'The backup is of SQLite. Leave DATABASE_URL out.');
  if (mode === 'move' && !header.isStopped)
    throw new BackupProblem(
      'RUNNING',
      'The installation ran while this backup was taken, so it may have sent messages since. Restore without --moved; or stop it, make another backup, and restore that one.',
    );
}

/** Below this much free space extracting stops, so that a file that inflates without end does not fill the disk. */
const reserveBytes = 64 * 1_048_576;

async function extractMember(files: string, name: string, size: number, bytes: AsyncIterable<Buffer>): Promise<void> {
  const { bavail, bsize } = statfsSync(files);
  if (bavail * bsize - size < reserveBytes)
    throw new BackupProblem(
      'DISK_FULL',
      `The disk has no room for what the backup holds. Free some space, then run the same command again.`,
    );
  const path = join(files, name);
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    // With `wx`, a second member of the same name is refused.
    await pipeline(bytes, createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true }));
  } catch (error) {
    const why = nameProblems[(error as NodeJS.ErrnoException).code ?? ''];
    if (why === undefined) throw error;
    throw new BackupProblem('ARCHIVE_REFUSED', `The archive is refused: ${why}. Use another backup.`);
  }
}

/** What is wrong with the name of a member, by the error of the file system. */
const nameProblems: Record<string, string | undefined> = {
  EEXIST: 'it holds a member twice',
  ENOTDIR: 'it holds a file and a folder of the same name',
  EISDIR: 'it holds a file and a folder of the same name',
  ENAMETOOLONG: 'the name of a member is too long for this file system',
};

const keyIds = (keys: string): string[] => keys.split(',').map((entry) => entry.trim());

/**
 * Throws `ARCHIVE_DAMAGED` if the secrets have another form, and `KEY_WRONG` if ENCRYPTION_KEYS of the environment lacks a key of the backup. The environment has precedence over the file, so sealed data
 * could not be read.
 */
async function requireSecrets({ encryptionKeys }: RestoreRequest, files: string): Promise<void> {
  const stored = storedKeys(await readFile(join(files, 'secrets.json'), 'utf8'));
  if (!encryptionKeys) return;
  const own = new Set(keyIds(encryptionKeys));
  if (keyIds(stored).some((key) => !own.has(key)))
    throw new BackupProblem(
      'KEY_WRONG',
      'ENCRYPTION_KEYS of this environment does not hold the keys of the backup. Leave it out: the backup brings its own.',
    );
}

function storedKeys(secrets: string): string {
  try {
    return z.object({ ENCRYPTION_KEYS: z.string() }).parse(JSON.parse(secrets)).ENCRYPTION_KEYS;
  } catch {
    throw new BackupProblem(
      'ARCHIVE_DAMAGED',
      'The secrets in the backup cannot be read. Nothing was changed. Use another backup.',
    );
  }
}

async function planOf(request: RestoreRequest, { header, contents }: ReadArchive): Promise<Plan> {
  const workers = Object.keys(contents.workers);
  const workerId = request.workerId ?? (workers.length === 1 ? workers[0]! : null);
  if (request.workerId !== undefined && !workers.includes(request.workerId))
    throw new BackupProblem(
      'ARCHIVE_REFUSED',
      `The backup has no worker ${request.workerId}. It has: ${workers.join(', ') || 'none'}.`,
    );
  const mark = {
    id: newId(Date.now()),
    backupId: header.backupId,
    takenAt: Date.parse(header.takenAt),
    restoredAt: Date.now(),
    mode: request.mode,
    startsSessions: request.startsSessions,
  };
  return { file: resolve(request.file), mark, header, contents, workerId };
}

/** Renames the members to their names in DATA_DIR, and deletes the workers that belong to other machines. */
async function arrange(files: string, { header, workerId }: Plan): Promise<void> {
  if (header.database === 'sqlite') await rename(join(files, 'database.sqlite'), join(files, 'chasqui.sqlite'));
  if (workerId !== null) {
    const from = join(files, 'workers', workerId);
    const logins = join(from, 'logins');
    if (existsSync(logins)) await rename(logins, join(from, 'profiles'));
    if (existsSync(from)) await rename(from, join(files, 'worker'));
  }
  await rm(join(files, 'workers'), { recursive: true, force: true });
}

function markFile(file: string, mark: RestoredMark): void {
  try {
    markSqlite(file, mark);
  } catch (error) {
    if (!/^SQLITE_(CORRUPT|NOTADB|ERROR)/.test(String((error as { code?: unknown }).code))) throw error;
    throw new BackupProblem(
      'ARCHIVE_DAMAGED',
      'The database in the backup cannot be read. Nothing was changed. Use another backup.',
    );
  }
}

/** Loads the database into PostgreSQL and marks it as restored. Does nothing if an earlier attempt did both. */
async function load(url: string, folder: string, { mark, header }: Plan): Promise<void> {
  await withClient(url, async (client) => {
    if (await isMarked(client, mark.id)) return;
    const state = await pendingStateOf(client, mark.backupId);
    if (state === 'foreign')
      throw new BackupProblem('NOT_EMPTY', 'The database of DATABASE_URL holds tables already. Create an empty one and name it.');
    try {
      await requireTool('pg_restore', Math.max(header.serverVersion ?? 0, await versionOf(client)));
      if (state !== 'loaded') {
        await beginPostgres(client, mark.backupId);
        await loadPostgres(url, join(folder, 'files/database.dump'));
      }
    } catch (error) {
      if (!(error instanceof DatabaseToolError)) throw error;
      const code = error.kind === 'missing' ? 'DATABASE_TOOL_MISSING' : 'DATABASE_TOOL_FAILED';
      throw new BackupProblem(code, `${error.message} Correct the cause, then run the same command again; it continues.`);
    }
    failPoint('restore.loaded');
    await markPostgres(client, mark);
  });
}

async function withClient(url: string, use: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, application_name: 'chasqui restore', connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Moves each part to its place in DATA_DIR, the secrets last. A part that is missing below `.restoring` is in its place already. */
async function moveAll(dataDir: string, folder: string): Promise<void> {
  for (const name of places) {
    const from = join(folder, 'files', name);
    if (!existsSync(from)) continue;
    if (name === 'media') await rm(join(dataDir, name), { recursive: true, force: true });
    await rename(from, join(dataDir, name));
    failPoint('restore.moved');
  }
  await syncFolder(dataDir);
  await rm(folder, { recursive: true, force: true });
}
