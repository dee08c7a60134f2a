import type { SelfCheck, SessionReason } from '@chasqui/shared';
import { EngineError, type ChallengeKind } from '../engine/engine.js';
import { errorFields } from '../log.js';
import { isSameProxy } from '../proxy/session-proxy.js';
import {
  hasOtherProxy,
  launchBrowser,
  proveBrowser,
  releaseBrowser,
  reloadPage,
  watchBrowser,
  type BrowserOwner,
  type BrowserRun,
  type StateSignal,
} from './browser-run.js';
import { copyWhenIdle } from './login-copies.js';
import { background, emitState, inOrder, isBlocked, later, move, type SessionState } from './session-state.js';
import { hasValidCode, requestOwnCode } from './pairing.js';
import { startRank } from './start-limit.js';
import {
  afterLoss,
  proxyCheckDelayMs,
  recoveryFor,
  restartDelayMs,
  transitionFor,
  transitions,
  type TimeLimit,
  type Transition,
} from './transitions.js';

/**
 * Carries out what follows a signal or the loss of a browser, as the tables of `transitions.ts` decide it. The commands in `session.ts` use
 * `begin`, `endBrowser` and `wipe`.
 */

/** How long a stop or a restart waits for running sends. */
export const sendsFinishMs = 10_000;
/** A page that is reloaded must be proven within this time. */
const reloadLimitMs = 15_000;
/** After being connected for this time, earlier losses no longer count. A browser that keeps crashing within this time is not restarted for ever. */
const steadyMs = 30_000;
/** After a code has expired, the next one must arrive within this time. */
const codeGraceMs = 30_000;
/** The longest time for which WhatsApp shows one code. */
const longestCodeMs = 120_000;
const passkeyMs = 600_000;
/** How often a page that waits for a check of the account is looked at. */
const challengeMs = 5_000;

/** Starts a browser after the earlier ones have ended. The session must have none. */
export function begin(state: SessionState): void {
  state.cancelTimer();
  state.awaitedProxy = undefined;
  move(state, 'initializing', 'STARTING');
  state.browser = launchBrowser(state.deps, ownerOf(state), state.ending);
}

function ownerOf(state: SessionState): BrowserOwner {
  return {
    sessionId: state.id,
    deviceName: () => state.deviceName,
    presence: state.presence,
    startRank: () => startRank(state.lossCount.losses, state.recoveryStep?.step === 'restart'),
    phoneNumber: () => state.identity?.phoneNumber ?? null,
    inheritedMark: () => inheritedMark(state),
    onSignal: (run, signal) => onSignal(state, run, signal),
    onLaunched: (run) => apply(state, run, transitionFor('launched', state.status)),
    // The page of a blocked session is linked, so a proof connects it.
    onProven: (run) => apply(state, run, transitionFor('proven', isBlocked(state) ? 'connecting' : state.status)),
    onChallenged: (run, by, kind) => {
      // While the session waits, the proofs decide; the probes go on beside them.
      if (by === 'proof' || state.status === 'connected') waitForAnswer(state, run, kind);
    },
    onLost: (reason, detail) => lose(state, reason, detail),
    onUnresponsive: (run, reason, detail) => background(state, 'reload', escalate(state, run, reason, detail)),
    onMemory: (memoryMb) => {
      weigh(state, memoryMb);
      background(state, 'copy of the login', copyWhenIdle(state));
    },
  };
}

/** The backend's mark of another worker or login counts only for the same number. */
function inheritedMark({ inherited, identity }: SessionState): number | null {
  if (inherited === null) return null;
  const digits = (number: string): string => number.replace(/\D/g, '');
  return digits(inherited.phoneNumber) === digits(identity?.phoneNumber ?? '') ? Date.parse(inherited.at) : null;
}

/** Ends the current browser, if there is one. Resolves when all browsers so far have ended; the next start waits for that. */
export function endBrowser(state: SessionState): Promise<void> {
  state.cancelTimer();
  const run = state.browser;
  state.browser = null;
  state.overweightMb = null;
  if (run) {
    run.isCurrent = false;
    afterEnd(state, 'A browser could not be closed.', () => releaseBrowser(run));
  }
  return state.ending;
}

function afterEnd(state: SessionState, failure: string, task: () => Promise<void>): void {
  const { id, deps } = state;
  state.ending = state.ending
    .then(task)
    .catch((error: unknown) => deps.log.error(failure, { sessionId: id, ...errorFields(error) }));
}

