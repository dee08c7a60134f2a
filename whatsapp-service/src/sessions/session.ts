import {
  AppError,
  sessionMoves,
  sessionReasons,
  type InternalOperationId,
  type ObservedSession,
  type OperationId,
  type SessionReason,
  type SessionStatus,
} from '@chasqui/shared';
import { backoff, type Clock } from '../clock.js';
import {
  EngineError,
  type Engine,
  type EngineSend,
  type EngineSession,
  type EngineSignal,
  type Identity,
} from '../engine/engine.js';
import type { WorkerEvent } from '../events/outlet.js';
import { errorFields, type Log } from '../log.js';
import { createLane } from '../sends/lane.js';
import { fateOf } from './fates.js';
import type { Gate } from './gate.js';
import { createHealth, type Health } from './health.js';
import type { Marks } from './marks.js';
import type { Profile, Profiles } from './profiles.js';

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
  /** Starts, or joins the start that is running. */
  start(deviceName: string | null): void;
  /** Stops the browser and keeps the login; `logout` unlinks the device and deletes the login. */
  stop(options: { logout: boolean; reason?: SessionReason }): Promise<void>;
  restart(): Promise<void>;
  isRunning(): boolean;
  send(send: EngineSend, hooks: { onTurn: () => void; onHandover: () => Promise<void> }): ReturnType<EngineSession['send']>;
  run(operation: OperationId | InternalOperationId, input: Record<string, unknown>, deadlineMs: number): Promise<unknown>;
  downloadMedia(whatsappId: string, deadlineMs: number): ReturnType<EngineSession['downloadMedia']>;
  backfill(since: Date): void;
  observe(): ObservedSession;
}

export interface SessionDeps {
  engine: Engine;
  profiles: Profiles;
  gate: Gate;
  marks: Marks;
  emit: (event: WorkerEvent) => void;
  clock: Clock;
  random: () => number;
  log: Log;
  initTimeoutMs: number;
  probeMs: number;
  maxReconnectAttempts: number;
}

const perChatBackfill = 200;
const mostBackfillMs = 7 * 86_400_000;

