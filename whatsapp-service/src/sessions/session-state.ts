import {
  sessionMoves,
  sessionReasons,
  type CaughtUp,
  type ObservedSession,
  type SelfCheck,
  type SessionReason,
  type SessionStatus,
} from '@chasqui/shared';
import type { Identity } from '../engine/engine.js';
import type { SessionProxy } from '../proxy/session-proxy.js';
import { createLane, type Lane } from '../sends/lane.js';
import type { BrowserDeps, BrowserRun } from './browser-run.js';
import { createLease, type Lease } from './lease.js';
import type { LossCount } from './transitions.js';

/** The parts of the worker that a session uses. */
export interface SessionDeps extends BrowserDeps {
  /** Queues events again that the backend refused under an older epoch. Called when the session gets a newer one. */
  readopt: (epoch: number) => void;
  initTimeoutMs: number;
  /** The number of codes without a scan after which the session ends with QR_TIMEOUT. A pairing code resets the count. */
  maxQrCodes: number;
  maxReconnectAttempts: number;
  /** The number for which the session requests pairing codes while it waits to be linked, as digits. Null: it requests none. */
  pairingNumber: () => string | null;
  /** The session's current setting `autoReconnect`. */
  mayReconnect: () => boolean;
  /** Above this many megabytes the browser is restarted when nothing runs in it. 0: never. */
  recycleAboveMb: () => number;
  /** While nothing is sent, the login is copied at this interval. 0: never. */
  copyEveryMs: number;
}

/** The pairing codes of a session. See pairing.ts. */
export interface Pairing {
  /** The newest code. It ends with its browser. */
  code: { run: BrowserRun | null; phoneNumber: string; expiresAt: number; isOwn: boolean } | null;
  /** The request that runs. */
  request: { phoneNumber: string; output: Promise<unknown> } | null;
  /** How many codes the session has requested by itself since it was started, and for which number. */
  tries: { phoneNumber: string; count: number };
}

export const noPairing = (): Pairing => ({ code: null, request: null, tries: { phoneNumber: '', count: 0 } });

/** The state of one session, in memory. Functions of this folder share it; `move` alone changes `status` and `reason`. */
export interface SessionState {
  readonly id: string;
  readonly deps: SessionDeps;
  readonly lane: Lane;
  readonly lease: Lease;
  status: SessionStatus;
  reason: SessionReason | null;
  /** When WhatsApp lifts the restriction that is the reason, if it says so. */
  until: Date | null;
  epoch: number;
  /** Whether the session should run: a command started it, and neither a command nor a final loss ended it since. */
  isWanted: boolean;
  /** When a command last changed the session, on the monotonic clock. */
  changedAt: number;
  deviceName: string | null;
  /** The chats whose presence is followed. The set outlives the browser, and ends with the worker's process. */
  readonly presence: Set<string>;
  /** Until when the backend has the messages of an account. */
  inherited: CaughtUp | null;
  /** Whether WhatsApp Web is connected to its server, as the page reported it last. */
  isLineUp: boolean;
  /** The linked account, as the page reported it last. */
  identity: Identity | null;
  /** What the last check of the page found. It outlives the browser. */
  selfCheck: SelfCheck | null;
  /** The code that the page shows; null outside `qr_pending`. */
  qr: { text: string; expiresAt: Date } | null;
  readonly pairing: Pairing;
  browser: BrowserRun | null;
  lossCount: LossCount;
  /** The proxy that failed, while the session waits until it works. Undefined: it does not wait for one. */
  awaitedProxy: SessionProxy | null | undefined;
  /** The running attempt to recover the session. Its result is emitted. */
  recoveryStep: { step: 'reload' | 'restart' | 'restore'; reason: SessionReason } | null;
  /** Whether the login was replaced by its copy since the session was last connected. Replacing it again would not help. */
  isRestored: boolean;
  /** The memory of a browser that is above its mark and waits for an idle moment. Null: it is not above it. */
  overweightMb: number | null;
  /** When a browser was last replaced for its memory, on the monotonic clock. */
  recycledAt: number;
  /** The number of operations that run in the page. */
  operations: number;
  /** When a copy of the login was last tried, on the monotonic clock. */
  copyTriedAt: number;
  /** Resolves when the earlier browsers have ended. The next start waits for it. */
  ending: Promise<void>;
  /** Resolves when the stops and restarts so far are done. They run one after the other. */
  orders: Promise<void>;
  waitingOrders: number;
  /** Cancels the one timer of the session: a time limit, a restart, or the reset of the counts. */
  cancelTimer: () => void;
}

export const createState = (id: string, deps: SessionDeps): SessionState => ({
  id,
  deps,
  lane: createLane(deps.clock),
  lease: createLease(deps.clock),
  status: 'disconnected',
  reason: 'NOT_STARTED',
  until: null,
  epoch: deps.marks.epoch(id),
  isWanted: false,
  changedAt: 0,
  deviceName: null,
  presence: new Set(),
  inherited: null,
  isLineUp: false,
  identity: null,
  selfCheck: null,
  qr: null,
  pairing: noPairing(),
  browser: null,
  lossCount: { losses: 0, attempts: 0 },
  awaitedProxy: undefined,
  recoveryStep: null,
  isRestored: false,
  overweightMb: null,
  recycledAt: -Infinity,
  operations: 0,
  copyTriedAt: -Infinity,
  ending: Promise.resolve(),
  orders: Promise.resolve(),
  waitingOrders: 0,
  cancelTimer: () => undefined,
});

