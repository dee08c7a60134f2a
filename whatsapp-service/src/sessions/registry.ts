import { AppError, type HeartbeatReply, type ObservedSession, type WorkerSettings } from '@chasqui/shared';
import type { Log } from '../log.js';
import { isSessionId } from './profiles.js';
import type { Session } from './session.js';

/** The sessions of this worker: the limit, the epochs, and what the backend wants of them. */
export interface Registry {
  /** Throws `STALE_EPOCH`, `WORKER_CAPACITY`, `WORKER_MEMORY`, `SHUTTING_DOWN`. */
  init(wish: {
    sessionId: string;
    epoch?: number | undefined;
    deviceName?: string | null | undefined;
    settings?: WorkerSettings | undefined;
  }): Session;
  /** Whether nothing of its messages' content may be written here. */
  isBare(sessionId: string): boolean;
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
  obey(reply: HeartbeatReply, askedAt: number): Promise<void>;
  memoryMb(): number;
  drain(): void;
  isDraining(): boolean;
  close(): Promise<void>;
}

export function createRegistry(options: {
  create: (id: string) => Session;
  maxSessions: number;
  memoryLimitMb: number | null;
  /** How long a lease lasts from the moment that the worker asked for it. Milliseconds. */
  leaseMs: number;
  now: () => number;
  /** From now on nothing of this session's content may lie on the disk. */
  onBare: (sessionId: string) => void;
  log: Log;
}): Registry {
  const sessions = new Map<string, Session>();
  const bare = new Map<string, boolean>();
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
    if (settings?.storage === undefined) return;
    const isBare = settings.storage === 'metadata';
    if (isBare && bare.get(sessionId) !== true) options.onBare(sessionId);
    bare.set(sessionId, isBare);
  }

  /** The session is not ours any more. The login stays: it is on this disk alone. */
  async function giveBack(session: Session): Promise<void> {
    if (session.isRunning()) {
      options.log.warn('A session is not ours any more; its browser is stopped.', {
        sessionId: session.id,
        epoch: session.epoch(),
      });
      await session.stop({ logout: false, reason: 'WORKER_LOST' });
    }
    if (!session.isRunning()) sessions.delete(session.id);
  }

  async function follow(
    { sessionId, state, epoch, deviceName, settings }: HeartbeatReply['desired'][number],
    askedAt: number,
  ): Promise<void> {
    heed(sessionId, settings);
    const session = sessions.get(sessionId);
    if (session && session.changedAt() >= askedAt) return;
    try {
      if (state === 'stopped') {
        if (session?.isRunning()) await registry.stop(sessionId, { epoch, logout: false });
      } else if (session && !session.isRunning() && !startsByItself(session)) registry.under(sessionId, epoch);
      else registry.init({ sessionId, epoch, deviceName, settings });
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      options.log.warn('A session could not be brought to what is desired.', { sessionId, state, code: error.code });
    }
  }

  const registry: Registry = {
    isBare: (sessionId) => bare.get(sessionId) ?? false,
    init({ sessionId, epoch, deviceName, settings }) {
      if (draining) throw new AppError('SHUTTING_DOWN');
      heed(sessionId, settings);
      const session = known(sessionId);
      checkEpoch(session, epoch);
      // Whoever gives it under an epoch has just leased it to us.
      if (epoch !== undefined) session.lease(options.now() + options.leaseMs);
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
    async obey({ leases, desired, revoke }, askedAt) {
      for (const { sessionId, epoch, settings } of leases) {
        heed(sessionId, settings);
        const session = sessions.get(sessionId);
        // From when the heartbeat left: that it was long on its way must not make the lease longer. Two machines' clocks are never compared.
        if (session?.epoch() === epoch) session.lease(askedAt + options.leaseMs);
      }
      const named = new Set([...leases, ...desired, ...revoke].map(({ sessionId }) => sessionId));
      const nowhere = [...sessions.values()].filter(({ id, changedAt }) => !named.has(id) && changedAt() < askedAt);
      const taken = revoke.flatMap(({ sessionId, epoch }) => {
        const session = sessions.get(sessionId);
        // A revocation of an epoch before ours is old news.
        return session && epoch >= session.epoch() ? [session] : [];
      });
      await Promise.all([...nowhere, ...taken].map(giveBack));
      await Promise.all(desired.map((wish) => follow(wish, askedAt)));
    },
    memoryMb,
    drain: () => void (draining = true),
    isDraining: () => draining,
    async close() {
      draining = true;
      await Promise.all(running().map((session) => session.stop({ logout: false, reason: 'WORKER_LOST' })));
    },
  };
  return registry;
}

/** A session that ended in a way that asks for a person (used up, logged out, not scanned) waits for that person. */
function startsByItself(session: Session): boolean {
  const { reason } = session.observe();
  return reason !== null && ['NOT_STARTED', 'USER_STOPPED', 'WORKER_LOST'].includes(reason.code);
}
