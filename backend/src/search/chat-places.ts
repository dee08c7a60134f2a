import type { DataSource } from 'typeorm';
import type { Condition } from '../db/ranges.js';
import { runStatement } from '../db/statement.js';
import type { KnownChat, PlaceRange } from './places.js';

/** Reads where the messages of named chats are, on PostgreSQL: from the table of messages, whose statistics know how frequent a chat is. */

/**
 * Many chats are looked for among so many of the next messages first. Where they are frequent there, that is a page; else each chat is read by its
 * index, which takes the longer the more messages the chats have.
 */
const windowSizes = [5_000, 20_000];
/** With at most so many chats, each is read by its index at once. */
const fewChats = 20;

/** Returns the ids of the next messages that are in these chats or written by these people, and meet the conditions. An id may be returned twice. */
export async function placesOfChats(
  reader: DataSource,
  chats: readonly KnownChat[],
  conditions: readonly Condition[],
  range: PlaceRange,
  limit: number,
): Promise<string[]> {
  if (chats.length > fewChats)
    for (const size of windowSizes) {
      const near = await nearPlaces(reader, chats, conditions, range, { limit, size });
      if (near.length === limit) return near;
    }
  const bounds = boundsOf(range);
  const all = [...bounds, ...conditions];
  const where = all.map(({ sql }) => sql).join(' AND ') || 'true';
  const parameters = all.flatMap((condition) => condition.parameters);
  const keys = keysOf(chats);
  // OFFSET 0 keeps the planner from reading all messages in the order of ids instead.
  const sql = `SELECT found.id FROM (
      SELECT DISTINCT s."accountId" AS account, c.wa FROM unnest(?::text[], ?::text[]) AS c(session, wa) JOIN sessions s ON s.id = c.session
    ) named CROSS JOIN LATERAL (
      SELECT id FROM messages WHERE "accountId" = named.account AND "chatId" = named.wa AND ${isIn('chatId')} AND ${where}
      UNION ALL
      SELECT id FROM messages WHERE "accountId" = named.account AND "fromId" = named.wa AND ${isFrom} AND ${where}
      OFFSET 0) found
    ORDER BY found.id ${directionOf(range)} LIMIT ${limit}`;
  const [sessions, ids] = [chats.map(({ sessionId }) => sessionId), chats.map(({ waId }) => waId)];
  return idsOf(reader, sql, [sessions, ids, keys, ...parameters, keys, ...parameters]);
}

/** Whether a message is of one of the chats: they are the next parameter (`keysOf`). PostgreSQL looks such a list up in a hash table. */
const isIn = (column: 'chatId' | 'fromId'): string => `"sessionId" || ' ' || "${column}" = ANY(?::text[])`;
const isFrom = `"chatType" <> 'private' AND ${isIn('fromId')}`;
const keysOf = (chats: readonly KnownChat[]): string[] => chats.map(({ sessionId, waId }) => `${sessionId} ${waId}`);

/** The same among the next `size` messages. */
function nearPlaces(
  reader: DataSource,
  chats: readonly KnownChat[],
  conditions: readonly Condition[],
  range: PlaceRange,
  { limit, size }: { limit: number; size: number },
): Promise<string[]> {
  const bounds = boundsOf(range);
  const keys = keysOf(chats);
  const order = `ORDER BY id ${directionOf(range)}`;
  const sql = `SELECT id FROM (SELECT * FROM messages WHERE ${bounds.map(({ sql }) => sql).join(' AND ') || 'true'} ${order} LIMIT ${size}) next
    WHERE ${conditions.map(({ sql }) => `${sql} AND `).join('')}(${isIn('chatId')} OR (${isFrom})) ${order} LIMIT ${limit}`;
  const parameters = [...bounds, ...conditions].flatMap((condition) => condition.parameters);
  return idsOf(reader, sql, [...parameters, keys, keys]);
}

/** The word of ORDER BY for the order of a range. */
export const directionOf = ({ order }: PlaceRange): string => (order === 'asc' ? 'ASC' : 'DESC');

/** The conditions that an id is in a range. */
export function boundsOf({ order, after, last }: PlaceRange): Condition[] {
  return [
    ...(after === null ? [] : [{ sql: `id ${order === 'asc' ? '>' : '<'} ?`, parameters: [after] }]),
    ...(last === null ? [] : [{ sql: `id ${order === 'asc' ? '<=' : '>='} ?`, parameters: [last] }]),
  ];
}

/** Not prepared: the plan must fit how frequent these chats are. */
const idsOf = async (reader: DataSource, sql: string, parameters: readonly unknown[]): Promise<string[]> =>
  (await runStatement<{ id: string }>(reader, sql, parameters, { prepare: false })).rows.map(({ id }) => id);
