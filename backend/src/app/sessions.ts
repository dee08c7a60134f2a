import { join } from 'node:path';
import { createConverter } from '../media/convert.js';
import { createMedia } from '../media/media.js';
import { createThumbnails } from '../media/thumbnails.js';
import { createUploads } from '../media/uploads.js';
import { createContentStore } from '../messages/sealed-content.js';
import { createSpool } from '../lib/file-bytes.js';
import { createSafeFetch } from '../lib/safe-fetch.js';
import { defaultSettings } from '../options.js';
import { checkFileOptions } from '../messages/accept/file-options.js';
import { createSessionProxies } from '../sessions/proxies.js';
import { createSessions } from '../sessions/sessions.js';
import { createSessionState } from '../sessions/state.js';
import { createTemplates } from '../templates/templates.js';
import { createWorkerClient } from '../whatsapp/client.js';
import { createPlacement } from '../whatsapp/placement.js';
import { createWorkerGateway } from '../whatsapp/worker-gateway.js';
import type { Access } from './access.js';
import type { Foundation } from './foundation.js';

/** Wiring only: the types of what is built here are the interfaces of the modules. */
export type SessionParts = ReturnType<typeof createSessionParts>;

/** Sessions, the gateway to the workers that run them, and the files and texts that go there. */
export function createSessionParts(core: Foundation, { plans, keys, contacts, optOuts, storageOf }: Access) {
  const { config, sealer, egress, lifecycle, tracing } = core;
  const proxies = createSessionProxies(core, { sealer, egress });
  const contents = createContentStore(sealer);
  const spool = createSpool(join(config.mediaDir, 'incoming'));
  const media = createMedia(core, {
    dir: config.mediaDir,
    maxBytes: config.MAX_FILE_SIZE,
    allowed: config.ALLOWED_FILE_TYPES,
    safeFetch: createSafeFetch(egress, spool),
    convert: createConverter({ ffmpeg: config.FFMPEG_PATH, maxBytes: config.MAX_FILE_SIZE, spool }),
    sealer,
  });
  const thumbnails = createThumbnails(core);
  const client = createWorkerClient({
    serviceKey: config.serviceKey,
    ...(tracing ? { traceparent: () => tracing.current()?.traceparent } : {}),
  });
  lifecycle.add('worker client', { phase: 'connections', stop: () => client.close() });
  const leaseMs = config.LEASE_SECONDS * 1000;
  const placement = createPlacement(core, {
    client,
    urls: config.workerUrls,
    aliveMs: Math.max(leaseMs, config.HEARTBEAT_SECONDS * 3_000),
  });
  const gateway = createWorkerGateway({
    client,
    placement,
    media,
    contents,
    storageOf,
    optOuts,
    proxies,
    database: core.database,
    sendDeadlineMs: config.SEND_DEADLINE_MS,
    leaseMs,
  });
  const sessionState = createSessionState(core);
  const sessions = createSessions(core, {
    state: sessionState,
    gateway,
    limitsOf: plans.limitsOf,
    revokeKeys: keys.revokeOfSession,
    forgetNames: contacts.forgetNames,
    proxies,
    defaults: {
      settings: defaultSettings(config),
      countryCode: config.DEFAULT_COUNTRY_CODE,
      initWaitMs: config.INIT_WAIT_MS,
      leaseMs,
    },
  });
  const settingsOf = async (id: string) => (await sessions.byId(id))?.settings ?? null;
  const uploads = createUploads(core, { media, storageOf, settingsOf });
  const { limitsOf } = plans;
  const countryCode = config.DEFAULT_COUNTRY_CODE;
  const templates = createTemplates(core, { media, limitsOf, checkFileOptions, countryCode });
  return {
    ...{ contents, media, thumbnails, uploads, spool, templates, client, leaseMs },
    ...{ placement, gateway, sessionState, sessions, proxies },
  };
}
