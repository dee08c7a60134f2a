import type { WorkerEvent } from '../events/worker-event.js';
import type { Clock } from '../clock.js';
import type { AccountState, EngineSession } from '../engine/engine.js';

/** Reads the limits and the linked devices of the account every 15 minutes and on request, and emits changes. */
export interface AccountWatch {
  /** Reads them now. One read at a time: a request during a read is part of the next one. */
  check(): void;
  stop(): void;
}

interface AccountWatchOptions {
  session: EngineSession;
  clock: Clock;
  emit: (event: WorkerEvent) => void;
  /** Called when the page did not answer. It is read again at the next interval. */
  onFailure: (error: unknown) => void;
}

const everyMs = 900_000;
const afterLockMs = 2_000;
const deadlineMs = 10_000;

export function createAccountWatch({ session, clock, emit, onFailure }: AccountWatchOptions): AccountWatch {
  let isStopped = false;
  let isReading = false;
  let isRequested = false;
  let reported: AccountState | null = null;
  let cancel = (): void => undefined;
  /** A lock is looked at again when it ends. */
  const untilNextRead = (): number => {
    const until = reported?.reachOutUntil ? Date.parse(reported.reachOutUntil) - clock.now() + afterLockMs : everyMs;
    return until > 0 ? Math.min(everyMs, until) : everyMs;
  };
  const read = async (): Promise<void> => {
    isReading = true;
    isRequested = false;
    cancel();
    try {
      const state = await session.account(deadlineMs);
      if (!isStopped && !isSame(state, reported)) {
        reported = state;
        emit({ event: 'session.account', payload: state });
      }
    } catch (error) {
      if (!isStopped) onFailure(error);
    }
    isReading = false;
    if (isStopped) return;
    if (isRequested) return read();
    cancel = clock.after(untilNextRead(), () => void read());
  };
  return {
    check() {
      if (isStopped) return;
      if (isReading) isRequested = true;
      else void read();
    },
    stop() {
      isStopped = true;
      cancel();
    },
  };
}

const isSame = (a: AccountState, b: AccountState | null): boolean =>
  b !== null &&
  a.reachOutLocked === b.reachOutLocked &&
  a.reachOutUntil === b.reachOutUntil &&
  a.linkedDevices === b.linkedDevices;
