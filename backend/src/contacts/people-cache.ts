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
  /** Grows with each `forget` and `clear`. A reader that began at an earlier version may have read what is no longer true, and must not store it. */
  version(): number;
}

const maxIds = 50_000;
/** For how long an id is assumed to belong to the same person. Another backend may change it meanwhile; SQLite has one backend. */
const ttlMs = { postgres: 5_000, sqlite: 600_000 };

export const keyOf = (sessionId: string, waId: string): string => `${sessionId} ${waId}`;

export function createPeopleCache(dialect: Database['dialect'], clock: Clock): PeopleCache {
  /** `until` is a time of the monotonic clock. */
  const entries = new Map<string, { contact: Contact | null; until: number }>();
  let version = 0;

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
    clear() {
      version += 1;
      entries.clear();
    },
    version: () => version,
  };
}
