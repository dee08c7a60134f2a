import { DeadlineError, within } from './deadline.js';

/**
 * The events of one session, one after another in the order in which they happened. Each has two steps: `prepare` asks the page who is
 * behind the ids, `emit` builds the event and hands it on.
 *
 * | what goes wrong | then |
 * | --- | --- |
 * | `prepare` rejects | the event goes out with what is known |
 * | `prepare` resolves with false, or does not settle within its deadline | likewise; for the next ten seconds the page is not waited for, so that a page that hangs delays the queue once, not once per event |
 * | `emit` throws | that event is skipped and reported; the next ones go on |
 */
export interface EventQueue {
  /** Never throws. `what` names the event in reports. */
  push(what: string, prepare: () => Promise<boolean>, emit: () => void): void;
  /** Resolves when everything that was pushed before has gone out. */
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
    const answered = await within(Promise.resolve().then(prepare), prepareMs, 'Asking the page who is behind an id').catch(
      // Anything else than a deadline: the page cannot tell, and names stay empty.
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
