/**
 * Writes to one reader of a stream, who may stand still: what waits for it is bounded in bytes and in time. A connection alone does not
 * tell, because TCP keeps a reader that takes nothing for as long as its machine answers.
 */
export interface StreamWriter {
  /** Writes at once. False: the reader has taken nothing for `stallMs`, or too much is waiting; the caller ends the stream. */
  put(text: string): boolean;
  /** Writes, and resolves when there is room for more. False: the reader has taken nothing for `stallMs`. */
  send(text: string): Promise<boolean>;
}

/** Bytes that may wait for a reader: a page more or less, however much there is to write. */
const maxWaitingBytes = 256 * 1024;
/** What `put` may add above that: it does not wait for room. */
const maxUnasked = 1024 * 1024;

/** `write` resolves when the system has taken the bytes, and never rejects: for a reader that is gone it resolves too. */
export function createStreamWriter(
  write: (text: string) => Promise<void>,
  { stallMs, monotonic = () => performance.now() }: { stallMs: number; monotonic?: () => number },
): StreamWriter {
  let waiting = 0;
  /** When the reader last took something, or began to have something to take. */
  let movedAt = 0;
  let onMove = (): void => undefined;

  function push(text: string): void {
    const bytes = Buffer.byteLength(text);
    if (waiting === 0) movedAt = monotonic();
    waiting += bytes;
    void write(text).then(() => {
      waiting -= bytes;
      movedAt = monotonic();
      onMove();
    });
  }

  const isStalled = (): boolean => waiting > 0 && monotonic() - movedAt >= stallMs;

  return {
    put(text) {
      if (isStalled() || waiting > maxWaitingBytes + maxUnasked) return false;
      push(text);
      return true;
    },
    async send(text) {
      push(text);
      while (waiting > maxWaitingBytes) {
        if (isStalled()) return false;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.max(1, stallMs - (monotonic() - movedAt)));
          onMove = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      return true;
    },
  };
}
