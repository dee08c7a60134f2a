import { AppError } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../config.js';
import type { Database } from '../db/database.js';
import { insertRow, updateRows } from '../db/rows.js';
import { DatabaseToolError, snapshotPostgres, snapshotSqlite, type SnapshotFacts } from '../db/snapshot.js';
import type { Clock } from '../lib/clock.js';
import { acquireExclusive } from '../lib/exclusive.js';
import { syncFolder } from '../lib/sync-folder.js';
import { version } from '../version.js';
import { readBackupKey, type BackupKey } from './archive/key.js';
import { archiveFormat, type BackupContents, type BackupHeader, type BackupPart } from './archive/members.js';
import { drop, readArchive } from './archive/reader.js';
import { createArchive, type ArchiveWriter } from './archive/writer.js';
import { Backup } from './backup.entity.js';
import { ending, fileNameOf, isNamedAfter } from './file-name.js';
import { addWorker } from './logins.js';
import { BackupProblem, diskProblem } from './problem.js';

/**
 * Makes one backup, in a process of its own (backup.ts): copying and compressing would delay everything else in a backend.
 *
 * The database comes first, then the workers, then the files of messages. So each later part has at least what the database refers to: a worker
 * has the events that the database does not have yet, and every file that the database names was written before. A file that retention deletes
 * meanwhile is missing, as it would be without a backup.
 *
 * | the process dies | what is on disk | what the next one does |
 * | --- | --- | --- |
 * | before the file is complete | `<name>.partial` and the folder `.work-<id>`; the row is `running` | deletes both; the row becomes `failed` with `INTERRUPTED` |
 * | after the file got its name | the complete file; the row is `running` | the same: a backup is offered only if its row is `ready` |
 * | after the row is `ready` | the backup | nothing |
 */
export interface MakeParts {
  config: Pick<
    Config,
    'dataDir' | 'mediaDir' | 'database' | 'serviceKey' | 'jwtSecret' | 'cookieSecret' | 'encryptionKeys' | 'BACKUP_KEY'
  >;
  database: Database;
  clock: Clock;
  /** The folder of the backups. */
  dir: string;
}

export interface BackupRequest {
  id: string;
  trigger: Backup['trigger'];
  parts: BackupPart[];
  /** Where to write the file. Absent: into the folder of the backups. */
  file?: string;
}

/** Makes a backup and returns it. Throws `BackupProblem`; then the row has the same code, and no file has the final name. */
export async function makeBackup(parts: MakeParts, request: BackupRequest): Promise<Backup> {
  const { database, clock, dir } = parts;
  const release = lockBackups(dir);
  try {
    await failInterrupted(parts);
    const createdAt = clock.now();
    const { id, trigger, file = join(dir, fileNameOf(request.id, createdAt)) } = request;
    // The row then names no file, because the file that a row names is deleted with it.
    const isTaken = existsSync(file);
    const named = { host: hostname(), file: isTaken ? '' : file };
    const row = { id, trigger, parts: request.parts, ...named, status: 'running' as const, createdAt };
    await database.write.run((tx) => insertRow(tx, Backup, { ...row, verified: false }));
    try {
      if (isTaken) throw new BackupProblem('NOT_EMPTY', `${file} exists already. Choose another name.`);
      const made = await writeBackup(parts, request, file, createdAt);
      const ready = { status: 'ready' as const, finishedAt: clock.now(), ...made };
      await database.write.run((tx) => updateRows(tx, Backup, { id }, ready));
      return { ...row, ...ready, errorCode: null, errorText: null };
    } catch (error) {
      const problem = asProblem(diskProblem(error, dir));
      const failed = { status: 'failed' as const, finishedAt: clock.now(), errorCode: problem.code, errorText: problem.message };
      // If the database fails as well, the process that started this one writes the row, or the next backup does.
      await database.write.run((tx) => updateRows(tx, Backup, { id }, failed)).catch(() => undefined);
      throw problem;
    }
  } finally {
    release();
  }
}

/** Locks the folder of the backups, in which one backup is made at a time. Throws `BACKUP_RUNNING`. */
function lockBackups(dir: string): () => void {
  return acquireExclusive(
    join(dir, 'backup.lock'),
    (owner) => new BackupProblem('BACKUP_RUNNING', `Another backup${owner} is being made. Wait until it is done.`),
  );
}

