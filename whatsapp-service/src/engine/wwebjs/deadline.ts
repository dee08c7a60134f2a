/** A call that did not come back in time. What it did meanwhile is not known. */
export class DeadlineError extends Error {
  constructor(
    readonly what: string,
    readonly afterMs: number,
  ) {
    super(`${what} did not finish within ${afterMs} ms.`);
    this.name = 'DeadlineError';
  }
}

/** Waits for `work` no longer than `ms`. The timer is cleared either way, and a late failure of `work` is not an unhandled one. */
export async function within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(what, ms)), ms);
  });
  try {
    // Promise.race stays subscribed to both, so whichever loses may reject later without anybody being told twice.
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
