/** The log of the lifecycle and of `runProcess`. */
export interface LifecycleLog {
  info(sentence: string, fields?: Record<string, unknown>): void;
  warn(sentence: string, fields?: Record<string, unknown>): void;
  error(sentence: string, fields?: Record<string, unknown>): void;
}

/**
 * The phases of a stop, in order. `intake`: nothing new is accepted. `work`: running work is finished. `connections`: connections to other processes
 * are closed. `data`: databases are closed. `locks`: locks are released, so that the next process may start.
 */
export const stopPhases = ['intake', 'work', 'connections', 'data', 'locks'] as const;
/**
 * The phases of a start, in order. Intake opens before work begins, so that a port that is in use is noticed before this process claims a message that
 * it could not finish.
 */
export const startPhases = ['locks', 'data', 'connections', 'intake', 'work'] as const;
export type Phase = (typeof stopPhases)[number];

/** A part of the process that runs until it is stopped. */
export interface Part {
  phase: Phase;
  /** Absent: the part runs since it was constructed. */
  start?: () => unknown;
  /** Absent: nothing of it needs closing. */
  stop?: () => unknown;
  /** How long `stop` may take, in milliseconds. */
  withinMs?: number;
}

/** Starts the parts of a process in order and stops them in reverse. Each part registers itself where it is constructed. */
export interface Lifecycle {
  /** Registers a part, right after it was constructed. The name appears in log lines. */
  add(name: string, part: Part): void;
  /**
   * Runs the `start` of every part, phase by phase, in the order of registration. Rejects with the first error; the parts behind it are not started. May
   * be called again after more parts were registered: those that run already are left alone.
   */
  start(): Promise<void>;
  /**
   * Stops every running part, once. The stops of one phase run at the same time and begin in reverse order. A stop that throws or exceeds its limit
   * is logged, and the others continue. Resolves to the names of such parts.
   */
  stop(): Promise<readonly string[]>;
}

const defaultWithinMs = 3_000;

interface RegisteredPart extends Part {
  name: string;
  isRunning: boolean;
}

/** Creates an empty lifecycle. A stop, and a start that fails halfway, close exactly what is open. */
export function createLifecycle(log: LifecycleLog): Lifecycle {
  const parts: RegisteredPart[] = [];
  let stopping: Promise<readonly string[]> | null = null;
  return {
    add: (name, part) => void parts.push({ ...part, name, isRunning: part.start === undefined }),
    start: () => startAll(parts),
    stop: () => (stopping ??= stopAll(parts, log)),
  };
}

async function startAll(parts: readonly RegisteredPart[]): Promise<void> {
  for (const phase of startPhases)
    for (const part of parts.filter((one) => one.phase === phase && !one.isRunning)) {
      await part.start?.();
      part.isRunning = true;
    }
}

async function stopAll(parts: readonly RegisteredPart[], log: LifecycleLog): Promise<readonly string[]> {
  const unfinished: string[] = [];
  for (const phase of stopPhases) {
    const running = parts.filter((part) => part.phase === phase && part.isRunning).reverse();
    const isStopped = await Promise.all(running.map((part) => stopPart(part, log)));
    unfinished.push(...running.filter((_, index) => !isStopped[index]).map(({ name }) => name));
  }
  return unfinished;
}

/** Resolves to false if the stop threw or exceeded its limit. */
async function stopPart({ name, stop, withinMs = defaultWithinMs }: RegisteredPart, log: LifecycleLog): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), withinMs);
  });
  try {
    // An async function, so that a stop that throws synchronously also becomes a rejection.
    const outcome = await Promise.race([(async () => void (await stop?.()))(), late]);
    if (outcome !== 'late') return true;
    log.warn('A part did not stop in time; the stop continues without it.', { part: name, withinMs });
  } catch (error) {
    log.warn('A part could not be stopped; the stop continues.', {
      part: name,
      error: error instanceof Error ? error.message.split('\n')[0] : String(error),
    });
  } finally {
    clearTimeout(timer);
  }
  return false;
}
