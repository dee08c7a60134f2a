/**
 * Bounds the lines of a log, so that a fault that returns with every item, session or request cannot fill the disk or hide all other lines. The same
 * sentence is written at most `perWindow` times in `windowMs`. Further lines are counted, and one line at the end of the window says how many there were.
 */
export interface LineLimit {
  /** Whether one more line with this sentence may be written. */
  admit(sentence: string): boolean;
}

export interface LineLimitOptions {
  /** Writes the line that replaces those that were omitted. */
  onOmitted: (omitted: { sentence: string; omitted: number; withinMs: number }) => void;
  perWindow?: number;
  windowMs?: number;
}

export const omittedSentence = 'Log lines were omitted because there were too many with the same sentence.';

/** Sentences are constants. If one is made of data by mistake, all that exceed this number share one window. */
const maxSentences = 500;

interface Window {
  written: number;
  omitted: number;
}

export function createLineLimit({ onOmitted, perWindow = 20, windowMs = 10_000 }: LineLimitOptions): LineLimit {
  const windows = new Map<string, Window>();

  function open(sentence: string): Window {
    const window = { written: 0, omitted: 0 };
    windows.set(sentence, window);
    // A process that ends does not wait for it.
    setTimeout(() => {
      windows.delete(sentence);
      if (window.omitted > 0) onOmitted({ sentence, omitted: window.omitted, withinMs: windowMs });
    }, windowMs).unref();
    return window;
  }

  return {
    admit(sentence) {
      const name = windows.has(sentence) || windows.size < maxSentences ? sentence : 'Other sentences.';
      const window = windows.get(name) ?? open(name);
      if (window.written < perWindow) window.written += 1;
      else window.omitted += 1;
      return window.omitted === 0;
    },
  };
}

type Write = (sentence: string, fields?: Record<string, unknown>) => void;

/** Returns the log with bounded warnings and errors. Lines of other levels are written once for each thing that was done, and are left as they are. */
export function limitLines<L extends { error: Write; warn: Write }>(
  log: L,
  options: Omit<LineLimitOptions, 'onOmitted'> = {},
): L {
  const limited = (write: Write): Write => {
    const limit = createLineLimit({ ...options, onOmitted: (omitted) => write(omittedSentence, omitted) });
    return (sentence, fields) => {
      if (limit.admit(sentence)) write(sentence, fields);
    };
  };
  return { ...log, error: limited(log.error), warn: limited(log.warn) };
}
