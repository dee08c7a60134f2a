import {
  AppError,
  type CaughtUp,
  type InternalOperationId,
  type MessageReason,
  type ObservedSession,
  type OperationId,
  type SessionReason,
  type WhatsappAccount,
  isSameAccount,
} from '@chasqui/shared';
import { settlesWithin } from '../clock.js';
import type { EngineFile, EngineSend, EngineSession } from '../engine/engine.js';
import { errorFields } from '../log.js';
import type { Lease } from './lease.js';
import { copyNow } from './login-copies.js';
import {
  background,
  createState,
  describe,
  emitState,
  inOrder,
  isBlocked,
  move,
  noPairing,
  observe,
  type SessionDeps,
  type SessionState,
} from './session-state.js';
import { proveBrowser } from './browser-run.js';
import { requestCode } from './pairing.js';
import { applyProxy, begin, endBrowser, recycleWhenIdle, retryProxy, sendsFinishMs, wipe } from './supervision.js';

/**
 * One session: a browser with a login, its state, and the lane of its sends.
 *
 * | status | meaning | ends with |
 * | --- | --- | --- |
 * | disconnected | no browser; another start may be scheduled | start |
 * | initializing | a browser starts, or is about to start after a loss | a code, a stored login, a failure |
 * | qr_pending | the page shows QR codes | scan, no more codes, loss |
 * | passkey_required | WhatsApp asks for a passkey, to link the account or to check a linked one | confirmation, timeout while linking, loss |
 * | connecting | linked, but not synchronised, or not connected to WhatsApp | proof, loss, timeout |
 * | connected | round trip and canary succeed every few seconds | lost connection to WhatsApp, loss |
 * | error | no browser, and another try would fail in the same way | start, stop; the session's proxy works again |
 *
 * This file carries out commands. `transitions.ts` decides what follows a signal or a loss, `supervision.ts` does it, and `browser-run.ts`
 * owns one browser. `sessionMoves` lists the allowed transitions; another one is a bug, which is logged and refused. Signals of an earlier
 * browser are ignored.
 */
export interface Session {
  readonly id: string;
  epoch(): number;
  /** Raises the epoch. Throws when the store accepts no writes; then nothing has changed. */
  adopt(epoch: number): void;
  /**
   * Throws SESSION_IDENTITY_CHANGED if the session is linked to another WhatsApp account than this one, and SESSION_NOT_CONNECTED while the
   * page does not report its account. Does nothing for null: the message was accepted before the session's account was known.
   */
  requireAccount(account: WhatsappAccount | null): void;
  /** The lease that the backend granted: until its end this worker may send. */
  readonly lease: Lease;
  /** Until when the backend has the messages of an account. Used for a login without a watermark on this worker. */
  inherit(caughtUp: CaughtUp): void;
  /** Starts the session, or joins a running start. */
  start(deviceName: string | null): void;
  /** Starts the session at once if it waits until its proxy works. */
  retry(): void;
  /** Applies the session's current proxy to a session that runs. */
  applyProxy(): void;
  /** Stops the browser and keeps the login; `logout` unlinks the device and deletes the login. Running sends finish first, within 10 s. */
  stop(options: { logout: boolean; reason?: SessionReason }): Promise<void>;
  restart(): Promise<void>;
  isRunning(): boolean;
  /** When a command last changed the session, on the monotonic clock. Decisions of the backend from before are outdated. */
  changedAt(): number;
  /** Sends one message after those before it. Throws SESSION_NOT_CONNECTED, and what the hooks throw; otherwise as `EngineSession.send`. */
  send(send: EngineSend, hooks: SendHooks): ReturnType<EngineSession['send']>;
  /** Throws SESSION_NOT_CONNECTED, or SESSION_STATE_CONFLICT for a pairing code or a passkey without a browser; otherwise as `EngineSession.run`. */
  run(
    operation: OperationId | InternalOperationId,
    input: Record<string, unknown>,
    deadlineMs: number,
    file?: EngineFile | null,
  ): Promise<unknown>;
  /** Throws SESSION_NOT_CONNECTED; otherwise as `EngineSession.downloadMedia`. */
  downloadMedia(whatsappId: string, deadlineMs: number, maxBytes?: number): ReturnType<EngineSession['downloadMedia']>;
  /** Starts a scan for messages since a time. Throws SESSION_NOT_CONNECTED. */
  backfill(since: Date): void;
  /** Copies the login of a connected session that sends nothing. Returns whether there is a copy of this moment. */
  copyLogin(): Promise<boolean>;
  /** Messages of this session could not be stored; a scan looks for them, now or at the next connection. */
  onMissedMessages(): void;
  observe(): ObservedSession;
}

