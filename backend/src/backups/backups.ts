import { AppError, newId } from '@chasqui/shared';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { deleteRows, insertRow, readRows, updateRows } from '../db/rows.js';
import { errorFields } from '../lib/log.js';
import { cronTimes } from '../lib/cron.js';
import { parts as allParts, type BackupPart } from './archive/members.js';
import { Backup } from './backup.entity.js';
import { isNamedAfter } from './file-name.js';
import { busyExitCode, type BackupProblemCode } from './problem.js';

/**
 * The backups of this installation. Each is made by a process of its own (`dist/backup.js`, make.ts), which writes its row; this module starts the
 * process, and ends the row of a process that died.
 */
export interface Backups {
  /** Returns the newest 1,000 backups, the newest first. */
  list(): Promise<Backup[]>;
  /** Throws `BACKUP_NOT_FOUND`. */
  find(id: string): Promise<Backup>;
  /** Starts a backup and returns its row. Throws `BACKUP_RUNNING` and `BACKUP_KEY_REQUIRED`. */
  create(caller: Caller, parts: readonly BackupPart[]): Promise<Backup>;
  /** Returns the path of the file, and writes an audit entry: it holds every login. Throws `BACKUP_NOT_FOUND` and `BACKUP_NOT_READY`. */
  file(caller: Caller, id: string): Promise<string>;
  /**
   * Deletes a backup with its file. Throws `BACKUP_NOT_FOUND`, also for a file that only another machine has, unless `force`; and `BACKUP_RUNNING` while
   * it is being made.
   */
  remove(caller: Caller, id: string, options?: { force?: boolean }): Promise<void>;
  /** For the job that makes scheduled backups: makes one, waits for it, and deletes the oldest ones beyond `keep`. Throws if the backup fails. */
  runScheduled(): Promise<{ files: number; bytes: number; deleted: number }>;
  /** Deletes the oldest ready backups of the schedule beyond `keep`, and failed backups after 30 days. Returns their number. */
  prune(): Promise<number>;
  /** Returns whether scheduled backups are overdue or fail. */
  health(): Promise<BackupHealth>;
  /** Ends a running process; its backup fails with `INTERRUPTED`. */
  stop(): Promise<void>;
}

export interface BackupHealth {
  schedule: string | null;
  hasKey: boolean;
  /** `failed`: the last one of the schedule failed. `overdue`: the last one is older than twice the interval. */
  problem: 'failed' | 'overdue' | null;
  lastReadyAt: Date | null;
}

export interface BackupRules {
  hasKey: boolean;
  /** A cron expression with five fields. Null: no scheduled backups. */
  schedule: string | null;
  timezone: string;
  /** How many ready backups of the schedule are stored. */
  keep: number;
}

/** Runs the program of backups until it ends. Resolves to its exit code and the end of its output. */
export type RunProgram = (args: readonly string[], signal: AbortSignal) => Promise<{ code: number | null; output: string }>;

interface Context extends Pick<Core, 'database' | 'clock' | 'log'> {
  rules: BackupRules;
  run: RunProgram;
  abort: AbortController;
  /** The process that makes a backup now. */
  running: Promise<void> | null;
}

const failedDays = 30;
/** How long the program may take to write the row of its backup. */
const rowWithinMs = 30_000;
/** The delay before a row is written again after a failure of the database. */
const rewriteMs = 1_000;
const maxErrorText = 500;

export function createBackups(
  core: Pick<Core, 'database' | 'clock' | 'log'>,
  parts: { rules: BackupRules; run?: RunProgram },
): Backups {
  const { database, clock, log } = core;
  const context: Context = {
    database,
    clock,
    log,
    rules: parts.rules,
    run: parts.run ?? runProgram,
    abort: new AbortController(),
    running: null,
  };
  return {
    list: () => list(context),
    find: (id) => find(context, id),
    create: (caller, wanted) => create(context, caller, wanted),
    file: (caller, id) => fileOf(context, caller, id),
    remove: (caller, id, options) => remove(context, caller, id, options),
    runScheduled: () => runScheduled(context),
    prune: () => prune(context),
    health: () => health(context),
    async stop() {
      context.abort.abort();
      await context.running;
    },
  };
}

const list = ({ database }: Context): Promise<Backup[]> =>
  database.reader.getRepository(Backup).find({ order: { createdAt: 'DESC', id: 'DESC' }, take: 1_000 });

async function find({ database }: Context, id: string): Promise<Backup> {
  const row = await database.reader.getRepository(Backup).findOneBy({ id });
  if (!row) throw new AppError('BACKUP_NOT_FOUND');
  return row;
}