/** Deletes the login and what belongs to it. No browser may run. */
export async function wipe(state: SessionState): Promise<void> {
  const { id, deps } = state;
  state.identity = null;
  deps.marks.unfreeze(id);
  deps.marks.clearWatermark(id);
  await deps.profiles.wipe(id);
}

function onSignal(state: SessionState, run: BrowserRun, signal: StateSignal): void {
  switch (signal.type) {
    case 'gone':
      return lose(state, signal.reason, signal.detail, signal.until);
    case 'qr':
      return showCode(state, run, signal);
    case 'ready':
      state.identity = signal.identity;
      state.isLineUp = true;
      return apply(state, run, transitionFor('ready', state.status));
    case 'checked':
      return onChecked(state, signal.check);
    case 'line':
      state.isLineUp = signal.up;
      return apply(state, run, transitionFor(signal.up ? 'line_up' : 'line_down', state.status));
    default:
      return apply(state, run, transitionFor(signal.type, state.status));
  }
}

/** Handles the result of a check of the page. Without an essential function the session would look connected and do nothing. */
function onChecked(state: SessionState, check: SelfCheck): void {
  state.selfCheck = check;
  if (check.essential.length > 0)
    return lose(state, 'WHATSAPP_WEB_CHANGED', `WhatsApp Web has no ${check.essential.join(', ')}.`);
  emitState(state);
}

function showCode(state: SessionState, run: BrowserRun, code: { text: string; expiresAt: Date }): void {
  // A page with a login shows no code at its start. If it does, the login is damaged, or the phone has unlinked it.
  if (state.status !== 'initializing') return acceptCode(state, run, code);
  const restored = restoreOnce(state).then((isRestored) => {
    if (isRestored || !run.isCurrent) return;
    acceptCode(state, run, code);
  });
  background(state, 'restoring the login', restored);
}

/** Starts the session again with the copy of its login, once. Returns whether it does. */
async function restoreOnce(state: SessionState): Promise<boolean> {
  const { id, deps, browser } = state;
  const hasCopy = (await deps.profiles.copiedAt(id)) !== null;
  if (!hasCopy || state.browser !== browser || !state.isWanted) return false;
  if (state.isRestored) {
    // WhatsApp does not accept the copy either, so the phone has unlinked the device.
    endRecovery(state, false);
    await deps.profiles.removeCopy(id);
    return false;
  }
  deps.log.warn('The login is damaged or was unlinked; its copy is tried.', { sessionId: id });
  restoreLater(state);
  begin(state);
  return true;
}

/**
 * Whether the login may be damaged: the page cannot open it, or a browser crashed again before its page ever worked. A slow network is not a sign of
 * damage.
 */
function mayBeDamaged({ browser, lossCount, isRestored }: SessionState, reason: SessionReason): boolean {
  // Without a profile the folder itself cannot be used, and a copy would not help.
  if (reason === 'PROFILE_CORRUPT') return !isRestored && browser?.profile != null;
  const hasCrashed = reason === 'BROWSER_CRASHED' || reason === 'PAGE_CRASHED';
  return hasCrashed && lossCount.attempts > 0 && !isRestored && browser !== null && !browser.isSound;
}

/** Replaces the login by its copy, if there is one, after the browser has ended. */
function restoreLater(state: SessionState): void {
  const { id, deps } = state;
  state.isRestored = true;
  state.recoveryStep = { step: 'restore', reason: 'PROFILE_CORRUPT' };
  void endBrowser(state);
  afterEnd(state, 'The copy of the login could not be used.', async () => void (await deps.profiles.restoreCopy(id)));
}

function acceptCode(state: SessionState, run: BrowserRun, { text, expiresAt }: { text: string; expiresAt: Date }): void {
  // Somebody may be typing the pairing code, which lives longer than QR_MAX_RETRIES codes.
  if (state.qr?.text !== text && !hasValidCode(state, run)) run.codes += 1;
  const transition = transitionFor(run.codes > state.deps.maxQrCodes ? 'qr_above_limit' : 'qr', state.status);
  if (transition.effect === 'show_code') state.qr = { text, expiresAt };
  apply(state, run, transition);
  if (run.isCurrent && state.status === 'qr_pending') requestOwnCode(state, run);
}

function apply(state: SessionState, run: BrowserRun, { loss, move: next, within, effect }: Transition): void {
  if (loss) return lose(state, loss.reason, loss.detail);
  if (next) move(state, next.to, next.reason);
  if (within) loseLater(state, limitMs(state, within.limit), within.reason, within.detail);
  switch (effect) {
    case 'show_code':
      return emitCode(state);
    case 'prove':
      return background(state, 'proof', proveBrowser(run));
    case 'watch':
      return watch(state, run);
    case undefined:
      return;
  }
}

