import type { StorageMode, WorkerSettings } from '@chasqui/shared';
import type { Session } from '../sessions/session.entity.js';

/** What a worker is told of a session's settings: with the order to start it, and with each heartbeat. */
export const workerSettingsOf = ({ settings }: Session, storage: StorageMode): WorkerSettings => ({
  autoReconnect: settings.autoReconnect,
  storage,
});
