import { Readable } from 'node:stream';
import { AppError, type SessionReason } from '@chasqui/shared';
import { systemClock, type Clock } from '../src/clock.js';
import {
  EngineError,
  type AccountState,
  type ChallengeKind,
  type Engine,
  type EngineSend,
  type EngineSession,
  type EngineSignal,
  type LaunchOptions,
} from '../src/engine/engine.js';
import type { Log } from '../src/log.js';
import { createProblems, type Problems } from '../src/problems.js';

/** An implementation of `Engine` without a browser, driven by the test. Counts what a real one would leave behind. */
export interface MemoryEngine extends Engine {
  launches: number;
  /** Browsers that are open or starting. */
  open(): number;
  most(): number;
  /** The newest browser, for the session. */
  last(): MemoryBrowser;
  failNext(reason: SessionReason, times?: number): void;
  /** Launches wait until `release`. */
  hold(): void;
  release(): void;
  sent: EngineSend[];
  lookups: number;
  /** How often pages were loaded again, and what that does. */
  reloads: number;
  /** What the next sends and lookups end in. */
  answer: {
    send: (send: EngineSend, onHandover: () => Promise<number>) => ReturnType<EngineSession['send']>;
    pairingCode: (phoneNumber: string) => Promise<{ code: string; expiresAt: string }>;
    lookup: () => unknown;
    /** The type that the page says a file has. */
    mimetype: () => string;
    /** The bytes of a file, as they come from the page. Its size is 12. */
    bytes: () => Iterable<Buffer> | AsyncIterable<Buffer>;
    probe: () => Promise<{ roundTripMs: number; canary: boolean; challenge?: ChallengeKind }>;
    backfill: (since: Date) => Promise<{ chats: number; messages: number; truncated: boolean }>;
    reload: () => Promise<void>;
    pids: () => Promise<number[]>;
    account: () => Promise<AccountState>;
  };
}

export interface MemoryBrowser {
  options: LaunchOptions;
  signal(signal: EngineSignal): void;
  closed: boolean;
  loggedOut: boolean;
}

export const identity = {
  phoneNumber: '5511988887777',
  lid: null,
  pushName: 'Shop',
  platform: 'android',
  whatsappWebVersion: '2.3000.1',
};

export function createMemoryEngine(): MemoryEngine {
  const browsers: MemoryBrowser[] = [];
  let open = 0;
  let most = 0;
  let fail: { reason: SessionReason; times: number } | null = null;
  let held: Promise<void> | null = null;
  let release = (): void => undefined;

  const engine: MemoryEngine = {
    launches: 0,
    sent: [],
    lookups: 0,
    reloads: 0,
    open: () => open,
    most: () => most,
    last: () => browsers[browsers.length - 1]!,
    failNext: (reason, times = 1) => void (fail = { reason, times }),
    hold: () => {
      held = new Promise((resolve) => (release = resolve));
    },
    release: () => {
      held = null;
      release();
    },
    answer: {
      send: async (send, onHandover) => {
        await onHandover();
        return { outcome: 'sent', whatsappId: `true_${send.recipient}_${send.reservedId}`, ack: 1, at: new Date().toISOString() };
      },
      pairingCode: async () => ({ code: 'ABCD1234', expiresAt: new Date(0).toISOString() }),
      lookup: () => ({ found: false, proven: false }),
      mimetype: () => 'text/html',
      bytes: () => [Buffer.from('<b>bytes</b>')],
      probe: async () => ({ roundTripMs: 1, canary: true }),
      backfill: async () => ({ chats: 0, messages: 0, truncated: false }),
      reload: async () => Promise.reject(new Error('The browser takes no orders.')),
      pids: async () => [],
      account: async () => ({ reachOutLocked: false, reachOutUntil: null, linkedDevices: null }),
    },
    async launch(options) {
      engine.launches += 1;
      open += 1;
      most = Math.max(most, open);
      try {
        await Promise.race([
          held ?? Promise.resolve(),
          new Promise((resolve) => options.abort.addEventListener('abort', resolve)),
        ]);
        if (options.abort.aborted) {
          // A browser takes its time to end.
          for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve));
          throw new EngineError('USER_STOPPED', 'Called off.');
        }
        if (fail && fail.times > 0) {
          fail.times -= 1;
          throw new EngineError(fail.reason, 'As the test wants it.');
        }
      } catch (error) {
        open -= 1;
        throw error;
      }
      const browser: MemoryBrowser = { options, closed: false, loggedOut: false, signal: options.onSignal };
      browsers.push(browser);
      return sessionOf(browser);
    },
  };

  const sessionOf = (browser: MemoryBrowser): EngineSession => ({
    send: async (send, onHandover) => {
      engine.sent.push(send);
      return engine.answer.send(send, onHandover);
    },
    async run(operation, input) {
      if (operation === 'session.lookup') engine.lookups += 1;
      if (operation === 'session.pairingCode') return engine.answer.pairingCode(String(input['phoneNumber']));
      return operation === 'session.lookup' ? engine.answer.lookup() : { ran: operation };
    },
    async downloadMedia(_whatsappId, _deadlineMs, maxBytes = Infinity) {
      const size = 12;
      if (size > maxBytes) throw new AppError('FILE_TOO_LARGE', { size, limit: maxBytes });
      return {
        bytes: Readable.from(engine.answer.bytes()),
        size,
        mimetype: engine.answer.mimetype(),
        filename: 'a "b"\r\n.html',
      };
    },
    probe: () => engine.answer.probe(),
    backfill: ({ since }) => engine.answer.backfill(since),
    async reload() {
      engine.reloads += 1;
      await engine.answer.reload();
    },
    account: () => engine.answer.account(),
    compat: () => [],
    pids: () => engine.answer.pids(),
    logout: async () => void (browser.loggedOut = true),
    async close() {
      if (!browser.closed) open -= 1;
      browser.closed = true;
    },
  });
  return engine;
}

/** A clock that moves only when the test moves it. */
export function createTestClock(
  start = Date.UTC(2026, 10, 20),
): Clock & { advance(ms: number): Promise<void>; /** Sets the wall clock forth, or back. */ jump(ms: number): void } {
  let now = 0;
  /** How far the wall clock is from the monotonic one. */
  let wall = start;
  const timers = new Set<{ at: number; what: () => void }>();
  return {
    now: () => wall + now,
    monotonic: () => now,
    jump: (ms) => void (wall += ms),
    after(ms, what) {
      const timer = { at: now + ms, what };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    async advance(ms) {
      const end = now + ms;
      await settle();
      for (;;) {
        const next = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        timers.delete(next);
        now = Math.max(now, next.at);
        next.what();
        await settle();
      }
      now = end;
    },
  };
}

/** Lets everything that is ready run. */
export const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
};

export const createTestProblems = (clock: Clock = systemClock): Problems => createProblems({ clock, log: createTestLog() });

export function createTestLog(): Log & { lines: { level: string; sentence: string; fields: unknown }[] } {
  const lines: { level: string; sentence: string; fields: unknown }[] = [];
  const at =
    (level: string) =>
    (sentence: string, fields: object = {}): void =>
      void lines.push({ level, sentence, fields });
  return { lines, error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), isDebug: true };
}
