/**
 * Writes to one reader of a stream, which may stop reading: pending data is bounded in bytes and in time. The connection alone does not
 * reveal this, because TCP keeps a reader that does not read for as long as its machine responds.
 */
export interface StreamWriter {
  /** Writes at once. False: the reader has not read for `stallMs`, or too much is pending; the caller ends the stream. */
  put(text: string): boolean;
  /** Writes, and resolves when there is room for more. False: the reader has not read for `stallMs`. */
  send(text: string): Promise<boolean>;
}

/** The bytes that may be pending for a reader, however much there is to write. */
const maxWaitingBytes = 256 * 1024;
/** The bytes that `put` may add above that, because it does not wait for room. */
const maxUnread = 1024 * 1024;

/** `write` resolves when the system has accepted the bytes, and never rejects: for a disconnected reader it resolves too. */
export function createStreamWriter(
  write: (text: string) => Promise<void>,
  { stallMs, monotonic = () => performance.now() }: { stallMs: number; monotonic?: () => number },
): StreamWriter {
  let waiting = 0;
  /** When the reader last read, or when data became pending. */
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
      if (isStalled() || waiting > maxWaitingBytes + maxUnread) return false;
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
