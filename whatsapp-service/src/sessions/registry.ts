import { AppError, type CaughtUp, type HeartbeatReply, type ObservedSession, type WorkerSettings } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import { errorFields, type Log } from '../log.js';
import { instant, type Instant } from './lease.js';
import { isSessionId } from './profiles.js';
import type { Session } from './session.js';

const stripPauseMs = 10;

/** The sessions of this worker: their limit, their epochs and their desired states. */
export interface Registry {
  /** Throws `STALE_EPOCH`, `WORKER_CAPACITY`, `WORKER_MEMORY`, `SHUTTING_DOWN`. */
  init(input: {
    sessionId: string;
    epoch?: number | undefined;
    deviceName?: string | null | undefined;
    settings?: WorkerSettings | undefined;
    leaseMs?: number | undefined;
    caughtUp?: CaughtUp | null | undefined;
  }): Session;
  /** Whether the session stores only metadata: no content of its messages may be written to disk. */
  isBare(sessionId: string): boolean;
  /** Whether a lost browser of this session is started again. */
  mayReconnect(sessionId: string): boolean;
  /** Throws `SESSION_NOT_FOUND`. */
  get(sessionId: string): Session;
  /** The session under this epoch, or null if this worker does not have it; a newer epoch is adopted. Throws `STALE_EPOCH`. */
  under(sessionId: string, epoch: number | undefined): Session | null;
  stop(sessionId: string, options: { epoch?: number | undefined; logout: boolean }): Promise<ObservedSession>;
  all(): Session[];
  /**
   * Applies the reply to a heartbeat. `requestedAt` is when the heartbeat was sent: a session that a command has changed since then is newer
   * than the reply and is left as it is.
   */
  reconcile(reply: HeartbeatReply, requestedAt: Instant): Promise<void>;
  memoryMb(): number;
  drain(): void;
  isDraining(): boolean;
  close(): Promise<void>;
}

