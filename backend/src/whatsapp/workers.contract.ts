import { defineRoute } from '@chasqui/shared';
import { z } from 'zod';

/** Workers as their last heartbeats told, for staff. */

export const worker = z
  .object({
    id: z.string(),
    url: z.string(),
    version: z.string(),
    /** Takes no new sessions: it is stopping, or staff have asked for it. Those that it has go on. */
    draining: z.boolean(),
    /** What its own health says: something failed lately. */
    degraded: z.boolean(),
    lastHeartbeat: z.iso.datetime(),
    capacity: z.number().int(),
    sessions: z.number().int(),
    memoryMb: z.number().int().nullable(),
    /** Above it no session is started; null: no limit. */
    memoryLimitMb: z.number().int().nullable(),
    /** Of all processors of its machine. */
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
  summary: 'Let a worker take no new sessions (`draining`), also after its restart, until it is allowed again',
  auth: 'adm',
  params: z.object({ workerId: z.string().max(64) }),
  body: z.strictObject({ draining: z.boolean() }),
  reply: worker,
  errors: ['WORKER_NOT_FOUND'],
});
