import {
  AppError,
  sessionMoves,
  sessionReasons,
  type CaughtUp,
  type InternalOperationId,
  type ObservedSession,
  type OperationId,
  type SessionReason,
  type SessionStatus,
  type WhatsappAccount,
  isSameAccount,
} from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { backoff, settlesWithin, type Clock } from '../clock.js';
import {
  EngineError,
  type Engine,
  type EngineSend,
  type EngineSession,
  type EngineSignal,
  type Identity,
} from '../engine/engine.js';
import type { WorkerEvent } from '../events/worker-event.js';
import { errorFields, type Log } from '../log.js';
import type { Problems } from '../problems.js';
import { createLane } from '../sends/lane.js';
import { createCatchUp, type CatchUp } from './catch-up.js';
import { createHealth, type Health } from './health.js';
import { createLease, type Lease } from './lease.js';
import type { Marks } from './marks.js';
import type { Profile, Profiles } from './profiles.js';
import { recoveryFor } from './recovery.js';
import type { StartLimit } from './start-limit.js';

const accountUnknown = 'WhatsApp Web has not reported yet which account this session is linked to. Try again in a few seconds.';

/**
 * One session: a browser with a login, its state, and the lane of its sends.
 *
 * | status | meaning | ends with |
 * | --- | --- | --- |
 * | disconnected | no browser; another start may be scheduled | start |
 * | initializing | a browser starts, or is about to start after a loss | a code, a stored login, a failure |
 * | qr_pending | the page shows QR codes | scan, no more codes, loss |
 * | passkey_required | WhatsApp asks for a passkey | confirmation, timeout, loss |
 * | connecting | linked; not synchronised or not connected to WhatsApp (yet) | proof, loss, timeout |
 * | connected | round trip and canary succeed every few seconds | lost connection to WhatsApp, loss |
 * | error | no browser, and another try would fail in the same way | start, stop |
 *
 * `sessionMoves` lists the allowed transitions; another one is a bug, which is logged and refused. Every launch has its own number
 * (`launchId`): a signal of an earlier browser has an older number and is ignored.
 */
export interface Session {
  readonly id: string;
  epoch(): number;
  adopt(epoch: number): void;
  /**
   * Throws SESSION_IDENTITY_CHANGED if the session is linked to another WhatsApp account than this one, and SESSION_NOT_CONNECTED while the
   * page does not report its account. Null: the message was accepted before the session's account was known; passes.
   */
  requireAccount(account: WhatsappAccount | null): void;
  /** The lease that the backend granted: until its end this worker may send. */
  readonly lease: Lease;
  /** Until when the backend has the messages of an account. Used for a login without a watermark on this worker. */
  inherit(caughtUp: CaughtUp): void;
  /** Starts the session, or joins a running start. */
  start(deviceName: string | null): void;
  /** Stops the browser and keeps the login; `logout` unlinks the device and deletes the login. */
  stop(options: { logout: boolean; reason?: SessionReason }): Promise<void>;
  restart(): Promise<void>;
  isRunning(): boolean;
  /** When a command last changed the session, on the monotonic clock. Decisions of the backend from before are outdated. */
  changedAt(): number;
  send(send: EngineSend, hooks: { onTurn: () => void; onHandover: () => Promise<number> }): ReturnType<EngineSession['send']>;
  run(operation: OperationId | InternalOperationId, input: Record<string, unknown>, deadlineMs: number): Promise<unknown>;
  downloadMedia(whatsappId: string, deadlineMs: number, maxBytes?: number): ReturnType<EngineSession['downloadMedia']>;
  backfill(since: Date): void;
  /** Messages of this session could not be stored; a scan looks for them, now or at the next connection. */
  missed(): void;
  observe(): ObservedSession;
}

