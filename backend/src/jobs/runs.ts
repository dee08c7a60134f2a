import { jobNames, newId, type JobName, type JobTrigger } from '@chasqui/shared';
import { In } from 'typeorm';
import type { Caller } from '../accounts/caller.js';
import type { Core } from '../core.js';
import { isConflict } from '../db/database-errors.js';
import { insertIfAbsent, insertRow, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { JobLeader, JobRun, JobState, type StepResult } from './job.entity.js';

/**
 * Reads and writes the rows of runs, for the leader. A transaction that begins a run, or declares one interrupted, first verifies its term: it
 * updates the leader's row on the condition that the term is still its own, and so waits for a new leader that is about to begin.
 *
 * | the process dies | then |
 * | --- | --- |
 * | before a run begins | the job is still due, and the next leader runs it |
 * | while it runs | the row is `running` under an old term: the next leader declares it `interrupted`, and runs the job again |
 * | after the last step, before the end is written | the same; every step may run twice |
 */

type RunCore = Pick<Core, 'database' | 'clock'>;

/** The delay after the first failure of a job. It doubles with each further failure in a row, up to `maxRetryMs`. */
const firstRetryMs = 60_000;
const maxRetryMs = 3_600_000;
const leaderId = 'leader';

/** Begins a term of this backend. Returns its number. */
export const beginTerm = ({ database, clock }: RunCore, owner: string): Promise<number> =>
  database.write.run(async (tx) => {
    const now = clock.now();
    await updateRows(tx, JobLeader, { id: leaderId }, { term: () => 'term + 1', owner, renewedAt: now });
    for (const name of jobNames)
      await insertIfAbsent(tx, JobState, { name, isStopped: false, handledUntil: now, failures: 0, retryAt: null });
    return (await tx.manager.findOneByOrFail(JobLeader, { id: leaderId })).term;
  });

/** Returns whether the term is still the last one, and renews it. No other term can begin until the transaction ends. */
export const renewWithin = async ({ clock }: Pick<Core, 'clock'>, tx: Transaction, term: number): Promise<boolean> =>
  (await updateRows(tx, JobLeader, { id: leaderId, term }, { renewedAt: clock.now() })) === 1;

/** Renews the term of the leader. Returns whether it is still the last one. */
export const renew = (core: RunCore, term: number): Promise<boolean> =>
  core.database.write.run((tx) => renewWithin(core, tx, term));

/** Returns the row of the leader. */
export const readLeader = ({ database }: RunCore): Promise<JobLeader> =>
  database.reader.getRepository(JobLeader).findOneByOrFail({ id: leaderId });

/** Returns the runs that have not ended, at most one for each job. */
export const readOpen = ({ database }: RunCore): Promise<JobRun[]> =>
  database.reader.getRepository(JobRun).findBy({ status: In(['requested', 'running']) });

/** Returns the stored states of jobs, by name. */
export async function readStates({ database }: RunCore): Promise<Map<string, JobState>> {
  const rows = await database.reader.getRepository(JobState).find();
  return new Map(rows.map((row) => [row.name, row]));
}

const newRun = ({ clock }: Pick<Core, 'clock'>, job: JobName, trigger: JobTrigger): JobRun => ({
  id: newId(clock.now().getTime()),
  job,
  status: 'requested',
  trigger,
  requestedBy: null,
  requestedByName: null,
  scheduledFor: null,
  createdAt: clock.now(),
  startedAt: null,
  endedAt: null,
  term: null,
  steps: [],
  code: null,
  detail: null,
});

/** Inserts the request of a person, in the caller's transaction. Throws the driver's conflict if the job is requested or running. */
export async function insertRequest(core: RunCore, tx: Transaction, job: JobName, caller: Caller): Promise<JobRun> {
  const run = { ...newRun(core, job, 'manual'), requestedBy: caller.accountId, requestedByName: caller.credential.name };
  await insertRow(tx, JobRun, run);
  return run;
}

/** The result of a write of the leader: its value, `obsolete` if the run or the job was changed before it, or `lost` if another backend leads. */
export type Written<T> = T | 'obsolete' | 'lost';

/** Begins a run that is due. It handles all scheduled times up to now, so missed times cause one run. */
export async function beginDue(
  core: RunCore,
  term: number,
  job: JobName,
  { trigger, scheduledFor }: { trigger: JobTrigger; scheduledFor: Date | null },
): Promise<Written<JobRun>> {
  const now = core.clock.now();
  const run: JobRun = { ...newRun(core, job, trigger), status: 'running', startedAt: now, scheduledFor, term };
  try {
    return await core.database.write.run(async (tx) => {
      if (!(await renewWithin(core, tx, term))) return 'lost';
      if ((await tx.manager.findOneBy(JobState, { name: job }))?.isStopped !== false) return 'obsolete';
      // The run is written before the state of the job, as in `endRun`: in the other order the two transactions could deadlock.
      await insertRow(tx, JobRun, run);
      // A run after a start has no scheduled time, so it handles none.
      const handled = scheduledFor === null ? {} : { handledUntil: now };
      await updateRows(tx, JobState, { name: job }, { ...handled, retryAt: null });
      return run;
    });
  } catch (error) {
    // A person has requested the job in the meantime.
    if (isConflict(error)) return 'obsolete';
    throw error;
  }
}

/** Begins a run that a person has requested. */
export const beginRequested = (core: RunCore, term: number, run: JobRun): Promise<Written<JobRun>> =>
  core.database.write.run(async (tx) => {
    if (!(await renewWithin(core, tx, term))) return 'lost';
    const begun = { status: 'running', startedAt: core.clock.now(), term } as const;
    return (await updateRows(tx, JobRun, { id: run.id, status: 'requested' }, begun)) === 1 ? { ...run, ...begun } : 'obsolete';
  });

/** How a run ended. `code` and `detail`: why it did not succeed; null if it did. */
export interface RunEnd {
  status: 'succeeded' | 'failed' | 'interrupted';
  steps: StepResult[];
  code: string | null;
  detail: string | null;
}

/** Ends a run, and plans the next attempt of a job that did not succeed. Writes nothing if the run was declared interrupted meanwhile. */
export const endRun = (core: RunCore, run: JobRun, end: RunEnd): Promise<Written<'ended'>> =>
  core.database.write.run(async (tx) => {
    const endedAt = core.clock.now();
    if ((await updateRows(tx, JobRun, { id: run.id, status: 'running' }, { ...end, endedAt })) === 0) return 'obsolete';
    await writeOutcome(tx, run.job, end.status === 'succeeded' ? null : endedAt);
    return 'ended';
  });

/** Declares a run interrupted that no process executes any more: its leader was replaced, or has lost it. */
export const declareInterrupted = (core: RunCore, term: number, run: JobRun): Promise<Written<'ended'>> =>
  core.database.write.run(async (tx) => {
    if (!(await renewWithin(core, tx, term))) return 'lost';
    const endedAt = core.clock.now();
    const detail = 'The process that ran the job died, froze or lost its connection. The job runs again.';
    const changes = { status: 'interrupted', endedAt, code: 'PROCESS_LOST', detail } as const;
    if ((await updateRows(tx, JobRun, { id: run.id, status: 'running' }, changes)) === 0) return 'obsolete';
    await writeOutcome(tx, run.job, endedAt);
    return 'ended';
  });

/** Writes the number of failures and the next retry of a job. `failedAt`: null if the run succeeded. */
async function writeOutcome(tx: Transaction, name: string, failedAt: Date | null): Promise<void> {
  if (failedAt === null) return void (await updateRows(tx, JobState, { name }, { failures: 0, retryAt: null }));
  const failures = ((await tx.manager.findOneBy(JobState, { name }))?.failures ?? 0) + 1;
  const waitMs = Math.min(maxRetryMs, firstRetryMs * 2 ** Math.min(failures - 1, 20));
  await updateRows(tx, JobState, { name }, { failures, retryAt: new Date(failedAt.getTime() + waitMs) });
}

const dayMs = 86_400_000;
/** The retention of the runs of one job: at most `maxCount` runs, for `days`, and always the newest `minCount`. */
const runRetention = { maxCount: 500, minCount: 10, days: 30 };

const pruneSql = `DELETE FROM job_runs WHERE "endedAt" IS NOT NULL AND id IN (SELECT id FROM
  (SELECT id, "createdAt", ROW_NUMBER() OVER (PARTITION BY job ORDER BY id DESC) AS place FROM job_runs) placed
  WHERE place > ${runRetention.maxCount} OR (place > ${runRetention.minCount} AND "createdAt" < ?))`;

/** Deletes old runs. Returns their number. */
export const pruneRuns = async ({ database, clock }: RunCore): Promise<number> =>
  database.write.run(
    async (tx) => (await runStatement(tx.manager, pruneSql, [clock.now().getTime() - runRetention.days * dayMs])).affected,
  );
