/* eslint-disable max-lines -- one rig, and one block for each promise of a job */
import { jobNames, newId, type JobName } from '@chasqui/shared';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { insertRow } from '../src/db/rows.js';
import type { JobView } from '../src/jobs/jobs.js';
import { JobRun, type Counts } from '../src/jobs/job.entity.js';
import { pruneRuns } from '../src/jobs/runs.js';
import type { JobSteps } from '../src/jobs/scheduler.js';
import { loginOf } from './support/account.js';
import { databases, migratedDatabase, startRig, type Rig } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { createSetClock, type SetClock } from './support/traffic.js';

/** The jobs of one backend, over REST, by a clock that the test sets. Jobs that a test does not name do nothing. */

type Run = {
  id: string;
  status: string;
  trigger: string;
  createdAt: string;
  scheduledFor: string | null;
  counts: Counts;
  steps: { name: string; counts: Counts; error: { code: string } | null }[];
  error: { code: string } | null;
  requestedBy: { name: string | null } | null;
};
type Figures = { jobs: Record<string, unknown>; alerts: { kind: string }[] };
type View = Omit<JobView, 'lastRun'> & { lastRun: Run | null; schedule: { cron: string; timezone: string } | null };

const weekly = 'messages.cleanup';
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** A Friday, half a minute after midnight in Lima. The weekly job is due on Sunday at 2:00. */
const friday = Date.parse('2026-03-27T05:00:30Z');
const toSunday = 2 * dayMs + 2 * hourMs;
const at = (time: number): string => new Date(time).toISOString();

