import { unsetSettings, type CaughtUp, type WorkerSettings } from '@chasqui/shared';
import type { EntityManager } from 'typeorm';
import type { OptOuts } from '../opt-outs/opt-outs.js';
import type { SessionProxies } from '../sessions/proxies.js';
import type { Session } from '../sessions/session.entity.js';
import type { StorageOf } from '../sessions/storage-mode.js';

/** What decides about the settings that a worker needs. */
export interface WorkerSettingParts {
  storageOf: StorageOf;
  optOuts: Pick<OptOuts, 'normalizedKeywords'>;
  proxies: Pick<SessionProxies, 'open'>;
}

/**
 * Returns the settings of a session that its worker needs. They go with the order to start it, and with each heartbeat. Inside a transaction pass its
 * manager.
 */
export async function workerSettingsOf(
  { storageOf, optOuts, proxies }: WorkerSettingParts,
  session: Session,
  inside?: EntityManager,
): Promise<WorkerSettings> {
  const storage = await storageOf(session, inside);
  const {
    autoReconnect,
    rejectCalls = unsetSettings.rejectCalls,
    recycleAboveMb = unsetSettings.recycleAboveMb,
  } = session.settings;
  // In the other mode the backend gets the texts and recognizes keywords itself.
  const keywords = storage === 'metadata' ? { keywords: await optOuts.normalizedKeywords(session.accountId, inside) } : {};
  const proxy = await proxies.open(session, inside);
  return { autoReconnect, storage, rejectCalls: rejectCalls.enabled, recycleAboveMb, proxy, ...keywords };
}

/** Returns up to which time the messages of a session are recorded, for a worker that has nothing of it on its disk. */
export const caughtUpOf = ({ caughtUpAt, caughtUpNumber }: Session): CaughtUp | null =>
  caughtUpAt && caughtUpNumber ? { phoneNumber: caughtUpNumber, at: caughtUpAt.toISOString() } : null;
