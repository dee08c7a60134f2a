import { join } from 'node:path';
import { createBackups, type Backups } from '../backups/backups.js';
import type { BulkUpkeep } from '../bulk/upkeep.js';
import { createPrivacy, type Privacy } from '../privacy/privacy.js';
import type { Access } from './access.js';
import type { Foundation } from './foundation.js';
import { jobSchedules } from './jobs.js';
import type { Messaging } from './messaging.js';
import type { Overrides } from './overrides.js';
import type { SessionParts } from './sessions.js';
import { workStopMs } from './times.js';
import type { WebhookParts } from './webhooks.js';

/** Builds erasures, exports and backups. */
export function createUpkeep(
  core: Foundation,
  access: Access,
  parts: SessionParts,
  messaging: Messaging,
  webhookParts: WebhookParts,
  bulkUpkeep: BulkUpkeep,
  over: Overrides,
): { privacy: Privacy; backups: Backups } {
  const { config, presence, lifecycle } = core;
  const privacy = createPrivacy(core, {
    contacts: access.contacts,
    optOuts: access.optOuts,
    search: messaging.search,
    messages: messaging.messages,
    contents: parts.contents,
    media: parts.media,
    thumbnails: parts.thumbnails,
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
  const backups = createBackups(core, {
    rules: {
      hasKey: config.BACKUP_KEY !== undefined,
      schedule: jobSchedules(config).backup ?? null,
      timezone: config.JOB_TIMEZONE,
      keep: config.BACKUP_KEEP,
    },
    ...(over.runBackupProgram ? { run: over.runBackupProgram } : {}),
  });
  lifecycle.add('backups', { phase: 'work', stop: () => backups.stop() });
  return { privacy, backups };
}
