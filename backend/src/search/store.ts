import type { DataSource } from 'typeorm';
import type { Database } from '../db/database.js';
import { among } from '../db/rows.js';
import { sqliteTriggers } from '../db/search-triggers.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Condition } from '../db/ranges.js';
import { boundsOf, directionOf, placesOfChats } from './chat-places.js';
import { gramsOf, hashOf } from './grams.js';
import type { NamedChat, PlaceRange } from './places.js';

/** The columns of a message that are indexed. */
export interface Indexed {
  id: string;
  accountId: string;
  sessionId: string;
  chatId: string;
  chatType: string;
  fromId: string | null;
  type: string;
  origin: string;
  /** Milliseconds. */
  createdAt: number | string;
  text: string | null;
}
const columns = 'id, "accountId", "sessionId", "chatId", "chatType", "fromId", type, origin, "createdAt", text';

/** The milliseconds with which the id of a message begins. */
export const timeOfId = (id: string): number => Number.parseInt(id.slice(0, 13).replace('-', ''), 16);

/**
 * A message is late if its id begins with a time that is more than this after its `createdAt`: ids go on when the clock is set back. Late messages have
 * a fact of their own, because a search for a range of `createdAt` cannot find them by the times of ids.
 */
export const lateAboveMs = 86_400_000;

/** The numbers with which the index stores the facts of a message. A search can be narrowed by them. */
export const factOf = {
  account: (id: string): number => hashOf(`A:${id}`),
  session: (id: string): number => hashOf(`S:${id}`),
  chat: (id: string): number => hashOf(`C:${id}`),
  /** Who wrote a message in a group, a channel or a story. */
  author: (id: string): number => hashOf(`P:${id}`),
  kind: (origin: string, type: string): number => hashOf(`K:${origin}:${type}`),
  late: hashOf('L:'),
};

/** Selects messages whose numbers include all of `all` and, of each list in `any`, at least one. */
export interface Wanted {
  all: number[];
  any: number[][];
}

export interface SearchStore {
  /**
   * Indexes these messages as they are now: the grams of the text, and the facts. A message that does not exist any more is removed from the index.
   */
  refresh(tx: Transaction, messageIds: readonly string[]): Promise<void>;
  /**
   * Returns the next places where wanted messages may be, in the order of time: behind `after`, and not behind `last`. The caller compares each text:
   * the index stores grams and not texts, and several messages may have the same place.
   */
  places(wanted: Wanted, range: PlaceRange, limit: number): Promise<string[]>;
  /** The same for messages that are in these chats or written by these people, and have these facts and meet these conditions. */
  namedPlaces(named: NamedPlaces, range: PlaceRange, limit: number): Promise<string[]>;
  /** With more named chats than this, reading them takes longer than comparing the newest messages one by one. */
  manyChats: number;
  /** Returns a FROM clause that selects the messages at these places, and its parameter. */
  at(places: readonly string[]): { from: string; parameter: unknown };
  /** Returns the place of a message with this id. */
  placeOf(messageId: string): string;
  /** Returns the last id at a place, in this order. */
  endOf(place: string, order: 'asc' | 'desc'): string;
}

/** What `namedPlaces` selects. On PostgreSQL the conditions decide; on SQLite only the facts, and the caller compares. */
export interface NamedPlaces {
  chats: readonly NamedChat[];
  facts: Wanted;
  conditions: readonly Condition[];
}

/** Adds to the facts that a message is in one of these chats or written by one of these people. */
export function withChats({ all, any }: Wanted, chats: readonly NamedChat[]): Wanted {
  const facts = chats.flatMap(({ waId }) => [factOf.chat(waId), factOf.author(waId)]);
  return { all, any: [...any, [...new Set(facts)]] };
}

