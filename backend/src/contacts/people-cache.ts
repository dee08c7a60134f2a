import type { Contact } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import type { Clock } from '../lib/clock.js';

/** The people behind ids of sessions, as this process last read or wrote them. */
export interface PeopleCache {
  /** Returns null for an id that belongs to no known person, and undefined for one that is not cached. */
  get(sessionId: string, waId: string): Contact | null | undefined;
  set(sessionId: string, waId: string, contact: Contact | null): void;
  /** Removes ids, because their people change. */
  forget(sessionId: string, waIds: readonly string[]): void;
  clear(): void;
  /** Clears the cache if names were removed since the last call, by any backend. `version` is that of the event log (`onNamesVersion`). */
  keepUp(namesVersion: number): void;
  /** Grows with each `clear`. What a transaction wrote before it may be out of date. */
  clears(): number;
  /** Grows with each `forget` and `clear`. A reader that began at an earlier version may have read what is no longer true, and must not store it. */
  version(): number;
}

const maxIds = 50_000;
/**
 * For how long an id is assumed to belong to the same person. Another backend may change it meanwhile; SQLite has one backend. Removed names are not
 * used for that long: see `keepUp`.
 */
const ttlMs = { postgres: 5_000, sqlite: 600_000 };

export const keyOf = (sessionId: string, waId: string): string => `${sessionId} ${waId}`;

export function createPeopleCache(dialect: Database['dialect'], clock: Clock): PeopleCache {
  /** `until` is a time of the monotonic clock. */
  const entries = new Map<string, { contact: Contact | null; until: number }>();
  let version = 0;
  let clears = 0;
  let namesVersion: number | null = null;
  const clear = (): void => {
    version += 1;
    clears += 1;
    entries.clear();
  };

  return {
    get(sessionId, waId) {
      const entry = entries.get(keyOf(sessionId, waId));
      return entry && entry.until > clock.monotonic() ? entry.contact : undefined;
    },
    set(sessionId, waId, contact) {
      const key = keyOf(sessionId, waId);
      entries.delete(key);
      entries.set(key, { contact, until: clock.monotonic() + ttlMs[dialect] });
      for (const oldest of entries.keys()) {
        if (entries.size <= maxIds) break;
        entries.delete(oldest);
      }
    },
    forget(sessionId, waIds) {
      version += 1;
      for (const waId of waIds) entries.delete(keyOf(sessionId, waId));
    },
    clear,
    keepUp(current) {
      // Not only a higher one: the transaction that raised it may have been rolled back, and the first one may be anything.
      if (current === namesVersion) return;
      namesVersion = current;
      clear();
    },
    clears: () => clears,
    version: () => version,
  };
}
