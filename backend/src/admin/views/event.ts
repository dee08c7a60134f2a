import { eventCatalogue, eventSamples, eventTypes, foldText } from '@chasqui/shared';
import { In, LessThan, MoreThan, type DataSource, type FindOptionsWhere } from 'typeorm';
import { readable } from '../../db/unreadable.js';
import { EventRow } from '../../events/event.entity.js';
import { Session } from '../../sessions/session.entity.js';
import { bodyOf, testEvent } from '../../webhooks/payload.js';
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

/** The sample of a type as a webhook's receiver gets it. */
export function eventSampleView(type: string, now: Date): { body: unknown } {
  const data = (eventSamples as Record<string, unknown>)[type] as Record<string, unknown>;
  const session = { id: '01920000-0000-7000-8000-000000000001', name: 'shop' };
  const sample = { ...testEvent(now, { type, session }), data };
  return { body: JSON.parse(bodyOf(sample, { types: {}, includeContent: true, transform: null }).body) as unknown };
}

type EventQuery = Changes<{ after: number; before: number; type: string; sessionId: string; accountId: string }>;

const pageSize = 50;

/** Events, newest first. `after` returns the later ones, `before` the page of earlier ones. */
export async function eventsView(reader: DataSource, query: EventQuery) {
  return presentEvents(reader, await readEvents(reader, query, pageSize));
}
export type EventView = Awaited<ReturnType<typeof eventsView>>[number];

/** One page of a search looks at so many events at most, because no index has their words. */
const maxExamined = 2_000;

/**
 * A page of events whose words, type or id contain a text, newest first; without a text, of all. `next`: the cursor before which the next page
 * begins; null: there are no earlier events. A page with few events, or none, may have a next one.
 */
export async function eventPageView(reader: DataSource, { text = '', ...query }: EventQuery & Changes<{ text: string }>) {
  const wanted = foldText(text);
  if (wanted === '') {
    const events = await eventsView(reader, query);
    return { events, next: events.length < pageSize ? null : (events.at(-1)?.cursor ?? null) };
  }
  const rows = await readEvents(reader, query, maxExamined);
  const found: EventView[] = [];
  let last: number | null = null;
  for (const event of await presentEvents(reader, rows)) {
    last = event.cursor;
    const { words, type, messageId, session } = event;
    if (foldText([words, type, messageId, session?.name].join(' ')).includes(wanted)) found.push(event);
    if (found.length === pageSize) break;
  }
  const isEnd = rows.length < maxExamined && last === (rows.at(-1)?.cursor ?? null);
  return { events: found, next: isEnd ? null : last };
}
export type EventPageView = Awaited<ReturnType<typeof eventPageView>>;

function readEvents(reader: DataSource, query: EventQuery, take: number): Promise<EventRow[]> {
  const where: FindOptionsWhere<EventRow> = {};
  if (query.after !== undefined) where.cursor = MoreThan(query.after);
  else if (query.before !== undefined) where.cursor = LessThan(query.before);
  if (query.type) where.type = query.type;
  if (query.sessionId) where.sessionId = query.sessionId;
  if (query.accountId) where.accountId = query.accountId;
  return reader.getRepository(EventRow).find({ where, order: { cursor: 'DESC' }, take });
}

/** An event whose data is damaged is shown without it. */
export const withReadableData = (row: EventRow): EventRow => ({ ...row, data: readable(row.data, {}) });

async function presentEvents(reader: DataSource, rows: readonly EventRow[]) {
  const sessions = await reader
    .getRepository(Session)
    .find({ where: { id: In([...new Set(rows.flatMap((row) => row.sessionId ?? []))]) }, select: { id: true, name: true } });
  const names = new Map(sessions.map((session) => [session.id, session.name]));
  return rows.map(withReadableData).map((row) => ({
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
