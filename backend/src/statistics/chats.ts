import type { Contact, StatisticsReportResource } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import type { Contacts } from '../contacts/contacts.js';
import type { Core } from '../core.js';
import { among } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { periodMs, startOf } from '../messages/usage/counts.js';
import { spans } from '../messages/usage/usage.entity.js';
import { piecesOf, type Range, type Scope } from './counts.js';

type Busiest = NonNullable<StatisticsReportResource['topChats']>;

/** How many chats are returned. */
const maxShown = 10;
/** How many chats are read. More than are returned, because two of them may be one person, with a number and with a LID. */
const maxRead = 30;

interface Counts {
  chatId: string;
  inbound: number;
  outbound: number;
}

type Merged = Counts & { contact: Contact | null };

const busiestFirst = (one: Counts, other: Counts): number =>
  other.inbound + other.outbound - one.inbound - one.outbound || (one.chatId < other.chatId ? -1 : 1);

/** Returns the chats with the most messages on the days in UTC that the range touches. */
export async function topChats(
  { database, contacts }: Pick<Core, 'database'> & { contacts: Pick<Contacts, 'people'> },
  { accountId, sessionId }: Scope,
  range: Range,
): Promise<Busiest> {
  const dayMs = periodMs(spans.day);
  const from = startOf(range.from, spans.day);
  const to = Math.ceil(range.to / dayMs) * dayMs;
  const rows = await busiest(database.reader, { accountId, sessionId }, { from, to });
  const chatIds = rows.map(({ chatId }) => chatId);
  const knownBy = await sessionsThatKnow(database.reader, { accountId, sessionId }, chatIds);
  const people = await contacts.people([...knownBy].map(([waId, by]) => ({ sessionId: by, waId })));
  const personOf = (chatId: string): Contact | null => people(knownBy.get(chatId) ?? '', chatId);
  const merged = mergePeople(rows, personOf).sort(busiestFirst).slice(0, maxShown);
  const groups = merged.map(({ chatId }) => chatId).filter(isGroupId);
  const names = await groupNames(database.reader, accountId, groups);
  const chats = merged.map(({ chatId, contact, inbound, outbound }) => ({
    chat: isGroupId(chatId)
      ? { id: chatId, type: 'group' as const, name: names.get(chatId) ?? null }
      : { id: chatId, type: 'private' as const, name: contact?.name ?? null },
    contact,
    inbound,
    outbound,
  }));
  return { from: new Date(from).toISOString(), to: new Date(to).toISOString(), chats };
}

const isGroupId = (chatId: string): boolean => chatId.endsWith('@g.us');

/**
 * Returns the chats with the most messages, as many as are read. A range that is read in one statement is sorted by the database. It adds up numbers
 * only: to compare the session of each row as well would take PostgreSQL half as long again.
 */
async function busiest(reader: DataSource, { accountId, sessionId }: Scope, range: Range): Promise<Counts[]> {
  const ofSession = sessionId === null ? '' : ' AND "sessionId" = ?';
  const sql = `SELECT "chatId", SUM(inbound) AS inbound, SUM(outbound) AS outbound FROM usage_chats
    WHERE "accountId" = ? AND at >= ? AND at < ?${ofSession} GROUP BY "chatId"`;
  const binary = reader.options.type === 'postgres' ? ' COLLATE "C"' : '';
  const sorted = `${sql} ORDER BY SUM(inbound) + SUM(outbound) DESC, "chatId"${binary} LIMIT ${maxRead}`;
  const found = new Map<string, Counts>();
  for await (const piece of piecesOf(reader, range)) {
    const isWhole = piece.from === range.from && piece.to === range.to;
    const parameters = [accountId, piece.from, piece.to, ...(sessionId === null ? [] : [sessionId])];
    const { rows } = await runStatement<Counts>(reader, isWhole ? sorted : sql, parameters, { prepare: false });
    for (const raw of rows) {
      const row = found.get(raw.chatId) ?? { ...raw, inbound: 0, outbound: 0 };
      found.set(raw.chatId, row);
      row.inbound += Number(raw.inbound);
      row.outbound += Number(raw.outbound);
    }
  }
  return [...found.values()].sort(busiestFirst).slice(0, maxRead);
}

/** Returns one of the sessions that know the person behind each of these ids. */
async function sessionsThatKnow(
  reader: DataSource,
  { accountId, sessionId }: Scope,
  chatIds: readonly string[],
): Promise<Map<string, string>> {
  if (sessionId !== null) return new Map(chatIds.map((chatId) => [chatId, sessionId]));
  const theirs = among(reader, 'waId', chatIds);
  const sql = `SELECT "waId", MIN("sessionId") AS "sessionId" FROM contact_forms WHERE "accountId" = ? AND ${theirs.condition} GROUP BY "waId"`;
  const { rows } = await runStatement<{ waId: string; sessionId: string }>(reader, sql, [accountId, theirs.parameter]);
  return new Map(rows.map(({ waId, sessionId: by }) => [waId, by]));
}

/** Adds up the chats of each person whom WhatsApp addressed by number and by LID. */
function mergePeople(rows: readonly Counts[], personOf: (chatId: string) => Contact | null): Merged[] {
  const byPerson = new Map<string, Merged>();
  for (const { chatId, inbound, outbound } of rows) {
    const contact = personOf(chatId);
    const key = contact?.phone ?? contact?.lid ?? chatId;
    const entry = byPerson.get(key) ?? { chatId: contact?.id ?? chatId, contact, inbound: 0, outbound: 0 };
    byPerson.set(key, entry);
    entry.inbound += inbound;
    entry.outbound += outbound;
  }
  return [...byPerson.values()];
}

/** Returns the name of each of these groups as the session that heard of it last knows it. */
async function groupNames(
  reader: DataSource,
  accountId: string | null,
  chatIds: readonly string[],
): Promise<Map<string, string>> {
  if (chatIds.length === 0) return new Map();
  const theirs = among(reader, 'chatId', chatIds);
  const sql = `SELECT "chatId", "chatName" AS name FROM conversations WHERE ${theirs.condition} AND "chatName" IS NOT NULL
    AND "sessionId" IN (SELECT s.id FROM sessions s WHERE s."accountId" = ?) ORDER BY "lastAt"`;
  const { rows } = await runStatement<{ chatId: string; name: string }>(reader, sql, [theirs.parameter, accountId]);
  return new Map(rows.map(({ chatId, name }) => [chatId, name]));
}
