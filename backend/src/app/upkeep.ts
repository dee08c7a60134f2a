import { join } from 'node:path';
import type { ApiKeys } from '../accounts/api-keys.js';
import type { BulkUpkeep } from '../bulk/upkeep.js';
import { createUsageReconciliation } from '../jobs/reconcile-usage.js';
import { createReseal } from '../jobs/reseal.js';
import { startSweep, type CleanupTask } from '../jobs/sweep.js';
import { errorFields } from '../lib/log.js';
import { createPrivacy, type Privacy } from '../privacy/privacy.js';
import { removeEndpointsOfDeletedSessions } from '../webhooks/deleted-sessions.js';
import type { Access } from './access.js';
import type { Foundation } from './foundation.js';
import type { Messaging } from './messaging.js';
import type { Overrides } from './overrides.js';
import type { SessionParts } from './sessions.js';
import { workStopMs } from './times.js';
import type { WebhookParts } from './webhooks.js';

/** Builds erasures, exports, and the cleanup that runs every hour. */
export function createUpkeep(
  core: Foundation,
  access: Access,
  parts: SessionParts,
  messaging: Messaging,
  webhookParts: WebhookParts,
  bulkUpkeep: BulkUpkeep,
  over: Overrides,
): { privacy: Privacy } {
  const { config, presence, lifecycle } = core;
  const privacy = createPrivacy(core, {
    contacts: access.contacts,
    optOuts: access.optOuts,
    search: messaging.search,
    messages: messaging.messages,
    media: parts.media,
    replies: messaging.replies,
    schedules: messaging.schedules,
    webhooks: webhookParts.webhooks,
    bulk: bulkUpkeep,
    presence,
    dir: join(config.dataDir, 'exports'),
    countryCode: config.DEFAULT_COUNTRY_CODE,
  });
  lifecycle.add('privacy jobs', {
    phase: 'work',
    start: () => privacy.start(),
    stop: () => privacy.stop(),
    withinMs: workStopMs,
  });
  const tasks = cleanupTasks(core, access, parts, messaging, webhookParts, bulkUpkeep, privacy);
  let sweep: { stop: () => void } | undefined;
  lifecycle.add('cleanup tasks', {
    phase: 'work',
    start: () => {
      sweep = startSweep(core, { tasks, times: over.firstSweepMs === undefined ? {} : { firstMs: over.firstSweepMs } });
    },
    stop: () => sweep?.stop(),
  });
  // Starts last: it commits once for each key, and no message waits for it.
  lifecycle.add('notice of expiring keys', { phase: 'work', start: () => announceEndingKeys(core, access.keys) });
  return { privacy };
}

const announceEndingKeys = ({ log }: Foundation, keys: ApiKeys): Promise<unknown> =>
  keys.announceEnding().catch((error: unknown) => {
    log.error('Keys that expire soon could not be announced; the announcement is retried in a minute.', errorFields(error));
  });

function cleanupTasks(
  core: Foundation,
  { contacts, keys, optOuts }: Access,
  { media, uploads, templates, contents }: SessionParts,
  { inbox, idempotency, retention, replies, schedules }: Messaging,
  { history, secrets }: WebhookParts,
  bulk: BulkUpkeep,
  privacy: Privacy,
): CleanupTask[] {
  const { config, clock, sealer, subscriptions, failures } = core;
  const reseal = createReseal(core, { sealer, endpointSecrets: secrets, contents, media, replies, optOuts, schedules, bulk });
  const scheduleRetentionMs = config.MESSAGE_RETENTION_DAYS * 86_400_000;
  const pruneSchedules = async (): Promise<void> => {
    if (scheduleRetentionMs > 0) await schedules.prune(new Date(clock.now().getTime() - scheduleRetentionMs));
  };
  const logRetentionMs = config.WEBHOOK_LOG_RETENTION_DAYS * 86_400_000;
  const messageDays = config.MESSAGE_RETENTION_DAYS;
  const bulkTasks: CleanupTask[] =
    messageDays > 0
      ? [{ name: 'retention.bulk', run: () => bulk.prune(new Date(clock.now().getTime() - messageDays * 86_400_000)) }]
      : [];
  return [
    { name: 'inbox.prune', run: inbox.prune },
    { name: 'contacts.names', run: contacts.forgetNamesLeft },
    { name: 'idempotency.prune', run: idempotency.prune },
    { name: 'keys.announce', run: keys.announceEnding },
    { name: 'retention.messages', run: retention.ofMessages },
    { name: 'retention.files', run: retention.ofFiles },
    { name: 'retention.events', run: retention.ofEvents },
    ...bulkTasks,
    { name: 'statistics.reconcile', run: createUsageReconciliation(core).nightly },
    { name: 'webhooks.log', run: () => history.prune(new Date(clock.now().getTime() - logRetentionMs)) },
    { name: 'webhooks.deletedSessions', run: () => removeEndpointsOfDeletedSessions(core, { subscriptions }) },
    { name: 'templates.versions', run: templates.prune },
    { name: 'schedules.prune', run: pruneSchedules },
    { name: 'optOuts.prune', run: optOuts.prune },
    { name: 'media.uploads', run: uploads.prune },
    { name: 'media.sweep', run: () => media.sweep() },
    { name: 'reseal', run: reseal.run },
    { name: 'privacy.prune', run: privacy.prune },
    { name: 'failures.prune', run: failures.prune },
  ];
}
