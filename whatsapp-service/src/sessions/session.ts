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
import { fateOf } from './fates.js';
import type { Gate } from './gate.js';
import { createHealth, type Health } from './health.js';
import { createLease, type Lease } from './lease.js';
import type { Marks } from './marks.js';
import type { Profile, Profiles } from './profiles.js';

const accountUnknown = 'WhatsApp Web has not reported yet which account this session is linked to. Try again in a few seconds.';

/**
 * One session: a browser on a login, its state, and the lane of its sends.
 *
 * | status | what is true | leaves it on |
 * | --- | --- | --- |
 * | disconnected | no browser; perhaps another start is due | start |
 * | initializing | a browser starts, or is about to after a loss | a code, a stored login, a failure |
 * | qr_pending | the page shows codes | scan, codes run out, loss |
 * | passkey_required | WhatsApp asks for a passkey | confirmed, run out, loss |
 * | connecting | linked; sync or line is not there (yet) | proven, loss, time |
 * | connected | round trip and canary came back, and do so every few seconds | line lost, loss |
 * | error | no browser, and another try would end in the same way | start, stop |
 *
 * Moves are those of `sessionMoves`; another one is a bug, logged and refused. Every start has a number of its own (`turn`): whatever
 * a former browser still says meets a turn that is over and changes nothing.
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
  /** What the backend granted this worker: until then it may send. */
  readonly lease: Lease;
  /** How far the backend has the messages of an account. It counts for a login that has no past on this worker. */
  inherit(caughtUp: CaughtUp): void;
  /** Starts, or joins the start that is running. */
  start(deviceName: string | null): void;
  /** Stops the browser and keeps the login; `logout` unlinks the device and deletes the login. */
  stop(options: { logout: boolean; reason?: SessionReason }): Promise<void>;
  restart(): Promise<void>;
  isRunning(): boolean;
  /** When a change was last asked for, on the monotonic clock: what was decided elsewhere before that is out of date. */
  changedAt(): number;
  send(send: EngineSend, hooks: { onTurn: () => void; onHandover: () => Promise<number> }): ReturnType<EngineSession['send']>;
  run(operation: OperationId | InternalOperationId, input: Record<string, unknown>, deadlineMs: number): Promise<unknown>;
  downloadMedia(whatsappId: string, deadlineMs: number, maxBytes?: number): ReturnType<EngineSession['downloadMedia']>;
  backfill(since: Date): void;
  /** Messages of this session could not be kept; they are scanned for, now or with the next connection. */
  missed(): void;
  observe(): ObservedSession;
}

export interface SessionDeps {
  engine: Engine;
  profiles: Profiles;
  gate: Gate;
  marks: Marks;
  emit: (event: WorkerEvent) => void;
  /** Keys of messages that had a reaction or a change since a time (milliseconds). */
  watched: (since: number) => string[];
  /** The session runs here under a newer epoch: events that were refused under an older one may go again. */
  readopt: (epoch: number) => void;
  clock: Clock;
  random: () => number;
  log: Log;
  problems: Problems;
  initTimeoutMs: number;
  probeMs: number;
  /** After so many codes without a scan the session gives up with QR_TIMEOUT. A pairing code begins the count again. */
  maxQrCodes: number;
  maxReconnectAttempts: number;
  /** Setting `autoReconnect` of the session, as it is now. */
  mayReconnect: () => boolean;
  /** Above so many megabytes the browser is started again when nothing is to be sent. 0: never. */
  recycleAboveMb: number;
}

/** A browser on its way and what belongs to it. */
interface Part {
  readonly abort: AbortController;
  /** Settles when the launch did, well or not; never rejects. */
  launched: Promise<void>;
  session: EngineSession | null;
  profile: Profile | null;
  health: Health | null;
  catchUp: CatchUp | null;
  ready: boolean;
  proving: boolean;
  /** QR codes that were shown. */
  codes: number;
  /** The page was loaded again for the present trouble: the next step is another browser. */
  reloaded: boolean;
  /** The session has gone on without it. */
  abandoned: boolean;
}

