import { foldText, isId, parseAddress, parseMessageKey, parsePhoneNumber } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import {
  conditionOf,
  idsKnownAs,
  idsNamed,
  amongIds,
  idsWithDigits,
  likeOneOf,
  maxPeople,
  namedAmong,
  nameContains,
  withDigitsAmong,
  type Digits,
  type Scope,
} from '../../contacts/lookup.js';
import { spellingsInAnyCountry } from '../../contacts/spellings.js';
import { among } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { KnownChat, Named, NamedChat } from '../../search/search.js';
import { keysOfWhatsappId } from './find.js';

/** The minimum number of digits of a number in a search. Fewer digits are contained in too many numbers and texts. */
const minDigits = 7;
/** The minimum number of characters with which a name is searched. */
const minName = 2;

const nothing: Named = { chats: [], messageIds: [], among: null };

/**
 * Returns the messages that a search term names besides those whose text contains it: by our id or WhatsApp's, by a number in any form, by an id of
 * a person or chat, or by a part of the name that a person or group has now. A term that is a number or an id is never compared with names, which
 * people choose for themselves. `countryCode`: of numbers that begin with 0.
 */
export async function namedIn(
  reader: DataSource,
  scope: Scope & { countryCode?: string | null | undefined },
  term: string,
): Promise<Named> {
  const text = term
    .normalize('NFKC')
    .replace(/\p{Cf}/gu, '')
    .trim();
  if (isId(text)) return { ...nothing, messageIds: [text.toLowerCase()] };
  const messageIds = await withWhatsappId(reader, scope, text);
  if (messageIds.length > 0) return { ...nothing, messageIds };
  if (text.includes('@')) return { ...nothing, chats: await chatsWithId(reader, scope, text) };
  const numbers = numbersIn(text, scope.countryCode);
  if (numbers.length > 0)
    return { ...nothing, ...(await fewOr(chatsWithDigits(reader, scope, numbers), (ids) => digitsAmong(reader, ids, numbers))) };
  const folded = foldText(text);
  if ([...folded].length < minName) return nothing;
  const found = Promise.all([idsNamed(reader, scope, folded), groupsNamed(reader, scope, folded)]).then(joined);
  return { ...nothing, ...(await fewOr(found, (ids) => namesAmong(reader, ids, folded))) };
}

/** The chats where they are few; else the function that recognizes them. */
async function fewOr(few: Promise<NamedChat[] | null>, among: Named['among']): Promise<Pick<Named, 'chats' | 'among'>> {
  const chats = await few;
  return chats ? { chats, among: null } : { chats: [], among };
}

/** The items of all lists; null if one of them is null. */
const joined = <T>(lists: readonly (readonly T[] | null)[]): T[] | null =>
  lists.includes(null) ? null : lists.flatMap((list) => list ?? []);

/**
 * Returns the ids of messages with this WhatsApp id, which is either serialized or only the part that phones create: letters and digits in a row, as
 * `3EB0…`.
 */
async function withWhatsappId(reader: DataSource, scope: Scope, text: string): Promise<string[]> {
  const parsed = parseMessageKey(text);
  if (!parsed && !/^[0-9a-z]{16,80}$/i.test(text)) return [];
  const keys = among(reader, 'whatsappKey', parsed ? keysOfWhatsappId(parsed) : [text, text.toUpperCase()]);
  const sessions = sessionsOf(scope);
  const { rows } = await runStatement<{ id: string }>(
    reader,
    `SELECT id FROM messages WHERE ${sessions.sql} AND ${keys.condition} ${parsed ? 'AND direction = ?' : ''} LIMIT 100`,
    [...sessions.parameters, keys.parameter, ...(parsed ? [parsed.fromMe ? 'outbound' : 'inbound'] : [])],
  );
  return rows.map(({ id }) => id);
}

/**
 * Returns the condition for the sessions of a scope. It names the sessions, because the indexes of messages and conversations begin with the session.
 */
