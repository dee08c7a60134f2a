import type { CaughtUp, StorageMode, WorkerSettings } from '@chasqui/shared';
import type { Session } from '../sessions/session.entity.js';

/** Returns the settings of a session that its worker needs. They are sent with the command to start it, and with the reply to each heartbeat. */
export const workerSettingsOf = ({ settings }: Session, storage: StorageMode): WorkerSettings => ({
  autoReconnect: settings.autoReconnect,
  storage,
});

/** Returns up to which time the messages of a session are recorded, for a worker that has nothing of it on its disk. */
export const caughtUpOf = ({ caughtUpAt, caughtUpNumber }: Session): CaughtUp | null =>
  caughtUpAt && caughtUpNumber ? { phoneNumber: caughtUpNumber, at: caughtUpAt.toISOString() } : null;
