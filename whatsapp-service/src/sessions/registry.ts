import { AppError, type CaughtUp, type HeartbeatReply, type ObservedSession, type WorkerSettings } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import { errorFields, type Log } from '../log.js';
import { instant, type Instant } from './lease.js';
import { isSessionId } from './profiles.js';
import type { Session } from './session.js';

const stripPauseMs = 10;

/** The sessions of this worker: the limit, the epochs, and what the backend wants of them. */
export interface Registry {
  /** Throws `STALE_EPOCH`, `WORKER_CAPACITY`, `WORKER_MEMORY`, `SHUTTING_DOWN`. */
  init(wish: {
    sessionId: string;
    epoch?: number | undefined;
    deviceName?: string | null | undefined;
    settings?: WorkerSettings | undefined;
    leaseMs?: number | undefined;
    caughtUp?: CaughtUp | null | undefined;
  }): Session;
  /** Whether nothing of its messages' content may be written here. */
  isBare(sessionId: string): boolean;
  /** Whether a lost browser of this session is started again. */
  mayReconnect(sessionId: string): boolean;
  /** Throws `SESSION_NOT_FOUND`. */
  get(sessionId: string): Session;
  /** The session under this epoch, or null when it is not known here; a newer epoch is taken over. Throws `STALE_EPOCH`. */
  under(sessionId: string, epoch: number | undefined): Session | null;
  stop(sessionId: string, options: { epoch?: number | undefined; logout: boolean }): Promise<ObservedSession>;
  all(): Session[];
  /**
   * Does what a heartbeat's reply says. `askedAt` is when the heartbeat left: what somebody changed here since then is newer than
   * the reply and stays.
   */
  obey(reply: HeartbeatReply, askedAt: Instant): Promise<void>;
  memoryMb(): number;
  drain(): void;
  isDraining(): boolean;
  close(): Promise<void>;
}