export interface SendHooks {
  /** Called when the lane starts this send. An error ends the send. */
  onTurn: () => void;
  /** Called right before the page call that may send; see `EngineSession.send`. */
  onHandover: () => Promise<number>;
}

/** Refusals after which the limits of the account are read again, because WhatsApp may allow less than before. */
const limitReasons: ReadonlySet<MessageReason> = new Set<MessageReason>(['REACH_OUT_LOCKED', 'WHATSAPP_REFUSED']);
/** How far a send may exceed its deadline before the lane continues without it. */
const sendGraceMs = 10_000;

export function createSession(id: string, deps: SessionDeps): Session {
  const state = createState(id, deps);
  return {
    id,
    lease: state.lease,
    epoch: () => state.epoch,
    adopt: (epoch) => adopt(state, epoch),
    requireAccount: (account) => requireAccount(state, account),
    inherit(caughtUp) {
      state.inherited = caughtUp;
    },
    start: (deviceName) => start(state, deviceName),
    retry: () => retryProxy(state),
    applyProxy: () => applyProxy(state),
    stop: (options) => stop(state, options),
    restart: () => restart(state),
    isRunning: () => state.isWanted,
    changedAt: () => state.changedAt,
    send: (message, hooks) => send(state, message, hooks),
    run: (operation, input, deadlineMs, file) => run(state, operation, input, deadlineMs, file),
    downloadMedia: (whatsappId, deadlineMs, maxBytes) => connected(state).downloadMedia(whatsappId, deadlineMs, maxBytes),
    backfill(since) {
      connected(state);
      void state.browser?.catchUp?.run(since);
    },
    copyLogin: () => copyNow(state),
    onMissedMessages: () => onMissedMessages(state),
    observe: () => observe(state),
  };
}

function adopt(state: SessionState, epoch: number): void {
  // On disk first, because events read the epoch from there. If that fails nothing has changed, and the next command retries.
  state.deps.marks.raiseEpoch(state.id, epoch);
  state.epoch = epoch;
  state.deps.readopt(epoch);
  if (state.reason !== 'NOT_STARTED') emitState(state);
}

const accountUnknown = 'WhatsApp Web has not reported yet which account this session is linked to. Try again in a few seconds.';

function requireAccount({ identity }: SessionState, account: WhatsappAccount | null): void {
  if (account === null || (account.phoneNumber === null && account.lid === null)) return;
  const isSame = identity && isSameAccount(account, identity);
  if (isSame === false) throw new AppError('SESSION_IDENTITY_CHANGED');
  if (isSame === null) throw new AppError('SESSION_NOT_CONNECTED', {}, accountUnknown);
}

function start(state: SessionState, deviceName: string | null): void {
  state.changedAt = state.deps.clock.monotonic();
  if (deviceName !== null) state.deviceName = deviceName;
  if (state.isWanted) return;
  state.isWanted = true;
  forgetLosses(state);
  // A running stop would end the new browser instead of the old one.
  if (state.waitingOrders === 0) return begin(state);
  background(
    state,
    'start',
    state.orders.then(() => {
      if (state.isWanted && !state.browser) begin(state);
    }),
  );
}

function stop(state: SessionState, { logout, reason }: { logout: boolean; reason?: SessionReason }): Promise<void> {
  state.changedAt = state.deps.clock.monotonic();
  state.isWanted = false;
  return inOrder(state, async () => {
    if (state.status === 'connected') await state.lane.idle(sendsFinishMs);
    if (logout) await unlink(state);
    await endBrowser(state);
    state.recoveryStep = null;
    if (logout) return deleteLogin(state);
    const wasStarted = state.status !== 'disconnected' || state.reason !== 'NOT_STARTED';
    if (wasStarted) move(state, 'disconnected', reason ?? 'USER_STOPPED');
  });
}

async function unlink(state: SessionState): Promise<void> {
  if ((state.status !== 'connected' && !isBlocked(state)) || !state.browser?.session) return;
  try {
    await state.browser.session.logout();
  } catch (error) {
    state.deps.log.warn('WhatsApp did not confirm the logout; the login is deleted here anyway.', {
      sessionId: state.id,
      ...errorFields(error),
    });
  }
}

