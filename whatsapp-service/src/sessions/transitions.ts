import { sessionMoves, type SessionReason, type SessionStatus } from '@chasqui/shared';
import { backoff } from '../clock.js';

/**
 * The decisions of a session without their effects: what follows a signal of its page in each status, and what follows the loss of its browser.
 * Everything here is data or a pure function; `supervision.ts` carries it out.
 */

/** The statuses in which a session has a browser. In the others no signal arrives. */
export const activeStatuses = ['initializing', 'qr_pending', 'passkey_required', 'connecting', 'connected'] as const;
export type ActiveStatus = (typeof activeStatuses)[number];

/** The signals: reports of the page, and findings of the session about the page. */
export type PageSignal =
  /** The browser has started; the page loads. */
  | 'launched'
  | 'qr'
  /** A QR code above the number that the session shows. */
  | 'qr_above_limit'
  | 'qr_exhausted'
  | 'passkey_required'
  | 'authenticated'
  | 'ready'
  | 'line_up'
  | 'line_down'
  /** A round trip and a canary succeeded. */
  | 'proven';

export interface Loss {
  reason: SessionReason;
  detail: string;
}

/** The time within which another signal must arrive; otherwise the browser is lost. `start` is INIT_TIMEOUT_MS, `code` ends after the code has expired. */
export interface TimeLimit extends Loss {
  limit: 'start' | 'code' | 'passkey';
}

export interface Transition {
  /** The browser is lost at once. Then the other fields are absent. */
  loss?: Loss;
  /** Absent: the status stays. */
  move?: { to: ActiveStatus; reason: SessionReason | null };
  /** Replaces the running time limit. Absent: it continues. */
  within?: TimeLimit;
  /** `prove`: probe the page. `watch`: probe it at an interval and read missed messages. `show_code`: publish the QR code. */
  effect?: 'prove' | 'watch' | 'show_code';
}

type Row = Readonly<Record<ActiveStatus, Transition>>;

const inAnyStatus = (transition: Transition): Row => ({
  initializing: transition,
  qr_pending: transition,
  passkey_required: transition,
  connecting: transition,
  connected: transition,
});

const ignored: Transition = {};
const lost = (reason: SessionReason, detail: string): Transition => ({ loss: { reason, detail } });

/** For a connected page that shows a code. A new browser then shows whether the login still works. */
const codeInsteadOfChats = lost('RECONNECTING', 'The page shows a code instead of the chats.');
const showCode: Transition = {
  move: { to: 'qr_pending', reason: 'WAITING_FOR_SCAN' },
  within: { limit: 'code', reason: 'PAGE_UNRESPONSIVE', detail: 'The code expired and no new one arrived.' },
  effect: 'show_code',
};
const synchronize: Transition = {
  move: { to: 'connecting', reason: 'SYNCING' },
  within: { limit: 'start', reason: 'READY_TIMEOUT', detail: 'The sync did not end in time.' },
};
/** For a ready page that was proven. If a code arrived during the probe, the proof is outdated, and the page is proven again at the next `ready`. */
const connect: Transition = { move: { to: 'connected', reason: null }, effect: 'watch' };

export const transitions: Readonly<Record<PageSignal, Row>> = {
  launched: {
    ...inAnyStatus(ignored),
    initializing: {
      within: {
        limit: 'start',
        reason: 'PAGE_LOAD_TIMEOUT',
        detail: 'The page showed neither a code nor a login in time.',
      },
    },
  },
  qr: { ...inAnyStatus(showCode), connected: codeInsteadOfChats },
  qr_above_limit: {
    ...inAnyStatus(lost('QR_TIMEOUT', 'QR_MAX_RETRIES codes were shown without a scan.')),
    connected: codeInsteadOfChats,
  },
  qr_exhausted: inAnyStatus(lost('QR_TIMEOUT', 'All codes were shown.')),
  passkey_required: {
    ...inAnyStatus(ignored),
    qr_pending: {
      move: { to: 'passkey_required', reason: 'WAITING_FOR_PASSKEY' },
      within: { limit: 'passkey', reason: 'QR_TIMEOUT', detail: 'The passkey was not confirmed in time.' },
    },
  },
  authenticated: { ...inAnyStatus(synchronize), connected: ignored },
  ready: {
    ...inAnyStatus({ move: { to: 'connecting', reason: 'SYNCING' }, effect: 'prove' }),
    connecting: { effect: 'prove' },
    connected: { effect: 'prove' },
  },
  line_up: inAnyStatus({ effect: 'prove' }),
  line_down: {
    ...inAnyStatus(ignored),
    connected: {
      move: { to: 'connecting', reason: 'RECONNECTING' },
      within: {
        limit: 'start',
        reason: 'NETWORK_UNREACHABLE',
        detail: 'The connection to WhatsApp did not return in time.',
      },
    },
  },
  proven: { ...inAnyStatus(ignored), connecting: connect, connected: connect },
};

/** Returns the reaction to `signal` in `status`. A status without a browser has none. */
export const transitionFor = (signal: PageSignal, status: SessionStatus): Transition =>
  isActive(status) ? transitions[signal][status] : ignored;

const isActive = (status: SessionStatus): status is ActiveStatus => (activeStatuses as readonly SessionStatus[]).includes(status);

