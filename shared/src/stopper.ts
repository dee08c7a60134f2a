/** What the stopper and `runProcess` log with. */
export interface StopLog {
  info(sentence: string, fields?: Record<string, unknown>): void;
  warn(sentence: string, fields?: Record<string, unknown>): void;
  error(sentence: string, fields?: Record<string, unknown>): void;
}

/**
 * The phases of a stop, in order. `intake`: nothing new is accepted. `work`: what runs is finished. `connections`: connections to other processes are
 * closed. `data`: databases are closed. `locks`: the next process may start.
 */
export const stopPhases = ['intake', 'work', 'connections', 'data', 'locks'] as const;
export type StopPhase = (typeof stopPhases)[number];

export interface Stopper {
  /**
   * Registers a step, right after what it stops was started. Steps of one phase run at the same time, begun in
   * reverse order, each for at most `withinMs`.
   */
  add(phase: StopPhase, name: string, stop: () => unknown, withinMs?: number): void;
  /** Runs all steps once. A step that throws or exceeds its limit is logged and the others go on. Resolves to the names of such steps. */
  stop(): Promise<readonly string[]>;
}

const defaultWithinMs = 3_000;

/** Collects how to stop each started part, so that a stop, and a start that fails halfway, close exactly what is open. */
export function createStopper(log: StopLog): Stopper {
  const steps: { phase: StopPhase; name: string; stop: () => unknown; withinMs: number }[] = [];
  let stopping: Promise<readonly string[]> | null = null;

  async function runStep({ name, stop, withinMs }: (typeof steps)[number]): Promise<string | null> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), withinMs);
    });
    try {
      // An async function, so that a step that throws synchronously also becomes a rejection.
      const outcome = await Promise.race([(async () => void (await stop()))(), late]);
      if (outcome !== 'late') return null;
      log.warn('A step of the stop did not finish in time; the stop goes on without it.', { step: name, withinMs });
    } catch (error) {
      log.warn('A step of the stop failed; the stop goes on.', {
        step: name,
        error: error instanceof Error ? error.message.split('\n')[0] : String(error),
      });
    } finally {
      clearTimeout(timer);
    }
    return name;
  }

  async function run(): Promise<readonly string[]> {
    const unfinished: string[] = [];
    for (const phase of stopPhases) {
      const outcomes = await Promise.all(
        steps
          .filter((step) => step.phase === phase)
          .reverse()
          .map(runStep),
      );
      unfinished.push(...outcomes.filter((name) => name !== null));
    }
    return unfinished;
  }

  return {
    add: (phase, name, stop, withinMs = defaultWithinMs) => void steps.push({ phase, name, stop, withinMs }),
    stop: () => (stopping ??= run()),
  };
}
