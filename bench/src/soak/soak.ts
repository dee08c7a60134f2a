import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomOf } from '../crash/plan.js';
import { hasPostgres } from '../database.js';
import { findServerPrograms } from '../postgres-server.js';
import { linkPhone, openFleet, type DatabaseKind, type Fleet } from './fleet.js';
import { injectFaults } from './faults.js';
import { isClean, judge, type Verdict } from './judge.js';
import { ana, startLoad, type Phone } from './load.js';
import { startSampling, type Trend } from './samples.js';
import { openSink } from './sinks.js';

export type Line = (what: string, promise: string, measured: string, ok: boolean) => void;

/**
 * `npm run bench -- soak`: load without a pause, faults at random moments, and then quiet load, during which memory, descriptors and
 * backlog must be flat. Afterwards everything is compared with the simulator's journal and the receivers' logs.
 *
 *   SOAK_MINUTES 15                   for each database; the first two thirds have faults
 *   SOAK_DATABASES sqlite,postgres    SQLite: one backend, one worker; PostgreSQL: two and two
 *   SOAK_SEED 1                       decides which faults come when
 *   SOAK_RATE 2                       sends and arrivals a second, each
 *   SOAK_FAULTS on                    off: load alone
 */
export async function soak(line: Line): Promise<void> {
  const option = (name: string, otherwise: string): string => process.env[`SOAK_${name}`] ?? otherwise;
  const options = {
    minutes: Number(option('MINUTES', '15')),
    seed: Number(option('SEED', '1')),
    rate: Number(option('RATE', '2')),
    faults: option('FAULTS', 'on') !== 'off',
  };
  for (const database of option('DATABASES', 'sqlite,postgres').split(',') as DatabaseKind[]) {
    if (database === 'postgres' && !findServerPrograms() && !(await hasPostgres())) {
      line('soak, postgres', 'runs', 'PostgreSQL is not installed, and nothing answers at its address', false);
      continue;
    }
    await soakOn(database, options, line);
  }
}

interface Options {
  minutes: number;
  seed: number;
  rate: number;
  faults: boolean;
}

async function soakOn(database: DatabaseKind, options: Options, line: Line): Promise<void> {
  const count = database === 'postgres' ? 2 : 1;
  const fleet = await openFleet(database, count, count);
  const random = randomOf(options.seed);
  const sinks = [
    { name: 'sound', sink: await openSink({ failing: 0, random: randomOf(options.seed + 1) }) },
    { name: 'flaky', sink: await openSink({ failing: 0.15, random: randomOf(options.seed + 2) }) },
  ];
  try {
    const phones = await setUp(fleet, count * 2);
    for (const { sink } of sinks) await fleet.api('POST', '/webhooks', { url: sink.url, events: ['*'] });
    const totalMs = options.minutes * 60_000;
    const load = startLoad(fleet, phones, random, options.rate);
    const waiting = async (): Promise<number> =>
      Number((await fleet.api('GET', '/messages/list?status=queued&limit=1')).body.meta?.['total'] ?? 0);
    const sampling = startSampling(fleet, sinks, waiting);
    const say = (what: string): void => console.log(`      ${(sampling.elapsed() / 60_000).toFixed(1)} min: ${what}`);
    const watching = watchSessions(fleet, say);
    const started = performance.now();
    const faults = options.faults
      ? await injectFaults(
          fleet,
          sinks.map(({ sink }) => sink),
          random,
          { until: started + totalMs * 0.6, everyMs: Math.max(5_000, totalMs / 45), say },
        )
      : new Map<string, number>();
    // The backlog of the last fault is processed and caches are filled before the quiet part is measured.
    await sleep(Math.max(0, started + totalMs * 0.75 - performance.now()));
    const quietFrom = sampling.elapsed();
    await sleep(Math.max(0, started + totalMs - performance.now()));
    sampling.stop();
    clearInterval(watching);
    await load.stop();
    const { asked } = load;
    const { counts } = asked;
    console.log(
      `      ${asked.accepted.size} sends, ${asked.arrived.size} arrivals, ${counts.edits} edits, ${counts.lists} lists, ${counts.logins} logins, ${counts.reconnects} stream reconnects, ${fleet.restarts()} restarts`,
    );
    console.log(`      faults: ${[...faults].map(([name, times]) => `${times} × ${name}`).join(', ') || 'none'}`);
    const verdict = await judge(fleet, asked, sinks);
    const trends = sampling.trends(quietFrom);
    report(database, trends, verdict, line);
    if (!isClean(verdict) || trends.some(({ isFlat }) => !isFlat)) await saveEvidence(fleet);
  } finally {
    for (const { sink } of sinks) sink.close();
    await fleet.close();
  }
}

interface SessionState {
  name: string;
  status: string;
  reason: { code: string } | null;
}

/** Prints each change of a session's state, so that a backlog can be distinguished from a session that does not reconnect. */
function watchSessions(fleet: Fleet, say: (what: string) => void): NodeJS.Timeout {
  const before = new Map<string, string>();
  const look = async (): Promise<void> => {
    const { body } = await fleet.api<SessionState[]>('GET', '/sessions');
    for (const { name, status, reason } of body.data) {
      const state = reason ? `${status}, ${reason.code}` : status;
      if (before.get(name) !== state) say(`${name}: ${state}`);
      before.set(name, state);
    }
  };
  // The state is unknown while the system is down; the next poll follows soon.
  return setInterval(() => void look().catch(() => undefined), 2_000);
}

/** Writes the logs of all processes to a folder that stays after the fleet is gone, and prints its path. */
async function saveEvidence(fleet: Fleet): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'chasqui-soak-logs-'));
  for (const { name, log } of fleet.members) await writeFile(join(folder, `${name}.log`), log());
  console.log(`      logs: ${folder}`);
}

async function setUp(fleet: Fleet, count: number): Promise<Phone[]> {
  await fleet.simulator.client.createAccount({ phone: ana, name: 'Ana' });
  const phones = Array.from({ length: count }, (_, index) => ({ name: `soak-${index}`, phone: `551198888${7700 + index}` }));
  for (const { name, phone } of phones) await linkPhone(fleet, name, phone);
  return phones;
}

function report(database: DatabaseKind, trends: readonly Trend[], verdict: Verdict, line: Line): void {
  for (const { what, first, last, perMinute, isFlat } of trends) {
    const moved = `${first.toFixed(0)} → ${last.toFixed(0)}, ${perMinute >= 0 ? '+' : ''}${perMinute.toFixed(2)} a minute`;
    line(`soak, ${database}: ${what}`, 'flat', moved, isFlat);
  }
  for (const [kind, list] of Object.entries(verdict) as [string, string[]][]) {
    for (const one of list.slice(0, 20)) console.log(`      ${kind}: ${one}`);
    if (list.length > 20) console.log(`      ${kind}: ${list.length - 20} more`);
  }
  const { lost, doubled, stuck, untrue } = verdict;
  const measured = `lost ${lost.length}, doubled ${doubled.length}, stuck ${stuck.length}, untrue ${untrue.length}`;
  line(`soak, ${database}: everything accounted for`, 'all 0', measured, isClean(verdict));
}
