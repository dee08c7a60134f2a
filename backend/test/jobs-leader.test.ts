import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { jobNames } from '@chasqui/shared';
import { afterEach, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { postgresPort } from '../../bench/src/database.js';
import { openDatabase, type Database } from '../src/db/database.js';
import { createLeader, type Leader } from '../src/jobs/leader.js';
import { JobRun } from '../src/jobs/job.entity.js';
import { beginDue, beginTerm, renew } from '../src/jobs/runs.js';
import { createScheduler, type JobSteps } from '../src/jobs/scheduler.js';
import { jobTimes } from '../src/jobs/due.js';
import { migratedDatabase } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { describeOnPostgres } from './support/own-database.js';
import { coreOf } from './support/parts.js';
import { silentLog } from './support/silent-log.js';

/** Several backends on one PostgreSQL: which of them runs the jobs. */

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const times = { pollMs: 50, idleMs: 3_000, answerMs: 2_000 };

async function openOwn(): Promise<{ url: string; database: Database }> {
  const own = await migratedDatabase();
  closers.push(own.drop);
  const database = await openDatabase({ url: own.url });
  closers.push(database.close);
  return { url: own.url, database };
}

function newLeader(database: Database, url: string, owner: string): Leader {
  const leader = createLeader({ location: { url }, beginTerm: () => beginTerm(coreOf(database), owner), log: silentLog, times });
  closers.push(leader.stop);
  return leader;
}

/** A network between a backend and the database that can be cut: what is sent is neither delivered nor refused. */
async function openNetwork(url: string): Promise<{ url: string; cut: () => void }> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((near) => {
    const far = connect(postgresPort, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', (bytes) => void (isCut || to.write(bytes)));
      from.on('close', () => void (isCut || to.destroy()));
      from.on('error', () => undefined);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const through = new URL(url);
  through.port = String((server.address() as AddressInfo).port);
  return { url: through.href, cut: () => void (isCut = true) };
}

/** Starts a leader that has no competitor, and returns its term. On a busy machine its first attempt may fail. */
async function lead(leader: Leader): Promise<number> {
  await leader.start();
  return eventually('it to lead', async () => leader.term());
}

const leading = (leaders: readonly Leader[]): Leader[] => leaders.filter((leader) => leader.term() !== null);

describeOnPostgres('the leader of the jobs', () => {
  test('of three backends exactly one leads, and when it stops another one leads with a greater term', async () => {
    const { database, url } = await openOwn();
    const leaders = [1, 2, 3].map((number) => newLeader(database, url, `backend ${number}`));
    await Promise.all(leaders.map((leader) => leader.start()));
    const leadingNow = async (some: readonly Leader[]) => {
      const [leader] = leading(some);
      return leader && { leader, term: leader.term()! };
    };
    const first = await eventually('one of them to lead', () => leadingNow(leaders));
    for (let look = 0; look < 20; look += 1) {
      expect(leading(leaders).length).toBeLessThanOrEqual(1);
      await sleep(15);
    }
    await first.leader.stop();
    const others = leaders.filter((leader) => leader !== first.leader);
    const second = await eventually('another leader', () => leadingNow(others));
    expect(second.term).toBeGreaterThan(first.term);
  });

  test('a leader whose connection is ended by the server leads no longer, and exactly one leads afterwards', async () => {
    const { database, url } = await openOwn();
    const leaders = [newLeader(database, url, 'one'), newLeader(database, url, 'two')];
    const term = await lead(leaders[0]!);
    await leaders[1]!.start();
    await database.write.run(async (tx) => {
      await tx.manager.query(
        `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = ${0x63687173} AND objid = 4
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      );
    });
    await eventually('a later term', async () => leading(leaders).some((leader) => leader.term()! > term));
    expect(leading(leaders)).toHaveLength(1);
  });

  test('a leader that the network cuts off notices it, and another one leads within seconds', async () => {
    const { database, url } = await openOwn();
    const network = await openNetwork(url);
    const away = newLeader(database, network.url, 'away');
    const term = await lead(away);
    const near = newLeader(database, url, 'near');
    await near.start();
    network.cut();
    const cutAt = Date.now();
    await eventually('the other one to lead', async () => near.term() !== null);
    expect([away.term(), near.term()! > term]).toEqual([null, true]);
    expect(Date.now() - cutAt).toBeLessThan(20_000);
  });

  test('what a former leader would write names an old term, and is refused', async () => {
    const { database } = await openOwn();
    const core = coreOf(database);
    const old = await beginTerm(core, 'old');
    await database.write.run(async (tx) => void (await tx.manager.query('UPDATE job_states SET "handledUntil" = 0')));
    const term = await beginTerm(core, 'new');
    const due = { trigger: 'schedule', scheduledFor: new Date() } as const;
    expect(await beginDue(core, old, 'qr.sweep', due)).toBe('lost');
    expect([await renew(core, old), await renew(core, term)]).toEqual([false, true]);
    expect(await beginDue(core, term, 'qr.sweep', due)).toMatchObject({ status: 'running', term });
    // The index refuses a second run, whatever the leader believes.
    expect(await beginDue(core, term, 'qr.sweep', due)).toBe('obsolete');
    expect(await database.reader.getRepository(JobRun).count()).toBe(1);
  });

  test('a former leader that wakes up in the middle of a job ends its step, begins no other, and does not overwrite the result', async () => {
    const { database } = await openOwn();
    const core = coreOf(database);
    let release = (): void => undefined;
    let second = 0;
    const steps = Object.fromEntries(jobNames.map((name) => [name, []])) as unknown as JobSteps;
    const scheduler = (term: { now: number }, own: Partial<JobSteps>) => {
      const lose = (): void => void (term.now = 0);
      const leader = { start: async () => undefined, stop: async () => undefined, term: () => term.now || null, lose };
      const parts = {
        leader,
        steps: { ...steps, ...own },
        times: jobTimes({}, 'UTC'),
        delays: { tickMs: 20, afterStartMs: 1e9 },
      };
      const made = createScheduler(core, parts);
      closers.push(made.stop);
      made.start();
    };
    const frozen = { now: await beginTerm(core, 'frozen') };
    await database.write.run(async (tx) => void (await tx.manager.query('UPDATE job_states SET "handledUntil" = 0')));
    scheduler(frozen, {
      'qr.sweep': [
        { name: 'first', run: () => new Promise<void>((resolve) => (release = resolve)) },
        { name: 'second', run: async () => void (second += 1) },
      ],
    });
    const runs = (): Promise<JobRun[]> =>
      database.reader.getRepository(JobRun).find({ where: { job: 'qr.sweep' }, order: { id: 'ASC' } });
    await eventually('the first step to run', async () => (await runs()).length === 1);
    // As if it were frozen: it takes part in nothing until it wakes up.
    const next = { now: await beginTerm(core, 'next') };
    scheduler(next, { 'qr.sweep': [{ name: 'only', run: async () => ({ removed: 1 }) }] });
    await eventually('the run to be declared interrupted', async () => (await runs())[0]!.status === 'interrupted');
    release();
    await eventually('the former leader to notice', async () => frozen.now === 0);
    await sleep(100);
    expect(second).toBe(0);
    expect((await runs())[0]).toMatchObject({ status: 'interrupted', code: 'PROCESS_LOST', steps: [] });
  });

  test('two backends compete for many due jobs, and each job runs once', async () => {
    const { database, url } = await openOwn();
    const core = coreOf(database);
    const ran: string[] = [];
    const steps = Object.fromEntries(
      jobNames.map((name) => [name, [{ name: 'only', run: async () => void ran.push(name) }]]),
    ) as unknown as JobSteps;
    await beginTerm(core, 'before');
    // The time a minute ago: every job that runs each minute or more seldom has missed it.
    await database.write.run(async (tx) => void (await tx.manager.query('UPDATE job_states SET "handledUntil" = 0')));
    const daily = Object.fromEntries(jobNames.map((name) => [name, '0 0 1 1 *']));
    for (const owner of ['one', 'two']) {
      const leader = newLeader(database, url, owner);
      const delays = { tickMs: 20, afterStartMs: 1e9 };
      const made = createScheduler(core, { leader, steps, times: jobTimes(daily, 'UTC'), delays });
      closers.push(made.stop);
      await leader.start();
      made.start();
    }
    await eventually('every job to have run', async () => new Set(ran).size === jobNames.length);
    await sleep(300);
    expect([...ran].sort()).toEqual([...jobNames].sort());
    const client = new Client({ connectionString: url });
    await client.connect();
    closers.push(() => client.end());
    const { rows } = await client.query<{ status: string; n: string }>(
      'SELECT status, COUNT(*) AS n FROM job_runs GROUP BY status',
    );
    expect(rows).toEqual([{ status: 'succeeded', n: String(jobNames.length) }]);
  });
});
