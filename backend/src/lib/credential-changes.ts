/**
 * Tells everything that remembers a credential (caches, open streams) that it was changed: a key regenerated, changed, revoked or claimed, a
 * password changed, an account deactivated or given another role. Published after the commit.
 *
 * With several backends on one PostgreSQL the others hear of it through NOTIFY (events/wake.ts), usually within milliseconds. A notice that is
 * lost is made up for by the caches' own end (1 s) and by the streams' regular check (`askMs`, 3 s).
 */
export interface CredentialChanges {
  /** A credential of this account was changed by this process, and the change is committed. */
  publish(accountId: string): void;
  /** Another backend changed a credential of this account; null when it is not known of which, after notices may have been lost. */
  hear(accountId: string | null): void;
  /** Calls `listener` for every change, wherever it was made. It must not throw. Returns a function that unsubscribes. */
  subscribe(listener: (accountId: string | null) => void): () => void;
  /** Calls `listener` only for the changes of this process, to pass them on. */
  subscribeOwn(listener: (accountId: string) => void): () => void;
}

export function createCredentialChanges(): CredentialChanges {
  const all = new Set<(accountId: string | null) => void>();
  const own = new Set<(accountId: string) => void>();
  const tell = (accountId: string | null): void => {
    for (const listener of all) listener(accountId);
  };
  return {
    publish(accountId) {
      tell(accountId);
      for (const listener of own) listener(accountId);
    },
    hear: tell,
    subscribe(listener) {
      all.add(listener);
      return () => void all.delete(listener);
    },
    subscribeOwn(listener) {
      own.add(listener);
      return () => void own.delete(listener);
    },
  };
}
