import { AppError, type CaughtUp, type HeartbeatReply, type ObservedSession, type WorkerSettings } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import { errorFields, type Log } from '../log.js';
import { instant, type Instant } from './lease.js';
import { isSessionId } from './profiles.js';
import type { SessionSettings } from './session-settings.js';
import type { Session } from './session.js';

/** The sessions of this worker: their limit, their epochs and their desired states. */
export interface Registry {
  /** Starts a session under an epoch, or joins its start. Throws `STALE_EPOCH`, `WORKER_CAPACITY`, `WORKER_MEMORY`, `SHUTTING_DOWN`. */
  init(input: InitInput): Session;
  /** Throws `SESSION_NOT_FOUND`. */
  get(sessionId: string): Session;
  /** The session under this epoch, or null if this worker does not have it; a newer epoch is adopted. Throws `STALE_EPOCH`. */
  under(sessionId: string, epoch: number | undefined): Session | null;
  /** Stops a session. If this worker does not have it, it is created first, so that its login can be deleted. Throws `STALE_EPOCH`. */
  stop(sessionId: string, options: { epoch?: number | undefined; logout: boolean }): Promise<ObservedSession>;
  all(): Session[];
  /**
   * Applies the reply to a heartbeat. `requestedAt` is when the heartbeat was sent: a session that a command has changed since then is newer
   * than the reply and is left as it is.
   */
  reconcile(reply: HeartbeatReply, requestedAt: Instant): Promise<void>;
  /** The memory of all running sessions, in megabytes. */
  memoryMb(): number;
  /** From now on no session starts and no message is sent. */
  drain(): void;
  isDraining(): boolean;
  /** Drains, and stops all running sessions. */
  close(): Promise<void>;
}

export interface InitInput {
  sessionId: string;
  epoch?: number | undefined;
  deviceName?: string | null | undefined;
  settings?: WorkerSettings | undefined;
  leaseMs?: number | undefined;
  caughtUp?: CaughtUp | null | undefined;
}

export interface RegistryOptions {
  create: (id: string) => Session;
  settings: SessionSettings;
  maxSessions: number;
  memoryLimitMb: number | null;
  /** The duration of a lease from the moment of its request, if the backend does not send one. Milliseconds. */
  leaseMs: number;
  clock: Clock;
  log: Log;
}

interface Context extends RegistryOptions {
  readonly sessions: Map<string, Session>;
  /** Sessions to which a heartbeat reply is being applied. A later reply skips them. */
  readonly busy: Set<string>;
  isDraining: boolean;
}

export function createRegistry(options: RegistryOptions): Registry {
  const context: Context = { ...options, sessions: new Map(), busy: new Set(), isDraining: false };
  return {
    init(input) {
      const session = init(context, input);
      // A command of a person, unlike a heartbeat, does not wait for the next check of the proxy.
      session.retry();
      return session;
    },
    get: (sessionId) => get(context, sessionId),
    under: (sessionId, epoch) => under(context, sessionId, epoch),
    stop: (sessionId, stopOptions) => stop(context, sessionId, stopOptions),
    all: () => [...context.sessions.values()],
    reconcile: (reply, requestedAt) => reconcile(context, reply, requestedAt),
    memoryMb: () => memoryMb(context),
    drain() {
      context.isDraining = true;
    },
    isDraining: () => context.isDraining,
    close: () => close(context),
  };
}

const running = ({ sessions }: Context): Session[] => [...sessions.values()].filter((session) => session.isRunning());

const memoryMb = (context: Context): number =>
  running(context).reduce((sum, session) => sum + (session.observe().metrics.memoryMb ?? 0), 0);

function init(context: Context, input: InitInput): Session {
  const { clock, maxSessions, memoryLimitMb } = context;
  const { sessionId, epoch, deviceName, leaseMs = context.leaseMs, caughtUp } = input;
  if (context.isDraining) throw new AppError('SHUTTING_DOWN');
  applySettings(context, sessionId, input.settings);
  const session = getOrCreate(context, sessionId);
  const isNewEpoch = epoch !== undefined && epoch > session.epoch();
  checkEpoch(session, epoch);
  if (caughtUp) session.inherit(caughtUp);
  // A new epoch gets a new lease. A repeated command with the same epoch does not, because it may be old if this process was frozen.
  if (epoch !== undefined && (isNewEpoch || !session.lease.wasGranted())) session.lease.grant(instant(clock), leaseMs);
  if (session.isRunning()) return session;
  if (running(context).length >= maxSessions) throw new AppError('WORKER_CAPACITY', { limit: maxSessions });
  if (memoryLimitMb !== null && memoryMb(context) >= memoryLimitMb)
    throw new AppError('WORKER_MEMORY', { limitMb: memoryLimitMb });
  session.start(deviceName ?? null);
  return session;
}

function applySettings({ settings, sessions }: Context, sessionId: string, given: WorkerSettings | undefined): void {
  settings.apply(sessionId, given);
  sessions.get(sessionId)?.applyProxy();
}

function get({ sessions }: Context, sessionId: string): Session {
  const session = sessions.get(sessionId);
  if (!session) throw new AppError('SESSION_NOT_FOUND');
  return session;
}

