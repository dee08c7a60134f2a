import { AppError, isJobName, jobNames, type JobName } from '@chasqui/shared';
import { LessThan } from 'typeorm';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { isConflict } from '../db/database-errors.js';
import { insertIfAbsent, readAmong, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { cursorAfter, readCursor } from '../lib/list-cursor.js';
import { nextRun, type JobTimes } from './due.js';
import { JobRun, JobState } from './job.entity.js';
import { insertRequest, readLeader, readOpen, readStates } from './runs.js';

/**
 * Lists and changes the jobs, for staff. The leader may be another backend, so each change is a row that the leader reads within a second. Each
 * change is recorded in the audit log, in the same commit. Verbs with a name throw `JOB_NOT_FOUND`.
 */
export interface Jobs {
  /** Returns all jobs, in the order of the catalogue. */
  list(): Promise<JobView[]>;
  one(name: string): Promise<JobView>;
  /** Whether a leader has renewed its term recently. Without a leader no job runs. */
  hasLeader(): Promise<boolean>;
  /** Starts the schedules of all jobs, or of one, again. Times that passed while a job was stopped are not caught up. */
  start(caller: Caller, name?: string): Promise<void>;
  /**
   * Stops the schedules until staff start them again, also after a restart of the backend. Runs that have begun continue, and jobs can still be run
   * by hand.
   */
  stop(caller: Caller, name?: string): Promise<void>;
  /** Does the same as `start`, and runs each job at once whose last run failed or was interrupted. */
  restart(caller: Caller, name?: string): Promise<void>;
  /** Requests a run. Throws `JOB_RUNNING` if the job is requested or running. */
  run(caller: Caller, name: string): Promise<JobRun>;
  /** Returns runs of a job, newest first. `nextCursor`: the cursor of the next page; null at the end. */
  runs(
    name: string,
    page: { limit: number; cursor?: string | undefined },
  ): Promise<{ runs: JobRun[]; nextCursor: string | null }>;
}

/** `scheduled`: waits for its next time. `stopped`: by staff. `off`: has no schedule. */
export type JobStatus = 'scheduled' | 'requested' | 'running' | 'stopped' | 'off';

export interface JobView {
  name: JobName;
  status: JobStatus;
  isStopped: boolean;
  cron: string | null;
  timezone: string;
  /** Null: the job does not run without a request. */
  nextRunAt: Date | null;
  /** How many times in a row it failed or was interrupted. */
  failures: number;
  /** The run that is requested or running, or the one that ended last. */
  lastRun: JobRun | null;
}

type JobsCore = Pick<Core, 'database' | 'clock'>;

interface Context extends JobsCore {
  times: Readonly<Record<JobName, JobTimes>>;
  /** Wakes the scheduler of this process, because a job may be due. */
  wake: () => void;
}

/** A leader that has not renewed its term for this long does not count as one. Milliseconds. */
const leaderMissingMs = 30_000;

export function createJobs({ database, clock }: JobsCore, parts: Pick<Context, 'times' | 'wake'>): Jobs {
  const context: Context = { database, clock, ...parts };
  return {
    list: () => list(context),
    async one(name) {
      const known = nameOf(name);
      return (await list(context)).find((view) => view.name === known)!;
    },
    async hasLeader() {
      const { renewedAt } = await readLeader(context);
      return clock.now().getTime() - renewedAt.getTime() < leaderMissingMs;
    },
    start: (caller, name) => change(context, caller, 'start', name),
    stop: (caller, name) => change(context, caller, 'stop', name),
    restart: (caller, name) => change(context, caller, 'restart', name),
    run: (caller, name) => request(context, caller, nameOf(name)),
    runs: (name, page) => readRuns(context, nameOf(name), page),
  };
}

function nameOf(name: string): JobName {
  if (!isJobName(name)) throw new AppError('JOB_NOT_FOUND');
  return name;
}

async function list(context: Context): Promise<JobView[]> {
  const { clock, times } = context;
  const [states, open, last] = await Promise.all([readStates(context), readOpen(context), readLast(context)]);
  return jobNames.map((name) => {
    // A job has no stored state until a backend leads for the first time.
    const state = states.get(name) ?? { isStopped: false, handledUntil: clock.now(), failures: 0, retryAt: null };
    const running = open.find(({ job }) => job === name);
    return {
      name,
      status: statusOf(running, state.isStopped, times[name]),
      isStopped: state.isStopped,
      cron: times[name].cron,
      timezone: times[name].timezone,
      nextRunAt: nextRun(times[name], state, clock.now())?.at ?? null,
      failures: state.failures,
      lastRun: running ?? last.get(name) ?? null,
    };
  });
}

function statusOf(open: JobRun | undefined, isStopped: boolean, { cron }: JobTimes): JobStatus {
  if (open) return open.status === 'running' ? 'running' : 'requested';
  if (isStopped) return 'stopped';
  return cron === null ? 'off' : 'scheduled';
}

async function readLast({ database }: Context): Promise<Map<string, JobRun>> {
  const sql = 'SELECT MAX(id) AS id FROM job_runs GROUP BY job';
  const { rows } = await runStatement<{ id: string }>(database.reader, sql);
  const runs = await readAmong(
    database.reader,
    JobRun,
    'id',
    rows.map(({ id }) => id),
  );
  return new Map(runs.map((run) => [run.job, run]));
}

type Change = 'start' | 'stop' | 'restart';

async function change(context: Context, caller: Caller, verb: Change, name: string | undefined): Promise<void> {
  const { database, clock, wake } = context;
  const names = name === undefined ? jobNames : [nameOf(name)];
  await database.write.run(async (tx) => {
    const at = clock.now();
    for (const one of names) await changeOne(tx, one, verb, at);
    const entry = { action: `job.${verb}`, objectType: 'job', objectId: name ?? 'all', accountId: null, at };
    await recordAudit(tx, caller, entry);
    tx.afterCommit(wake);
  });
}

async function changeOne(tx: Transaction, name: JobName, verb: Change, now: Date): Promise<void> {
  const initial = { name, isStopped: verb === 'stop', handledUntil: now, failures: 0, retryAt: null };
  await insertIfAbsent(tx, JobState, initial);
  if (verb === 'stop') return void (await updateRows(tx, JobState, { name }, { isStopped: true }));
  await updateRows(tx, JobState, { name, isStopped: true }, { isStopped: false, handledUntil: now });
  if (verb === 'restart') {
    const state = await tx.manager.findOneByOrFail(JobState, { name });
    if (state.failures > 0) await updateRows(tx, JobState, { name }, { retryAt: now });
  }
}

async function request(context: Context, caller: Caller, name: JobName): Promise<JobRun> {
  const { database, clock, wake } = context;
  try {
    return await database.write.run(async (tx) => {
      const run = await insertRequest(context, tx, name, caller);
      const entry = { action: 'job.run', objectType: 'job', objectId: name, accountId: null, changes: { runId: run.id } };
      await recordAudit(tx, caller, { ...entry, at: clock.now() });
      tx.afterCommit(wake);
      return run;
    });
  } catch (error) {
    if (isConflict(error)) throw new AppError('JOB_RUNNING');
    throw error;
  }
}

async function readRuns(
  { database }: Context,
  job: JobName,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<{ runs: JobRun[]; nextCursor: string | null }> {
  const where = { job, ...(cursor === undefined ? {} : { id: LessThan(readCursor(cursor).id) }) };
  const found = await database.reader.getRepository(JobRun).find({ where, order: { id: 'DESC' }, take: limit + 1 });
  const runs = found.slice(0, limit);
  const last = runs.at(-1);
  const hasMore = found.length > limit && last !== undefined;
  return { runs, nextCursor: hasMore ? cursorAfter({ at: last.createdAt.getTime(), id: last.id }) : null };
}
