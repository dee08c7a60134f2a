import { AppError } from '@chasqui/shared';
import type { Caller, Mount } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { updateRows } from '../db/rows.js';
import { Worker } from './worker.entity.js';
import * as contract from './workers.contract.js';

/**
 * Mounts the routes for staff that list workers and drain one. A drained worker gets no new sessions (placement.ts, leases.ts). Its current sessions
 * continue, because their logins are on its disk.
 */
export function mountWorkers(mount: Mount, core: Core): void {
  const rows = core.database.reader.getRepository(Worker);

  mount(contract.listWorkers, async () => (await rows.find({ order: { id: 'ASC' } })).map(present));
  mount(contract.changeWorker, async ({ params, body }, caller) => {
    await drain(core, caller, params.workerId, body.draining);
    return present(await rows.findOneByOrFail({ id: params.workerId }));
  });
}

/** Records whether staff want a worker to get no new sessions. Throws `WORKER_NOT_FOUND`. */
async function drain({ database, clock }: Core, caller: Caller, id: string, drainRequested: boolean): Promise<void> {
  await database.write.run(async (tx) => {
    if ((await updateRows(tx, Worker, { id }, { drainRequested })) === 0) throw new AppError('WORKER_NOT_FOUND');
    const action = drainRequested ? 'worker.drain' : 'worker.undrain';
    await recordAudit(tx, caller, { action, objectType: 'worker', objectId: id, accountId: null, at: clock.now() });
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