export function createRegistry(options: {
  create: (id: string) => Session;
  maxSessions: number;
  memoryLimitMb: number | null;
  /** The duration of a lease from the moment of its request, if the backend does not send one. Milliseconds. */
  leaseMs: number;
  clock: Clock;
  /**
   * Removes the stored content of a session that stores only metadata. Each call removes a part and returns false while there is more. May
   * throw while the disk accepts no writes; then it is called again.
   */
  onBare: (sessionId: string) => boolean;
  log: Log;
}): Registry {
  const sessions = new Map<string, Session>();
  const bare = new Map<string, boolean>();
  const withoutReconnect = new Set<string>();
  /** Sessions whose stored content is still to be removed. */
  const unstripped = new Set<string>();
  /** Those of them whose next part is scheduled. */
  const stripping = new Set<string>();
  /** Sessions to which a heartbeat reply is being applied. A later reply skips them. */
  const busy = new Set<string>();
  let draining = false;

  const running = (): Session[] => [...sessions.values()].filter((session) => session.isRunning());
  const memoryMb = (): number => running().reduce((sum, session) => sum + (session.observe().metrics.memoryMb ?? 0), 0);

  function getOrCreate(sessionId: string): Session {
    if (!isSessionId(sessionId)) throw new AppError('SESSION_NOT_FOUND');
    let session = sessions.get(sessionId);
    if (!session) sessions.set(sessionId, (session = options.create(sessionId)));
    return session;
  }

  function checkEpoch(session: Session, epoch: number | undefined): void {
    if (epoch === undefined || epoch === session.epoch()) return;
    if (epoch < session.epoch()) throw new AppError('STALE_EPOCH', { epoch, current: session.epoch() });
    session.adopt(epoch);
  }

  function applySettings(sessionId: string, settings: WorkerSettings | undefined): void {
    if (settings?.autoReconnect === false) withoutReconnect.add(sessionId);
    else if (settings?.autoReconnect) withoutReconnect.delete(sessionId);
    if (settings?.storage === undefined) return;
    const isBare = settings.storage === 'metadata';
    if (isBare && bare.get(sessionId) !== true) unstripped.add(sessionId);
    // First: from now on events are written without content.
    bare.set(sessionId, isBare);
    if (isBare && unstripped.has(sessionId) && !stripping.has(sessionId)) strip(sessionId);
  }

  /** Removes the stored content in parts, so that other work runs in between. */
  function strip(sessionId: string): void {
    stripping.delete(sessionId);
    if (bare.get(sessionId) !== true) return;
    try {
      if (options.onBare(sessionId)) return void unstripped.delete(sessionId);
      stripping.add(sessionId);
      options.clock.after(stripPauseMs, () => strip(sessionId));
    } catch (error) {
      options.log.error('Stored content could not be removed; the next heartbeat retries.', {
        sessionId,
        ...errorFields(error),
      });
    }
  }

  async function once(sessionId: string, what: () => Promise<void>): Promise<void> {
    if (busy.has(sessionId)) return;
    busy.add(sessionId);
    try {
      await what();
    } finally {
      busy.delete(sessionId);
    }
  }

  /** Stops a session that belongs to another worker now. The login stays, because it exists only on this disk. Never rejects. */
  async function returnSession(session: Session): Promise<void> {
    const { id: sessionId } = session;
    try {
      if (session.isRunning()) {
        options.log.warn('A session belongs to another worker now; its browser is stopped.', {
          sessionId,
          epoch: session.epoch(),
        });
        await session.stop({ logout: false, reason: 'WORKER_LOST' });
      }
      if (!session.isRunning()) sessions.delete(sessionId);
    } catch (error) {
      options.log.error('A session could not be released; the next heartbeat retries.', {
        sessionId,
        ...errorFields(error),
      });
    }
  }

  async function applyDesired(
    { sessionId, state, epoch, deviceName, settings, caughtUp }: HeartbeatReply['desired'][number],
    requestedAt: Instant,
  ): Promise<void> {
    applySettings(sessionId, settings);
    const session = sessions.get(sessionId);
    if (session && session.changedAt() >= requestedAt.monotonic) return;
    try {
      if (state === 'stopped') {
        if (session?.isRunning()) await registry.stop(sessionId, { epoch, logout: false });
      } else if (session && !session.isRunning() && !mayStartUnattended(session)) registry.under(sessionId, epoch);
      else registry.init({ sessionId, epoch, deviceName, settings, caughtUp });
    } catch (error) {
      // An error of one session must not affect the others; the next heartbeat names it again.
      const why = error instanceof AppError ? { code: error.code } : errorFields(error);
      options.log.warn('A session could not be brought to its desired state.', { sessionId, state, ...why });
    }
  }

  const registry: Registry = {
    isBare: (sessionId) => bare.get(sessionId) ?? false,
    mayReconnect: (sessionId) => !withoutReconnect.has(sessionId),
    init({ sessionId, epoch, deviceName, settings, leaseMs = options.leaseMs, caughtUp }) {
      if (draining) throw new AppError('SHUTTING_DOWN');
      applySettings(sessionId, settings);
      const session = getOrCreate(sessionId);
      const isNewEpoch = epoch !== undefined && epoch > session.epoch();
      checkEpoch(session, epoch);
      if (caughtUp) session.inherit(caughtUp);
      // A new epoch gets a new lease. A repeated command with the same epoch does not, because it may be old if this process was frozen.
      if (epoch !== undefined && (isNewEpoch || !session.lease.wasGranted()))
        session.lease.grant(instant(options.clock), leaseMs);
      if (session.isRunning()) return session;
      if (running().length >= options.maxSessions) throw new AppError('WORKER_CAPACITY', { limit: options.maxSessions });
      if (options.memoryLimitMb !== null && memoryMb() >= options.memoryLimitMb)
        throw new AppError('WORKER_MEMORY', { limitMb: options.memoryLimitMb });
      session.start(deviceName ?? null);
      return session;
    },
    get(sessionId) {
      const session = sessions.get(sessionId);
      if (!session) throw new AppError('SESSION_NOT_FOUND');
      return session;
    },
    under(sessionId, epoch) {
      const session = sessions.get(sessionId);
      if (session) checkEpoch(session, epoch);
      return session ?? null;
    },
    async stop(sessionId, { epoch, logout }) {
      const session = getOrCreate(sessionId);
      checkEpoch(session, epoch);
      await session.stop({ logout });
      return session.observe();
    },
    all: () => [...sessions.values()],
    async reconcile({ leases, desired, revoke, leaseMs = options.leaseMs }, requestedAt) {
      for (const { sessionId, epoch, settings } of leases) {
        applySettings(sessionId, settings);
        const session = sessions.get(sessionId);
        // Counted from when the heartbeat was sent, so that a slow network does not extend the lease. Clocks of two machines are never compared.
        if (session?.epoch() === epoch) session.lease.grant(requestedAt, leaseMs);
      }
      const named = new Set([...leases, ...desired, ...revoke].map(({ sessionId }) => sessionId));
      const unnamed = [...sessions.values()].filter(({ id, changedAt }) => !named.has(id) && changedAt() < requestedAt.monotonic);
      const revoked = revoke.flatMap(({ sessionId, epoch }) => {
        const session = sessions.get(sessionId);
        // A revocation of an older epoch is outdated.
        return session && epoch >= session.epoch() ? [session] : [];
      });
      // Sessions that start do not wait for those that stop.
      await Promise.all([
        ...[...unnamed, ...revoked].map((session) => once(session.id, () => returnSession(session))),
        ...desired.map((entry) => once(entry.sessionId, () => applyDesired(entry, requestedAt))),
      ]);
    },
    memoryMb,
    drain: () => void (draining = true),
    isDraining: () => draining,
    async close() {
      draining = true;
      // Waits for every session, even if one fails.
      await Promise.allSettled(running().map((session) => session.stop({ logout: false, reason: 'WORKER_LOST' })));
    },
  };
  return registry;
}

/** Whether the session may start without a person. One that ran out of attempts, was logged out or was not scanned may not. */
function mayStartUnattended(session: Session): boolean {
  const { reason } = session.observe();
  return reason !== null && ['NOT_STARTED', 'USER_STOPPED', 'WORKER_LOST'].includes(reason.code);
}
