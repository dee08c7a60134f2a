import type { JobSchedules } from '@chasqui/shared';
import type { Backups } from '../backups/backups.js';
import type { BulkModules } from './bulk.js';
import { createJobs, type Jobs } from '../jobs/jobs.js';
import { jobTimes } from '../jobs/due.js';
import { createLeader } from '../jobs/leader.js';
import { createUsageReconciliation } from '../jobs/reconcile-usage.js';
import { createReseal } from '../jobs/reseal.js';
import { beginTerm, pruneRuns } from '../jobs/runs.js';
import { createScheduler, type JobStep, type JobSteps } from '../jobs/scheduler.js';
import type { Counts } from '../jobs/job.entity.js';
import { pruneQuotas, repairQuotas } from '../messages/quotas/check.js';
import type { Config } from '../config.js';
import type { Privacy } from '../privacy/privacy.js';
import { removeExpiredCodes } from '../sessions/expired-codes.js';
import { removeEndpointsOfDeletedSessions } from '../webhooks/deleted-sessions.js';
import { checkDeliveries } from '../webhooks/send/check.js';
import { monitorSessions } from '../whatsapp/monitor.js';
import type { Access } from './access.js';
import type { Foundation } from './foundation.js';
import type { Messaging } from './messaging.js';
import type { Overrides } from './overrides.js';
import type { SessionParts } from './sessions.js';
import { workStopMs } from './times.js';
import type { WebhookParts } from './webhooks.js';

/** All modules of which a job does something. */
export interface JobModules {
  core: Foundation;
  access: Access;
  parts: SessionParts;
  messaging: Messaging;
  bulk: BulkModules;
  webhookParts: WebhookParts;
  privacy: Privacy;
  backups: Backups;
}

/** Builds the jobs, and the scheduler that runs them on one of the backends. */
export function createJobParts(modules: JobModules, over: Overrides): { jobs: Jobs } {
  const { core } = modules;
  const { config, presence, lifecycle, log } = core;
  const times = jobTimes(jobSchedules(config), config.JOB_TIMEZONE);
  const leader = createLeader({
    location: config.database,
    beginTerm: () => beginTerm(core, presence.owner),
    log,
    times: over.leaderTimes,
  });
  const scheduler = createScheduler(core, {
    leader,
    steps: { ...stepsOf(modules), ...over.jobSteps },
    times,
    delays: over.jobDelays,
  });
  lifecycle.add('jobs', {
    phase: 'work',
    start: async () => {
      await leader.start();
      scheduler.start();
    },
    stop: () => scheduler.stop().finally(leader.stop),
    withinMs: workStopMs,
  });
  return { jobs: createJobs(core, { times, wake: scheduler.wake }) };
}

/** The schedules that the operator sets. That of the backup has a setting of its own, because nothing is backed up without one. */
export const jobSchedules = (config: Config): JobSchedules => ({
  backup: config.BACKUP_SCHEDULE ?? null,
  ...config.JOB_SCHEDULES,
});

/** A step that returns one number, under a name. */
const counted = (name: string, count: string, run: () => Promise<number>): JobStep => ({
  name,
  run: async (): Promise<Counts> => ({ [count]: await run() }),
});

const dayMs = 86_400_000;

/** What each job does. A job of the catalogue (`shared/src/jobs.ts`) without an entry here does not compile. */
function stepsOf(modules: JobModules): JobSteps {
  const { core, access, messaging, bulk, webhookParts } = modules;
  const { deliveries, presence } = core;
  const { dispatcher, occurrences, heartbeats } = messaging;
  return {
    'sessions.monitor': [{ name: 'sessions.compare', run: () => monitorSessions(core, { heartbeats }) }],
    'qr.sweep': [counted('qr.expired', 'removed', () => removeExpiredCodes(core))],
    'messages.dispatch': [
      { name: 'messages.scheduled', run: dispatcher.checkScheduled },
      { name: 'schedules.occurrences', run: occurrences.check },
      { name: 'bulk.feed', run: bulk.feeder.check },
    ],
    'messages.retry': [{ name: 'messages.retries', run: dispatcher.checkRetries }],
    'webhooks.retry': [{ name: 'webhooks.deliveries', run: () => checkDeliveries(core, { deliveries, presence }) }],
    'quotas.reset': [
      counted('quotas.counters', 'repaired', () => repairQuotas(core)),
      counted('quotas.prune', 'deleted', () => pruneQuotas(core)),
    ],
    'messages.cleanup': messageCleanup(modules),
    'statistics.reconcile': [counted('statistics.counts', 'repaired', createUsageReconciliation(core).run)],
    'media.cleanup': [
      counted('retention.files', 'deleted', messaging.retention.ofFiles),
      counted('retention.thumbnails', 'deleted', messaging.retention.ofThumbnails),
      counted('media.orphans', 'deleted', () => modules.parts.media.sweep()),
    ],
    'logs.cleanup': [
      counted('retention.events', 'deleted', messaging.retention.ofEvents),
      counted('webhooks.log', 'deleted', () => webhookParts.history.prune(daysAgo(core, core.config.WEBHOOK_LOG_RETENTION_DAYS))),
      counted('failures.prune', 'deleted', core.failures.prune),
      counted('errors.prune', 'deleted', core.errorCounts.prune),
      counted('keys.requests', 'deleted', access.keyRequests.prune),
      counted('jobs.runs', 'deleted', () => pruneRuns(core)),
    ],
    'keys.expiry': [counted('keys.announce', 'announced', access.keys.announceEnding)],
    backup: [{ name: 'backup.make', run: modules.backups.runScheduled }],
    housekeeping: housekeeping(modules),
  };
}

const daysAgo = ({ clock }: Foundation, days: number): Date => new Date(clock.now().getTime() - days * dayMs);

function messageCleanup({ core, parts, messaging, bulk }: JobModules): JobStep[] {
  const { retention, schedules } = messaging;
  const days = core.config.MESSAGE_RETENTION_DAYS;
  const templates = counted('templates.versions', 'deleted', parts.templates.prune);
  if (days === 0) return [templates];
  return [
    counted('retention.messages', 'deleted', retention.ofMessages),
    counted('retention.bulk', 'deleted', () => bulk.bulkUpkeep.prune(daysAgo(core, days))),
    counted('schedules.prune', 'deleted', () => schedules.prune(daysAgo(core, days))),
    templates,
  ];
}

function housekeeping({ core, access, parts, messaging, bulk, webhookParts, privacy }: JobModules): JobStep[] {
  const { inbox, idempotency, replies, schedules } = messaging;
  const { contacts, optOuts } = access;
  const { media, thumbnails, uploads, contents } = parts;
  const { sealer, subscriptions } = core;
  const reseal = createReseal(core, {
    sealer,
    endpointSecrets: webhookParts.secrets,
    proxies: parts.proxies,
    contents,
    media,
    replies,
    optOuts,
    schedules,
    bulk: bulk.bulkUpkeep,
  });
  return [
    counted('idempotency.prune', 'deleted', idempotency.prune),
    counted('inbox.prune', 'deleted', inbox.prune),
    counted('contacts.names', 'sessions', contacts.forgetNamesLeft),
    counted('optOuts.prune', 'deleted', optOuts.prune),
    counted('media.uploads', 'deleted', uploads.prune),
    counted('media.thumbnails', 'deleted', thumbnails.removeOfDeletedSessions),
    counted('webhooks.deletedSessions', 'deleted', () => removeEndpointsOfDeletedSessions(core, { subscriptions })),
    { name: 'privacy.archives', run: privacy.prune },
    counted('reseal', 'sealed', reseal.run),
  ];
}
