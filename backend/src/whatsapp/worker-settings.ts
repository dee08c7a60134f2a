import type { CaughtUp, StorageMode, WorkerSettings } from '@chasqui/shared';
import type { Session } from '../sessions/session.entity.js';

/** What a worker is told of a session's settings: with the order to start it, and with each heartbeat. */
export const workerSettingsOf = ({ settings }: Session, storage: StorageMode): WorkerSettings => ({
  autoReconnect: settings.autoReconnect,
  storage,
});

/** How far the messages of a session are recorded: for a worker that has nothing of it on its disk. */
export const caughtUpOf = ({ caughtUpAt, caughtUpNumber }: Session): CaughtUp | null =>
  caughtUpAt && caughtUpNumber ? { phoneNumber: caughtUpNumber, at: caughtUpAt.toISOString() } : null;