/** Returns the numbers with which a message is indexed: those of its grams and of its facts. */
function tokensOf(message: Indexed): Set<number> {
  const tokens = gramsOf(message.text ?? '');
  tokens.add(factOf.account(message.accountId));
  tokens.add(factOf.session(message.sessionId));
  tokens.add(factOf.chat(message.chatId));
  tokens.add(factOf.kind(message.origin, message.type));
  if (timeOfId(message.id) - Number(message.createdAt) > lateAboveMs) tokens.add(factOf.late);
  if (message.chatType !== 'private' && message.fromId) tokens.add(factOf.author(message.fromId));
  return tokens;
}

export const createSearchStore = (database: Pick<Database, 'dialect' | 'reader'>): SearchStore =>
  database.dialect === 'sqlite' ? onSqlite(database.reader) : onPostgres(database.reader);

/**
 * SQLite: a full-text table (FTS5) without content, which stores the sorted list of places of each number. A place is the millisecond that begins a
 * message's id, as the 12 digits that it is written with; messages of one millisecond share it.
 */
function onSqlite(reader: DataSource): SearchStore {
  const token = (hash: number): string => `x${(hash >>> 0).toString(36)}`;
  /** A bigint: the driver binds other large numbers as floating point, which the index does not accept as a row number. */
  const msOf = (place: string): bigint => BigInt(`0x${place.replace('-', '')}`);
  const placeAt = (ms: number): string => {
    const hex = ms.toString(16).padStart(12, '0');
    return `${hex.slice(0, 8)}-${hex.slice(8)}`;
  };
  const at: SearchStore['at'] = (places) => ({
    from: `(SELECT value AS place FROM json_each(?)) p CROSS JOIN messages ON id >= p.place || '-' AND id < p.place || '.'`,
    parameter: JSON.stringify(places),
  });
  const placeOf = (id: string): string => id.slice(0, 13);
  const places: SearchStore['places'] = async ({ all, any }, { order, after, last }, limit) => {
    const either = any.map((list) => `(${list.map(token).join(' OR ')})`);
    const match = [...all.map(token), ...either].join(' AND ');
    // Without any number, all places are wanted.
    const condition = match === '' ? '1 = ?' : 'message_grams MATCH ?';
    const [start, end] = order === 'asc' ? [-1n, 2n ** 52n] : [2n ** 52n, -1n];
    const edges = [after === null ? start : msOf(after), last === null ? end : msOf(last)];
    const sql = `SELECT rowid AS ms FROM message_grams WHERE ${condition} AND rowid ${order === 'asc' ? '> ? AND rowid <=' : '< ? AND rowid >='} ?
        ORDER BY rowid ${order === 'asc' ? 'ASC' : 'DESC'} LIMIT ?`;
    const { rows } = await runStatement<{ ms: number }>(reader, sql, [match || 1, ...edges, limit]);
    return rows.map(({ ms }) => placeAt(ms));
  };
  return {
    at,
    placeOf,
    places,
    namedPlaces: ({ chats, facts }, range, limit) => places(withChats(facts, chats), range, limit),
    manyChats: 200,
    endOf: (place, order) => `${place}-${order === 'asc' ? 'ffff-ffff-ffffffffffff' : '0000-0000-000000000000'}`,
    async refresh(tx, messageIds) {
      const places = [...new Set(messageIds.map(placeOf))];
      const { from, parameter } = at(places);
      const { rows } = await runStatement<Indexed>(tx.manager, `SELECT ${columns} FROM ${from}`, [parameter]);
      const tokens = new Map<string, Set<number>>();
      for (const row of rows) {
        const place = placeOf(row.id);
        const known = tokens.get(place);
        if (!known) tokens.set(place, tokensOf(row));
        else for (const hash of tokensOf(row)) known.add(hash);
      }
      for (const place of places) {
        await runStatement(tx.manager, 'DELETE FROM message_grams WHERE rowid = ?', [msOf(place)]);
        const words = [...(tokens.get(place) ?? [])].map(token).join(' ');
        if (words) await runStatement(tx.manager, 'INSERT INTO message_grams (rowid, grams) VALUES (?, ?)', [msOf(place), words]);
      }
    },
  };
}

