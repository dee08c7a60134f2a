import { AppError } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import { updateRows } from '../db/rows.js';
import type { Mount } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Clock } from '../lib/clock.js';
import { Worker } from './worker.entity.js';
import * as contract from './workers.contract.js';

/**
 * Routes for staff: which workers there are, and draining one. A drained worker takes no new sessions (placement.ts, heartbeats.ts); those that
 * it has go on, because their logins lie on its disk.
 */
export function mountWorkers(mount: Mount, { database, clock }: { database: Database; clock: Clock }): void {
  const rows = database.reader.getRepository(Worker);

  mount(contract.listWorkers, async () => (await rows.find({ order: { id: 'ASC' } })).map(present));
  mount(contract.changeWorker, async ({ params, body }, caller) => {
    const id = params.workerId;
    const { draining: drainRequested } = body;
    await database.write.run(async (tx) => {
      if ((await updateRows(tx, Worker, { id }, { drainRequested })) === 0) throw new AppError('WORKER_NOT_FOUND');
      const action = drainRequested ? 'worker.drain' : 'worker.undrain';
      await recordAudit(tx, caller, { action, objectType: 'worker', objectId: id, accountId: null, at: clock.now() });
    });
    return present(await rows.findOneByOrFail({ id }));
  });
}

const present = (worker: Worker) => ({
  id: worker.id,
  url: worker.url,
  version: worker.version,
  draining: worker.draining || worker.drainRequested,
  degraded: worker.degraded,
  lastHeartbeat: worker.lastHeartbeatAt.toISOString(),
  capacity: worker.capacity,
  sessions: worker.sessions,
  memoryMb: worker.memoryMb,
  memoryLimitMb: worker.memoryLimitMb,
  cpuPercent: worker.cpuPercent,
});