export function createSession(id: string, deps: SessionDeps): Session {
  const { clock, log, marks } = deps;
  const lane = createLane(clock);
  let status: SessionStatus = 'disconnected';
  let reason: SessionReason | null = 'NOT_STARTED';
  let epoch = marks.epoch(id);
  let turn = 0;
  let wanted = false;
  let attempts = 0;
  let deviceName: string | null = null;
  let identity: Identity | null = null;
  let qr: { text: string; expiresAt: Date } | null = null;
  let current: { session: EngineSession | null; profile: Profile | null; abort: AbortController; health: Health | null } | null =
    null;
  let ending: Promise<void> = Promise.resolve();
  let cancelTimer = (): void => undefined;
  let backfilled = false;

  function tell(): void {
    const { phoneNumber = null, lid = null, pushName = null, platform = null, whatsappWebVersion = null } = identity ?? {};
    const compat = current?.session?.compat() ?? [];
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

  async function begin(): Promise<void> {
    const mine = ++turn;
    const abort = new AbortController();
    const part = { session: null as EngineSession | null, profile: null as Profile | null, abort, health: null as Health | null };
    current = part;
    backfilled = false;
    move('initializing', 'STARTING');
    await ending;
    let leave = (): void => undefined;
    try {
      leave = await deps.gate.enter(abort.signal);
      part.profile = await deps.profiles.claim(id, abort.signal);
      part.session = await deps.engine.launch({
        sessionId: id,
        profileDir: part.profile.dir,
        deviceName,
        abort: abort.signal,
        onSignal: (signal) => onSignal(mine, signal),
      });
      if (mine === turn && status === 'initializing')
        later(deps.initTimeoutMs, () => void lose('PAGE_LOAD_TIMEOUT', 'The page showed neither a code nor a login in time.'));
    } catch (error) {
      if (mine !== turn) return void (await release(part));
      await lose(
        error instanceof EngineError ? error.reason : 'BROWSER_CRASHED',
        error instanceof Error ? error.message : String(error),
      );
    } finally {
      leave();
    }
    // Stopped while it started: whoever stopped it could not close what was not there yet.
    if (mine !== turn) await release(part);
  }

  async function release(part: NonNullable<typeof current>): Promise<void> {
    part.health?.stop();
    part.abort.abort();
    await part.session?.close();
    await part.profile?.release();
    part.profile = null;
  }

  /** Ends the present browser and the turn with it. Whoever starts next waits for this end. */
  function end(): Promise<void> {
    turn += 1;
    cancelTimer();
    const part = current;
    current = null;
    if (part)
      ending = ending
        .then(() => release(part))
        .catch((error: unknown) => log.error('A browser could not be put away.', { sessionId: id, ...errorFields(error) }));
    return ending;
  }

  /** The browser is lost or never came up: what follows stands in the table of fates. */
  async function lose(why: SessionReason, detail: string): Promise<void> {
    log.warn('A session lost its browser.', { sessionId: id, reason: why, detail, attempt: attempts });
    const fate = fateOf(why);
    const ended = end();
    if (fate === 'again' || fate === 'again_uncounted') return again(why, fate === 'again');
    wanted = false;
    if (fate === 'unlinked') {
      await ended;
      await wipe();
    }
    move(fate === 'error' ? 'error' : 'disconnected', why);
  }

  function again(why: SessionReason, counted: boolean): void {
    if (counted) attempts += 1;
    if (attempts > deps.maxReconnectAttempts) {
      wanted = false;
      return move('error', 'RECONNECT_EXHAUSTED');
    }
    move(status === 'initializing' || status === 'disconnected' ? 'disconnected' : 'initializing', why);
    // The first time at once: most losses are a crash that does not come again.
    const delay = attempts <= 1 ? 200 : backoff(attempts - 1, 5_000, 300_000, deps.random);
    later(delay, () => void begin());
  }

  async function wipe(): Promise<void> {
    identity = null;
    marks.clearWatermark(id);
    await deps.profiles.wipe(id);
  }

  function onSignal(mine: number, signal: EngineSignal): void {
    if (mine !== turn) return;
    switch (signal.type) {
      case 'qr':
        cancelTimer();
        move('qr_pending', 'WAITING_FOR_SCAN');
        qr = { text: signal.text, expiresAt: signal.expiresAt };
        return deps.emit({ event: 'session.qr', payload: { qrText: signal.text, expiresAt: signal.expiresAt.toISOString() } });
      case 'qr_exhausted':
        return void lose('QR_TIMEOUT', 'All codes were shown.');
      case 'passkey_required':
        return move('passkey_required', 'WAITING_FOR_PASSKEY');
      case 'authenticated':
        if (status === 'connected') return;
        move('connecting', 'SYNCING');
        return later(deps.initTimeoutMs, () => void lose('READY_TIMEOUT', 'The sync did not end in time.'));
      case 'ready':
        identity = signal.identity;
        if (status === 'initializing' || status === 'qr_pending' || status === 'passkey_required') move('connecting', 'SYNCING');
        return void prove(mine);
      case 'line':
        if (signal.up) return void prove(mine);
        move('connecting', 'RECONNECTING');
        return later(deps.initTimeoutMs, () => void lose('NETWORK_UNREACHABLE', 'The line did not come back in time.'));
      case 'gone':
        return void lose(signal.reason, signal.detail);
      case 'event':
        return takeIn(signal);
    }
  }

  /** Connected means proven, not said. */
  async function prove(mine: number): Promise<void> {
    const part = current;
    if (mine !== turn || !part) return;
    // `ready` may be told before the launch has handed us the session.
    if (!part.session) return later(20, () => void prove(mine));
    try {
      const { canary } = await part.session.probe(10_000);
      if (mine !== turn) return;
      if (!canary) return void lose('EVENT_BRIDGE_BROKEN', 'The page answers, its events do not come.');
    } catch (error) {
      if (mine === turn) await lose('PAGE_UNRESPONSIVE', error instanceof Error ? error.message : String(error));
      return;
    }
    cancelTimer();
    attempts = 0;
    move('connected', null);
    watch(mine, part, part.session);
    void catchUp(mine, part.session, null);
  }

  function watch(mine: number, part: NonNullable<typeof current>, session: EngineSession): void {
    part.health ??= createHealth({
      session,
      clock,
      everyMs: deps.probeMs,
      onLost: (why, detail) => {
        if (mine !== turn) return;
        deps.emit({ event: 'session.heal', payload: { step: 'restart', reason: why, ok: true } });
        void lose(why, detail);
      },
      onDoubt: (why) => deps.emit({ event: 'session.heal', payload: { step: 'probe', reason: why, ok: false } }),
    });
  }

  function takeIn(signal: Extract<EngineSignal, { type: 'event' }>): void {
    deps.emit({ event: signal.event, payload: signal.payload } as WorkerEvent);
    // Only once the past is taken in: a mark that is ahead of a message that is still to come would hide it after a crash.
    if (backfilled && signal.event === 'message.observed') marks.raiseWatermark(id, Date.parse(signal.payload.message.timestamp));
  }

  /** Takes in what came while nobody listened. The first time there is no past of ours: it begins now. */
  async function catchUp(mine: number, session: EngineSession, asked: Date | null): Promise<void> {
    const mark = marks.watermark(id);
    const startedAt = clock.now();
    try {
      if (mark !== null || asked) {
        const since = asked ?? new Date(Math.max(mark ?? 0, startedAt - mostBackfillMs));
        const found = await session.backfill({ since, perChat: perChatBackfill });
        if (mine !== turn) return;
        deps.emit({
          event: 'session.backfill',
          payload: { ...found, from: since.toISOString(), to: new Date(startedAt).toISOString() },
        });
      }
      marks.raiseWatermark(id, startedAt - 2_000);
      backfilled = true;
    } catch (error) {
      if (mine !== turn) return;
      log.warn('What was missed could not be taken in; it is tried again.', { sessionId: id, ...errorFields(error) });
      clock.after(10_000, () => void (mine === turn && catchUp(mine, session, asked)));
    }
  }

  function connected(): EngineSession {
    if (status !== 'connected' || !current?.session)
      throw new AppError('SESSION_NOT_CONNECTED', { status, reason: reasonOf(reason) });
    return current.session;
  }

  return {
    id,
    epoch: () => epoch,
    adopt(next) {
      epoch = next;
      marks.raiseEpoch(id, next);
    },
    start(name) {
      deviceName = name;
      if (wanted) return;
      wanted = true;
      attempts = 0;
      void begin();
    },
    async stop({ logout, reason: why }) {
      wanted = false;
      const session = current?.session;
      if (status === 'connected') await lane.idle(10_000);
      if (logout && session && status === 'connected') {
        await session.logout().catch((error: unknown) =>
          log.warn('WhatsApp did not confirm the logout; the login is deleted here all the same.', {
            sessionId: id,
            ...errorFields(error),
          }),
        );
      }
      await end();
      if (logout) await wipe();
      if (status !== 'disconnected' || reason !== 'NOT_STARTED' || logout)
        move('disconnected', why ?? (logout ? 'USER_LOGGED_OUT' : 'USER_STOPPED'));
    },
    async restart() {
      await lane.idle(10_000);
      await end();
      wanted = true;
      attempts = 0;
      await begin();
    },
    isRunning: () => wanted,
    send(send, { onTurn, onHandover }) {
      connected();
      return lane.run(async () => {
        const session = connected();
        onTurn();
        return session.send(send, onHandover);
      });
    },
    async run(operation, input, deadlineMs) {
      const session = operation === 'session.pairingCode' ? current?.session : connected();
      if (!session) throw new AppError('SESSION_STATE_CONFLICT', { status });
      const output = await session.run(operation, input, deadlineMs);
      if (operation === 'session.pairingCode') {
        const { code, expiresAt } = output as { code: string; expiresAt: string };
        deps.emit({ event: 'session.pairing_code', payload: { code, expiresAt, phoneNumber: String(input['phoneNumber']) } });
      }
      return output;
    },
    downloadMedia: (whatsappId, deadlineMs) => connected().downloadMedia(whatsappId, deadlineMs),
    backfill: (since) => void catchUp(turn, connected(), since),
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
      compat: current?.session?.compat() ?? [],
      metrics: { ...(current?.health?.metrics() ?? emptyMetrics), queueDepth: lane.depth() },
    }),
  };
}

const emptyMetrics = { memoryMb: null, cpuPercent: null, processes: 0, browserUptimeSeconds: null, roundTripMs: null };

const reasonOf = (code: SessionReason | null): { code: string; message: string } | null =>
  code ? { code, message: sessionReasons[code] } : null;
