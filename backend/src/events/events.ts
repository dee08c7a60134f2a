import { eventCatalogue, newId, type EventData, type EventType } from '@chasqui/shared';
import type { Transaction } from '../db/unit-of-work.js';
import { insertIfAbsent, insertRow, updateRows } from '../db/rows.js';
import { select } from '../db/sql.js';
import type { Clock } from '../lib/clock.js';
import { EventCounter, EventRow } from './event.entity.js';

/** One event to be written. `sessionId` null: an event of the account. `messageId` puts it on that message's timeline. */
export interface NewEvent<T extends EventType = EventType> {
  accountId: string;
  sessionId: string | null;
  type: T;
  data: EventData<T>;
  messageId?: string | null;
  occurredAt?: Date;
}

export interface Events {
  /**
   * Writes the event inside the caller's transaction: a fact and its event commit together or not at all. Gives the row.
   * Listeners hear of it after the commit.
   */
  append<T extends EventType>(tx: Transaction, event: NewEvent<T>): Promise<EventRow>;
  /** Hears every committed event of this process, in order of commit. Gives back how to stop. Listeners must not throw. */
  subscribe(listener: (event: EventRow) => void): () => void;
}

export function createEvents({ clock }: { clock: Clock }): Events {
  const listeners = new Set<(event: EventRow) => void>();

  return {
    async append(tx, event) {
      const row: EventRow = {
        cursor: await next(tx, 'log'),
        id: newId(clock.now().getTime()),
        accountId: event.accountId,
        sessionId: event.sessionId,
        sequence: event.sessionId === null ? null : await next(tx, event.sessionId),
        type: event.type,
        messageId: event.messageId ?? null,
        // What the catalogue does not name does not get into the log.
        data: eventCatalogue[event.type].data.parse(event.data) as Record<string, unknown>,
        occurredAt: event.occurredAt ?? clock.now(),
      };
      await insertRow(tx, EventRow, row);
      tx.afterCommit(() => {
        for (const listener of listeners) listener(row);
      });
      return row;
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/**
 * The next number of a counter. The update locks the counter's row until the commit, which is what makes the order of cursors the
 * order of commits on PostgreSQL too: a reader that has seen cursor 7 will never meet a 6 that commits later.
 */
async function next(tx: Transaction, scope: string): Promise<number> {
  const affected = await updateRows(tx, EventCounter, { scope }, { last: () => 'last + 1' });
  if (affected === 0) {
    await insertIfAbsent(tx, EventCounter, { scope, last: 0 });
    return next(tx, scope);
  }
  const [row] = await select<{ last: number | string }>(tx.manager, 'SELECT last FROM event_counters WHERE scope = ?', [scope]);
  return Number(row!.last);
}

/** Cursors leave the API as text of one length, so that they sort as text too. */
export const cursorText = (cursor: number): string => String(cursor).padStart(14, '0');
