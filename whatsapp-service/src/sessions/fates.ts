import type { SessionReason } from '@chasqui/shared';

/**
 * What follows when a browser is lost or never came up.
 *
 * | fate | then |
 * | --- | --- |
 * | again | a new browser on the same login, counted against MAX_RECONNECT_ATTEMPTS; `down` when the session’s `autoReconnect` is off |
 * | again_uncounted | the same, as long as it takes: this machine has no network or no room on its disk, which says nothing about the session |
 * | down | `disconnected` until somebody starts it |
 * | unlinked | the same, and the login is deleted: WhatsApp has dropped it |
 * | error | `error` until somebody starts it: another try would end in the same way |
 */
export type Fate = 'again' | 'again_uncounted' | 'down' | 'unlinked' | 'error';

const special: Partial<Record<SessionReason, Fate>> = {
  NETWORK_UNREACHABLE: 'again_uncounted',
  DISK_FULL: 'again_uncounted',
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

export const fateOf = (reason: SessionReason): Fate => special[reason] ?? 'again';