/** Changes the status and emits it. A transition that `sessionMoves` does not list is a bug: it is logged and refused. */
export function move(state: SessionState, to: SessionStatus, reason: SessionReason | null, until: Date | null = null): void {
  const { id, status: from, deps } = state;
  if (to === from && reason === state.reason) return;
  if (to !== from && !sessionMoves[from].includes(to)) {
    deps.log.error('Refused a session transition that is not in the table.', { sessionId: id, from, to, reason });
    return;
  }
  deps.log.info('A session changed.', { sessionId: id, from, to, reason, attempt: state.lossCount.attempts });
  state.status = to;
  state.reason = reason;
  state.until = until;
  if (to !== 'qr_pending') state.qr = null;
  emitState(state);
}

export function emitState(state: SessionState): void {
  state.deps.emit({
    event: 'session.observed',
    payload: {
      status: state.status,
      reason: describe(state.reason),
      until: state.until?.toISOString() ?? null,
      ...identityFields(state),
      attempt: state.lossCount.attempts,
      compat: compatReports(state),
      selfCheck: state.selfCheck,
    },
  });
}

/** The session as the backend sees it in replies and heartbeats. */
export function observe(state: SessionState): ObservedSession {
  const { qr, browser } = state;
  return {
    sessionId: state.id,
    epoch: state.epoch,
    status: state.status,
    reason: describe(state.reason),
    until: state.until?.toISOString() ?? null,
    ...identityFields(state),
    qrText: qr?.text ?? null,
    qrExpiresAt: qr?.expiresAt.toISOString() ?? null,
    lastRoundTripAt: browser?.health?.lastRoundTripAt()?.toISOString() ?? null,
    compat: compatReports(state),
    selfCheck: state.selfCheck,
    canaryAt: browser?.health?.lastCanaryAt()?.toISOString() ?? null,
    recoveryStep: state.recoveryStep?.step ?? null,
    ...loginField(state),
    metrics: {
      ...(browser?.health?.metrics() ?? emptyMetrics),
      queueDepth: state.lane.depth(),
      recycleAboveMb: state.deps.recycleAboveMb(),
    },
  };
}

/** Absent until the session was started once by this process. */
function loginField({ id, deps }: SessionState): Pick<ObservedSession, 'loginCopy'> {
  const copy = deps.profiles.lastCopy(id);
  if (copy === undefined) return {};
  return { loginCopy: copy && { bytes: copy.bytes, copiedAt: new Date(copy.savedAt).toISOString() } };
}

function identityFields({ identity }: SessionState): Identity {
  const { phoneNumber = null, lid = null, pushName = null, platform = null, whatsappWebVersion = null } = identity ?? {};
  return { phoneNumber, lid, pushName, platform, whatsappWebVersion };
}

/** The metrics of a session without a watched browser. */
export const emptyMetrics = {
  memoryMb: null,
  cpuPercent: null,
  processes: 0,
  browserUptimeSeconds: null,
  roundTripMs: null,
  queueDepth: 0,
};

/** The state of each compatibility patch. An error counts as no patches: one session must not fail the report of all sessions of the worker. */
function compatReports({ id, deps, browser }: SessionState): ObservedSession['compat'] {
  try {
    return browser?.session?.compat() ?? [];
  } catch (error) {
    deps.problems.note('TASK_FAILED', { sessionId: id, detail: 'compatibility reports', error });
    return [];
  }
}

/** Returns a reason with the sentence that is shown for it. */
export const describe = (code: SessionReason | null): { code: string; message: string } | null =>
  code ? { code, message: sessionReasons[code] } : null;

/** Whether WhatsApp wants the passkey of the account that is linked. The page is connected, and sends nothing until it has the answer. */
export const isBlocked = ({ status, reason }: SessionState): boolean =>
  status === 'passkey_required' && reason === 'ACCOUNT_PASSKEY_REQUIRED';

/** Runs `task` after `ms`, unless the timer is cancelled or replaced before. A session has one timer. */
export function later(state: SessionState, ms: number, task: () => void): void {
  state.cancelTimer();
  state.cancelTimer = state.deps.clock.after(ms, task);
}

/** Runs work that is not awaited. Its failure is reported as a problem. */
export function background({ id, deps }: SessionState, detail: string, work: Promise<void>): void {
  void work.catch((error: unknown) => deps.problems.note('TASK_FAILED', { sessionId: id, detail, error }));
}

/** Runs stops and restarts one after the other. */
export function inOrder(state: SessionState, order: () => Promise<void>): Promise<void> {
  state.waitingOrders += 1;
  const result = state.orders.then(order).finally(() => {
    state.waitingOrders -= 1;
  });
  state.orders = result.catch(() => undefined);
  return result;
}