function loseLater(state: SessionState, ms: number, reason: SessionReason, detail: string): void {
  later(state, ms, () => lose(state, reason, detail));
}

function limitMs({ deps, qr }: SessionState, limit: TimeLimit['limit']): number {
  switch (limit) {
    case 'start':
      return deps.initTimeoutMs;
    case 'passkey':
      return passkeyMs;
    case 'code': {
      // The wall clock may have jumped since the code was created.
      const remainingMs = Math.max(0, (qr?.expiresAt.getTime() ?? 0) - deps.clock.now());
      return Math.min(longestCodeMs, remainingMs) + codeGraceMs;
    }
  }
}

function emitCode({ qr, deps }: SessionState): void {
  if (qr) deps.emit({ event: 'session.qr', payload: { qrText: qr.text, expiresAt: qr.expiresAt.toISOString() } });
}

/**
 * WhatsApp wants to check the account, and a dialog covers the page. The browser stays, because the check may be answered elsewhere; the session is
 * connected again when the page no longer asks.
 */
function waitForAnswer(state: SessionState, run: BrowserRun, kind: ChallengeKind): void {
  if (state.status !== 'connected' && state.status !== 'connecting' && !isBlocked(state)) return;
  if (kind === 'passkey') move(state, 'passkey_required', 'ACCOUNT_PASSKEY_REQUIRED');
  else move(state, 'connecting', 'ACCOUNT_CHALLENGED');
  later(state, challengeMs, () => {
    if (state.isLineUp) background(state, 'proof', proveBrowser(run));
    else apply(state, run, transitions.line_down.connected);
  });
}

/** The session is connected. */
function watch(state: SessionState, run: BrowserRun): void {
  endRecovery(state, true);
  state.isRestored = false;
  later(state, steadyMs, () => {
    state.lossCount = { losses: 0, attempts: 0 };
    run.isReloaded = false;
  });
  watchBrowser(run);
}

/**
 * Handles a connected page that fails its probes. The page is reloaded once, if the browser still accepts commands; if that does not help in
 * time, the browser is replaced. A frozen or dead browser accepts no command and is replaced at once.
 */
async function escalate(state: SessionState, run: BrowserRun, reason: SessionReason, detail: string): Promise<void> {
  if (run.isReloaded || state.status !== 'connected') return lose(state, reason, detail);
  state.recoveryStep = { step: 'reload', reason };
  state.deps.log.warn('The page does not answer; it is reloaded.', { sessionId: state.id, reason, detail });
  move(state, 'connecting', reason);
  loseLater(state, reloadLimitMs, reason, 'Reloading the page did not help.');
  await reloadPage(run, reason);
}

/** The browser is lost or did not start. The tables of `transitions.ts` say what happens next. */
function lose(state: SessionState, cause: SessionReason, detail: string, until: Date | null = null): void {
  const { id, deps, status, browser } = state;
  // A full disk makes a browser fail in any way. Such failures must not use up the attempts.
  const reason = recoveryFor(cause) === 'restart' && deps.profiles.isFull() ? 'DISK_FULL' : cause;
  deps.log.warn('A session lost its browser.', { sessionId: id, reason, detail, attempt: state.lossCount.attempts });
  const isRestoring = state.recoveryStep?.step === 'restore';
  if (!isRestoring) endRecovery(state, false);
  if (status === 'connected' || browser?.isReloaded) state.recoveryStep = { step: 'restart', reason };
  const isRestarted = mayBeDamaged(state, reason);
  if (isRestarted) restoreLater(state);
  if (browser) browser.isSound = false;
  void endBrowser(state);
  if (recoveryFor(reason) === 'unlinked') afterEnd(state, 'The login could not be deleted.', () => wipe(state));
  // A stop is running and decides the next state.
  if (!state.isWanted) return;
  // A damaged login that has no copy is damaged again at the next start, which then ends with that reason.
  const next = afterLoss(isRestarted && reason === 'PROFILE_CORRUPT' ? 'PAGE_CRASHED' : reason, {
    status,
    count: state.lossCount,
    mayReconnect: deps.mayReconnect(),
    maxAttempts: deps.maxReconnectAttempts,
  });
  state.lossCount = next.count;
  if (!next.restarts) {
    state.isWanted = false;
    endRecovery(state, false);
  }
  move(state, next.to, next.reason, next.reason === cause ? until : null);
  if (next.restarts && next.to === 'error') return awaitProxy(state, browser?.proxy ?? null, reason, next.count.losses);
  if (next.restarts) later(state, restartDelayMs(next.count.losses, reason, deps.random), () => begin(state));
}