function getOrCreate({ sessions, create }: Context, sessionId: string): Session {
  if (!isSessionId(sessionId)) throw new AppError('SESSION_NOT_FOUND');
  let session = sessions.get(sessionId);
  if (!session) sessions.set(sessionId, (session = create(sessionId)));
  return session;
}

function under({ sessions }: Context, sessionId: string, epoch: number | undefined): Session | null {
  const session = sessions.get(sessionId);
  if (session) checkEpoch(session, epoch);
  return session ?? null;
}

function checkEpoch(session: Session, epoch: number | undefined): void {
  if (epoch === undefined || epoch === session.epoch()) return;
  if (epoch < session.epoch()) throw new AppError('STALE_EPOCH', { epoch, current: session.epoch() });
  session.adopt(epoch);
}

async function stop(
  context: Context,
  sessionId: string,
  { epoch, logout }: { epoch?: number | undefined; logout: boolean },
): Promise<ObservedSession> {
  const session = getOrCreate(context, sessionId);
  checkEpoch(session, epoch);
  await session.stop({ logout });
  return session.observe();
}

async function reconcile(context: Context, reply: HeartbeatReply, requestedAt: Instant): Promise<void> {
  const { sessions } = context;
  const { leases, desired, revoke } = reply;
  grantLeases(context, reply, requestedAt);
  const named = new Set([...leases, ...desired, ...revoke].map(({ sessionId }) => sessionId));
  const unnamed = [...sessions.values()].filter(({ id, changedAt }) => !named.has(id) && changedAt() < requestedAt.monotonic);
  const revoked = revoke.flatMap(({ sessionId, epoch }) => {
    const session = sessions.get(sessionId);
    // A revocation of an older epoch is outdated.
    return session && epoch >= session.epoch() ? [session] : [];
  });
  // Sessions that start do not wait for those that stop.
  await Promise.all([
    ...[...unnamed, ...revoked].map((session) => once(context, session.id, () => returnSession(context, session))),
    ...desired.map((entry) => once(context, entry.sessionId, () => applyDesired(context, entry, requestedAt))),
  ]);
}

function grantLeases(context: Context, { leases, leaseMs = context.leaseMs }: HeartbeatReply, requestedAt: Instant): void {
  for (const { sessionId, epoch, settings } of leases) {
    applySettings(context, sessionId, settings);
    const session = context.sessions.get(sessionId);
    // Counted from when the heartbeat was sent, so that a slow network does not extend the lease. Clocks of two machines are never compared.
    if (session?.epoch() === epoch) session.lease.grant(requestedAt, leaseMs);
  }
}

/** Runs `task`, unless another one runs for this session. */
async function once({ busy }: Context, sessionId: string, task: () => Promise<void>): Promise<void> {
  if (busy.has(sessionId)) return;
  busy.add(sessionId);
  try {
    await task();
  } finally {
    busy.delete(sessionId);
  }
}

/** Stops a session that belongs to another worker now. The login stays, because it exists only on this disk. Never rejects. */
async function returnSession({ sessions, log }: Context, session: Session): Promise<void> {
  const { id: sessionId } = session;
  try {
    if (session.isRunning()) {
      log.warn('A session belongs to another worker now; its browser is stopped.', { sessionId, epoch: session.epoch() });
      await session.stop({ logout: false, reason: 'WORKER_LOST' });
    }
    if (!session.isRunning()) sessions.delete(sessionId);
  } catch (error) {
    log.error('A session could not be released; the next heartbeat retries.', { sessionId, ...errorFields(error) });
  }
}

async function applyDesired(context: Context, desired: HeartbeatReply['desired'][number], requestedAt: Instant): Promise<void> {
  const { sessionId, state, epoch, deviceName, settings, caughtUp } = desired;
  applySettings(context, sessionId, settings);
  const session = context.sessions.get(sessionId);
  if (session && session.changedAt() >= requestedAt.monotonic) return;
  try {
    if (state === 'stopped') {
      if (session?.isRunning()) await stop(context, sessionId, { epoch, logout: false });
    } else if (session && !session.isRunning() && !mayStartUnattended(session)) under(context, sessionId, epoch);
    else init(context, { sessionId, epoch, deviceName, settings, caughtUp });
  } catch (error) {
    // An error of one session must not affect the others. The next heartbeat repeats the desired state.
    const cause = error instanceof AppError ? { code: error.code } : errorFields(error);
    context.log.warn('A session could not be brought to its desired state.', { sessionId, state, ...cause });
  }
}

/** Whether the session may start without a command of a person. It may not if it ran out of attempts, was logged out, or its code was not scanned. */
function mayStartUnattended(session: Session): boolean {
  const { reason } = session.observe();
  return reason !== null && ['NOT_STARTED', 'USER_STOPPED', 'WORKER_LOST'].includes(reason.code);
}

async function close(context: Context): Promise<void> {
  context.isDraining = true;
  // Waits for every session, even if one fails.
  await Promise.allSettled(running(context).map((session) => session.stop({ logout: false, reason: 'WORKER_LOST' })));
}
