import type { Contact, StatisticsReportResource } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import type { Contacts } from '../contacts/contacts.js';
import type { People } from '../contacts/people.js';
import type { Core } from '../core.js';
import { runStatement } from '../db/statement.js';
import { periodMs, startOf } from '../messages/usage/counts.js';
import { spans } from '../messages/usage/usage.entity.js';
import { piecesOf, type Range, type Scope } from './counts.js';

type Busiest = NonNullable<StatisticsReportResource['topChats']>;

/** How many chats are returned. */
const maxShown = 10;
/** How many chats are read. More than are returned, because two of them may be one person, with a number and with a LID. */
const maxRead = 30;

interface Found {
  chatId: string;
  sessionId: string;
  inbound: number;
  outbound: number;
}

type Counts = Pick<Found, 'chatId' | 'inbound' | 'outbound'>;
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
  const people = await contacts.people(rows.map(({ chatId, sessionId: of }) => ({ sessionId: of, waId: chatId })));
  const merged = mergePeople(rows, people).sort(busiestFirst).slice(0, maxShown);
  const chats = [];
  for (const { chatId, contact, inbound, outbound } of merged) {
    const isGroup = chatId.endsWith('@g.us');
    const name = isGroup ? await groupName(database.reader, accountId, chatId) : (contact?.name ?? null);
    chats.push({
      chat: { id: chatId, type: isGroup ? ('group' as const) : ('private' as const), name },
      contact,
      inbound,
      outbound,
    });
  }
  return { from: new Date(from).toISOString(), to: new Date(to).toISOString(), chats };
}

/** Returns the chats with the most messages, as many as are read. A range that is read in one statement is sorted by the database. */
async function busiest(reader: DataSource, { accountId, sessionId }: Scope, range: Range): Promise<Found[]> {
  const ofSession = sessionId === null ? '' : ' AND "sessionId" = ?';
  const sql = `SELECT "chatId", MIN("sessionId") AS "sessionId", SUM(inbound) AS inbound, SUM(outbound) AS outbound FROM usage_chats
    WHERE "accountId" = ? AND at >= ? AND at < ?${ofSession} GROUP BY "chatId"`;
  const binary = reader.options.type === 'postgres' ? ' COLLATE "C"' : '';
  const sorted = `${sql} ORDER BY SUM(inbound) + SUM(outbound) DESC, "chatId"${binary} LIMIT ${maxRead}`;
  const found = new Map<string, Found>();
  for await (const piece of piecesOf(reader, range)) {
    const isWhole = piece.from === range.from && piece.to === range.to;
    const parameters = [accountId, piece.from, piece.to, ...(sessionId === null ? [] : [sessionId])];
    const { rows } = await runStatement<Found>(reader, isWhole ? sorted : sql, parameters, { prepare: false });
    for (const raw of rows) {
      const row = found.get(raw.chatId) ?? { ...raw, inbound: 0, outbound: 0 };
      found.set(raw.chatId, row);
      row.inbound += Number(raw.inbound);
      row.outbound += Number(raw.outbound);
    }
  }
  return [...found.values()].sort(busiestFirst).slice(0, maxRead);
}

type Merged = Counts & { contact: Contact | null };

/** Adds up the chats of each person whom WhatsApp addressed by number and by LID. */
function mergePeople(rows: readonly Found[], people: People): Merged[] {
  const byPerson = new Map<string, Merged>();
  for (const { chatId, sessionId, ...counts } of rows) {
    const contact = people(sessionId, chatId);
    const key = contact?.phone ?? contact?.lid ?? chatId;
    const entry = byPerson.get(key) ?? { chatId: contact?.id ?? chatId, contact, inbound: 0, outbound: 0 };
    byPerson.set(key, entry);
    entry.inbound += counts.inbound;
    entry.outbound += counts.outbound;
  }
  return [...byPerson.values()];
}

/** Returns the name of a group as the session that heard of it last knows it; null if none does. */
async function groupName(reader: Core['database']['reader'], accountId: string | null, chatId: string): Promise<string | null> {
  const sql = `SELECT "chatName" AS name FROM conversations WHERE "chatId" = ? AND "chatName" IS NOT NULL
    AND "sessionId" IN (SELECT s.id FROM sessions s WHERE s."accountId" = ?) ORDER BY "lastAt" DESC LIMIT 1`;
  return (await runStatement<{ name: string }>(reader, sql, [chatId, accountId])).rows[0]?.name ?? null;
}
