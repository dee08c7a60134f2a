import { setTimeout as sleep } from 'node:timers/promises';
import { jobCatalogue, jobNames, type JobName, type JobTrigger } from '@chasqui/shared';
import type { Core } from '../core.js';
import { describeError } from '../failures/failures.js';
import { errorFields } from '../lib/log.js';
import { dueRun, type JobTimes } from './due.js';
import type { Counts, JobRun, JobState, StepResult } from './job.entity.js';
import type { Leader } from './leader.js';
import * as rows from './runs.js';

/**
 * Runs the jobs that are due, on the backend that leads. Every second the leader reads which jobs are due or requested. Jobs do not wait for
 * each other: one that throws or never ends stops only itself. A job never runs twice at the same time.
 *
 * | what happens | then |
 * | --- | --- |
 * | a step throws | the other steps run, the run is `failed`, and the job runs again after a minute, then after two, up to an hour |
 * | a step never ends | it is reported as `TASK_OVERDUE`, and the job stays `running` until the process ends |
 * | the job is requested while it runs | refused; see jobs.ts |
 * | its time comes while it runs | it runs again when it has ended |
 * | scheduled times were missed | it runs once |
 * | another backend becomes the leader | the running step ends, and no other begins; the new leader has declared the run interrupted |
 * | the database fails when a run ends | the end is written when the database is back |
 */
export interface Scheduler {
  /** Looks for due jobs every second. */
  start(): void;
  /** Begins no run and no further step. Resolves when the running steps have ended. */
  stop(): Promise<void>;
  /** Looks for due jobs at once instead of at the next tick. */
  wake(): void;
}

/** One step of a job. May run twice, or on two backends at once, and may die halfway: the next run continues. */
export interface JobStep {
  /** The name in the results of runs, such as `retention.messages`. */
  name: string;
  /** Returns what it did, as counts. A step without counts does what cannot be counted. */
  run: () => Promise<Counts | void>;
}

/** The steps of each job, in their order. */
export type JobSteps = Readonly<Record<JobName, readonly JobStep[]>>;

export interface SchedulerParts {
  leader: Leader;
  steps: JobSteps;
  times: Readonly<Record<JobName, JobTimes>>;
  delays?: Partial<SchedulerDelays> | undefined;
}

export interface SchedulerDelays {
  /** How often the leader looks for due jobs. */
  tickMs: number;
  /** How long after the beginning of its term a leader runs the jobs that run after a start. */
  afterStartMs: number;
  /** A step that runs longer is reported once, and continues. */
  overdueMs: number;
  /** How often the leader renews its term. */
  renewMs: number;
}

const defaultDelays: SchedulerDelays = { tickMs: 1_000, afterStartMs: 60_000, overdueMs: 15 * 60_000, renewMs: 10_000 };
/** The delay before the end of a run is written again after a failure of the database. */
const rewriteMs = 2_000;

type SchedulerCore = Pick<Core, 'database' | 'clock' | 'log' | 'report'>;

interface Context extends SchedulerCore, SchedulerParts, SchedulerDelays {
  /** The runs of this process, by job. */
  executing: Map<JobName, { id: string; done: Promise<void> }>;
  /** The jobs that this leader runs once after the beginning of its term and has not run yet, and from when on. Monotonic milliseconds. */
  afterStart: { term: number; at: number; jobs: Set<JobName> };
  renewedAt: number;
  stopped: AbortController;
  wakeUp: () => void;
  loop: Promise<void>;
}

export function createScheduler(core: SchedulerCore, parts: SchedulerParts): Scheduler {
  const { database, clock, log, report } = core;
  const context: Context = {
    ...{ database, clock, log, report },
    ...parts,
    ...defaultDelays,
    ...parts.delays,
    executing: new Map(),
    afterStart: { term: 0, at: 0, jobs: new Set() },
    renewedAt: -Infinity,
    stopped: new AbortController(),
    wakeUp: () => undefined,
    loop: Promise.resolve(),
  };
  return {
    start: () => void (context.loop = run(context)),
    async stop() {
      context.stopped.abort();
      context.wakeUp();
      await context.loop;
      await Promise.all([...context.executing.values()].map(({ done }) => done));
    },
    wake: () => context.wakeUp(),
  };
}

/** Never rejects. */
async function run(context: Context): Promise<void> {
  const { stopped, log, tickMs } = context;
  while (!stopped.signal.aborted) {
    try {
      await tick(context);
    } catch (error) {
      log.error('Due jobs could not be read or started; the scheduler retries.', errorFields(error));
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, tickMs).unref();
      context.wakeUp = () => (clearTimeout(timer), resolve());
    });
  }
}

async function tick(context: Context): Promise<void> {
  const { leader, clock, renewMs, stopped } = context;
  const term = leader.term();
  if (term === null || stopped.signal.aborted) return;
  planAfterStart(context, term);
  if (clock.monotonic() - context.renewedAt >= renewMs) {
    context.renewedAt = clock.monotonic();
    if (!(await rows.renew(context, term))) return leader.lose();
  }
  const [open, states] = [await rows.readOpen(context), await rows.readStates(context)];
  for (const name of jobNames) {
    if (stopped.signal.aborted) return;
    const state = states.get(name);
    const one = open.find(({ job }) => job === name);
    if (state && (await handleJob(context, term, name, state, one)) === 'lost') return leader.lose();
  }
}

