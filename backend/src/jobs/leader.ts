import { defaultLimits, openConnection, type BoundedClient, type ConnectionLimits } from '../db/connections.js';
import type { DatabaseLocation } from '../db/database.js';
import { advisoryLocks } from '../db/locks.js';
import { errorFields, type Log } from '../lib/log.js';

/**
 * Decides which backend runs the jobs. SQLite has one backend, which leads while it runs. On PostgreSQL the leader holds an advisory lock on a
 * connection of its own, which it queries every second. Each leader has a term: a number that is greater than those of all leaders before it. What a
 * leader writes names its term, so that a former leader that wakes up writes nothing (runs.ts).
 *
 * | the leader | the server releases its lock | another backend leads after |
 * | --- | --- | --- |
 * | is stopped or killed | at once: its connection closes | a second |
 * | freezes, or its machine vanishes from the network | after `idleMs` without a query | nine seconds |
 * | loses its connection to the database | when the connection closes | a second; it competes like the others |
 *
 * A former leader that still runs a step ends that step. Every step may run twice, or on two backends at once.
 */
export interface Leader {
  /** Begins to compete. Resolves after the first attempt; a failed one is repeated. */
  start(): Promise<void>;
  /** Stops competing, and releases the lock. */
  stop(): Promise<void>;
  /** The term of this backend; null while it does not lead. */
  term(): number | null;
  /** Gives up the lead. Called when a write has shown that another backend has a later term. */
  lose(): void;
}

export interface LeaderParts {
  location: DatabaseLocation;
  /** Records the beginning of a term. Returns its number. */
  beginTerm: () => Promise<number>;
  log: Log;
  times?: Partial<LeaderTimes> | undefined;
}

export interface LeaderTimes {
  /** How often the leader queries its connection, and the others try the lock. */
  pollMs: number;
  /** The server closes the connection of a backend that sends no query for this long. PostgreSQL 14 and later. */
  idleMs: number;
  /** The leader closes a connection that does not answer for this long. */
  answerMs: number;
}

/** Long enough that a process which only lacks processor time keeps its lock. */
const defaultTimes: LeaderTimes = { pollMs: 1_000, idleMs: 8_000, answerMs: 6_000 };

interface Context extends LeaderParts {
  limits: ConnectionLimits;
  pollMs: number;
  client: BoundedClient | null;
  hasLock: boolean;
  term: number | null;
  timer: NodeJS.Timeout | undefined;
  attempt: Promise<void>;
  isStopped: boolean;
}

export function createLeader(parts: LeaderParts): Leader {
  const { pollMs, idleMs, answerMs } = { ...defaultTimes, ...parts.times };
  const context: Context = {
    ...parts,
    pollMs,
    limits: { ...defaultLimits, idleMs, answerMs, statementMs: answerMs },
    client: null,
    hasLock: false,
    term: null,
    timer: undefined,
    attempt: Promise.resolve(),
    isStopped: false,
  };
  return {
    start: () => (context.attempt = attempt(context)),
    async stop() {
      context.isStopped = true;
      clearTimeout(context.timer);
      await context.attempt;
      context.term = null;
      await context.client?.end();
    },
    term: () => context.term,
    lose: () => resign(context),
  };
}

/** Tries to lead, or checks whether this backend still leads, and plans the next attempt. Never rejects. */
async function attempt(context: Context): Promise<void> {
  const { log, pollMs } = context;
  try {
    await keepLock(context);
    if (context.hasLock && context.term === null && !context.isStopped) await begin(context);
  } catch (error) {
    log.warn('This backend could not find out whether it runs the jobs; it tries again.', errorFields(error));
    drop(context);
  }
  if (context.isStopped) return;
  context.timer = setTimeout(() => {
    context.attempt = attempt(context);
  }, pollMs);
  context.timer.unref();
}

/** Acquires the lock if it is free, and checks the connection that holds it. */
async function keepLock(context: Context): Promise<void> {
  const { location } = context;
  if ('file' in location) return void (context.hasLock = true);
  context.client ??= await connect(context, location.url);
  if (context.hasLock) return void (await context.client.query('SELECT 1'));
  const { rows } = await context.client.query<{ got: boolean }>('SELECT pg_try_advisory_lock($1, $2) AS got', [
    ...advisoryLocks.jobs,
  ]);
  // The connection may have been lost while the answer was on its way.
  context.hasLock = context.client !== null && rows[0]?.got === true;
}

async function connect(context: Context, url: string): Promise<BoundedClient> {
  const client = await openConnection({
    url,
    name: 'chasqui jobs',
    limits: context.limits,
    onError: () => lost(context, client),
  });
  client.once('end', () => lost(context, client));
  return client;
}

async function begin(context: Context): Promise<void> {
  const term = await context.beginTerm();
  // The lock may have been lost meanwhile.
  if (!context.hasLock) return;
  context.term = term;
  context.log.info('This backend runs the jobs.', { term });
}

function lost(context: Context, client: BoundedClient): void {
  if (context.client !== client) return;
  if (context.term !== null && !context.isStopped)
    context.log.warn('This backend no longer runs the jobs: its connection was lost.');
  context.client = null;
  context.hasLock = false;
  context.term = null;
}

/** Closes the connection, which releases the lock. */
function drop(context: Context): void {
  const { client } = context;
  context.client = null;
  context.hasLock = false;
  context.term = null;
  void client?.end().catch(() => undefined); // The connection is broken already.
}

function resign(context: Context): void {
  if (context.term === null) return;
  context.log.warn('This backend no longer runs the jobs: another one has begun to.', { term: context.term });
  drop(context);
}
