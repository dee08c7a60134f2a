import { DeadlineError, within } from './deadline.js';

/**
 * Processes the events of one session in the order in which they happened. Each event has two steps: `prepare` reads from the page which
 * contacts the ids belong to, `emit` builds the event and emits it.
 *
 * | failure | effect |
 * | --- | --- |
 * | `prepare` rejects | the event is emitted with what is known |
 * | `prepare` resolves with false, or does not settle within its deadline | the same; for the next ten seconds `prepare` is skipped, so that a page that hangs delays the queue once, not once per event |
 * | `emit` throws | that event is skipped and reported; the next ones are processed |
 */
export interface EventQueue {
  /** Never throws. `what` names the event in reports. */
  push(what: string, prepare: () => Promise<boolean>, emit: () => void): void;
  /** Resolves when everything that was pushed before has been emitted. */
  drained(): Promise<void>;
}

const unresponsiveMs = 10_000;

export function createEventQueue(options: {
  isOver: () => boolean;
  prepareMs: number;
  /** An event was skipped. */
  onSkipped: (what: string, error: unknown) => void;
  /** Monotonic milliseconds. */
  now?: () => number;
}): EventQueue {
  const { isOver, prepareMs, onSkipped, now = () => performance.now() } = options;
  let tail: Promise<void> = Promise.resolve();
  let waitAgainAt = -Infinity;

  async function prepared(prepare: () => Promise<boolean>): Promise<void> {
    if (now() < waitAgainAt) return;
    const answered = await within(Promise.resolve().then(prepare), prepareMs, 'Reading contacts from the page').catch(
      // After an error other than a deadline, the page does not know the contacts, and names stay empty.
      (error: unknown) => !(error instanceof DeadlineError),
    );
    if (!answered) waitAgainAt = now() + unresponsiveMs;
  }

  return {
    push(what, prepare, emit) {
      tail = tail.then(async () => {
        if (isOver()) return;
        try {
          await prepared(prepare);
          emit();
        } catch (error) {
          onSkipped(what, error);
        }
      });
    },
    drained: () => tail,
  };
}