async function create(context: Context, caller: Caller, parts: readonly BackupPart[]): Promise<Backup> {
  const { database, clock } = context;
  const id = newId(clock.now().getTime());
  const row = await rowOf(context, id, begin(context, id, 'manual', parts));
  // Another process is making one, so this one never was, and the audit log does not name it.
  if (!row) throw new AppError('BACKUP_RUNNING', {}, anotherRuns);
  await database.write.run((tx) =>
    recordAudit(tx, caller, {
      action: 'backup.create',
      objectType: 'backup',
      objectId: id,
      accountId: null,
      changes: { parts },
      at: clock.now(),
    }),
  );
  return row;
}

/** Waits for the row that the program writes once it has the lock of the folder. Null: it ended without one. */
async function rowOf({ database, clock }: Context, id: string, done: Promise<unknown>): Promise<Backup | null> {
  for (const until = clock.monotonic() + rowWithinMs; clock.monotonic() < until;) {
    const row = await database.reader.getRepository(Backup).findOneBy({ id });
    if (row) return row;
    const ended = await Promise.race([done, new Promise<null>((wait) => setTimeout(() => wait(null), 50))]);
    if (ended) break;
  }
  return database.reader.getRepository(Backup).findOneBy({ id });
}

const anotherRuns = 'A backup is being made on this machine. Wait until it is done.';

/**
 * Starts the program that makes a backup. Resolves when it has ended and its row is final. `busy`: another process is making a backup, and there is
 * no row. Throws `BACKUP_KEY_REQUIRED` and `BACKUP_RUNNING`.
 */
function begin(
  context: Context,
  id: string,
  trigger: Backup['trigger'],
  parts: readonly BackupPart[],
): Promise<'ended' | 'busy'> {
  const { rules, run, abort, log, clock } = context;
  if (!rules.hasKey) throw new AppError('BACKUP_KEY_REQUIRED');
  if (context.running) throw new AppError('BACKUP_RUNNING');
  const createdAt = clock.now();
  const work = async (): Promise<'ended' | 'busy'> => {
    const { code, output } = await run(['create', '--id', id, '--trigger', trigger, '--parts', parts.join(',')], abort.signal)
      // The program could not be started, for lack of memory or processes.
      .catch((error: unknown) => ({ code: null, output: String(errorFields(error)['error']) }));
    if (code === 0) log.info('A backup was made.', { backupId: id, trigger });
    else log.error('A backup failed.', { backupId: id, trigger, code, output: output.split('\n').slice(-3).join(' ') });
    if (code === busyExitCode) return 'busy';
    // With exit code 1, the first line of its output is the message of the problem or the error.
    const reason = code === 1 ? (output.trim().split('\n')[0] ?? '') : '';
    await endRow(context, { id, trigger, parts: [...parts], createdAt }, reason);
    return 'ended';
  };
  const done = work().finally(() => (context.running = null));
  context.running = done.then(() => undefined);
  return done;
}

/**
 * Makes the row of an ended program final. A program that was killed has left it `running`, and one without access to the folder or the database has
 * written none. Retries while the database fails, because a row that stays `running` would report a backup that is not being made. Never rejects.
 */
async function endRow(
  { database, clock, log, abort }: Context,
  row: Pick<Backup, 'id' | 'trigger' | 'parts' | 'createdAt'>,
  reason: string,
): Promise<void> {
  const { id } = row;
  const errorCode: BackupProblemCode = reason === '' ? 'INTERRUPTED' : 'FAILED';
  const errorText = reason.slice(0, maxErrorText) || 'The process that made this backup ended before it was done.';
  const ended = { status: 'failed' as const, finishedAt: clock.now(), errorCode, errorText };
  for (;;)
    try {
      return await database.write.run(async (tx) => {
        if ((await updateRows(tx, Backup, { id, status: 'running' }, ended)) > 0) return;
        if ((await readRows(tx.manager, Backup, 'id = ?', [id])).length > 0) return;
        await insertRow(tx, Backup, { ...row, ...ended, host: hostname(), file: '', verified: false });
      });
    } catch (error) {
      log.error('The end of a backup could not be written; it is retried.', { backupId: id, ...errorFields(error) });
      if (abort.signal.aborted) return;
      await sleep(rewriteMs, undefined, { ref: false });
    }
}

async function fileOf(context: Context, caller: Caller, id: string): Promise<string> {
  const { database, clock } = context;
  const row = await find(context, id);
  if (row.status !== 'ready') throw new AppError('BACKUP_NOT_READY');
  if (!existsSync(row.file)) throw notHere(row);
  await database.write.run((tx) =>
    recordAudit(tx, caller, { action: 'backup.download', objectType: 'backup', objectId: id, accountId: null, at: clock.now() }),
  );
  return row.file;
}

