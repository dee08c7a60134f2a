import { randomUUID } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Express, Request, Response } from 'express';
import { runStatement } from '../db/statement.js';
import type { Database } from '../db/database.js';
import type { Transaction } from '../db/unit-of-work.js';
import { version } from '../version.js';

export interface HealthOptions {
  database: Database;
  /** Locks the event log, as every accepted message does. */
  lockLog: (tx: Transaction) => Promise<void>;
  dataDir: string;
  /** Whether Redis answers; null: none is configured. */
  redis: (() => boolean) | null;
  /** The number of items that failed recently and were isolated; staff can list them. */
  recentFailures: () => Promise<number>;
  /** Whether a backend runs the jobs. */
  hasJobLeader: () => Promise<boolean>;
  /** TheEvery worker that has ever reported. */
  workers: () => Promise<readonly WorkerDetails[]>;
  /** Whether the caller may read details of workers: it sent the service key, or staff's token. Never rejects. */
  mayReadDetails: (req: Request, res: Response) => Promise<boolean>;
}

interface WorkerDetails {
  id: string;
  /** `lost`: no recent heartbeat. `degraded`: the worker reports a problem itself. */
  state: 'ok' | 'degraded' | 'lost';
  version: string;
  sessions: number;
  capacity: number;
  draining: boolean;
  memoryMb: number | null;
  lastHeartbeatAt: Date;
}

type State = 'ok' | 'degraded' | 'down';

const minFreeBytes = 100 * 1024 * 1024;
/** The timeout of a check, and how long its result is cached for all callers. */
const checkMs = 2_500;
const cacheTtlMs = 1_000;

/**
 * Health for load balancers and people. These routes are public; `/health` has details of each worker for staff and the service key only.
 *
 * `/health/live`: the process answers. `/health/ready`: a message can be accepted now; 503 takes this backend out of a load balancer. It tries
 * what accepting needs: a read, and a commit through the path of every write, under the same lock. `/health`: the same, and disk, workers, failures,
 * whether a backend runs the jobs, and Redis, which only degrade it.
 *
 * Every check has a time limit. A check that hangs is not started again: at most one probe waits for the database, however many callers there are.
 */
export function mountHealth(app: Express, options: HealthOptions): void {
  const { database, lockLog, dataDir, redis, recentFailures, hasJobLeader, workers, mayReadDetails } = options;
  const checks = {
    database: createCheck('down', async () => {
      await runStatement(database.reader, 'SELECT 1 AS one');
      await tryWrite(database, lockLog);
      return true;
    }),
    disk: createCheck('degraded', async () => {
      const { bavail, bsize } = await statfs(dataDir);
      return bavail * bsize > minFreeBytes;
    }),
    workers: createCheck('degraded', async () => {
      const states = (await workers()).map(({ state }) => state);
      return states.includes('ok') && !states.includes('degraded');
    }),
    failures: createCheck('degraded', async () => (await recentFailures()) === 0),
    jobs: createCheck('degraded', hasJobLeader),
  };

  app.get('/health', async (req, res) => {
    const [db, disk, worker, failures, jobs] = await Promise.all([
      checks.database(),
      checks.disk(),
      checks.workers(),
      checks.failures(),
      checks.jobs(),
    ]);
    const found: Record<string, State> = { database: db, disk, workers: worker, failures, jobs };
    if (redis) found['redis'] = redis() ? 'ok' : 'degraded';
    const states = Object.values(found);
    const status = states.includes('down') ? 'down' : states.includes('degraded') ? 'degraded' : 'ok';
    const details = (await mayReadDetails(req, res)) ? await readDetails(workers) : {};
    answer(res, status, { status, version, checks: found, ...details });
  });
  app.get('/health/live', (_req, res) => void res.json({ status: 'ok' }));
  app.get('/health/ready', async (_req, res) => {
    const status = await checks.database();
    answer(res, status, { status });
  });
}

/** Without a database there are no details; the state of the database says why. */
async function readDetails(workers: HealthOptions['workers']): Promise<{ workers: object[] | null }> {
  const found = await Promise.race([workers().catch(() => null), sleep(checkMs, null, { ref: false })]);
  return { workers: found && found.map(presentWorker) };
}

const presentWorker = (worker: WorkerDetails): object => ({
  id: worker.id,
  state: worker.state,
  version: worker.version,
  sessions: worker.sessions,
  capacity: worker.capacity,
  draining: worker.draining,
  memoryMb: worker.memoryMb,
  lastHeartbeat: worker.lastHeartbeatAt.toISOString(),
});

function answer(res: Response, status: State, body: object): void {
  if (status === 'down') res.set('Retry-After', '5');
  res.status(status === 'down' ? 503 : 200).json(body);
}

/**
 * The tables that accepting a message reads and writes. No row has these keys, so nothing changes and no row is locked; but each statement waits,
 * as accepting would, for a transaction that has locked the table.
 */
const acceptStatements = [
  `SELECT 1 AS one FROM sessions WHERE id = ''`,
  `DELETE FROM messages WHERE id = ''`,
  `DELETE FROM events WHERE cursor = -1`,
  `DELETE FROM idempotency_records WHERE "accountId" = '' AND key = ''`,
  `DELETE FROM quota_usage WHERE scope = '' AND "ownerId" = '' AND period = ''`,
];

/** Writes a row and deletes it in the same transaction, under a unique key, so that concurrent backends do not wait for each other. */
const tryWrite = (database: Database, lockLog: HealthOptions['lockLog']): Promise<void> =>
  database.write.run(async (tx) => {
    for (const sql of acceptStatements) await runStatement(tx.manager, sql, []);
    const scope = `health:${randomUUID().slice(0, 24)}`;
    await lockLog(tx);
    await runStatement(tx.manager, 'INSERT INTO event_counters (scope, last) VALUES (?, 0)', [scope]);
    await runStatement(tx.manager, 'DELETE FROM event_counters WHERE scope = ?', [scope]);
  });

/** Creates a check that returns its state after `checkMs` at the latest. Never rejects. */
function createCheck(otherwise: State, works: () => Promise<boolean>): () => Promise<State> {
  let running: { probe: Promise<State>; since: number } | null = null;
  let last: { state: State; at: number } | null = null;

  function begin(): { probe: Promise<State>; since: number } {
    const probe = works()
      .catch(() => false)
      .then((isGood): State => (isGood ? 'ok' : otherwise))
      .then((state) => {
        last = { state, at: performance.now() };
        return state;
      })
      .finally(() => (running = null));
    return { probe, since: performance.now() };
  }

  return async () => {
    if (last && performance.now() - last.at < cacheTtlMs) return last.state;
    running ??= begin();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<State>((resolve) => {
      timer = setTimeout(() => resolve(otherwise), running!.since + checkMs - performance.now());
    });
    return Promise.race([running.probe, late]).finally(() => clearTimeout(timer));
  };
}
