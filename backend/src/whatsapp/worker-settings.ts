import { unsetSettings, type CaughtUp, type WorkerSettings } from '@chasqui/shared';
import type { EntityManager } from 'typeorm';
import type { OptOuts } from '../opt-outs/opt-outs.js';
import type { SessionProxies } from '../sessions/proxies.js';
import type { Database } from '../db/database.js';
import { isLinkedElsewhere } from '../sessions/linked-account.js';
import type { Session } from '../sessions/session.entity.js';
import type { StorageOf } from '../sessions/storage-mode.js';

/** What decides about the settings that a worker needs. */
export interface WorkerSettingParts {
  storageOf: StorageOf;
  optOuts: Pick<OptOuts, 'normalizedKeywords'>;
  proxies: Pick<SessionProxies, 'open'>;
  database: Database;
}

/**
 * Returns the settings of a session that its worker needs. They go with the order to start it, and with each heartbeat. Inside a transaction pass its
 * manager.
 */
export async function workerSettingsOf(
  { storageOf, optOuts, proxies, database }: WorkerSettingParts,
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
  const pairingNumber = await pairingNumberOf(database, session, inside);
  return { autoReconnect, storage, rejectCalls: rejectCalls.enabled, recycleAboveMb, proxy, pairingNumber, ...keywords };
}

/**
 * The number for which the worker requests pairing codes. None while the number is linked to another session: WhatsApp would unlink that one. A session
 * that is connected needs no code, so it is not looked up.
 */
async function pairingNumberOf(
  database: Pick<Database, 'reader'>,
  session: Session,
  inside?: EntityManager,
): Promise<string | null> {
  const digits = session.pairingNumber?.replace(/\D/g, '') ?? null;
  if (digits === null || session.status === 'connected') return digits;
  return (await isLinkedElsewhere(inside ?? database.reader.manager, session, digits)) ? null : digits;
}

/** Returns up to which time the messages of a session are recorded, for a worker that has nothing of it on its disk. */
export const caughtUpOf = ({ caughtUpAt, caughtUpNumber }: Session): CaughtUp | null =>
  caughtUpAt && caughtUpNumber ? { phoneNumber: caughtUpNumber, at: caughtUpAt.toISOString() } : null;
