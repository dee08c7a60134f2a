import { appendFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { FailPoint } from '@chasqui/shared/fail-point';
import { hasPostgres, postgresPort } from '../database.js';
import { isClean, judge, type Verdict } from './judge.js';
import { mutants, mutated, type MutantName } from './mutants.js';
import { type Case, casesOf, ordinary, special, victims, type Victim } from './plan.js';
import { openRig, type DatabaseKind, type Rig } from './rig.js';
import { play } from './scenario.js';
import { killOneOfTwo } from './two-backends.js';
import { endChildrenWithUs } from '../stack.js';
import { bulkPoints, killInBulk } from './bulk.js';
import { killInLookup, killInRelink } from './identity.js';
import { killInDeletion, killInErasure, killInMigration, killInOccurrence } from './special.js';
import { answerCalls, callSteps, killInCall } from './calls.js';

/**
 * `npm run test:crash`: every fail point × every victim × both databases, for each seed. The whole product runs in
 * separate processes; its answers afterwards are compared with what the simulator, another process, received.
 *
 *   --seeds 10          how many (default 1)   --from 1   the first of them
 *   --databases sqlite,postgres   --points a,b   --victims backend,worker,chromium
 *   --short             every point with one victim, in turn, instead of all three, and without the kill of one of two backends
 *   --recipients 20     of each bulk job (default 20)   --bulk   only bulk jobs, at every step of theirs, or at --points
 *   --mutant reservation|outlet|ack0   a run with a defence taken out; it must find fault
 *   --report file       what was found, line by line
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1' },
    from: { type: 'string', default: '1' },
    databases: { type: 'string', default: 'sqlite,postgres' },
    points: { type: 'string' },
    victims: { type: 'string' },
    recipients: { type: 'string', default: '20' },
    bulk: { type: 'boolean', default: false },
    short: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    report: { type: 'string' },
  },
});

interface Outcome {
  runs: number;
  notHit: string[];
  faults: { id: string; verdict: Verdict }[];
  slowest: { id: string; ms: number };
}

const say = (line: string): void => {
  console.log(line);
  if (values.report) appendFileSync(values.report, `${line}\n`);
};

const nothing = (): Verdict => ({ lost: [], doubled: [], stuck: [], untrue: [] });

/** Runs one case and returns its faults. An error of the harness itself counts as stuck. */
async function runCase(rig: Rig, plan: Case, outcome: Outcome): Promise<boolean> {
  const about = `${rig.database} ${plan.id} (pass ${plan.pass})`;
  let verdict: Verdict;
  try {
    const run = await play(rig, plan);
    verdict = await judge(rig, run);
    if (!run.hit) outcome.notHit.push(about);
    if (run.settledMs > outcome.slowest.ms) outcome.slowest = { id: about, ms: run.settledMs };
    say(`${isClean(verdict) ? (run.hit ? 'ok  ' : 'MISS') : 'FAIL'} ${about} ${(run.settledMs / 1000).toFixed(1)} s`);
  } catch (error) {
    verdict = { ...nothing(), stuck: [error instanceof Error ? error.message : String(error)] };
    say(`FAIL ${about}`);
  }
  outcome.runs += 1;
  return note(about, verdict, outcome);
}

function note(id: string, verdict: Verdict, outcome: Outcome): boolean {
  if (isClean(verdict)) return true;
  outcome.faults.push({ id, verdict });
  for (const [kind, list] of Object.entries(verdict) as [string, string[]][])
    for (const line of list) say(`     ${kind}: ${line}`);
  return false;
}

async function matrix(database: DatabaseKind, plans: Case[], outcome: Outcome, more: Record<string, string>): Promise<void> {
  let rig = await openRig(database, more);
  try {
    for (const plan of plans) {
      if (await runCase(rig, plan, outcome)) continue;
      // One finding of a mutation is enough.
      if (values.mutant) return;
      if (values.report) {
        writeFileSync(`${values.report}.${plan.id}.backend.log`, rig.stack.log('backend').slice(-400_000));
        writeFileSync(`${values.report}.${plan.id}.worker.log`, rig.stack.log('worker').slice(-400_000));
      }
      // The state that a failed case leaves behind must not count against the next one.
      await rig.close();
      rig = await openRig(database, more);
    }
  } finally {
    await rig.close();
  }
}

async function specials(
  database: DatabaseKind,
  points: readonly FailPoint[],
  seeds: number[],
  whom: readonly Victim[],
  outcome: Outcome,
  more: Record<string, string>,
): Promise<void> {
  for (const seed of points.includes('migration.half') ? seeds : []) {
    note(`${database} ${seed}-migration`, await killInMigration(database, 1 + (seed % 9)), outcome);
    outcome.runs += 1;
  }
  const rig = await openRig(database, more);
  const run = async (id: string, kill: () => Promise<Verdict>): Promise<void> => {
    const verdict = await kill().catch((error: Error) => ({ ...nothing(), stuck: [error.message] }));
    say(`${isClean(verdict) ? 'ok  ' : 'FAIL'} ${id}`);
    note(id, verdict, outcome);
    outcome.runs += 1;
  };
  try {
    for (const seed of seeds) {
      if (points.includes('erasure.half')) await run(`${database} ${seed}-erasure_half-backend`, () => killInErasure(rig, seed));
      for (const victim of points.includes('profile.deleting') ? whom : [])
        await run(`${database} ${seed}-profile_deleting-${victim}`, () => killInDeletion(rig, victim, seed));
      for (const victim of points.includes('lookup.unacknowledged') ? whom : [])
        await run(`${database} ${seed}-lookup_unacknowledged-${victim}`, () => killInLookup(rig, victim, seed));
      // A bulk job passes points of single sends too; unless single points are named, it is killed there as well.
      if (points.some((point) => point.startsWith('bulk.')))
        for (const point of bulkPoints.filter((one) => points.includes(one) || (!values.points && !one.startsWith('bulk.'))))
          for (const victim of whom)
            await run(`${database} ${seed}-${point.replace('.', '_')}-${victim} (bulk)`, () =>
              killInBulk(rig, point, victim, seed, Number(values.recipients)),
            );
      for (const point of ['occurrence.written', 'occurrence.committed'] as const)
        for (const victim of points.includes(point) ? whom : [])
          await run(`${database} ${seed}-${point.replace('.', '_')}-${victim}`, () => killInOccurrence(rig, point, victim, seed));
      // With the two points of a call come those that its answer passes.
      const isCalls = points.includes('ring.recorded') || points.includes('ring.rejected');
      for (const step of isCalls ? callSteps.filter(({ victim }) => whom.includes(victim)) : []) {
        const id = `${database} ${seed}-call-${step.point.replace('.', '_')}-${step.victim}`;
        await run(id, async () => {
          const { verdict, isHit } = await killInCall(rig, step, seed);
          if (!isHit) outcome.notHit.push(id);
          return verdict;
        });
      }
      if (isCalls) await answerCalls(rig, null);
      for (const point of ['identity.written', 'identity.held'] as const)
        for (const victim of points.includes(point) ? whom : [])
          await run(`${database} ${seed}-${point.replace('.', '_')}-${victim}`, () => killInRelink(rig, point, victim, seed));
    }
  } finally {
    await rig.close();
  }
}

/** Every point in one run, with two backends: the one that passes it dies while the other one continues. */
async function twoBackends(points: readonly FailPoint[], seeds: readonly number[], outcome: Outcome): Promise<void> {
  for (const seed of seeds) {
    const id = `postgres ${seed}-one_of_two_backends`;
    const { verdict, notHit } = await killOneOfTwo(points, seed, say).catch((error: Error) => ({
      verdict: { ...nothing(), stuck: [error.message] },
      notHit: [] as FailPoint[],
    }));
    // A kill that did not happen proves nothing.
    outcome.notHit.push(...notHit.map((point) => `${id}: ${point}`));
    say(`${isClean(verdict) ? (notHit.length > 0 ? 'MISS' : 'ok  ') : 'FAIL'} ${id}`);
    note(id, verdict, outcome);
    outcome.runs += 1;
  }
}

function list<T extends string>(text: string | undefined, all: readonly T[]): T[] {
  const wanted = text?.split(',') ?? [...all];
  const unknown = wanted.filter((name) => !(all as readonly string[]).includes(name));
  if (unknown.length > 0) throw new Error(`Not known: ${unknown.join(', ')}. There are: ${all.join(', ')}`);
  return wanted as T[];
}

async function wantedDatabases(): Promise<DatabaseKind[]> {
  const wanted = list<DatabaseKind>(values.databases, ['sqlite', 'postgres']);
  if (!wanted.includes('postgres') || (await hasPostgres())) return wanted;
  say(`SKIPPED: PostgreSQL, because nothing answers on port ${postgresPort}.`);
  return wanted.filter((database) => database !== 'postgres');
}

async function main(): Promise<number> {
  endChildrenWithUs();
  const started = performance.now();
  const mutant = values.mutant ? mutants[list(values.mutant, Object.keys(mutants) as MutantName[])[0]!] : null;
  const all = values.bulk ? special.filter((point) => point.startsWith('bulk.')) : [...ordinary, ...special];
  const wanted: FailPoint[] = mutant ? [...mutant.points] : list(values.points, all);
  const points = wanted.filter((point) => ordinary.includes(point));
  const whom: Victim[] = mutant ? [...mutant.victims] : list(values.victims, victims);
  const seeds = Array.from({ length: Number(values.seeds) }, (_, index) => Number(values.from) + index);
  const outcome: Outcome = { runs: 0, notHit: [], faults: [], slowest: { id: '', ms: 0 } };
  const more = values.mutant ? mutated(values.mutant as MutantName) : {};
  const databases = await wantedDatabases();
  for (const database of databases) {
    const all = seeds.flatMap((seed) => casesOf(seed, points, whom));
    const plans = values.short ? inTurn(all) : all;
    if (plans.length > 0) await matrix(database, plans, outcome, more);
    // Not in the short form: it has not been seen to end within a bounded time on a busy machine.
    if (database === 'postgres' && points.length > 0 && !mutant && !values.short) await twoBackends(points, seeds, outcome);
    const others = wanted.filter((point) => special.includes(point));
    if (others.length > 0) await specials(database, others, seeds, values.short ? victims.slice(0, 1) : whom, outcome, more);
  }
  return report(outcome, {
    minutes: (performance.now() - started) / 60_000,
    points: wanted,
    whom,
    seeds,
    databases,
    isMutant: mutant !== null,
  });
}

/** One case for each point: the first point with the first victim, the second with the second, and so on. */
const inTurn = (plans: Case[]): Case[] =>
  plans.filter(({ point, victim }) => victims[ordinary.indexOf(point) % victims.length] === victim);

interface Extent {
  minutes: number;
  points: FailPoint[];
  whom: Victim[];
  seeds: number[];
  databases: DatabaseKind[];
  isMutant: boolean;
}

function report({ runs, notHit, faults, slowest }: Outcome, extent: Extent): number {
  const count = (kind: keyof Verdict): number => faults.reduce((sum, { verdict }) => sum + verdict[kind].length, 0);
  const { points, whom, seeds, databases, minutes } = extent;
  say(`${points.length} fail points × ${whom.length} victims × ${databases.join(' and ')} × ${seeds.length} seeds`);
  say(
    `${runs} runs in ${minutes.toFixed(1)} minutes; the slowest came to rest after ${(slowest.ms / 1000).toFixed(1)} s (${slowest.id})`,
  );
  say(
    `lost ${count('lost')}, doubled ${count('doubled')}, stuck ${count('stuck')}, untrue ${count('untrue')}; kills that did not happen: ${notHit.length}`,
  );
  for (const id of notHit) say(`  not reached: ${id}`);
  if (!extent.isMutant) return faults.length === 0 && notHit.length === 0 ? 0 : 1;
  say(faults.length > 0 ? 'The mutation was found, as it must be.' : 'The mutation was NOT found: the matrix proves nothing.');
  return faults.length > 0 ? 0 : 1;
}

process.exitCode = await main();