/**
 * What happens after a browser was lost or did not start.
 *
 * | recovery | effect |
 * | --- | --- |
 * | restart | a new browser with the same login, counted against MAX_RECONNECT_ATTEMPTS; `down` when the session’s `autoReconnect` is off |
 * | restart_uncounted | the same without a limit: this machine has no network or no disk space, which is not a fault of the session |
 * | down | `disconnected` until it is started by a command |
 * | unlinked | the same, and the login is deleted, because WhatsApp has removed it |
 * | proxy | `error`, and the session's proxy is checked until it works; then a new browser. `error` as below when `autoReconnect` is off |
 * | error | `error` until it is started by a command: another try would fail in the same way |
 */
export type Recovery = 'restart' | 'restart_uncounted' | 'down' | 'unlinked' | 'proxy' | 'error';

const special: Partial<Record<SessionReason, Recovery>> = {
  NETWORK_UNREACHABLE: 'restart_uncounted',
  DISK_FULL: 'restart_uncounted',
  QR_TIMEOUT: 'down',
  CONFLICT: 'down',
  LOGGED_OUT_BY_PHONE: 'unlinked',
  AUTH_FAILURE: 'error',
  BROWSER_NOT_FOUND: 'error',
  SANDBOX_UNAVAILABLE: 'error',
  PROXY_UNREACHABLE: 'proxy',
  PROXY_AUTH_FAILED: 'proxy',
  PROFILE_LOCKED: 'error',
  PROFILE_CORRUPT: 'error',
  NETWORK_BLOCKED: 'error',
  ACCOUNT_RESTRICTED: 'error',
  ACCOUNT_BANNED: 'error',
  ACCOUNT_TEMPORARILY_BANNED: 'error',
  WHATSAPP_WEB_CHANGED: 'error',
  RECONNECT_EXHAUSTED: 'error',
};

export const recoveryFor = (reason: SessionReason): Recovery => special[reason] ?? 'restart';

/** The losses of a session since it was last connected for some time, or since its last start. */
export interface LossCount {
  /** All losses. They determine the delay of the next start. */
  losses: number;
  /** Those that count against MAX_RECONNECT_ATTEMPTS. */
  attempts: number;
}

export interface AfterLoss {
  /** The counts with this loss. */
  count: LossCount;
  to: 'initializing' | 'disconnected' | 'error';
  reason: SessionReason;
  /** Whether a new browser is started after a delay or, in `error`, when the proxy works. Otherwise the session stays in this status until a command starts it. */
  restarts: boolean;
}

/** Returns the reaction to a loss of the browser, in a session that should run. */
export function afterLoss(
  reason: SessionReason,
  session: { status: SessionStatus; count: LossCount; mayReconnect: boolean; maxAttempts: number },
): AfterLoss {
  const { status, mayReconnect, maxAttempts } = session;
  const recovery = recoveryFor(reason);
  if (recovery === 'proxy') {
    const count = { losses: session.count.losses + 1, attempts: session.count.attempts };
    return { count, to: 'error', reason, restarts: mayReconnect };
  }
  if (recovery === 'error') return { count: session.count, to: 'error', reason, restarts: false };
  if (recovery === 'down' || recovery === 'unlinked')
    return { count: session.count, to: 'disconnected', reason, restarts: false };
  const count = {
    losses: session.count.losses + 1,
    attempts: session.count.attempts + (recovery === 'restart' ? 1 : 0),
  };
  if (!mayReconnect) return { count, to: 'disconnected', reason: 'RECONNECT_OFF', restarts: false };
  if (count.attempts > maxAttempts) return { count, to: 'error', reason: 'RECONNECT_EXHAUSTED', restarts: false };
  // A start that failed is shown as `disconnected` until the next one begins; a passkey cannot move to `initializing`.
  const isShownAsStarting =
    status !== 'initializing' && status !== 'disconnected' && sessionMoves[status].includes('initializing');
  return { count, to: isShownAsStarting ? 'initializing' : 'disconnected', reason, restarts: true };
}

/** A proxy that refuses the login is checked seldom: some providers lock an account after many wrong passwords. */
const proxyPauseMs = {
  PROXY_UNREACHABLE: { first: 5_000, longest: 60_000 },
  PROXY_AUTH_FAILED: { first: 60_000, longest: 600_000 },
};

/** Returns the delay before the next check of a session's proxy, after `checks` that failed. Milliseconds. */
export function proxyCheckDelayMs(checks: number, reason: SessionReason, random: () => number): number {
  const { first, longest } = proxyPauseMs[reason === 'PROXY_AUTH_FAILED' ? reason : 'PROXY_UNREACHABLE'];
  return backoff(checks, first, longest, random);
}

const firstRestartMs = 200;
const backoffMs = { first: 5_000, longest: 300_000 };
/** The maximum delay on a full disk. Space may become free at any time, and each check needs a start of the browser. */
const longestWaitForSpaceMs = 60_000;

/** Returns the delay before the next start in milliseconds. The first restart follows almost at once, because most crashes do not repeat. */
export function restartDelayMs(losses: number, reason: SessionReason, random: () => number): number {
  if (losses <= 1) return firstRestartMs;
  const longest = reason === 'DISK_FULL' ? longestWaitForSpaceMs : backoffMs.longest;
  return backoff(losses - 1, backoffMs.first, longest, random);
}
