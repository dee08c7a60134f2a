import { unsetSettings, type CaughtUp, type StorageMode, type WorkerSettings } from '@chasqui/shared';
import type { Session } from '../sessions/session.entity.js';

/** The settings of a session that its worker needs. They go with the order to start it, and with each heartbeat. */
export const workerSettingsOf = ({ settings }: Session, storage: StorageMode): WorkerSettings => ({
  autoReconnect: settings.autoReconnect,
  storage,
  rejectCalls: settings.rejectCalls?.enabled ?? unsetSettings.rejectCalls.enabled,
  recycleAboveMb: settings.recycleAboveMb ?? unsetSettings.recycleAboveMb,
});

/** Up to where the messages of a session are recorded, for a worker that has nothing of it on its disk. */
export const caughtUpOf = ({ caughtUpAt, caughtUpNumber }: Session): CaughtUp | null =>
  caughtUpAt && caughtUpNumber ? { phoneNumber: caughtUpNumber, at: caughtUpAt.toISOString() } : null;
