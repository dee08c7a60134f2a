/** Returns which of these addresses of an account belong to people who opted out. */
export type Lookup = (accountId: string, addresses: readonly string[]) => Promise<Set<string>>;

/**
 * Shares look-ups: callers of one tick of the event loop get their results from one call of `read` for each account. The read begins after the last
 * of them asked, so each sees everything that was committed before its own call. If the read fails, all of them get its error.
 */
export function createSharedLookup(read: Lookup): Lookup {
  const pending = new Map<string, { addresses: Set<string>; result: Promise<Set<string>> }>();

  const begin = (accountId: string): { addresses: Set<string>; result: Promise<Set<string>> } => {
    const addresses = new Set<string>();
    const result = new Promise(setImmediate).then(() => {
      pending.delete(accountId);
      return read(accountId, [...addresses]);
    });
    const batch = { addresses, result };
    pending.set(accountId, batch);
    return batch;
  };

  return async function lookup(accountId, asked) {
    if (asked.length === 0) return new Set();
    const batch = pending.get(accountId) ?? begin(accountId);
    for (const address of asked) batch.addresses.add(address);
    const found = await batch.result;
    return new Set(asked.filter((address) => found.has(address)));
  };
}
