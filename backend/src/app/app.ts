import type { AnyRoute } from '@chasqui/shared';
import { createLifecycle, type Lifecycle } from '@chasqui/shared/process';
import type { Config } from '../config.js';
import type { Database } from '../db/database.js';
import type { Failures } from '../failures/failures.js';
import { createLog, type Log } from '../lib/log.js';
import { createAccess } from './access.js';
import { createBulkModules } from './bulk.js';
import { openFoundation } from './foundation.js';
import { createHttp } from './http.js';
import { createJobParts } from './jobs.js';
import { createMessaging } from './messaging.js';
import type { Overrides } from './overrides.js';
import { createSessionParts } from './sessions.js';
import { createUpkeep } from './upkeep.js';
import { createWebhookParts } from './webhooks.js';

export interface Backend {
  url: string;
  log: Log;
  database: Database;
  failures: Failures;
  routes: readonly AnyRoute[];
  /** Resolves to the names of the parts that did not stop in order. */
  close(): Promise<readonly string[]>;
}

/** Starts a backend. A start that fails closes what it had opened. */
export async function startBackend(config: Config, over: Overrides = {}): Promise<Backend> {
  const log = over.log ?? createLog(config.LOG_LEVEL);
  const lifecycle = createLifecycle(log);
  try {
    return await buildBackend(config, over, log, lifecycle);
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}

/** The files of this folder are the only ones that construct modules. Each module registers with the lifecycle where it is built. */
async function buildBackend(config: Config, over: Overrides, log: Log, lifecycle: Lifecycle): Promise<Backend> {
  const core = await openFoundation(config, over, log, lifecycle);
  const access = await createAccess(core, over);
  const parts = createSessionParts(core, access);
  const messaging = createMessaging(core, access, parts);
  const bulk = createBulkModules(core, access, parts, messaging);
  const webhookParts = createWebhookParts(core, messaging);
  const { privacy, backups } = createUpkeep(core, access, parts, messaging, webhookParts, bulk.bulkUpkeep, over);
  const modules = { core, access, parts, messaging, bulk, webhookParts, privacy, backups };
  const { jobs } = createJobParts(modules, over);
  const http = createHttp({ ...modules, bulk: bulk.bulk, jobs }, over);
  await lifecycle.start();
  log.info('The backend is ready.', { port: http.port(), database: core.database.dialect });
  return {
    url: `http://127.0.0.1:${http.port()}`,
    log,
    database: core.database,
    failures: core.failures,
    routes: http.routes,
    async close() {
      const unfinished = await lifecycle.stop();
      log.info('The backend has stopped.');
      return unfinished;
    },
  };
}