export function createRegistry(options: {
  create: (id: string) => Session;
  maxSessions: number;
  memoryLimitMb: number | null;
  /** How long a lease holds from the moment at which the worker asked for it, where the backend does not say. Milliseconds. */
  leaseMs: number;
  clock: Clock;
  /**
   * From now on nothing of this session's content may lie on the disk. Does a part with each call, and returns false while there is more. May
   * throw while the disk takes no writes; it is called again then.
   */
  onBare: (sessionId: string) => boolean;
  log: Log;
}): Registry {
  const sessions = new Map<string, Session>();
  const bare = new Map<string, boolean>();
  const withoutReconnect = new Set<string>();
  /** Sessions whose stored content is still to be removed. */
  const unstripped = new Set<string>();
  /** Of these, the ones whose next part is due. */
  const stripping = new Set<string>();
  /** Sessions that are being brought to what a heartbeat said. A later heartbeat does not do it a second time meanwhile. */
  const busy = new Set<string>();
  let draining = false;

  const running = (): Session[] => [...sessions.values()].filter((session) => session.isRunning());
  const memoryMb = (): number => running().reduce((sum, session) => sum + (session.observe().metrics.memoryMb ?? 0), 0);

  function known(sessionId: string): Session {
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

  function heed(sessionId: string, settings: WorkerSettings | undefined): void {
    if (settings?.autoReconnect === false) withoutReconnect.add(sessionId);
    else if (settings?.autoReconnect) withoutReconnect.delete(sessionId);
    if (settings?.storage === undefined) return;
    const isBare = settings.storage === 'metadata';
    if (isBare && bare.get(sessionId) !== true) unstripped.add(sessionId);
    // First of all: what is written from now on has no content.
    bare.set(sessionId, isBare);
    if (isBare && unstripped.has(sessionId) && !stripping.has(sessionId)) strip(sessionId);
  }

  /** Everything else goes on between two parts. */
  function strip(sessionId: string): void {
    stripping.delete(sessionId);
    if (bare.get(sessionId) !== true) return;
    try {
      if (options.onBare(sessionId)) return void unstripped.delete(sessionId);
      stripping.add(sessionId);
      options.clock.after(stripPauseMs, () => strip(sessionId));
    } catch (error) {
      options.log.error('Stored content could not be removed; the next heartbeat tries again.', {
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

  /** The session belongs to another worker. The login stays: it is on this disk alone. Never rejects. */
  async function giveBack(session: Session): Promise<void> {
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
      options.log.error('A session could not be given back; the next heartbeat tries again.', {
        sessionId,
        ...errorFields(error),
      });
    }
  }

  async function follow(
    { sessionId, state, epoch, deviceName, settings, caughtUp }: HeartbeatReply['desired'][number],
    askedAt: Instant,
  ): Promise<void> {
    heed(sessionId, settings);
    const session = sessions.get(sessionId);
    if (session && session.changedAt() >= askedAt.monotonic) return;
    try {
      if (state === 'stopped') {
        if (session?.isRunning()) await registry.stop(sessionId, { epoch, logout: false });
      } else if (session && !session.isRunning() && !startsByItself(session)) registry.under(sessionId, epoch);
      else registry.init({ sessionId, epoch, deviceName, settings, caughtUp });
    } catch (error) {
      // One session's trouble is its own: the next heartbeat names it again.
      const why = error instanceof AppError ? { code: error.code } : errorFields(error);
      options.log.warn('A session could not be brought to its desired state.', { sessionId, state, ...why });
    }
  }

  const registry: Registry = {
    isBare: (sessionId) => bare.get(sessionId) ?? false,
    mayReconnect: (sessionId) => !withoutReconnect.has(sessionId),
    init({ sessionId, epoch, deviceName, settings, leaseMs = options.leaseMs, caughtUp }) {
      if (draining) throw new AppError('SHUTTING_DOWN');
      heed(sessionId, settings);
      const session = known(sessionId);
      const isNewEpoch = epoch !== undefined && epoch > session.epoch();
      checkEpoch(session, epoch);
      if (caughtUp) session.inherit(caughtUp);
      // A new epoch is a new lease. A repeat under the same one is not: it may have waited for a process that was frozen.
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
      const session = known(sessionId);
      checkEpoch(session, epoch);
      await session.stop({ logout });
      return session.observe();
    },
    all: () => [...sessions.values()],
    async obey({ leases, desired, revoke, leaseMs = options.leaseMs }, askedAt) {
      for (const { sessionId, epoch, settings } of leases) {
        heed(sessionId, settings);
        const session = sessions.get(sessionId);
        // From when the heartbeat left: that it was long on its way must not make the lease longer. Two machines' clocks are never compared.
        if (session?.epoch() === epoch) session.lease.grant(askedAt, leaseMs);
      }
      const named = new Set([...leases, ...desired, ...revoke].map(({ sessionId }) => sessionId));
      const nowhere = [...sessions.values()].filter(({ id, changedAt }) => !named.has(id) && changedAt() < askedAt.monotonic);
      const taken = revoke.flatMap(({ sessionId, epoch }) => {
        const session = sessions.get(sessionId);
        // A revocation of an epoch before ours is old news.
        return session && epoch >= session.epoch() ? [session] : [];
      });
      // The desired ones do not wait for those that end.
      await Promise.all([
        ...[...nowhere, ...taken].map((session) => once(session.id, () => giveBack(session))),
        ...desired.map((wish) => once(wish.sessionId, () => follow(wish, askedAt))),
      ]);
    },
    memoryMb,
    drain: () => void (draining = true),
    isDraining: () => draining,
    async close() {
      draining = true;
      // Each to its end, whatever becomes of the others.
      await Promise.allSettled(running().map((session) => session.stop({ logout: false, reason: 'WORKER_LOST' })));
    },
  };
  return registry;
}

/** A session that ended in a way that asks for a person (used up, logged out, not scanned) waits for that person. */
function startsByItself(session: Session): boolean {
  const { reason } = session.observe();
  return reason !== null && ['NOT_STARTED', 'USER_STOPPED', 'WORKER_LOST'].includes(reason.code);
}