function asProblem(error: unknown): BackupProblem {
  if (error instanceof BackupProblem) return error;
  if (error instanceof DatabaseToolError) {
    const next =
      error.kind === 'missing'
        ? 'Install the client programs of the server’s version (Debian: postgresql-client), or back the database up as docs/operations/backup.md says.'
        : 'Correct the cause, then make the backup again.';
    return new BackupProblem(
      error.kind === 'missing' ? 'DATABASE_TOOL_MISSING' : 'DATABASE_TOOL_FAILED',
      `${error.message} ${next}`,
    );
  }
  const cause = error instanceof AppError || error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  return new BackupProblem('FAILED', `The backup failed: ${cause}`);
}

/**
 * Marks backups as failed that an earlier process left unfinished, and deletes their files. The caller has the lock, so no such process is still
 * running.
 */
async function failInterrupted({ database, clock, dir }: MakeParts): Promise<void> {
  const running = await database.reader.getRepository(Backup).findBy({ status: 'running' });
  // The host name alone does not decide: another machine may be making a backup now, and a container that was created again has a new host name.
  const isHere = (row: Backup): boolean =>
    existsSync(join(dir, `.work-${row.id}`)) || (isNamedAfter(row) && existsSync(row.file));
  const left = running.filter((row) => row.host === hostname() || isHere(row));
  const ended = {
    status: 'failed' as const,
    finishedAt: clock.now(),
    errorCode: 'INTERRUPTED',
    errorText: 'The process that made this backup ended before it was done.',
  };
  for (const { id, file } of left) {
    if (file !== '') for (const path of [file, `${file}.partial`]) await rm(path, { force: true });
    await database.write.run((tx) => updateRows(tx, Backup, { id, status: 'running' }, ended));
  }
  for (const name of await readdir(dir))
    if (name.startsWith('.work-') || name.endsWith(`${ending}.partial`))
      await rm(join(dir, name), { recursive: true, force: true });
}

type Made = Pick<Backup, 'size' | 'sha256' | 'verified' | 'contents'>;

async function writeBackup(parts: MakeParts, request: BackupRequest, file: string, takenAt: Date): Promise<Made> {
  const key = await readBackupKey(parts.config.BACKUP_KEY);
  const tmp = join(parts.dir, `.work-${request.id}`);
  const partial = `${file}.partial`;
  await mkdir(tmp, { recursive: true, mode: 0o700 });
  const archive = await createArchive(partial, key, join(tmp, 'sums'));
  const stopped = lockStopped(parts);
  try {
    const contents = await addMembers(parts, request, { archive, tmp, takenAt, stopped });
    const { size, sha256 } = await archive.finish();
    failPoint('backup.written');
    const verified = await verify(partial, key);
    await rename(partial, file);
    await syncFolder(join(file, '..'));
    failPoint('backup.named');
    return { size, sha256, verified, contents };
  } catch (error) {
    await archive.abort();
    await rm(partial, { force: true });
    throw error;
  } finally {
    stopped.release();
    await rm(tmp, { recursive: true, force: true });
  }
}

/** Reads the file back, so that an unreadable backup is discovered now. Returns false, without reading, if the key can only write. */
async function verify(file: string, key: BackupKey): Promise<boolean> {
  if (key.identity === null) return false;
  await readArchive(file, key, { onMember: drop });
  return true;
}

/** Which processes of this installation are stopped. They cannot start until `release`. */
interface Stopped {
  backend: boolean;
  /** The folder of the worker, if it is on this machine and the worker is stopped. */
  worker: string | null;
  release(): void;
}

function lockStopped({ config }: MakeParts): Stopped {
  const releases: (() => void)[] = [];
  const tryLock = (file: string): boolean => {
    try {
      releases.push(acquireExclusive(file, () => new BackupProblem('RUNNING', 'It runs.')));
      return true;
    } catch (error) {
      if (error instanceof BackupProblem) return false;
      throw error;
    }
  };
  const folder = join(config.dataDir, 'worker');
  const hasWorker = existsSync(join(folder, 'worker.sqlite'));
  // Several backends may use one PostgreSQL, so a lock in this folder does not prove that none of them runs.
  const backend = 'file' in config.database && tryLock(join(config.dataDir, 'backend.lock'));
  const worker = hasWorker && tryLock(join(folder, 'worker.lock')) ? folder : null;
  return { backend, worker, release: () => releases.forEach((release) => release()) };
}

