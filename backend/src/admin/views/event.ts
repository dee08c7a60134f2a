import { eventCatalogue, eventTypes } from '@chasqui/shared';
import { In, LessThan, MoreThan, type DataSource, type FindOptionsWhere } from 'typeorm';
import { EventRow } from '../../events/event.entity.js';
import { Session } from '../../sessions/session.entity.js';
import { eventWords, objectOf } from './event-words.js';
import type { Changes } from '../../lib/changes.js';

/** Fields that would let a reader of the log sign in. They are left out. */
const loginData: Record<string, readonly string[]> = {
  'session.qr': ['qrText', 'qrCode'],
  'session.pairing_code': ['code'],
};

/** The types of events, each with the sentence of the catalogue. */
export const eventTypesView = () => eventTypes.map((type) => ({ type, doc: eventCatalogue[type].doc }));
export type EventTypeView = ReturnType<typeof eventTypesView>[number];

/** Events, newest first. `after` returns the later ones, `before` the page of earlier ones. */
export async function eventsView(
  reader: DataSource,
  query: Changes<{ after: number; before: number; type: string; sessionId: string; accountId: string }>,
) {
  const where: FindOptionsWhere<EventRow> = {};
  if (query.after !== undefined) where.cursor = MoreThan(query.after);
  else if (query.before !== undefined) where.cursor = LessThan(query.before);
  if (query.type) where.type = query.type;
  if (query.sessionId) where.sessionId = query.sessionId;
  if (query.accountId) where.accountId = query.accountId;
  const rows = await reader.getRepository(EventRow).find({ where, order: { cursor: 'DESC' }, take: 50 });
  const sessions = await reader
    .getRepository(Session)
    .find({ where: { id: In([...new Set(rows.flatMap((row) => row.sessionId ?? []))]) }, select: { id: true, name: true } });
  const names = new Map(sessions.map((session) => [session.id, session.name]));
  return rows.map((row) => ({
    cursor: row.cursor,
    type: row.type,
    session: row.sessionId ? { id: row.sessionId, name: names.get(row.sessionId) ?? null } : null,
    messageId: row.messageId,
    words: eventWords(row.type, row.data, row.sessionId ? (names.get(row.sessionId) ?? null) : null),
    object: objectOf(row),
    at: row.occurredAt.getTime(),
    data: Object.fromEntries(Object.entries(row.data).filter(([name]) => !loginData[row.type]?.includes(name))),
  }));
}
export type EventView = Awaited<ReturnType<typeof eventsView>>[number];
