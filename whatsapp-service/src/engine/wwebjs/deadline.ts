/** A call that did not end in time. It is unknown what the call did. */
export class DeadlineError extends Error {
  constructor(
    readonly what: string,
    readonly afterMs: number,
  ) {
    super(`${what} did not finish within ${afterMs} ms.`);
    this.name = 'DeadlineError';
  }
}

/** Waits for `work` for at most `ms`; then throws `DeadlineError`. A later rejection of `work` is not an unhandled rejection. */
export async function within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(what, ms)), ms);
  });
  try {
    // Promise.race handles both promises, so the slower one may reject later without an unhandled rejection.
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
