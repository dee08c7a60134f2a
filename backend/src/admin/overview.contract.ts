import { defineRoute, sessionStatuses, timezoneName } from '@chasqui/shared';
import { z } from 'zod';
import { alertKinds } from './alert.js';

/** The route of the figures that the first page of the panel shows. */

const count = z.number().int();
const time = z.iso.datetime();
const kinds = Object.keys(alertKinds) as [keyof typeof alertKinds, ...(keyof typeof alertKinds)[]];

const alert = z
  .object({
    kind: z.enum(kinds).describe(
      Object.entries(alertKinds)
        .map(([kind, doc]) => `\`${kind}\`: ${doc}`)
        .join(' '),
    ),
    severity: z.enum(['warn', 'bad']).describe('`bad`: something does not work. `warn`: it ends by itself, or is no outage.'),
    since: time.nullable(),
    what: z.string().describe('What is the case, as a sentence.'),
    next: z.string().describe('What happens next, or what a person can do.'),
    nextAt: time.nullable().describe('When it is tried again by itself.'),
    code: z.string().nullable().describe('The reason code of the session, worker or webhook.'),
    panelPath: z.string().describe('The page of the panel where a person acts.'),
  })
  .meta({ id: 'Alert' });
const leader = z.object({ id: z.string(), name: z.string(), account: z.string(), used: count, limit: count.nullable() });

export const readOverview = defineRoute({
  id: 'admin.overview',
  method: 'get',
  path: '/admin/overview',
  summary:
    'What is wrong now, and the figures of the installation: sessions, messages of today, queue, deliveries, workers, jobs, quotas',
  auth: 'stf',
  query: z.strictObject({
    timezone: timezoneName.optional().describe('The time zone of "today". Absent: UTC.'),
  }),
  reply: z
    .object({
      at: time,
      timezone: z.string(),
      alerts: z.array(alert).describe('The worst first. Empty: nothing is known to be wrong.'),
      sessions: z.object({
        total: count,
        connected: count.describe('Sessions that are proven to be connected.'),
        unconfirmed: count.describe('Sessions that were last reported as connected, by a worker that is silent now.'),
        offline: count.describe('Linked sessions that should run and are not proven to be connected.'),
        byStatus: z.partialRecord(z.enum(sessionStatuses), count).describe('As last reported.'),
      }),
      today: z.object({ sent: count, received: count, failed: count }),
      queue: z.object({ queued: count, sending: count, uncertain: count, oldestQueuedAt: time.nullable() }),
      deliveries: z.object({
        webhooks: count,
        failing: count.describe('Webhooks whose deliveries fail.'),
        waiting: count.describe('Deliveries that wait.'),
      }),
      workers: z.array(
        z.object({
          id: z.string(),
          sessions: count,
          capacity: count,
          memoryMb: z.number().nullable(),
          memoryLimitMb: z.number().nullable(),
          cpuPercent: z.number().nullable(),
          isDraining: z.boolean(),
          lastHeartbeat: time,
        }),
      ),
      jobs: z.object({
        failing: count.describe('Jobs whose last run did not succeed.'),
        running: count,
        stopped: count.describe('Jobs whose schedule staff have stopped.'),
        hasLeader: z.boolean().describe('Whether a backend runs the jobs now.'),
      }),
      quotaLeaders: z
        .object({ accounts: z.array(leader), sessions: z.array(leader) })
        .describe('Who has used most of a daily quota.'),
    })
    .meta({ id: 'Overview' }),
});