/** On PostgreSQL, a page of places is planned as if so many were wanted. */
const plannedPage = 1_000;

/** PostgreSQL: a row for each message with its numbers in a list, and an inverted index (GIN) over the lists. A place is a message's id. */
function onPostgres(reader: DataSource): SearchStore {
  const places: SearchStore['places'] = async ({ all, any }, range, limit) => {
    const bounds = boundsOf(range);
    const conditions = [
      ...(all.length > 0 ? ['grams @> ?::int[]'] : []),
      ...any.map(() => 'grams && ?::int[]'),
      ...bounds.map(({ sql }) => sql),
    ];
    // Not prepared: the plan must fit how frequent these grams are. It is made for a long page, because PostgreSQL takes numbers that are not in its
    // statistics to be about as frequent as the rarest that are: for a short page it would read the whole table in the order of ids.
    const { rows } = await runStatement<{ id: string }>(
      reader,
      `WITH found AS MATERIALIZED (SELECT id FROM message_grams WHERE ${conditions.join(' AND ') || 'true'}
        ORDER BY id ${directionOf(range)} LIMIT ${Math.max(limit, plannedPage)}) SELECT id FROM found LIMIT ${limit}`,
      [...(all.length > 0 ? [all] : []), ...any, ...bounds.flatMap(({ parameters }) => parameters)],
      { prepare: false },
    );
    return rows.map(({ id }) => id);
  };
  return {
    places,
    async namedPlaces({ chats, facts, conditions }, range, limit) {
      const known = chats.flatMap(({ sessionId, waId }) => (sessionId === null ? [] : [{ sessionId, waId }]));
      const anywhere = chats.filter(({ sessionId }) => sessionId === null);
      const [one, other] = await Promise.all([
        known.length > 0 ? placesOfChats(reader, known, conditions, range, limit) : [],
        anywhere.length > 0 ? places(withChats(facts, anywhere), range, limit) : [],
      ]);
      return [...one, ...other];
    },
    manyChats: Infinity,
    at: (places) => ({ from: 'messages JOIN unnest(?::text[]) AS p(place) ON id = p.place', parameter: places }),
    placeOf: (id) => id,
    endOf: (place) => place,
    async refresh(tx, messageIds) {
      const wanted = among(tx.manager, 'id', messageIds);
      const sql = `SELECT ${columns} FROM messages WHERE ${wanted.condition}`;
      const found = (await runStatement<Indexed>(tx.manager, sql, [wanted.parameter])).rows;
      const existing = new Set(found.map(({ id }) => id));
      const deleted = among(
        tx.manager,
        'id',
        messageIds.filter((id) => !existing.has(id)),
      );
      await runStatement(tx.manager, `DELETE FROM message_grams WHERE ${deleted.condition}`, [deleted.parameter]);
      // One statement for all of them: each number beside the id of its message.
      const ids: string[] = [];
      const grams: number[] = [];
      for (const row of found)
        for (const hash of tokensOf(row)) {
          ids.push(row.id);
          grams.push(hash);
        }
      await runStatement(
        tx.manager,
        `INSERT INTO message_grams (id, grams) SELECT id, array_agg(gram) FROM unnest(?::text[], ?::int[]) AS t(id, gram) GROUP BY id
          ON CONFLICT (id) DO UPDATE SET grams = excluded.grams`,
        [ids, grams],
      );
    },
  };
}

/**
 * Creates the triggers that fill `search_queue` on SQLite, where a later migration that rebuilds the table silently drops them. PostgreSQL changes
 * tables in place and keeps its triggers.
 */
export async function ensureTriggers({ dialect, write }: Pick<Database, 'dialect' | 'write'>): Promise<void> {
  if (dialect === 'postgres') return;
  await write.run(async ({ manager }) => {
    for (const sql of sqliteTriggers) await manager.query(sql);
  });
}