/** One backup that is being written. */
interface Run {
  archive: ArchiveWriter;
  tmp: string;
  takenAt: Date;
  stopped: Stopped;
}

async function addMembers({ config }: MakeParts, request: BackupRequest, run: Run): Promise<BackupContents> {
  const { archive, tmp, takenAt, stopped } = run;
  const isSqlite = 'file' in config.database;
  const database = isSqlite ? 'database.sqlite' : 'database.dump';
  const snapshot = join(tmp, database);
  const facts =
    'file' in config.database
      ? await snapshotSqlite(config.database.file, snapshot)
      : await snapshotPostgres(config.database.url, snapshot);
  failPoint('backup.snapshot');
  const hasOtherWorkers = facts.workers.length > (stopped.worker === null ? 0 : 1);
  const header: BackupHeader = {
    format: archiveFormat,
    backupId: request.id,
    version,
    takenAt: takenAt.toISOString(),
    database: isSqlite ? 'sqlite' : 'postgres',
    migration: facts.migration,
    serverVersion: facts.serverVersion,
    parts: request.parts,
    isStopped: stopped.backend && !hasOtherWorkers,
  };
  await archive.addText('backup.json', JSON.stringify(header));
  await archive.addFile(database, snapshot);
  await rm(snapshot);
  await archive.addText('secrets.json', secretsOf(config));
  const logins = request.parts.includes('profiles') ? await addLogins(config, facts, run) : { workers: {}, missingLogins: [] };
  const media = request.parts.includes('media') ? await addMedia(archive, config.mediaDir) : { files: 0, bytes: 0 };
  const contents: BackupContents = { messages: facts.messages, sessions: facts.sessions, media, ...logins };
  await archive.addText('contents.json', JSON.stringify(contents));
  return contents;
}

/** The secrets in use, wherever they came from: without them sealed data, keys and logins could not be read. */
const secretsOf = ({ serviceKey, jwtSecret, cookieSecret, encryptionKeys }: MakeParts['config']): string =>
  `${JSON.stringify({ SERVICE_API_KEY: serviceKey, JWT_SECRET: jwtSecret, COOKIE_SECRET: cookieSecret, ENCRYPTION_KEYS: encryptionKeys }, null, 2)}\n`;

async function addLogins(
  { serviceKey }: MakeParts['config'],
  { linked, workers }: SnapshotFacts,
  { archive, tmp, stopped }: Run,
): Promise<Pick<BackupContents, 'workers' | 'missingLogins'>> {
  const found: BackupContents['workers'] = {};
  const needed = new Set(linked.map(({ workerId }) => workerId));
  for (const worker of workers.filter(({ id }) => needed.has(id))) {
    const logins = await addWorker({ archive, serviceKey, tmp, stoppedWorker: stopped.worker }, worker);
    if (logins) found[worker.id] = logins;
  }
  const missingLogins = linked.flatMap(({ id, workerId }) => {
    const worker = workerId === null ? undefined : found[workerId];
    if (worker?.logins[id]) return [];
    return [{ sessionId: id, reason: worker ? ('NO_COPY' as const) : ('WORKER_UNREACHABLE' as const) }];
  });
  return { workers: found, missingLogins };
}

async function addMedia(archive: ArchiveWriter, dir: string): Promise<BackupContents['media']> {
  const media = { files: 0, bytes: 0 };
  const folders = await readdir(dir).catch(() => []); // No file was stored yet.
  for (const below of folders.filter((name) => /^[\w-]{1,8}$/.test(name) && name !== 'incoming')) {
    for (const name of await readdir(join(dir, below))) {
      if (!/^[\w-]{1,64}$/.test(name)) continue;
      const size = await archive.addFile(`media/${below}/${name}`, join(dir, below, name));
      if (size === null) continue;
      media.files += 1;
      media.bytes += size;
    }
  }
  return media;
}