async function deleteLogin(state: SessionState): Promise<void> {
  try {
    await wipe(state);
  } catch (error) {
    // The browser has ended, but the login was not deleted.
    move(state, 'disconnected', 'USER_STOPPED');
    throw error;
  }
  move(state, 'disconnected', 'USER_LOGGED_OUT');
}

function restart(state: SessionState): Promise<void> {
  state.changedAt = state.deps.clock.monotonic();
  state.isWanted = true;
  return inOrder(state, async () => {
    await state.lane.idle(sendsFinishMs);
    // A stop came while this waited; the last command counts.
    if (!state.isWanted) return;
    await endBrowser(state);
    forgetLosses(state);
    if (state.status === 'passkey_required') move(state, 'disconnected', 'RECONNECTING');
    if (state.isWanted) begin(state);
  });
}

function forgetLosses(state: SessionState): void {
  state.lossCount = { losses: 0, attempts: 0 };
  state.pairing.tries = noPairing().tries;
}

function connected({ status, reason, browser }: SessionState): EngineSession {
  if (status !== 'connected' || !browser?.session)
    throw new AppError('SESSION_NOT_CONNECTED', { status, reason: describe(reason) });
  return browser.session;
}

async function send(state: SessionState, message: EngineSend, hooks: SendHooks): ReturnType<EngineSession['send']> {
  connected(state);
  const sending = state.lane.run(async () => {
    const session = connected(state);
    hooks.onTurn();
    return sendWithinDeadline(state, session, message, hooks.onHandover);
  });
  return sending.finally(() => recycleWhenIdle(state));
}

/**
 * The engine ends every send by its deadline. A send that hangs anyway must not block the lane: it is abandoned and can no longer hand its
 * message over. Rejects then; the record says whether the message was handed over before.
 */
async function sendWithinDeadline(
  { deps, browser }: SessionState,
  session: EngineSession,
  message: EngineSend,
  onHandover: () => Promise<number>,
): ReturnType<EngineSession['send']> {
  let isAbandoned = false;
  const sending = session.send(message, async () => {
    if (isAbandoned) throw new AppError('OPERATION_TIMEOUT', { operation: 'send', effect: 'none' });
    return onHandover();
  });
  if (await settlesWithin(deps.clock, sending, message.deadlineMs + sendGraceMs)) {
    const outcome = await sending;
    if (outcome.outcome === 'failed' && limitReasons.has(outcome.reason)) browser?.account?.check();
    return outcome;
  }
  isAbandoned = true;
  sending.catch(() => undefined); // Its outcome was already reported.
  throw new Error('A send did not end by its deadline.');
}

async function run(
  state: SessionState,
  operation: OperationId | InternalOperationId,
  input: Record<string, unknown>,
  deadlineMs: number,
  file: EngineFile | null = null,
): Promise<unknown> {
  if (operation === 'session.pairingCode') return requestCode(state, linking(state), String(input['phoneNumber']), deadlineMs);
  if (operation === 'session.passkey') return linking(state).run(operation, input, deadlineMs);
  if (operation === 'session.answerPasskey') return answerPasskey(state, input, deadlineMs);
  const session = connected(state);
  state.operations += 1;
  try {
    return await session.run(operation, input, deadlineMs, file);
  } finally {
    state.operations -= 1;
    recycleWhenIdle(state);
  }
}

/** Returns the browser of a session that may not be linked yet. Throws SESSION_STATE_CONFLICT without a browser. */
function linking({ browser, status }: SessionState): EngineSession {
  if (!browser?.session) throw new AppError('SESSION_STATE_CONFLICT', { status });
  return browser.session;
}

/** Passes the answer of the account's passkey to WhatsApp. After a check of a linked account the session is connected at once. */
async function answerPasskey(state: SessionState, input: Record<string, unknown>, deadlineMs: number): Promise<unknown> {
  const output = await linking(state).run('session.answerPasskey', input, deadlineMs);
  if (isBlocked(state) && state.browser) background(state, 'proof', proveBrowser(state.browser));
  return output;
}

function onMissedMessages({ id, browser, deps }: SessionState): void {
  if (browser?.catchUp) browser.catchUp.onMissedMessages();
  // The next connection scans from the mark on disk.
  else deps.marks.unfreeze(id);
}
