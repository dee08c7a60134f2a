import type { DataSource } from 'typeorm';
import { readAmong } from '../db/rows.js';
import { select } from '../db/sql.js';
import type { Contacts } from '../contacts/contacts.js';
import type { ListQuery } from './contract.js';
import { Message } from './message.entity.js';
import { beyond, selectionOf, union, type Selection } from './selection.js';

/** Totals are exact below this figure: counting a million rows for a page of fifty helps nobody. */
export const maxCounted = 1_000;

export interface Place {
  id: string;
  createdAt: number;
}

/** A page of the account's messages. With a cursor it costs the same on every page; with an offset it also returns the total. */
export async function listMessages(
  { reader, contacts }: { reader: DataSource; contacts: Pick<Contacts, 'formsOf'> },
  accountId: string,
  sessionId: string | null,
  query: ListQuery,
): Promise<{ messages: Message[]; meta: object }> {
  const selection = await selectionOf({ reader, contacts }, accountId, sessionId, query);
  const { limit, cursor, offset } = query;
  const places = await pageOf(reader, selection, query);
  const messages = await inOrder(reader, places);
  const last = places.length === limit ? places.at(-1) : undefined;
  const nextCursor = last ? Buffer.from(`${last.createdAt}:${last.id}`).toString('base64url') : null;
  if (cursor) return { messages, meta: { limit, nextCursor } };
  const total = await countUpTo(reader, selection);
  return { messages, meta: { limit, offset, total, totalExact: total < maxCounted, nextCursor } };
}

/** The messages with these ids, in this order. One that was deleted meanwhile is left out. */
async function inOrder(reader: DataSource, places: readonly Place[]): Promise<Message[]> {
  if (places.length === 0) return [];
  const ids = places.map(({ id }) => id);
  const found = new Map((await readAmong(reader, Message, 'id', ids)).map((message) => [message.id, message]));
  return ids.flatMap((id) => found.get(id) ?? []);
}

/** Each branch is read in the order of time no further than the page needs; the few rows of all branches are sorted once more. */
async function pageOf(reader: DataSource, { all, branches }: Selection, query: ListQuery): Promise<Place[]> {
  const direction = query.order === 'asc' ? 'ASC' : 'DESC';
  const offset = query.cursor ? 0 : query.offset;
  const order = `ORDER BY "createdAt" ${direction}, id ${direction}`;
  const conditions = query.cursor ? [...all, beyond(query.cursor, query.order)] : all;
  const { sql, parameters } = union(branches, conditions, '"createdAt", id', `${order} LIMIT ${offset + query.limit}`);
  const page = `${sql} ${order} LIMIT ${query.limit} OFFSET ${offset}`;
  const rows = await select<{ id: string; createdAt: number | string }>(reader, page, parameters);
  return rows.map(({ id, createdAt }) => ({ id, createdAt: Number(createdAt) }));
}

async function countUpTo(reader: DataSource, { all, branches }: Selection): Promise<number> {
  const { sql, parameters } = union(branches, all, '1 AS one', `LIMIT ${maxCounted}`);
  const [row] = await select<{ n: number | string }>(
    reader,
    `SELECT COUNT(*) AS n FROM (${sql} LIMIT ${maxCounted}) counted`,
    parameters,
  );
  return Number(row?.n ?? 0);
}