const probeDeadlineMs = 10_000;
/** The browser must take the order to load the page again within the first, and the page be proven within the second. */
const reloadMs = { order: 4_000, step: 15_000 };
const sendsFinishMs = 10_000;
/** A start that was called off ends by its signal. What does not end in this time is left behind: a stop of the worker has 30 s in all. */
const launchEndsMs = 12_000;
/** Closing kills what does not end by itself within 5 s; this is for a close that hangs for a reason unknown. */
const closeEndsMs = 15_000;
/** What a send may take beyond its own deadline before the lane goes on without it. */
const sendGraceMs = 10_000;
/** Connected for so long, the losses before it are forgotten: a browser that crashes again and again is not started for ever. */
const steadyMs = 30_000;
/** Room on the disk comes back all at once, and to look again costs one start. */
const longestWaitForRoomMs = 60_000;
/** After a code has expired the next one must have come. */
const codeGraceMs = 30_000;
/** The longest that a code of WhatsApp is shown. */
const longestCodeMs = 120_000;
const passkeyMs = 600_000;

export function createSession(id: string, deps: SessionDeps): Session {
  const { clock, log, marks } = deps;
  const lane = createLane(clock);
  let status: SessionStatus = 'disconnected';
  let reason: SessionReason | null = 'NOT_STARTED';
  let epoch = marks.epoch(id);
  let turn = 0;
  let wanted = false;
  let attempts = 0;
  let losses = 0;
  let healing: { step: 'reload' | 'restart'; reason: SessionReason } | null = null;
  const lease = createLease(clock);
  let changed = 0;
  let deviceName: string | null = null;
  let inherited: CaughtUp | null = null;
  let identity: Identity | null = null;
  let qr: { text: string; expiresAt: Date } | null = null;
  let current: Part | null = null;
  let ending: Promise<void> = Promise.resolve();
  let orders: Promise<void> = Promise.resolve();
  let waitingOrders = 0;
  let cancelTimer = (): void => undefined;

  /** The state of each compatibility patch. A page that cannot say it has none: every session of the worker is read together. */
  function compatReports(): ObservedSession['compat'] {
    try {
      return current?.session?.compat() ?? [];
    } catch (error) {
      deps.problems.note('TASK_FAILED', { sessionId: id, detail: 'compatibility reports', error });
      return [];
    }
  }

  function tell(): void {
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

  /** Work that nobody awaits. */
  const background = (detail: string, work: Promise<void>): void =>
    void work.catch((error: unknown) => deps.problems.note('TASK_FAILED', { sessionId: id, detail, error }));

  function move(to: SessionStatus, why: SessionReason | null): void {
    if (to === status && why === reason) return;
    if (to !== status && !sessionMoves[status].includes(to)) {
      log.error('A move of a session that the table does not have was refused.', {
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
    tell();
  }

  /** Runs `what` after `ms` unless the session has gone on to something else by then. */
  function later(ms: number, what: () => void): void {
    cancelTimer();
    const mine = turn;
    cancelTimer = clock.after(ms, () => {
      if (mine === turn) what();
    });
  }

  function begin(): void {
    turn += 1;
    const mine = turn;
    const part: Part = {
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
    current = part;
    move('initializing', 'STARTING');
    part.launched = launch(mine, part, ending);
  }

  async function launch(mine: number, part: Part, former: Promise<void>): Promise<void> {
    let leave = (): void => undefined;
    try {
      await former;
      leave = await deps.gate.enter(part.abort.signal, losses > 0);
      part.profile = await deps.profiles.claim(id);
      part.session = await deps.engine.launch({
        sessionId: id,
        profileDir: part.profile.dir,
        deviceName,
        abort: part.abort.signal,
        onSignal: (signal) => onSignal(mine, signal),
      });
      if (mine === turn && status === 'initializing')
        later(deps.initTimeoutMs, () => lose('PAGE_LOAD_TIMEOUT', 'The page showed neither a code nor a login in time.'));
    } catch (error) {
      if (mine === turn) lose(error instanceof EngineError ? error.reason : 'BROWSER_CRASHED', wordsOf(error));
    } finally {
      leave();
      if (part.abandoned) await putAway(part);
    }
  }

  /** Ends a browser at whatever stage it is. The login stays locked until the launch is over: two browsers never meet on it. */
  async function release(part: Part): Promise<void> {
    part.health?.stop();
    part.catchUp?.stop();
    part.abort.abort();
    if (!(await settlesWithin(clock, part.launched, launchEndsMs)))
      log.error('A start that was called off does not end.', { sessionId: id });
    // What comes of that start later is put away then: its browser, and the lock on the login, which no other start would get.
    part.abandoned = true;
    await putAway(part);
  }

  async function putAway(part: Part): Promise<void> {
    const closing = part.session?.close() ?? Promise.resolve();
    if (!(await settlesWithin(clock, closing, closeEndsMs))) log.error('A browser does not close.', { sessionId: id });
    await part.profile?.release();
  }

  /** Ends the present browser and the turn with it. Whoever starts next waits for this end. */
  function end(): Promise<void> {
    turn += 1;
    cancelTimer();
    const part = current;
    current = null;
    if (part) afterEnd('A browser could not be put away.', () => release(part));
    return ending;
  }

  function afterEnd(failure: string, what: () => Promise<void>): void {
    ending = ending.then(what).catch((error: unknown) => log.error(failure, { sessionId: id, ...errorFields(error) }));
  }

  /** The browser is lost or never came up: what follows stands in the table of fates. */
  function lose(seen: SessionReason, detail: string): void {
    // What a full disk does to a browser looks like any other failure; the attempts must not be used up meanwhile.
    const why = fateOf(seen) === 'again' && deps.profiles.isFull() ? 'DISK_FULL' : seen;
    log.warn('A session lost its browser.', { sessionId: id, reason: why, detail, attempt: attempts });
    const fate = fateOf(why);
    healed(false);
    if (status === 'connected' || current?.reloaded) healing = { step: 'restart', reason: why };
    void end();
    if (fate === 'unlinked') afterEnd('The login could not be deleted.', wipe);
    // A stop is under way: it says how this ends.
    if (!wanted) return;
    if (fate === 'again' || fate === 'again_uncounted') return again(why, fate === 'again');
    giveUp(fate === 'error' ? 'error' : 'disconnected', why);
  }

  function giveUp(to: 'error' | 'disconnected', why: SessionReason): void {
    wanted = false;
    healed(false);
    move(to, why);
  }

  function healed(ok: boolean): void {
    if (healing) deps.emit({ event: 'session.heal', payload: { ...healing, ok } });
    healing = null;
  }

  /**
   * A connected page that does not prove itself: it is loaded again, once, where the browser still takes orders; what that does not mend
   * within its time needs another browser. A frozen or dead browser takes none, and is replaced at once.
   */
  async function climb(mine: number, part: Part, session: EngineSession, why: SessionReason, detail: string): Promise<void> {
    if (part.reloaded || status !== 'connected') return lose(why, detail);
    part.reloaded = true;
    part.health?.stop();
    part.health = null;
    part.ready = false;
    healing = { step: 'reload', reason: why };
    log.warn('A page does not answer; it is loaded anew.', { sessionId: id, reason: why, detail });
    move('connecting', why);
    later(reloadMs.step, () => lose(why, 'Loading the page anew did not mend it.'));
    try {
      await session.reload(reloadMs.order);
    } catch (error) {
      if (mine === turn && !part.ready) lose(why, wordsOf(error));
    }
  }

  /** A page's message store is never trimmed. A browser that has grown too big is replaced while its session has nothing to send. */
  function recycle(memoryMb: number): void {
    if (deps.recycleAboveMb === 0 || memoryMb <= deps.recycleAboveMb || status !== 'connected' || lane.depth() > 0) return;
    deps.emit({ event: 'session.recycled', payload: { reason: 'MEMORY_RECYCLED', memoryMb } });
    log.info('A browser has grown too big; it is started anew.', { sessionId: id, memoryMb });
    const recycling = inOrder(async () => {
      // Somebody may have sent or stopped meanwhile: the next look at its memory comes.
      if (!wanted || status !== 'connected' || lane.depth() > 0) return;
      await end();
      if (!wanted) return;
      move('initializing', 'MEMORY_RECYCLED');
      begin();
    });
    background('recycling', recycling);
  }

  function again(why: SessionReason, counted: boolean): void {
    losses += 1;
    if (counted) attempts += 1;
    if (!deps.mayReconnect()) return giveUp('disconnected', 'RECONNECT_OFF');
    if (attempts > deps.maxReconnectAttempts) return giveUp('error', 'RECONNECT_EXHAUSTED');
    const restarts = status !== 'initializing' && sessionMoves[status].includes('initializing') && status !== 'disconnected';
    move(restarts ? 'initializing' : 'disconnected', why);
    // The first time at once: most losses are a crash that does not come again.
    const longest = why === 'DISK_FULL' ? longestWaitForRoomMs : 300_000;
    const delay = losses <= 1 ? 200 : backoff(losses - 1, 5_000, longest, deps.random);
    later(delay, begin);
  }

  async function wipe(): Promise<void> {
    identity = null;
    marks.release(id);
    marks.clearWatermark(id);
    await deps.profiles.wipe(id);
  }

  /** Stops and restarts run one after the other, each to its end. */
  function inOrder(what: () => Promise<void>): Promise<void> {
    waitingOrders += 1;
    const result = orders.then(what).finally(() => {
      waitingOrders -= 1;
    });
    orders = result.catch(() => undefined);
    return result;
  }

  function onSignal(mine: number, signal: EngineSignal): void {
    if (mine !== turn) return;
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
        return background('proof', prove(mine));
      case 'line':
        if (signal.up) return current?.ready ? background('proof', prove(mine)) : undefined;
        if (status !== 'connected') return;
        move('connecting', 'RECONNECTING');
        return later(deps.initTimeoutMs, () => lose('NETWORK_UNREACHABLE', 'The line did not come back in time.'));
      case 'gone':
        return lose(signal.reason, signal.detail);
      case 'unreadable':
        return deps.problems.note('EVENT_UNREADABLE', { sessionId: id, detail: `${signal.what}: ${signal.detail}` });
      case 'event':
        if (signal.event.startsWith('message.')) failPoint('event.seen');
        deps.emit(signal);
        if (signal.event === 'message.observed') current?.catchUp?.saw(Date.parse(signal.payload.message.timestamp));
    }
  }

  function showCode({ text, expiresAt }: { text: string; expiresAt: Date }): void {
    // A code in place of a connected page: whatever became of the login, a new browser shows it.
    if (status === 'connected') return lose('RECONNECTING', 'The page shows a code instead of the chats.');
    if (current && qr?.text !== text) current.codes += 1;
    if (current && current.codes > deps.maxQrCodes)
      return lose('QR_TIMEOUT', 'As many codes were shown as QR_MAX_RETRIES allows.');
    qr = { text, expiresAt };
    move('qr_pending', 'WAITING_FOR_SCAN');
    deps.emit({ event: 'session.qr', payload: { qrText: text, expiresAt: expiresAt.toISOString() } });
    // The wall clock may jump between the making of the code and now.
    const patience = Math.min(longestCodeMs, Math.max(0, expiresAt.getTime() - clock.now())) + codeGraceMs;
    later(patience, () => lose('PAGE_UNRESPONSIVE', 'The code expired and no other came.'));
  }

  /** Connected means proven, not said. */
  async function prove(mine: number): Promise<void> {
    const part = current;
    if (!part || part.proving) return;
    part.proving = true;
    // `ready` may be told before the launch has handed us the session.
    await part.launched;
    if (mine !== turn || !part.session) return;
    try {
      const { canary } = await part.session.probe(probeDeadlineMs);
      if (mine !== turn) return;
      if (!canary) return lose('EVENT_BRIDGE_BROKEN', 'The page answers, its events do not come.');
    } catch (error) {
      if (mine === turn) lose('PAGE_UNRESPONSIVE', wordsOf(error));
      return;
    } finally {
      part.proving = false;
    }
    proven(mine, part, part.session);
  }

  function proven(mine: number, part: Part, session: EngineSession): void {
    move('connected', null);
    healed(true);
    later(steadyMs, () => {
      attempts = 0;
      losses = 0;
      part.reloaded = false;
    });
    part.health ??= createHealth({
      session,
      clock,
      everyMs: deps.probeMs,
      onLost: (why, detail) => {
        if (mine === turn) background('reload', climb(mine, part, session, why, detail));
      },
      onMemory: (mb) => {
        if (mine === turn) recycle(mb);
      },
      onFailure: (error) => deps.problems.note('TASK_FAILED', { sessionId: id, detail: 'health probe', error }),
      onDoubt: (why) => deps.emit({ event: 'session.heal', payload: { step: 'probe', reason: why, ok: false } }),
    });
    const { random, problems, emit, watched } = deps;
    part.catchUp ??= createCatchUp({
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
    void part.catchUp.run(null);
  }

  function connected(): EngineSession {
    if (status !== 'connected' || !current?.session)
      throw new AppError('SESSION_NOT_CONNECTED', { status, reason: reasonOf(reason) });
    return current.session;
  }

  /**
   * The engine ends every send by its deadline. One that hangs all the same must not stop the lane: it is given up, and can no longer hand
   * its message over. Rejects then; the record says whether the message was handed over before.
   */
  async function bounded(
    session: EngineSession,
    send: EngineSend,
    onHandover: () => Promise<number>,
  ): ReturnType<EngineSession['send']> {
    let givenUp = false;
    const sending = session.send(send, async () => {
      if (givenUp) throw new AppError('OPERATION_TIMEOUT', { operation: 'send', effect: 'none' });
      return onHandover();
    });
    if (await settlesWithin(clock, sending, send.deadlineMs + sendGraceMs)) return sending;
    givenUp = true;
    sending.catch(() => undefined); // Whatever it ends in, its outcome was told.
    throw new Error('A send did not end by its deadline.');
  }

  async function unlink(): Promise<void> {
    if (status !== 'connected' || !current?.session) return;
    try {
      await current.session.logout();
    } catch (error) {
      log.warn('WhatsApp did not confirm the logout; the login is deleted here all the same.', {
        sessionId: id,
        ...errorFields(error),
      });
    }
  }

  return {
    id,
    epoch: () => epoch,
    adopt(next) {
      // On the disk first: events carry the epoch from there. When that fails nothing has changed, and the next command tries again.
      marks.raiseEpoch(id, next);
      epoch = next;
      deps.readopt(next);
      if (reason !== 'NOT_STARTED') tell();
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
      // A stop that still runs would take the new browser for the one it ends.
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
        healing = null;
        const known = status !== 'disconnected' || reason !== 'NOT_STARTED';
        if (logout) {
          await wipe().catch((error: unknown) => {
            // The browser is gone, the login is not: say no more than that.
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
        // Stopped while it waited: the last word counts.
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
      // The next connection scans from the mark on the disk.
      else marks.release(id);
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