export interface SessionDeps {
  engine: Engine;
  profiles: Profiles;
  startLimit: StartLimit;
  marks: Marks;
  emit: (event: WorkerEvent) => void;
  /** Keys of messages that had a reaction or a change since a time (milliseconds). */
  watched: (since: number) => string[];
  /** The session runs here under a newer epoch: events that were refused under an older one are queued again. */
  readopt: (epoch: number) => void;
  clock: Clock;
  random: () => number;
  log: Log;
  problems: Problems;
  initTimeoutMs: number;
  probeMs: number;
  /** The number of codes without a scan after which the session ends with QR_TIMEOUT. A pairing code resets the count. */
  maxQrCodes: number;
  maxReconnectAttempts: number;
  /** The session's current setting `autoReconnect`. */
  mayReconnect: () => boolean;
  /** Above this many megabytes the browser is restarted when nothing is being sent. 0: never. */
  recycleAboveMb: number;
}

/** One run of a browser, from its launch to its end, and what belongs to it. */
interface BrowserRun {
  readonly abort: AbortController;
  /** Resolves when the launch has succeeded or failed; never rejects. */
  launched: Promise<void>;
  session: EngineSession | null;
  profile: Profile | null;
  health: Health | null;
  catchUp: CatchUp | null;
  ready: boolean;
  proving: boolean;
  /** The number of QR codes that were shown. */
  codes: number;
  /** The page was reloaded for the present failure; the next step is another browser. */
  reloaded: boolean;
  /** The session no longer uses this run. */
  abandoned: boolean;
}

const probeDeadlineMs = 10_000;
/** The browser must accept the reload command within `command`, and the page must be proven within `step`. */
const reloadMs = { command: 4_000, step: 15_000 };
const sendsFinishMs = 10_000;
/** A cancelled launch ends by its signal. After this time it is abandoned: a stop of the worker has 30 s in total. */
const launchEndsMs = 12_000;
/** Closing kills a browser that does not end within 5 s; this limit is for a close that hangs. */
const closeEndsMs = 15_000;
/** How far a send may exceed its deadline before the lane continues without it. */
const sendGraceMs = 10_000;
/** After this time connected, earlier losses no longer count. A browser that keeps crashing earlier is not restarted for ever. */
const steadyMs = 30_000;
/** Disk space may become free at any time, and each check costs one start. */
const longestWaitForSpaceMs = 60_000;
/** After a code has expired, the next one must arrive within this time. */
const codeGraceMs = 30_000;
/** The longest time for which WhatsApp shows one code. */
const longestCodeMs = 120_000;
const passkeyMs = 600_000;

