import { defineRoute } from '@chasqui/shared';
import { z } from 'zod';

/** Routes for staff: workers as their last heartbeats described them. */

export const worker = z
  .object({
    id: z.string(),
    url: z.string(),
    version: z.string(),
    /** The worker gets no new sessions, because it is stopping or staff requested it. Its current sessions continue. */
    draining: z.boolean(),
    /** The worker reports that something failed recently. */
    degraded: z.boolean(),
    lastHeartbeat: z.iso.datetime(),
    capacity: z.number().int(),
    sessions: z.number().int(),
    memoryMb: z.number().int().nullable(),
    /** No session is started above this. Null: no limit. */
    memoryLimitMb: z.number().int().nullable(),
    /** In percent of all processors of the machine. */
    cpuPercent: z.number().int().nullable(),
  })
  .meta({ id: 'Worker' });

export const listWorkers = defineRoute({
  id: 'admin.workers.list',
  method: 'get',
  path: '/admin/workers',
  summary: 'All workers that have reported',
  auth: 'stf',
  reply: z.array(worker),
});
export const changeWorker = defineRoute({
  id: 'admin.workers.change',
  method: 'patch',
  path: '/admin/workers/:workerId',
  summary: 'Assign no new sessions to a worker (`draining`), also after its restart, until this is undone',
  auth: 'adm',
  params: z.object({ workerId: z.string().max(64) }),
  body: z.strictObject({ draining: z.boolean() }),
  reply: worker,
  errors: ['WORKER_NOT_FOUND'],
});
