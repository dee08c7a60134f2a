import type { SessionReason } from '@chasqui/shared';

/**
 * What happens after a browser was lost or did not start.
 *
 * | recovery | effect |
 * | --- | --- |
 * | restart | a new browser with the same login, counted against MAX_RECONNECT_ATTEMPTS; `down` when the session’s `autoReconnect` is off |
 * | restart_uncounted | the same without a limit: this machine has no network or no disk space, which is not a fault of the session |
 * | down | `disconnected` until it is started by a command |
 * | unlinked | the same, and the login is deleted, because WhatsApp has removed it |
 * | error | `error` until it is started by a command: another try would fail in the same way |
 */
export type Recovery = 'restart' | 'restart_uncounted' | 'down' | 'unlinked' | 'error';

const special: Partial<Record<SessionReason, Recovery>> = {
  NETWORK_UNREACHABLE: 'restart_uncounted',
  DISK_FULL: 'restart_uncounted',
  QR_TIMEOUT: 'down',
  CONFLICT: 'down',
  LOGGED_OUT_BY_PHONE: 'unlinked',
  AUTH_FAILURE: 'error',
  BROWSER_NOT_FOUND: 'error',
  SANDBOX_UNAVAILABLE: 'error',
  PROXY_UNREACHABLE: 'error',
  PROXY_AUTH_FAILED: 'error',
  PROFILE_LOCKED: 'error',
  PROFILE_CORRUPT: 'error',
  NETWORK_BLOCKED: 'error',
  ACCOUNT_RESTRICTED: 'error',
  ACCOUNT_BANNED: 'error',
  RECONNECT_EXHAUSTED: 'error',
};

export const recoveryFor = (reason: SessionReason): Recovery => special[reason] ?? 'restart';