/** Stores which jobs run after the beginning of this term. */
function planAfterStart(context: Context, term: number): void {
  if (context.afterStart.term === term) return;
  const jobs = jobNames.filter((name) => 'afterStart' in jobCatalogue[name]);
  context.afterStart = { term, at: context.clock.monotonic() + context.afterStartMs, jobs: new Set(jobs) };
}

/**
 * Handles one job: begins its run that is requested or due, or declares a run interrupted that no process executes. `open`: its run that has not
 * ended.
 */
async function handleJob(
  context: Context,
  term: number,
  name: JobName,
  state: JobState,
  open: JobRun | undefined,
): Promise<'lost' | void> {
  const own = context.executing.get(name);
  if (open?.status === 'running') {
    if (own?.id === open.id || (await rows.declareInterrupted(context, term, open)) !== 'lost') return;
    return 'lost';
  }
  // A step of a run that was declared interrupted may still be running in this process.
  if (own) return;
  const begun = open ? await rows.beginRequested(context, term, open) : await beginIfDue(context, term, name, state);
  if (begun === 'lost') return 'lost';
  if (begun !== 'obsolete') execute(context, term, name, begun);
}

async function beginIfDue(context: Context, term: number, name: JobName, state: JobState): Promise<rows.Written<JobRun>> {
  const { clock, times, afterStart } = context;
  const isAfterStart = !state.isStopped && afterStart.jobs.has(name) && clock.monotonic() >= afterStart.at;
  const due: { trigger: JobTrigger; scheduledFor: Date | null } | null =
    dueRun(times[name], state, clock.now()) ?? (isAfterStart ? { trigger: 'start', scheduledFor: null } : null);
  if (!due) return 'obsolete';
  const begun = await rows.beginDue(context, term, name, due);
  if (typeof begun === 'object') afterStart.jobs.delete(name);
  return begun;
}

function execute(context: Context, term: number, name: JobName, run: JobRun): void {
  const { executing, log } = context;
  const done = runSteps(context, term, name)
    .then((end) => writeEnd(context, run, end))
    .catch((error: unknown) => log.error('The end of a run could not be written.', { job: name, ...errorFields(error) }))
    .finally(() => executing.delete(name));
  executing.set(name, { id: run.id, done });
}

/** Runs the steps of a job one after the other, as long as this backend leads. Never rejects. */
async function runSteps(context: Context, term: number, name: JobName): Promise<rows.RunEnd> {
  const results: StepResult[] = [];
  for (const step of context.steps[name]) {
    const reason = results.length === 0 ? null : await interruption(context, term);
    if (reason) return { status: 'interrupted', steps: results, ...reason };
    results.push(await runStep(context, name, step));
  }
  const failed = results.find(({ error }) => error !== null);
  return { status: failed ? 'failed' : 'succeeded', steps: results, code: null, detail: null, ...failed?.error };
}

/** Returns why no further step may begin; null if one may. */
async function interruption(
  { stopped, leader, ...core }: Context,
  term: number,
): Promise<{ code: string; detail: string } | null> {
  if (stopped.signal.aborted) return { code: 'STOPPED', detail: 'The backend was stopped. The job runs again.' };
  const isLeader =
    leader.term() === term &&
    (await rows.readLeader(core).then(
      (row) => row.term === term,
      () => true,
    ));
  return isLeader ? null : { code: 'LEADER_CHANGED', detail: 'Another backend runs the jobs now. The job runs again there.' };
}

/** Never rejects. */
async function runStep({ log, report, clock, overdueMs }: Context, job: JobName, step: JobStep): Promise<StepResult> {
  const subject = `${job} ${step.name}`;
  const began = clock.monotonic();
  const overdue = setTimeout(() => {
    log.error('A step of a job is overdue; it continues, and other jobs are not delayed.', {
      job,
      step: step.name,
      afterMs: overdueMs,
    });
    report({ kind: 'job', subject, code: 'TASK_OVERDUE', detail: `It has run for more than ${overdueMs / 60_000} minutes.` });
  }, overdueMs).unref();
  const ended = (counts: Counts, error: StepResult['error']): StepResult => ({
    name: step.name,
    durationMs: Math.round(clock.monotonic() - began),
    counts,
    error,
  });
  try {
    const counts = (await step.run()) ?? {};
    if (Object.values(counts).some((count) => count > 0))
      log.info('A step of a job has ended.', { job, step: step.name, ...counts });
    return ended(counts, null);
  } catch (error) {
    log.error('A step of a job failed; it is retried.', { job, step: step.name, ...errorFields(error) });
    const described = describeError(error);
    report({ kind: 'job', subject, ...described });
    return ended({}, described);
  } finally {
    clearTimeout(overdue);
  }
}

/** Writes the end of a run, and retries while the database fails: a row that stays `running` would prevent further runs of the job. */
async function writeEnd(context: Context, run: JobRun, end: rows.RunEnd): Promise<void> {
  const { log, stopped } = context;
  for (;;)
    try {
      const written = await rows.endRun(context, run, end);
      if (written === 'obsolete') log.warn('A run ended after it was declared interrupted.', { job: run.job, runId: run.id });
      return;
    } catch (error) {
      // The next leader declares the run interrupted.
      if (stopped.signal.aborted) throw error;
      log.error('The end of a run could not be written; it is retried.', { job: run.job, runId: run.id, ...errorFields(error) });
      await sleep(rewriteMs, undefined, { ref: false });
    }
}
