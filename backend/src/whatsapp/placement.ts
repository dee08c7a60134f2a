import { AppError } from '@chasqui/shared';
import type { Core } from '../core.js';
import { readRows } from '../db/rows.js';
import type { Session } from '../sessions/session.entity.js';
import type { WorkerClient } from './client.js';
import { Worker } from './worker.entity.js';

/** Chooses the worker of a session and finds the addresses of workers. A session stays with its worker; a new one goes to the least loaded worker. */
export interface Placement {
  /** Returns the base URL of a worker. Throws `WORKER_UNAVAILABLE` for an unknown one. */
  urlOf(workerId: string): Promise<string>;
  /** Returns the workers whose last heartbeat is recent. */
  alive(): Promise<Worker[]>;
  /** Returns all workers that have ever sent a heartbeat. */
  known(): Promise<Worker[]>;
  /** Returns the state of each known worker: `ok`, `degraded` (by its own report) or `lost` (no recent heartbeat). */
  states(): Promise<(Worker & { state: 'ok' | 'degraded' | 'lost' })[]>;
  /**
   * Returns the worker for a session. A session stays with a worker that is alive: its login is on that worker's disk, and elsewhere the phone
   * would have to be linked again. A new session goes to the least loaded worker that answers now, because one that died a moment ago
   * still looks alive by its heartbeats. Throws `WORKER_CAPACITY` if no worker has room, and `WORKER_UNAVAILABLE` if none answers.
   */
  place(session: Session): Promise<{ workerId: string }>;
}

export interface PlacementParts {
  client: WorkerClient;
  /** Addresses of workers from the settings, for the time before their first heartbeat. */
  urls: readonly string[];
  /** How long a worker counts as alive after its last heartbeat. */
  aliveMs: number;
}

interface Context extends Pick<Core, 'database' | 'clock'>, PlacementParts {
  /** The addresses of workers that answered before their first heartbeat, by worker id. */
  learnedUrls: Map<string, string>;
}

interface Candidate {
  workerId: string;
  /** How many more sessions the worker can run. */
  free: number;
}

export function createPlacement({ database, clock }: Pick<Core, 'database' | 'clock'>, parts: PlacementParts): Placement {
  const context: Context = { database, clock, ...parts, learnedUrls: new Map() };
  return {
    urlOf: (workerId) => urlOf(context, workerId),
    alive: () => aliveWorkers(context),
    known: () => database.reader.getRepository(Worker).find(),
    states: () => workerStates(context),
    place: (session) => place(context, session),
  };
}

async function urlOf({ database, learnedUrls }: Context, workerId: string): Promise<string> {
  // Read without TypeORM's finder, because every send needs it.
  const url = learnedUrls.get(workerId) ?? (await readRows(database.reader, Worker, 'id = ?', [workerId]))[0]?.url;
  if (!url) throw new AppError('WORKER_UNAVAILABLE', { workerId });
  return url;
}

/** Returns the workers with a recent heartbeat. One far ahead of the clock was written before the clock was set back, and does not count. */
async function aliveWorkers(context: Context): Promise<Worker[]> {
  const workers = await context.database.reader.getRepository(Worker).find();
  return workers.filter((worker) => isAlive(context, worker));
}

const isAlive = ({ clock, aliveMs }: Context, worker: Worker): boolean =>
  Math.abs(clock.now().getTime() - worker.lastHeartbeatAt.getTime()) < aliveMs;

function stateOf(context: Context, worker: Worker): 'ok' | 'degraded' | 'lost' {
  if (!isAlive(context, worker)) return 'lost';
  return worker.degraded ? 'degraded' : 'ok';
}

async function workerStates(context: Context): ReturnType<Placement['states']> {
  const workers = await context.database.reader.getRepository(Worker).find();
  return workers.map((worker) => ({ ...worker, state: stateOf(context, worker) }));
}

async function place(context: Context, session: Session): Promise<{ workerId: string }> {
  const alive = await aliveWorkers(context);
  if (session.workerId && alive.some((worker) => worker.id === session.workerId)) return { workerId: session.workerId };
  const drained = new Set(alive.flatMap(({ id, drainRequested }) => (drainRequested ? id : [])));
  const registered = alive
    .filter((worker) => !worker.draining && !drained.has(worker.id))
    .map((worker) => ({ workerId: worker.id, free: worker.capacity - worker.sessions }));
  const candidates =
    registered.length > 0 ? registered : (await askConfigured(context)).filter(({ workerId }) => !drained.has(workerId));
  const own = candidates.find((candidate) => candidate.workerId === session.workerId);
  if (own) return { workerId: own.workerId };
  if (candidates.length === 0) throw new AppError(drained.size > 0 ? 'WORKER_CAPACITY' : 'WORKER_UNAVAILABLE');
  const withRoom = candidates.filter(({ free }) => free > 0).sort((a, b) => b.free - a.free);
  if (withRoom.length === 0) throw new AppError('WORKER_CAPACITY');
  for (const { workerId } of withRoom) if (await doesAnswer(context, workerId)) return { workerId };
  throw new AppError('WORKER_UNAVAILABLE');
}

/** Asks the workers that are named in the settings for their ids, before the first heartbeat has arrived. */
async function askConfigured({ client, urls, learnedUrls }: Context): Promise<Candidate[]> {
  const answers = await Promise.all(urls.map(async (url) => ({ url, health: await client.health(url).catch(() => null) })));
  return answers.flatMap(({ url, health }) => {
    if (!health) return [];
    learnedUrls.set(health.workerId, url);
    return health.draining ? [] : [{ workerId: health.workerId, free: health.capacity - health.sessions }];
  });
}

async function doesAnswer(context: Context, workerId: string): Promise<boolean> {
  try {
    return (await context.client.health(await urlOf(context, workerId))).workerId === workerId;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}
