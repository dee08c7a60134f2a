import { allows, eventCatalogue, eventTypes, isEventType, type EventResource, type EventType } from '@chasqui/shared';
import { In } from 'typeorm';
import type { Database } from '../db/database.js';
import { select } from '../db/sql.js';
import { Session } from '../sessions/session.entity.js';
import { EventRow } from './event.entity.js';
import { cursorText } from './events.js';

export type EventLog = ReturnType<typeof createEventLog>;

/** Reading the log. Every read takes the account first; what the caller's permissions do not cover is not there for it. */
export function createEventLog({ database }: { database: Database }) {
  const rows = database.reader.getRepository(EventRow);

  return {
    async page(
      accountId: string,
      wish: { after: number; types: string[] | null; sessionId: string | null; permissions: readonly string[]; limit: number },
    ): Promise<{ events: EventResource[]; next: string; latest: string }> {
      const types = readable(wish.permissions, wish.types);
      const query = rows
        .createQueryBuilder('e')
        .where('e.accountId = :accountId AND e.cursor > :after', { accountId, after: wish.after })
        .andWhere('e.type IN (:...types)', { types: types.length > 0 ? types : ['none'] });
      if (wish.sessionId) query.andWhere('e.sessionId = :sessionId', { sessionId: wish.sessionId });
      const found = await query.orderBy('e.cursor', 'ASC').limit(wish.limit).getMany();
      const [head] = await select<{ last: number | string | null }>(
        database.reader,
        'SELECT MAX(cursor) AS last FROM events WHERE "accountId" = ?',
        [accountId],
      );
      const latest = Number(head?.last ?? 0);
      // When the page is not full, all up to the head was looked at: the next call need not look there again.
      const next = found.length === wish.limit ? found.at(-1)!.cursor : Math.max(wish.after, found.at(-1)?.cursor ?? 0);
      return { events: await present(found), next: cursorText(next), latest: cursorText(latest) };
    },
    ofMessage: (accountId: string, messageId: string): Promise<EventRow[]> =>
      rows.find({ where: { accountId, messageId }, order: { cursor: 'ASC' } }),
  };

  async function present(found: EventRow[]): Promise<EventResource[]> {
    const ids = [...new Set(found.flatMap((row) => row.sessionId ?? []))];
    const sessions =
      ids.length > 0
        ? await database.reader.getRepository(Session).find({ where: { id: In(ids) }, select: { id: true, name: true } })
        : [];
    const names = new Map(sessions.map((session) => [session.id, session.name]));
    return found.map((row) => ({
      cursor: cursorText(row.cursor),
      id: row.id,
      type: row.type,
      session: row.sessionId ? { id: row.sessionId, name: names.get(row.sessionId) ?? '' } : null,
      sequence: row.sequence,
      occurredAt: row.occurredAt.toISOString(),
      data: row.data,
    }));
  }
}

/** `message.*` is one family, `*` all. */
function readable(permissions: readonly string[], asked: string[] | null): EventType[] {
  const wanted =
    asked === null || asked.includes('*')
      ? eventTypes
      : asked.flatMap((name) =>
          isEventType(name) ? [name] : name.endsWith('.*') ? eventTypes.filter((type) => type.startsWith(name.slice(0, -1))) : [],
        );
  return wanted.filter((type) => allows(permissions, eventCatalogue[type].permission));
}