function sessionsOf({ accountId, sessionId }: Scope): { sql: string; parameters: string[] } {
  const own = conditionOf({ accountId, sessionId: null });
  const all = { sql: `"sessionId" IN (SELECT s.id FROM sessions s WHERE ${own.sql})`, parameters: own.parameters };
  if (!sessionId) return all;
  return { sql: `"sessionId" = ? AND ${all.sql}`, parameters: [sessionId, ...all.parameters] };
}

async function chatsWithId(reader: DataSource, scope: Scope, text: string): Promise<NamedChat[]> {
  const address = parseAddress(text);
  if (!address) return [];
  return [{ sessionId: null, waId: address.id }, ...(await idsKnownAs(reader, scope, [address.id]))];
}

/** Returns the digits to search for in numbers. Empty: the text is not a number. */
function numbersIn(text: string, countryCode: string | null | undefined): Digits[] {
  if (!/^[\d\s+().\-/\u2010-\u2015]+$/.test(text)) return [];
  const isInternational = text.includes('+') || /^\W*00/.test(text);
  const digits = text.replace(/\D/g, '').replace(/^0+/, '');
  if (digits.length < minDigits) return [];
  const parsed = parsePhoneNumber(text, countryCode);
  const whole = [...(parsed.ok ? [parsed.digits] : []), ...spellingsInAnyCountry(digits, { isInternational })];
  return [{ digits, isStart: isInternational }, ...whole.map((number) => ({ digits: number, isStart: true }))];
}

/** Null: they are too many to name. */
async function chatsWithDigits(reader: DataSource, scope: Scope, numbers: readonly Digits[]): Promise<NamedChat[] | null> {
  const exact = numbers.map(({ digits }) => ({ sessionId: null, waId: `${digits}@c.us` }));
  const sessions = sessionsOf(scope);
  const like = likeOneOf('"chatId"', numbers);
  const sql = `SELECT "sessionId", "chatId" AS "waId" FROM conversations WHERE ${sessions.sql} AND ${like.sql} LIMIT ${maxPeople + 1}`;
  const found = await Promise.all([
    idsWithDigits(reader, scope, numbers),
    runStatement<NamedChat>(reader, sql, [...sessions.parameters, ...like.parameters]).then(({ rows }) => few(rows)),
  ]);
  return joined([exact, ...found]);
}

const few = (rows: NamedChat[]): NamedChat[] | null => (rows.length > maxPeople ? null : rows);

/** Returns those of these chats and people whose id, or another id of whom, has the digits. */
async function digitsAmong(reader: DataSource, ids: readonly KnownChat[], numbers: readonly Digits[]): Promise<KnownChat[]> {
  const has = (waId: string): boolean =>
    waId.endsWith('@c.us') && numbers.some(({ digits, isStart }) => (isStart ? waId.startsWith(digits) : waId.includes(digits)));
  return [...ids.filter(({ waId }) => has(waId)), ...(await withDigitsAmong(reader, ids, numbers))];
}

const isGroupSql = `("chatId" LIKE '%@g.us' OR "chatId" LIKE '%@newsletter')`;

/** Returns those of these chats and people whose name contains the folded text. */
async function namesAmong(reader: DataSource, ids: readonly KnownChat[], folded: string): Promise<KnownChat[]> {
  const some = amongIds(reader, ids, '', 'chatId');
  const sql = `SELECT "sessionId", "chatId" AS "waId" FROM conversations WHERE ${some.sql} AND ${nameContains(reader, '"foldedName"')} AND ${isGroupSql}`;
  const groups = runStatement<KnownChat>(reader, sql, [...some.parameters, folded]).then(({ rows }) => rows);
  return (await Promise.all([namedAmong(reader, ids, folded), groups])).flat();
}

/** Returns the groups and channels whose name contains the folded text. Null: they are too many to name. */
async function groupsNamed(reader: DataSource, scope: Scope, folded: string): Promise<NamedChat[] | null> {
  const sessions = sessionsOf(scope);
  const sql = `SELECT "sessionId", "chatId" AS "waId" FROM conversations WHERE ${sessions.sql} AND ${nameContains(reader, '"foldedName"')}
    AND ${isGroupSql} LIMIT ${maxPeople + 1}`;
  return few((await runStatement<NamedChat>(reader, sql, [...sessions.parameters, folded])).rows);
}