describe.each(await databases())('jobs on %s', (database) => {
  const closers: (() => Promise<unknown>)[] = [];
  /** Ends the steps that a test lets hang. */
  const releases: (() => void)[] = [];
  /** What jobs do now; those that are not named do nothing. */
  let steps: Partial<JobSteps> = {};
  let clock: SetClock;
  let rig: Rig;
  let admin: { key: null; headers: Record<string, string> };
  let apiKey = '';
  /** The Friday with which the test begins. */
  let start = friday;
  /** Stops the backend and starts it again on the same data. */
  let restart: (pauseMs: number) => Promise<void>;

  beforeAll(async () => {
    clock = createSetClock(at(friday));
    const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-jobs-'));
    closers.push(() => rm(dataDir, { recursive: true, force: true }));
    const own = database === 'postgres' ? await migratedDatabase() : null;
    if (own) closers.push(own.drop);
    // Steps are looked up when they run, so that one backend serves all tests.
    const jobSteps = Object.defineProperties(
      {},
      Object.fromEntries(
        jobNames.map((name) => [
          name,
          { enumerable: true, value: { [Symbol.iterator]: () => (steps[name] ?? [])[Symbol.iterator]() } },
        ]),
      ),
    ) as JobSteps;
    const open = async (): Promise<void> => {
      rig = await startRig({
        database,
        clock,
        dataDir,
        settings: {
          JWT_EXPIRES_IN: '14d',
          JOB_SCHEDULES: 'statistics.reconcile=30 4 * * *;logs.cleanup=off',
          JOB_TIMEZONE: 'America/Lima',
        },
        ...(own ? { databaseUrl: own.url } : {}),
        jobs: { jobDelays: { tickMs: 20, afterStartMs: 1e12, overdueMs: 200, renewMs: 1e12 }, jobSteps },
      });
      apiKey ||= rig.apiKey;
      admin = await loginOf(rig, 'admin@localhost.localdomain');
      await eventually('the jobs to be led', async () => rig.lines.some((line) => line.includes('This backend runs the jobs.')));
    };
    await open();
    closers.push(async () => rig.close());
    restart = async (pauseMs) => {
      await rig.close();
      clock.advance(pauseMs);
      await open();
    };
  }, 120_000);
  afterAll(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  /** Begins each test on a Friday, with jobs that have not run yet. */
  beforeEach(async () => {
    steps = {};
    for (const release of releases.splice(0)) release();
    while (start <= clock.now().getTime()) start += 7 * dayMs;
    await rig.database.write.run(async (tx) => void (await tx.manager.query('UPDATE job_states SET "isStopped" = true')));
    clock.advance(start - clock.now().getTime());
    admin = await loginOf(rig, 'admin@localhost.localdomain');
    await eventually('nothing to run', async () => (await jobs()).every(({ status }) => status === 'stopped'));
    await rig.database.write.run(async (tx) => {
      await tx.manager.query('DELETE FROM job_runs');
      await tx.manager.query(
        `UPDATE job_states SET "isStopped" = false, "handledUntil" = ${start}, failures = 0, "retryAt" = NULL`,
      );
    });
  });

  const data = async <T>(path: string): Promise<T> => (await rig.call('GET', path, admin)).body.data as T;
  const jobs = (): Promise<View[]> => data('/admin/jobs');
  const job = async (name: JobName): Promise<View> => (await jobs()).find((view) => view.name === name)!;
  const runs = (name: JobName): Promise<Run[]> => data(`/admin/jobs/${name}/runs`);
  const post = (path: string): ReturnType<Rig['call']> => rig.call('POST', path, admin);
  /** Waits until the job has so many runs that have ended, and returns them, newest first. */
  const ended = (name: JobName, count: number): Promise<Run[]> =>
    eventually(`${count} runs of ${name}`, async () => {
      const found = await runs(name);
      return found.length >= count && found.every(({ status }) => status !== 'running' && status !== 'requested') && found;
    });

  /** A step that can be held, and counts how often it runs at once. */
  function heldStep() {
    const held = { runs: 0, open: 0, most: 0, release: (): void => undefined, isHeld: true };
    const run = async (): Promise<Counts> => {
      held.runs += 1;
      held.most = Math.max(held.most, (held.open += 1));
      if (held.isHeld) await new Promise<void>((resolve) => (held.release = resolve));
      held.open -= 1;
      return { deleted: held.runs };
    };
    return { held, step: { name: 'held', run } };
  }

  test('a job runs at its time and not before, and its run says what each step did', async () => {
    steps = {
      [weekly]: [
        { name: 'one', run: async () => ({ deleted: 3 }) },
        { name: 'two', run: async () => ({ deleted: 4, skipped: 1 }) },
      ],
    };
    expect(await job(weekly)).toMatchObject({
      status: 'scheduled',
      schedule: { cron: '0 2 * * 0', timezone: 'America/Lima' },
      nextRunAt: at(start + toSunday - 30_000),
      lastRun: null,
    });
    clock.advance(toSunday - 31_000);
    await ended('messages.retry', 1);
    expect(await runs(weekly)).toEqual([]);
    clock.advance(1_500);
    const [run] = await ended(weekly, 1);
    expect(run).toMatchObject({
      status: 'succeeded',
      trigger: 'schedule',
      scheduledFor: at(start + toSunday - 30_000),
      requestedBy: null,
      counts: { deleted: 7, skipped: 1 },
      steps: [
        { name: 'one', error: null },
        { name: 'two', counts: { deleted: 4, skipped: 1 } },
      ],
      error: null,
    });
    expect(await job(weekly)).toMatchObject({ nextRunAt: at(start + toSunday - 30_000 + 7 * dayMs), lastRun: { id: run!.id } });
  });

  test('times that passed while no backend ran are caught up by one run', async () => {
    let count = 0;
    steps = { 'qr.sweep': [{ name: 'count', run: async () => ({ removed: (count += 1) }) }] };
    await restart(10 * 24 * hourMs);
    const [run] = await ended('qr.sweep', 1);
    expect(run).toMatchObject({ trigger: 'catch_up', scheduledFor: at(start + 270_000) });
    clock.advance(5 * 60_000);
    const [next] = await ended('qr.sweep', 2);
    expect([next!.trigger, count]).toEqual(['schedule', 2]);
  });

  test('a job that fails runs again after a minute, then after two; its other steps and the other jobs run', async () => {
    let isBroken = true;
    const broken = { name: 'broken', run: async () => (isBroken ? Promise.reject(new TypeError('odd')) : { repaired: 1 }) };
    steps = { [weekly]: [broken, { name: 'works', run: async () => ({ deleted: 1 }) }] };
    clock.advance(toSunday);
    const [failed] = await ended(weekly, 1);
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'TypeError' }, counts: { deleted: 1 } });
    expect((await ended('messages.dispatch', 1))[0]).toMatchObject({ status: 'succeeded' });
    const minute = new Date(clock.now().getTime() + 60_000);
    expect(await job(weekly)).toMatchObject({ failures: 1, nextRunAt: minute.toISOString() });
    clock.advance(60_000);
    await ended(weekly, 2);
    expect(await job(weekly)).toMatchObject({ failures: 2, nextRunAt: new Date(clock.now().getTime() + 120_000).toISOString() });
    const told = await eventually('the overview to count the failing job', async () => {
      const { jobs: figures, alerts } = await data<Figures>('/admin/overview');
      return figures.failing === 1 && { figures, alert: alerts.find(({ kind }) => kind === 'job_failing') };
    });
    expect(told.figures).toEqual({ failing: 1, running: 0, stopped: 0, hasLeader: expect.any(Boolean) });
    expect(told.alert).toMatchObject({
      severity: 'warn',
      code: 'TypeError',
      panelPath: '/admin/pages/jobs',
      since: failed!.createdAt,
    });
    isBroken = false;
    clock.advance(120_000);
    const [repaired] = await ended(weekly, 3);
    expect(repaired).toMatchObject({ status: 'succeeded', trigger: 'retry', counts: { repaired: 1, deleted: 1 } });
    expect(await job(weekly)).toMatchObject({ failures: 0, nextRunAt: at(start + toSunday - 30_000 + 7 * dayMs) });
    await rig.failures.flush();
    const listed = await rig.call('GET', '/admin/failures?kind=job&code=TypeError', admin);
    expect(listed.body.data).toMatchObject([{ subject: `${weekly} broken`, code: 'TypeError', count: 2 }]);
  });

  test('a job never overlaps itself: a request while it runs is refused, and a time that comes is run afterwards', async () => {
    const { held, step } = heldStep();
    steps = { 'qr.sweep': [step] };
    const requested = await post('/admin/jobs/qr.sweep/run');
    expect(requested.status).toBe(202);
    expect(requested.body.data).toMatchObject({ status: 'requested', trigger: 'manual', requestedBy: { name: 'admin' } });
    await eventually('the job to run', async () => (await job('qr.sweep')).status === 'running');
    const again = await post('/admin/jobs/qr.sweep/run');
    expect([again.status, again.body.error?.code]).toEqual([409, 'JOB_RUNNING']);
    clock.advance(5 * 60_000);
    await ended('messages.dispatch', 1);
    held.isHeld = false;
    held.release();
    const runs = await ended('qr.sweep', 2);
    expect(runs.map(({ trigger }) => trigger)).toEqual(['schedule', 'manual']);
    expect(held.most).toBe(1);
  });

  test('of many requests at once one is accepted', async () => {
    const { held, step } = heldStep();
    steps = { [weekly]: [step] };
    const replies = await Promise.all(Array.from({ length: 8 }, () => post(`/admin/jobs/${weekly}/run`)));
    expect(replies.map(({ status }) => status).sort()).toEqual([202, ...Array.from({ length: 7 }, () => 409)]);
    await eventually('the job to run', async () => held.runs === 1);
    held.release();
    await ended(weekly, 1);
    expect(held.runs).toBe(1);
  });

  test('a stop lasts over a restart; the job runs by hand, and its start catches nothing up', async () => {
    expect((await post(`/admin/jobs/${weekly}/stop`)).body.data).toMatchObject({ status: 'stopped', nextRunAt: null });
    await restart(toSunday + hourMs);
    expect(await job(weekly)).toMatchObject({ status: 'stopped', nextRunAt: null });
    await ended('qr.sweep', 1);
    expect(await runs(weekly)).toEqual([]);
    await post(`/admin/jobs/${weekly}/run`);
    expect(await ended(weekly, 1)).toMatchObject([{ trigger: 'manual', status: 'succeeded' }]);
    expect((await post(`/admin/jobs/${weekly}/start`)).body.data).toMatchObject({
      status: 'scheduled',
      nextRunAt: at(start + toSunday - 30_000 + 7 * dayMs),
    });
  });

  test('all jobs are stopped and started together, and a restart runs those again that failed', async () => {
    let isBroken = true;
    const run = async () => (isBroken ? Promise.reject(new Error('bad')) : undefined);
    steps = { [weekly]: [{ name: 'maybe', run }] };
    await post(`/admin/jobs/${weekly}/run`);
    await ended(weekly, 1);
    const stopped = (await post('/admin/jobs/stop')).body.data as View[];
    expect(new Set(stopped.map(({ status }) => status))).toEqual(new Set(['stopped']));
    clock.advance(toSunday);
    isBroken = false;
    const started = (await post('/admin/jobs/restart')).body.data as View[];
    expect(started.filter(({ isStopped }) => isStopped)).toEqual([]);
    expect((await ended(weekly, 2))[0]).toMatchObject({ trigger: 'retry', status: 'succeeded' });
    expect(await job(weekly)).toMatchObject({ failures: 0 });
    const audit = (await rig.call('GET', `/admin/audit?limit=50&from=${at(start)}`, admin)).body.data as {
      action: string;
      object: { id: string };
    }[];
    const entries = audit.filter(({ action }) => action.startsWith('job.')).map(({ action, object }) => `${action} ${object.id}`);
    expect(entries.sort()).toEqual([`job.restart all`, `job.run ${weekly}`, `job.stop all`]);
  });

  test('a run whose process died is told as interrupted, and the job runs again', async () => {
    await rig.database.write.run((tx) =>
      insertRow(tx, JobRun, {
        id: newId(clock.now().getTime()),
        job: weekly,
        status: 'running',
        trigger: 'schedule',
        createdAt: clock.now(),
        startedAt: clock.now(),
        term: 0,
        steps: [],
      }),
    );
    const [lost] = await ended(weekly, 1);
    expect(lost).toMatchObject({ status: 'interrupted', error: { code: 'PROCESS_LOST' } });
    clock.advance(60_000);
    expect((await ended(weekly, 2))[0]).toMatchObject({ status: 'succeeded', trigger: 'retry' });
  });

  test('a backend that is stopped in the middle of a job ends its step and begins no other; the next start runs the job again', async () => {
    const { held, step } = heldStep();
    let second = 0;
    steps = { [weekly]: [step, { name: 'second', run: async () => void (second += 1) }] };
    await post(`/admin/jobs/${weekly}/run`);
    await eventually('the step to run', async () => held.runs === 1);
    setTimeout(() => {
      held.isHeld = false;
      held.release();
    }, 300);
    await restart(60_000);
    const runs = await ended(weekly, 2);
    expect(runs.map(({ status }) => status)).toEqual(['succeeded', 'interrupted']);
    expect(runs[1]).toMatchObject({ error: { code: 'STOPPED' }, steps: [{ name: 'held', error: null }] });
    expect([held.runs, second]).toEqual([2, 1]);
  });

  test('a job that throws, rejects or never ends stops only itself', async () => {
    const kinds = ['works', 'throws', 'rejects', 'rejects oddly', 'hangs'] as const;
    const chosen = new Map<JobName, (typeof kinds)[number]>();
    const runs = new Map<JobName, number>();
    /** What anything could throw: it has no text, and its properties throw. */
    const oddity = (): object => new Proxy(Object.create(null) as object, { has: () => fail() });
    const fail = (): never => {
      throw new Error('bad');
    };
    const behave = (name: JobName) => (): Promise<void> => {
      runs.set(name, (runs.get(name) ?? 0) + 1);
      const kind = chosen.get(name);
      if (kind === 'throws') fail();
      if (kind === 'rejects oddly') return Promise.reject(oddity() as Error);
      if (kind === 'rejects') return Promise.reject(new Error('bad'));
      return kind === 'hangs' ? new Promise((resolve) => releases.push(resolve)) : Promise.resolve();
    };
    steps = Object.fromEntries(jobNames.map((name) => [name, [{ name: 'only', run: behave(name) }]])) as unknown as JobSteps;
    await fc.assert(
      fc.asyncProperty(fc.tuple(...jobNames.map(() => fc.constantFrom(...kinds))), async (picked) => {
        for (const [index, name] of jobNames.entries()) chosen.set(name, picked[index]!);
        runs.clear();
        // Runs are in the order of their ids, which begin with the time.
        clock.advance(1);
        for (const name of jobNames) expect((await post(`/admin/jobs/${name}/run`)).status).toBe(202);
        for (const name of jobNames) {
          const kind = chosen.get(name)!;
          await eventually(`${name}, which ${kind}`, async () => {
            const { status, lastRun } = await job(name);
            if (kind === 'hangs')
              return status === 'running' && rig.lines.some((line) => line.includes('overdue') && line.includes(name));
            return (
              (status === 'scheduled' || status === 'off') && lastRun?.status === (kind === 'works' ? 'succeeded' : 'failed')
            );
          });
          expect(runs.get(name)).toBe(1);
        }
        for (const release of releases.splice(0)) release();
        await eventually('every job to end', async () =>
          (await jobs()).every(({ status }) => status === 'scheduled' || status === 'off'),
        );
      }),
      // Shrinking would find jobs that still run.
      { numRuns: 2, endOnFailure: true },
    );
  }, 240_000);

  test('the runs are listed page by page, and old ones are deleted', async () => {
    for (let count = 1; count <= 3; count += 1) {
      await post(`/admin/jobs/${weekly}/run`);
      await ended(weekly, count);
      clock.advance(1_000);
    }
    const ids = (await ended(weekly, 3)).map(({ id }) => id);
    const first = await rig.call('GET', `/admin/jobs/${weekly}/runs?limit=2`, admin);
    expect((first.body.data as Run[]).map(({ id }) => id)).toEqual(ids.slice(0, 2));
    const second = await rig.call(
      'GET',
      `/admin/jobs/${weekly}/runs?limit=2&cursor=${String(first.body.meta!['nextCursor'])}`,
      admin,
    );
    expect([(second.body.data as Run[]).map(({ id }) => id), second.body.meta!['nextCursor']]).toEqual([ids.slice(2), null]);
    await rig.database.write.run(async (tx) => {
      for (let day = 40; day < 55; day += 1) {
        const createdAt = new Date(clock.now().getTime() - day * dayMs);
        const run = { id: newId(createdAt.getTime()), job: weekly, status: 'succeeded', trigger: 'schedule', steps: [] } as const;
        await insertRow(tx, JobRun, { ...run, steps: [], createdAt, startedAt: createdAt, endedAt: createdAt });
      }
    });
    // The newest ten stay, however old they are.
    expect(await pruneRuns({ database: rig.database, clock })).toBe(8);
    expect((await runs(weekly)).slice(0, 3).map(({ id }) => id)).toEqual(ids);
    expect(await runs(weekly)).toHaveLength(10);
    const wrong = await rig.call('GET', `/admin/jobs/${weekly}/runs?cursor=x`, admin);
    expect([wrong.status, wrong.body.error?.code]).toEqual([422, 'VALIDATION_FAILED']);
  });

  test('a key sees no jobs, an unknown job is not found, and other schedules are read from the settings', async () => {
    const byKey = await rig.call('GET', '/admin/jobs', { key: apiKey });
    expect([byKey.status, byKey.body.error?.code]).toEqual([403, 'PASSWORD_LOGIN_REQUIRED']);
    for (const path of ['nothing/run', 'nothing/stop', 'toString/start']) {
      const reply = await post(`/admin/jobs/${path}`);
      expect([reply.status, reply.body.error?.code]).toEqual([404, 'JOB_NOT_FOUND']);
    }
    expect((await rig.call('GET', '/admin/jobs/nothing/runs', admin)).status).toBe(404);
    expect(await job('statistics.reconcile')).toMatchObject({
      nextRunAt: at(start + 4.5 * hourMs - 30_000),
      schedule: { cron: '30 4 * * *', timezone: 'America/Lima' },
    });
    expect(await job('logs.cleanup')).toMatchObject({ status: 'off', nextRunAt: null, schedule: null });
  });

  test('health is degraded when the leader has not recorded for half a minute that it is there', async () => {
    const check = async () =>
      ((await (await fetch(`${rig.url}/health`)).json()) as { checks: Record<string, string> }).checks['jobs'];
    // The begin of a run records it too.
    await post(`/admin/jobs/${weekly}/run`);
    await ended(weekly, 1);
    await eventually('the leader to be seen', async () => (await check()) === 'ok');
    await post('/admin/jobs/stop');
    clock.advance(31_000);
    await eventually('the missing leader to be noticed', async () => (await check()) === 'degraded');
  });
});