export function createSession(id: string, deps: SessionDeps): Session {
  const { clock, log, marks } = deps;
  const lane = createLane(clock);
  let status: SessionStatus = 'disconnected';
  let reason: SessionReason | null = 'NOT_STARTED';
  let epoch = marks.epoch(id);
  let launchId = 0;
  let wanted = false;
  let attempts = 0;
  let losses = 0;
  let recoveryStep: { step: 'reload' | 'restart'; reason: SessionReason } | null = null;
  const lease = createLease(clock);
  let changed = 0;
  let deviceName: string | null = null;
  let inherited: CaughtUp | null = null;
  let identity: Identity | null = null;
  let qr: { text: string; expiresAt: Date } | null = null;
  let current: BrowserRun | null = null;
  let ending: Promise<void> = Promise.resolve();
  let orders: Promise<void> = Promise.resolve();
  let waitingOrders = 0;
  let cancelTimer = (): void => undefined;

  /** The state of each compatibility patch. An error counts as no patches: one session must not fail the report of all sessions of the worker. */
  function compatReports(): ObservedSession['compat'] {
    try {
      return current?.session?.compat() ?? [];
    } catch (error) {
      deps.problems.note('TASK_FAILED', { sessionId: id, detail: 'compatibility reports', error });
      return [];
    }
  }

  function emitState(): void {
    const { phoneNumber = null, lid = null, pushName = null, platform = null, whatsappWebVersion = null } = identity ?? {};
    const compat = compatReports();
    deps.emit({
      event: 'session.observed',
      payload: {
        status,
        reason: reasonOf(reason),
        phoneNumber,
        lid,
        pushName,
        platform,
        attempt: attempts,
        whatsappWebVersion,
        compat,
      },
    });
  }

  /** Runs work that is not awaited. Its failure is reported as a problem. */
  const background = (detail: string, work: Promise<void>): void =>
    void work.catch((error: unknown) => deps.problems.note('TASK_FAILED', { sessionId: id, detail, error }));

  function move(to: SessionStatus, why: SessionReason | null): void {
    if (to === status && why === reason) return;
    if (to !== status && !sessionMoves[status].includes(to)) {
      log.error('Refused a session transition that is not in the table.', {
        sessionId: id,
        from: status,
        to,
        reason: why,
      });
      return;
    }
    log.info('A session changed.', { sessionId: id, from: status, to, reason: why, attempt: attempts });
    status = to;
    reason = why;
    if (to !== 'qr_pending') qr = null;
    emitState();
  }

  /** Runs `what` after `ms`, unless the browser was replaced by then. Replaces an earlier timer. */
  function later(ms: number, what: () => void): void {
    cancelTimer();
    const ownLaunch = launchId;
    cancelTimer = clock.after(ms, () => {
      if (ownLaunch === launchId) what();
    });
  }

  function begin(): void {
    launchId += 1;
    const ownLaunch = launchId;
    const run: BrowserRun = {
      abort: new AbortController(),
      launched: Promise.resolve(),
      session: null,
      profile: null,
      health: null,
      catchUp: null,
      ready: false,
      proving: false,
      codes: 0,
      reloaded: false,
      abandoned: false,
    };
    current = run;
    move('initializing', 'STARTING');
    run.launched = launch(ownLaunch, run, ending);
  }

  async function launch(ownLaunch: number, run: BrowserRun, former: Promise<void>): Promise<void> {
    let leave = (): void => undefined;
    try {
      await former;
      leave = await deps.startLimit.enter(run.abort.signal, losses > 0);
      run.profile = await deps.profiles.claim(id);
      run.session = await deps.engine.launch({
        sessionId: id,
        profileDir: run.profile.dir,
        deviceName,
        abort: run.abort.signal,
        onSignal: (signal) => onSignal(ownLaunch, signal),
      });
      if (ownLaunch === launchId && status === 'initializing')
        later(deps.initTimeoutMs, () => lose('PAGE_LOAD_TIMEOUT', 'The page showed neither a code nor a login in time.'));
    } catch (error) {
      if (ownLaunch === launchId) lose(error instanceof EngineError ? error.reason : 'BROWSER_CRASHED', wordsOf(error));
    } finally {
      leave();
      if (run.abandoned) await discard(run);
    }
  }

  /** Ends a browser at any stage. The login stays locked until the launch has ended, so two browsers never use it at once. */
  async function release(run: BrowserRun): Promise<void> {
    run.health?.stop();
    run.catchUp?.stop();
    run.abort.abort();
    if (!(await settlesWithin(clock, run.launched, launchEndsMs))) log.error('A cancelled start did not end.', { sessionId: id });
    // If that start ends later, its browser is closed and the lock on the login is released then.
    run.abandoned = true;
    await discard(run);
  }

  async function discard(run: BrowserRun): Promise<void> {
    const closing = run.session?.close() ?? Promise.resolve();
    if (!(await settlesWithin(clock, closing, closeEndsMs))) log.error('A browser did not close in time.', { sessionId: id });
    await run.profile?.release();
  }

  /** Ends the current browser. The next start waits until it has ended. */
  function end(): Promise<void> {
    launchId += 1;
    cancelTimer();
    const run = current;
    current = null;
    if (run) afterEnd('A browser could not be closed.', () => release(run));
    return ending;
  }

  function afterEnd(failure: string, what: () => Promise<void>): void {
    ending = ending.then(what).catch((error: unknown) => log.error(failure, { sessionId: id, ...errorFields(error) }));
  }

  /** The browser is lost or did not start. The table in recovery.ts says what happens next. */
  function lose(cause: SessionReason, detail: string): void {
    // On a full disk a browser fails like with any other failure; that must not use up the attempts.
    const why = recoveryFor(cause) === 'restart' && deps.profiles.isFull() ? 'DISK_FULL' : cause;
    log.warn('A session lost its browser.', { sessionId: id, reason: why, detail, attempt: attempts });
    const recovery = recoveryFor(why);
    endRecovery(false);
    if (status === 'connected' || current?.reloaded) recoveryStep = { step: 'restart', reason: why };
    void end();
    if (recovery === 'unlinked') afterEnd('The login could not be deleted.', wipe);
    // A stop is running and decides the next state.
    if (!wanted) return;
    if (recovery === 'restart' || recovery === 'restart_uncounted') return restartLater(why, recovery === 'restart');
    stay(recovery === 'error' ? 'error' : 'disconnected', why);
  }

  /** Ends in `to` without another try. */
  function stay(to: 'error' | 'disconnected', why: SessionReason): void {
    wanted = false;
    endRecovery(false);
    move(to, why);
  }

  /** Emits the result of the running recovery step, if there is one. */
  function endRecovery(ok: boolean): void {
    if (recoveryStep) deps.emit({ event: 'session.heal', payload: { ...recoveryStep, ok } });
    recoveryStep = null;
  }

  /**
   * Handles a connected page that fails its probes. The page is reloaded once, if the browser still accepts commands; if that does not help in
   * time, the browser is replaced. A frozen or dead browser accepts no command and is replaced at once.
   */
  async function escalate(
    ownLaunch: number,
    run: BrowserRun,
    session: EngineSession,
    why: SessionReason,
    detail: string,
  ): Promise<void> {
    if (run.reloaded || status !== 'connected') return lose(why, detail);
    run.reloaded = true;
    run.health?.stop();
    run.health = null;
    run.ready = false;
    recoveryStep = { step: 'reload', reason: why };
    log.warn('The page does not answer; it is reloaded.', { sessionId: id, reason: why, detail });
    move('connecting', why);
    later(reloadMs.step, () => lose(why, 'Reloading the page did not help.'));
    try {
      await session.reload(reloadMs.command);
    } catch (error) {
      if (ownLaunch === launchId && !run.ready) lose(why, wordsOf(error));
    }
  }

  /** Replaces a browser above its memory limit while nothing is being sent. The page never trims its message store. */
  function recycle(memoryMb: number): void {
    if (deps.recycleAboveMb === 0 || memoryMb <= deps.recycleAboveMb || status !== 'connected' || lane.depth() > 0) return;
    deps.emit({ event: 'session.recycled', payload: { reason: 'MEMORY_RECYCLED', memoryMb } });
    log.info('The browser exceeds its memory limit; it is restarted.', { sessionId: id, memoryMb });
    const recycling = inOrder(async () => {
      // A send or a stop may have come meanwhile; the next memory check decides again.
      if (!wanted || status !== 'connected' || lane.depth() > 0) return;
      await end();
      if (!wanted) return;
      move('initializing', 'MEMORY_RECYCLED');
      begin();
    });
    background('recycling', recycling);
  }

  function restartLater(why: SessionReason, counted: boolean): void {
    losses += 1;
    if (counted) attempts += 1;
    if (!deps.mayReconnect()) return stay('disconnected', 'RECONNECT_OFF');
    if (attempts > deps.maxReconnectAttempts) return stay('error', 'RECONNECT_EXHAUSTED');
    const restarts = status !== 'initializing' && sessionMoves[status].includes('initializing') && status !== 'disconnected';
    move(restarts ? 'initializing' : 'disconnected', why);
    // The first restart comes at once: most crashes do not repeat.
    const longest = why === 'DISK_FULL' ? longestWaitForSpaceMs : 300_000;
    const delay = losses <= 1 ? 200 : backoff(losses - 1, 5_000, longest, deps.random);
    later(delay, begin);
  }

  async function wipe(): Promise<void> {
    identity = null;
    marks.unfreeze(id);
    marks.clearWatermark(id);
    await deps.profiles.wipe(id);
  }

  /** Runs stops and restarts one after the other. */
  function inOrder(what: () => Promise<void>): Promise<void> {
    waitingOrders += 1;
    const result = orders.then(what).finally(() => {
      waitingOrders -= 1;
    });
    orders = result.catch(() => undefined);
    return result;
  }

  function onSignal(ownLaunch: number, signal: EngineSignal): void {
    if (ownLaunch !== launchId) return;
    switch (signal.type) {
      case 'qr':
        return showCode(signal);
      case 'qr_exhausted':
        return lose('QR_TIMEOUT', 'All codes were shown.');
      case 'passkey_required':
        if (status !== 'qr_pending') return;
        move('passkey_required', 'WAITING_FOR_PASSKEY');
        return later(passkeyMs, () => lose('QR_TIMEOUT', 'The passkey was not confirmed in time.'));
      case 'authenticated':
        if (status === 'connected') return;
        move('connecting', 'SYNCING');
        return later(deps.initTimeoutMs, () => lose('READY_TIMEOUT', 'The sync did not end in time.'));
      case 'ready':
        identity = signal.identity;
        if (current) current.ready = true;
        if (status !== 'connected' && status !== 'connecting') move('connecting', 'SYNCING');
        return background('proof', prove(ownLaunch));
      case 'line':
        if (signal.up) return current?.ready ? background('proof', prove(ownLaunch)) : undefined;
        if (status !== 'connected') return;
        move('connecting', 'RECONNECTING');
        return later(deps.initTimeoutMs, () => lose('NETWORK_UNREACHABLE', 'The connection to WhatsApp did not return in time.'));
      case 'gone':
        return lose(signal.reason, signal.detail);
      case 'unreadable':
        return deps.problems.note('EVENT_UNREADABLE', { sessionId: id, detail: `${signal.what}: ${signal.detail}` });
      case 'event':
        if (signal.event.startsWith('message.')) failPoint('event.seen');
        deps.emit(signal);
        if (signal.event === 'message.observed') current?.catchUp?.observed(Date.parse(signal.payload.message.timestamp));
    }
  }

  function showCode({ text, expiresAt }: { text: string; expiresAt: Date }): void {
    // A connected page shows a code: a new browser finds out whether the login still works.
    if (status === 'connected') return lose('RECONNECTING', 'The page shows a code instead of the chats.');
    if (current && qr?.text !== text) current.codes += 1;
    if (current && current.codes > deps.maxQrCodes) return lose('QR_TIMEOUT', 'QR_MAX_RETRIES codes were shown without a scan.');
    qr = { text, expiresAt };
    move('qr_pending', 'WAITING_FOR_SCAN');
    deps.emit({ event: 'session.qr', payload: { qrText: text, expiresAt: expiresAt.toISOString() } });
    // The wall clock may have jumped since the code was created.
    const waitMs = Math.min(longestCodeMs, Math.max(0, expiresAt.getTime() - clock.now())) + codeGraceMs;
    later(waitMs, () => lose('PAGE_UNRESPONSIVE', 'The code expired and no new one arrived.'));
  }

  /** Probes the page. A session is connected only after a successful probe, not when the page says so. */
  async function prove(ownLaunch: number): Promise<void> {
    const run = current;
    if (!run || run.proving) return;
    run.proving = true;
    // `ready` may arrive before the launch has returned the session.
    await run.launched;
    if (ownLaunch !== launchId || !run.session) return;
    try {
      const { canary } = await run.session.probe(probeDeadlineMs);
      if (ownLaunch !== launchId) return;
      if (!canary) return lose('EVENT_BRIDGE_BROKEN', 'The page answers, but its events do not arrive.');
    } catch (error) {
      if (ownLaunch === launchId) lose('PAGE_UNRESPONSIVE', wordsOf(error));
      return;
    } finally {
      run.proving = false;
    }
    proven(ownLaunch, run, run.session);
  }

  function proven(ownLaunch: number, run: BrowserRun, session: EngineSession): void {
    move('connected', null);
    endRecovery(true);
    later(steadyMs, () => {
      attempts = 0;
      losses = 0;
      run.reloaded = false;
    });
    run.health ??= createHealth({
      session,
      clock,
      everyMs: deps.probeMs,
      onLost: (why, detail) => {
        if (ownLaunch === launchId) background('reload', escalate(ownLaunch, run, session, why, detail));
      },
      onMemory: (mb) => {
        if (ownLaunch === launchId) recycle(mb);
      },
      onFailure: (error) => deps.problems.note('TASK_FAILED', { sessionId: id, detail: 'health probe', error }),
      onProbeFailed: (why) => deps.emit({ event: 'session.heal', payload: { step: 'probe', reason: why, ok: false } }),
    });
    const { random, problems, emit, watched } = deps;
    run.catchUp ??= createCatchUp({
      sessionId: id,
      session,
      marks,
      emit,
      phoneNumber: () => identity?.phoneNumber ?? null,
      inherited: () =>
        inherited !== null && sameNumber(inherited.phoneNumber, identity?.phoneNumber) ? Date.parse(inherited.at) : null,
      watched,
      clock,
      random,
      log,
      problems,
    });
    void run.catchUp.run(null);
  }

  function connected(): EngineSession {
    if (status !== 'connected' || !current?.session)
      throw new AppError('SESSION_NOT_CONNECTED', { status, reason: reasonOf(reason) });
    return current.session;
  }

  /**
   * The engine ends every send by its deadline. A send that hangs anyway must not block the lane: it is abandoned and can no longer hand its
   * message over. Rejects then; the record says whether the message was handed over before.
   */
  async function bounded(
    session: EngineSession,
    send: EngineSend,
    onHandover: () => Promise<number>,
  ): ReturnType<EngineSession['send']> {
    let isAbandoned = false;
    const sending = session.send(send, async () => {
      if (isAbandoned) throw new AppError('OPERATION_TIMEOUT', { operation: 'send', effect: 'none' });
      return onHandover();
    });
    if (await settlesWithin(clock, sending, send.deadlineMs + sendGraceMs)) return sending;
    isAbandoned = true;
    sending.catch(() => undefined); // Its outcome was already reported.
    throw new Error('A send did not end by its deadline.');
  }

  async function unlink(): Promise<void> {
    if (status !== 'connected' || !current?.session) return;
    try {
      await current.session.logout();
    } catch (error) {
      log.warn('WhatsApp did not confirm the logout; the login is deleted here anyway.', {
        sessionId: id,
        ...errorFields(error),
      });
    }
  }

  return {
    id,
    epoch: () => epoch,
    adopt(next) {
      // On disk first, because events read the epoch from there. If that fails nothing has changed, and the next command retries.
      marks.raiseEpoch(id, next);
      epoch = next;
      deps.readopt(next);
      if (reason !== 'NOT_STARTED') emitState();
    },
    inherit(caughtUp) {
      inherited = caughtUp;
    },
    start(name) {
      changed = clock.monotonic();
      if (name !== null) deviceName = name;
      if (wanted) return;
      wanted = true;
      attempts = 0;
      losses = 0;
      // A running stop would end the new browser instead of the old one.
      if (waitingOrders === 0) return begin();
      background(
        'start',
        orders.then(() => {
          if (wanted && !current) begin();
        }),
      );
    },
    stop({ logout, reason: why }) {
      changed = clock.monotonic();
      wanted = false;
      return inOrder(async () => {
        if (status === 'connected') await lane.idle(sendsFinishMs);
        if (logout) await unlink();
        await end();
        recoveryStep = null;
        const known = status !== 'disconnected' || reason !== 'NOT_STARTED';
        if (logout) {
          await wipe().catch((error: unknown) => {
            // The browser has ended, but the login was not deleted.
            move('disconnected', 'USER_STOPPED');
            throw error;
          });
          move('disconnected', 'USER_LOGGED_OUT');
        } else if (known) move('disconnected', why ?? 'USER_STOPPED');
      });
    },
    restart() {
      changed = clock.monotonic();
      wanted = true;
      return inOrder(async () => {
        await lane.idle(sendsFinishMs);
        // A stop came while this waited; the last command counts.
        if (!wanted) return;
        await end();
        attempts = 0;
        losses = 0;
        if (status === 'passkey_required') move('disconnected', 'RECONNECTING');
        if (wanted) begin();
      });
    },
    requireAccount(account) {
      if (account === null || (account.phoneNumber === null && account.lid === null)) return;
      const isSame = identity && isSameAccount(account, identity);
      if (isSame === false) throw new AppError('SESSION_IDENTITY_CHANGED');
      if (isSame === null) throw new AppError('SESSION_NOT_CONNECTED', {}, accountUnknown);
    },
    lease,
    changedAt: () => changed,
    isRunning: () => wanted,
    async send(send, { onTurn, onHandover }) {
      connected();
      return lane.run(async () => {
        const session = connected();
        onTurn();
        return bounded(session, send, onHandover);
      });
    },
    async run(operation, input, deadlineMs) {
      const session = operation === 'session.pairingCode' ? current?.session : connected();
      if (!session) throw new AppError('SESSION_STATE_CONFLICT', { status });
      const output = await session.run(operation, input, deadlineMs);
      if (operation === 'session.pairingCode') {
        if (current) current.codes = 0;
        const { code, expiresAt } = output as { code: string; expiresAt: string };
        deps.emit({ event: 'session.pairing_code', payload: { code, expiresAt, phoneNumber: String(input['phoneNumber']) } });
      }
      return output;
    },
    downloadMedia: (whatsappId, deadlineMs, maxBytes) => connected().downloadMedia(whatsappId, deadlineMs, maxBytes),
    backfill(since) {
      connected();
      void current?.catchUp?.run(since);
    },
    missed() {
      if (current?.catchUp) current.catchUp.missed();
      // The next connection scans from the mark on disk.
      else marks.unfreeze(id);
    },
    observe: () => ({
      sessionId: id,
      epoch,
      status,
      reason: reasonOf(reason),
      phoneNumber: identity?.phoneNumber ?? null,
      lid: identity?.lid ?? null,
      pushName: identity?.pushName ?? null,
      platform: identity?.platform ?? null,
      whatsappWebVersion: identity?.whatsappWebVersion ?? null,
      qrText: qr?.text ?? null,
      qrExpiresAt: qr?.expiresAt.toISOString() ?? null,
      lastRoundTripAt: current?.health?.lastRoundTripAt()?.toISOString() ?? null,
      compat: compatReports(),
      metrics: { ...(current?.health?.metrics() ?? emptyMetrics), queueDepth: lane.depth() },
    }),
  };
}

const sameNumber = (one: string, other: string | null | undefined): boolean =>
  one.replace(/\D/g, '') === (other ?? '').replace(/\D/g, '');

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export const emptyMetrics = {
  memoryMb: null,
  cpuPercent: null,
  processes: 0,
  browserUptimeSeconds: null,
  roundTripMs: null,
  queueDepth: 0,
};

const reasonOf = (code: SessionReason | null): { code: string; message: string } | null =>
  code ? { code, message: sessionReasons[code] } : null;
