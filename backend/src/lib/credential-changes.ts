/**
 * Notifies everything that caches a credential (caches, open streams) that it changed: a key regenerated, changed, revoked or claimed, a
 * password changed, an account deactivated or its role changed. Published after the commit.
 *
 * With several backends on one PostgreSQL the others receive it through NOTIFY (events/wake.ts), usually within milliseconds. The caches' TTL
 * (1 s) and the streams' regular check (`checkMs`, 3 s) cover a lost notice.
 */
export interface CredentialChanges {
  /** A credential of this account was changed by this process, and the change is committed. */
  publish(accountId: string): void;
  /** Another backend changed a credential of this account; null when it is not known of which, after notices may have been lost. */
  receive(accountId: string | null): void;
  /** Calls `listener` for every change of any backend. It must not throw. Returns a function that unsubscribes. */
  subscribe(listener: (accountId: string | null) => void): () => void;
  /** Calls `listener` only for the changes of this process, to pass them on. */
  subscribeOwn(listener: (accountId: string) => void): () => void;
}

export function createCredentialChanges(): CredentialChanges {
  const all = new Set<(accountId: string | null) => void>();
  const own = new Set<(accountId: string) => void>();
  const notify = (accountId: string | null): void => {
    for (const listener of all) listener(accountId);
  };
  return {
    publish(accountId) {
      notify(accountId);
      for (const listener of own) listener(accountId);
    },
    receive: notify,
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
