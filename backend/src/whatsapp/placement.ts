import { AppError } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import { readRows } from '../db/rows.js';
import type { Clock } from '../lib/clock.js';
import type { Session } from '../sessions/session.entity.js';
import type { WorkerClient } from './client.js';
import { Worker } from './worker.entity.js';

export type Placement = ReturnType<typeof createPlacement>;

/** Which worker runs a session, and where it is reached. A session stays with its worker; a new one goes to the least loaded. */
export function createPlacement({
  database,
  clock,
  client,
  urls,
  aliveMs,
}: {
  database: Database;
  clock: Clock;
  client: WorkerClient;
  urls: readonly string[];
  aliveMs: number;
}) {
  const rows = database.reader.getRepository(Worker);
  const learned = new Map<string, string>();

  /** Workers heard of lately. A heartbeat far ahead of the clock is from before the clock was set back, and says nothing. */
  const alive = async (): Promise<Worker[]> =>
    (await rows.find()).filter((worker) => Math.abs(clock.now().getTime() - worker.lastHeartbeatAt.getTime()) < aliveMs);

  async function urlOf(workerId: string): Promise<string> {
    // Past TypeORM's own way: asked for every send.
    const url = learned.get(workerId) ?? (await readRows(database.reader, Worker, 'id = ?', [workerId]))[0]?.url;
    if (!url) throw new AppError('WORKER_UNAVAILABLE', { workerId });
    return url;
  }

  /** Before the first heartbeat: the workers of the settings are asked who they are. */
  async function ask(): Promise<{ workerId: string; free: number }[]> {
    const answers = await Promise.all(urls.map(async (url) => ({ url, health: await client.health(url).catch(() => null) })));
    return answers.flatMap(({ url, health }) => {
      if (!health) return [];
      learned.set(health.workerId, url);
      return health.draining ? [] : [{ workerId: health.workerId, free: health.capacity - health.sessions }];
    });
  }

  return {
    urlOf,
    alive,
    known: (): Promise<Worker[]> => rows.find(),
    /**
     * A session stays with a worker that lives: its login lies on that one's disk, and elsewhere it would have to be linked again. A
     * new one goes to the least loaded that answers now: one that died a moment ago still looks alive by its heartbeats.
     */
    async place(session: Session): Promise<{ workerId: string }> {
      const living = await alive();
      if (session.workerId && living.some((worker) => worker.id === session.workerId)) return { workerId: session.workerId };
      const drained = new Set(living.flatMap(({ id, drainRequested }) => (drainRequested ? id : [])));
      const candidates = living
        .filter((worker) => !worker.draining && !drained.has(worker.id))
        .map((worker) => ({ workerId: worker.id, free: worker.capacity - worker.sessions }));
      const all = candidates.length > 0 ? candidates : (await ask()).filter(({ workerId }) => !drained.has(workerId));
      const own = all.find((candidate) => candidate.workerId === session.workerId);
      if (own) return { workerId: own.workerId };
      if (all.length === 0) throw new AppError(drained.size > 0 ? 'WORKER_CAPACITY' : 'WORKER_UNAVAILABLE');
      const roomy = all.filter(({ free }) => free > 0).sort((a, b) => b.free - a.free);
      if (roomy.length === 0) throw new AppError('WORKER_CAPACITY');
      for (const { workerId } of roomy) if (await answers(workerId)) return { workerId };
      throw new AppError('WORKER_UNAVAILABLE');
    },
  };

  async function answers(workerId: string): Promise<boolean> {
    try {
      return (await client.health(await urlOf(workerId))).workerId === workerId;
    } catch (error) {
      if (error instanceof AppError) return false;
      throw error;
    }
  }
}