/** Checks the proxy of a session in `error` after a pause, and again until it works; then the session starts. The status stays meanwhile. */
function awaitProxy(state: SessionState, proxy: SessionState['awaitedProxy'], reason: SessionReason, checks: number): void {
  const { deps } = state;
  state.awaitedProxy = proxy;
  later(state, proxyCheckDelayMs(checks, reason, deps.random), () =>
    background(state, 'check of the proxy', checkProxy(state, reason, checks)),
  );
}

async function checkProxy(state: SessionState, reason: SessionReason, checks: number): Promise<void> {
  const { deps } = state;
  const proxy = deps.proxy();
  const failure = await (proxy ? deps.proxies.check(proxy, new AbortController().signal) : Promise.resolve()).then(
    () => null,
    (error: unknown) => (error instanceof EngineError ? error.reason : reason),
  );
  // A command, or a change of the proxy, came meanwhile.
  if (!isAwaitingProxy(state) || !isSameProxy(proxy, deps.proxy())) return;
  if (failure === null) return begin(state);
  move(state, 'error', failure);
  awaitProxy(state, proxy, failure, failure === reason ? checks + 1 : 1);
}

const isAwaitingProxy = ({ isWanted, status, browser, awaitedProxy }: SessionState): boolean =>
  isWanted && status === 'error' && browser === null && awaitedProxy !== undefined;

/** Starts a session at once that waits until its proxy works. */
export function retryProxy(state: SessionState): void {
  if (isAwaitingProxy(state)) begin(state);
}

/** Applies another proxy: a session that waits for its proxy starts at once, and a browser is replaced after the running sends. */
export function applyProxy(state: SessionState): void {
  const { id, deps, browser: run, awaitedProxy } = state;
  if (awaitedProxy !== undefined && !isSameProxy(awaitedProxy, deps.proxy())) return retryProxy(state);
  if (!state.isWanted || !run || run.isOutdated || !hasOtherProxy(run)) return;
  run.isOutdated = true;
  deps.log.info('A session has another proxy; its browser is replaced.', { sessionId: id });
  const replacing = inOrder(state, async () => {
    await state.lane.idle(sendsFinishMs);
    // A stop, a restart or a loss came while this waited.
    if (!state.isWanted || state.browser !== run) return;
    await endBrowser(state);
    if (state.status === 'passkey_required') move(state, 'disconnected', 'RECONNECTING');
    if (state.isWanted && state.browser === null) begin(state);
  });
  background(state, 'replacing the browser for another proxy', replacing);
}

/** Emits the result of the running recovery step, if there is one. */
function endRecovery(state: SessionState, ok: boolean): void {
  if (state.recoveryStep) state.deps.emit({ event: 'session.heal', payload: { ...state.recoveryStep, ok } });
  state.recoveryStep = null;
}

/** A browser that is above its mark again soon after it was replaced is not replaced without end: its page needs that much. */
const recyclePauseMs = 900_000;

/** Notes whether the browser is above its memory mark. The page never trims its message store. */
function weigh(state: SessionState, memoryMb: number): void {
  const mark = state.deps.recycleAboveMb();
  state.overweightMb = mark > 0 && memoryMb > mark ? memoryMb : null;
  recycleWhenIdle(state);
}

const isIdle = ({ status, lane, operations }: SessionState): boolean =>
  status === 'connected' && lane.depth() === 0 && operations === 0;

/** Replaces a browser above its memory mark while nothing runs in it. Called with each measurement, and when a send or an operation has ended. */
export function recycleWhenIdle(state: SessionState): void {
  const { id, deps } = state;
  if (state.overweightMb === null || !isIdle(state)) return;
  if (deps.clock.monotonic() - state.recycledAt < recyclePauseMs) return;
  const recycling = inOrder(state, async () => {
    const memoryMb = state.overweightMb;
    // A send or a stop may have come meanwhile; the next idle moment decides again.
    if (memoryMb === null || !state.isWanted || !isIdle(state)) return;
    state.overweightMb = null;
    state.recycledAt = deps.clock.monotonic();
    deps.log.info('The browser exceeds its memory mark; it is restarted.', { sessionId: id, memoryMb });
    await endBrowser(state);
    if (!state.isWanted) return;
    deps.emit({ event: 'session.recycled', payload: { reason: 'MEMORY_RECYCLED', memoryMb } });
    move(state, 'initializing', 'MEMORY_RECYCLED');
    begin(state);
  });
  background(state, 'recycling', recycling);
}
