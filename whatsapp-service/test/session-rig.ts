import type { SessionReason, SessionStatus } from '@chasqui/shared';
import type { EngineSignal } from '../src/engine/engine.js';
import type { WorkerEvent } from '../src/events/worker-event.js';
import type { SessionProxy } from '../src/proxy/session-proxy.js';
import { createStartLimit } from '../src/sessions/start-limit.js';
import type { Marks } from '../src/sessions/marks.js';
import { EngineError } from '../src/engine/engine.js';
import { createSession, type Session } from '../src/sessions/session.js';
import { createMemoryEngine, createTestClock, createTestLog, createTestProblems, identity, settle } from './memory-engine.js';

/** Marks in memory, of one session. */
export function createTestMarks(): Marks {
  let watermark: number | null = null;
  return {
    epoch: () => 1,
    raiseEpoch: () => undefined,
    watermark: () => watermark,
    raiseWatermark: (_, at) => void (watermark = Math.max(watermark ?? 0, at)),
    freeze: () => undefined,
    unfreeze: () => undefined,
    clearWatermark: () => void (watermark = null),
    hasUnwritten: () => false,
    write: () => undefined,
    written: () => undefined,
    onUnwritten: () => undefined,
  };
}

/** One session with the in-memory engine, a clock that the test turns, and everything that it emitted. */
export function createSessionRig(maxReconnectAttempts = 3, recycleAboveMb = 0) {
  const engine = createMemoryEngine();
  const clock = createTestClock();
  const log = createTestLog();
  const events: WorkerEvent[] = [];
  const held = new Set<string>();
  const wiped: string[] = [];
  const marks = createTestMarks();
  const problems = createTestProblems(clock);
  const reconnects = { allowed: true };
  const disk = { isFull: false };
  const recycle = { aboveMb: recycleAboveMb };
  const pairing = { number: null as string | null };
  /** `looks`: how often the session asked when the copy was made. */
  /** What the session's proxy does: `failure` of its checks, and how often it was checked and opened. `die` is what an open one reports. */
  const proxy = {
    current: null as SessionProxy | null,
    failure: null as SessionReason | null,
    checks: 0,
    open: 0,
    die: (_failure: EngineError): void => undefined,
  };
  const copies = { at: null as number | null, looks: 0, saves: 0, restores: 0 };
  const session: Session = createSession('s1', {
    engine,
    clock,
    log,
    marks,
    problems,
    maxQrCodes: 6,
    startLimit: createStartLimit(3),
    pairingNumber: () => pairing.number,
    proxy: () => proxy.current,
    proxies: {
      async check() {
        proxy.checks += 1;
        if (proxy.failure) throw new EngineError(proxy.failure, 'As the test wants it.');
      },
      async open(_proxy, onDead) {
        proxy.open += 1;
        proxy.die = onDead;
        return { port: 9_999, failure: () => null, close: async () => void (proxy.open -= 1) };
      },
    },
    random: () => 0.5,
    emit: (event) => void events.push(event),
    watched: () => [],
    readopt: () => undefined,
    initTimeoutMs: 60_000,
    probeMs: 5_000,
    maxReconnectAttempts,
    mayReconnect: () => reconnects.allowed,
    recycleAboveMb: () => recycle.aboveMb,
    calls: { received: async (payload) => void events.push({ event: 'call.received', payload }) },
    copyEveryMs: 3_600_000,
    profiles: {
      async claim(id) {
        if (held.has(id)) throw new EngineError('PROFILE_LOCKED', 'Held.');
        held.add(id);
        return { dir: `/profiles/${id}`, release: async () => void held.delete(id) };
      },
      async wipe(id) {
        if (held.has(id)) throw new EngineError('PROFILE_LOCKED', 'Held.');
        wiped.push(id);
      },
      isFull: () => disk.isFull,
      async saveCopy() {
        copies.saves += 1;
        copies.at = clock.now();
        return true;
      },
      copiedAt: async () => {
        copies.looks += 1;
        return copies.at;
      },
      lastCopy: () => (copies.at === null ? null : { bytes: 1_000, savedAt: copies.at }),
      async restoreCopy(id) {
        if (held.has(id)) throw new EngineError('PROFILE_LOCKED', 'Held.');
        copies.restores += 1;
        return copies.at !== null;
      },
      removeCopy: async () => void (copies.at = null),
      copied: async () => [],
      linkCopy: async () => null,
    },
  });
  const statuses = (): SessionStatus[] =>
    events.flatMap((event) => (event.event === 'session.observed' ? [event.payload.status] : []));
  const shown = (): string => `${session.observe().status} ${session.observe().reason?.code ?? ''}`.trim();
  const signal = async (next: EngineSignal): Promise<void> => {
    engine.last().signal(next);
    await settle();
  };
  const connect = async (): Promise<void> => {
    session.start(null);
    await settle();
    await signal({ type: 'authenticated' });
    await signal({ type: 'ready', identity });
  };
  /** Lets probes run until the memory was measured: it is read from the system, which the test's clock does not turn. */
  const measured = async (): Promise<void> => {
    for (
      const before = engine.launches, most = { rounds: 200 };
      engine.launches === before && most.rounds > 0;
      most.rounds -= 1
    ) {
      await clock.advance(5_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return {
    engine,
    recycle,
    pairing,
    proxy,
    clock,
    log,
    problems,
    disk,
    copies,
    events,
    wiped,
    reconnects,
    session,
    statuses,
    shown,
    signal,
    connect,
    measured,
    mark: () => marks.watermark(''),
  };
}
/** A QR code that is valid for 20 s. */
export const code = (clock: { now(): number }): EngineSignal => ({
  type: 'qr',
  text: 'code',
  expiresAt: new Date(clock.now() + 20_000),
});