async function remove(context: Context, caller: Caller, id: string, { force = false } = {}): Promise<void> {
  const { database, clock } = context;
  const row = await find(context, id);
  if (row.status === 'running') throw new AppError('BACKUP_RUNNING');
  if (isElsewhere(row) && !force) throw notHere(row);
  await deleteFile(context, row);
  await database.write.run(async (tx) => {
    if ((await deleteRows(tx, Backup, { id })) === 0) throw new AppError('BACKUP_NOT_FOUND');
    await recordAudit(tx, caller, {
      action: 'backup.delete',
      objectType: 'backup',
      objectId: id,
      accountId: null,
      at: clock.now(),
    });
  });
}

/** Whether another machine has the file, as far as this one can tell. The name of a machine alone does not: see `isNamedAfter`. */
const isElsewhere = ({ host, file }: Backup): boolean => file !== '' && host !== hostname() && !existsSync(file);

const notHere = ({ host }: Backup): AppError =>
  new AppError(
    'BACKUP_NOT_FOUND',
    { host },
    `The file is not on this machine. ${host} made it; it may have been moved or deleted. DELETE with force=true removes the entry without the file.`,
  );

/**
 * Deletes the file of a backup. Callers delete the row after it: a row without a file can be deleted again, while a file without a row would stay for
 * ever. Only a file that this backup has written is deleted: a path that a person or another machine has chosen may be that of another backup by now.
 */
async function deleteFile({ database }: Context, row: Backup): Promise<void> {
  const { id, file, host, status } = row;
  if (file === '') return;
  if (!isNamedAfter(row)) {
    if (status !== 'ready' || host !== hostname()) return;
    const [newer] = await readRows(database.reader, Backup, 'file = ? AND host = ? AND id > ?', [file, host, id]);
    if (newer) return;
  }
  await rm(file, { force: true });
}

async function runScheduled(context: Context): Promise<{ files: number; bytes: number; deleted: number }> {
  const id = newId(context.clock.now().getTime());
  if ((await begin(context, id, 'schedule', allParts)) === 'busy') throw new AppError('BACKUP_RUNNING', {}, anotherRuns);
  const row = await find(context, id);
  if (row.status !== 'ready') throw new Error(row.errorText ?? 'The backup failed.');
  return { files: 1, bytes: row.size ?? 0, deleted: await prune(context) };
}

async function prune(context: Context): Promise<number> {
  const { database, clock, rules } = context;
  const rows = await list(context);
  const failedBefore = clock.now().getTime() - failedDays * 86_400_000;
  const surplus = rows.filter(({ status, trigger }) => status === 'ready' && trigger === 'schedule').slice(rules.keep);
  const outdated = rows.filter(({ status, createdAt }) => status === 'failed' && createdAt.getTime() < failedBefore);
  // A machine deletes its own: here the rows of the others would be lost, and their files would stay.
  const ours = [...surplus, ...outdated].filter((row) => row.status === 'failed' || !isElsewhere(row));
  for (const row of ours) {
    await deleteFile(context, row);
    await database.write.run((tx) => deleteRows(tx, Backup, { id: row.id }));
  }
  return ours.length;
}

async function health(context: Context): Promise<BackupHealth> {
  const { rules, clock } = context;
  const rows = await list(context);
  const lastReadyAt = rows.find(({ status }) => status === 'ready')?.createdAt ?? null;
  const { schedule, hasKey } = rules;
  if (schedule === null) return { schedule, hasKey, problem: null, lastReadyAt };
  const last = rows.find(({ status, trigger }) => trigger === 'schedule' && status !== 'running');
  const now = clock.now();
  const times = cronTimes(schedule, rules.timezone);
  const next = times.after(now);
  const second = next && times.after(next);
  const intervalMs = next && second ? second.getTime() - next.getTime() : null;
  const isOverdue = intervalMs !== null && (lastReadyAt === null || now.getTime() - lastReadyAt.getTime() > 2 * intervalMs);
  return { schedule, hasKey, problem: last?.status === 'failed' ? 'failed' : isOverdue ? 'overdue' : null, lastReadyAt };
}

const program = fileURLToPath(new URL('../backup.js', import.meta.url));

/** The environment of this process has every setting, and the program reads the same secrets from DATA_DIR. */
const runProgram: RunProgram = (args, signal) =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      signal,
      killSignal: 'SIGKILL',
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-4_000)));
    child.once('error', (error) => (error.name === 'AbortError' ? undefined : reject(error)));
    child.once('close', (code) => resolve({ code, output }));
  });
