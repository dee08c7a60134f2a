import type { Contact } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { among, readAmong } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { ContactForm } from './contact.entity.js';
import { phoneIdOf, type People } from './people.js';

/** The people whom a search names: by what is known of them now. Reads only, and each session apart: what one knows is not another's. */

/** Whose contacts are read. Null: those of every account, or of every session. */
export interface Scope {
  accountId: string | null;
  sessionId: string | null;
}

/** An id under which a session knows a person. */
export interface KnownId {
  sessionId: string;
  waId: string;
}

/** The first digits, or any digits in a row, of a phone number. */
export interface Digits {
  digits: string;
  isStart: boolean;
}

/** With more people than this, a search does not name them by their ids: it asks of each message whether it is theirs. */
export const maxPeople = 500;

/** The part of a WHERE clause for a scope, with its parameters. */
export function conditionOf({ accountId, sessionId }: Scope): { sql: string; parameters: string[] } {
  const parts = [...(accountId ? ['"accountId" = ?'] : []), ...(sessionId ? ['"sessionId" = ?'] : [])];
  return { sql: parts.join(' AND ') || '1 = 1', parameters: [accountId, sessionId].filter((id) => id !== null) };
}

/** The part of a WHERE clause that a folded name contains the folded text of the next parameter. */
export const nameContains = (reader: DataSource, column: string): string =>
  reader.options.type === 'postgres' ? `strpos(${column} COLLATE "C", ?) > 0` : `instr(${column}, ?) > 0`;

/** Returns every id of the people of an account whose row `p` of `contacts` meets the condition. Null: they are more than `most`. */
export async function peopleWith(
  reader: DataSource,
  accountId: string,
  { sql, parameters }: { sql: string; parameters: readonly unknown[] },
  most: number,
): Promise<KnownId[] | null> {
  const text = `SELECT p.id FROM contacts p WHERE p."accountId" = ? AND ${sql} LIMIT ${most + 1}`;
  const { rows } = await runStatement<{ id: string }>(reader, text, [accountId, ...parameters], { prepare: false });
  if (rows.length > most) return null;
  return idsOfContacts(
    reader,
    rows.map(({ id }) => id),
  );
}

/** Returns every id of the people whose name contains the folded text. Null: they are more than `maxPeople`. */
export async function idsNamed(reader: DataSource, scope: Scope, folded: string): Promise<KnownId[] | null> {
  const { sql, parameters } = conditionOf(scope);
  const text = `SELECT id FROM contacts WHERE ${sql} AND ${nameContains(reader, '"foldedName"')} LIMIT ${maxPeople + 1}`;
  return idsOfAtMost(reader, await contactsIn(reader, text, [...parameters, folded]));
}

/** Returns those of these ids that belong to people whose name contains the folded text. */
export async function namedAmong(reader: DataSource, ids: readonly KnownId[], folded: string): Promise<KnownId[]> {
  const some = amongIds(reader, ids, 'f.');
  const text = `SELECT f."sessionId", f."waId" FROM contact_forms f JOIN contacts c ON c.id = f."contactId"
    WHERE ${some.sql} AND ${nameContains(reader, 'c."foldedName"')}`;
  return (await runStatement<KnownId>(reader, text, [...some.parameters, folded])).rows;
}

/** Returns those of these ids that belong to people with the digits of one of `wanted` in a number. */
export async function withDigitsAmong(
  reader: DataSource,
  ids: readonly KnownId[],
  wanted: readonly Digits[],
): Promise<KnownId[]> {
  const some = amongIds(reader, ids, 'f.');
  const like = likeOneOf('other."waId"', wanted);
  const text = `SELECT DISTINCT f."sessionId", f."waId" FROM contact_forms f JOIN contact_forms other ON other."contactId" = f."contactId"
    WHERE ${some.sql} AND ${like.sql}`;
  return (await runStatement<KnownId>(reader, text, [...some.parameters, ...like.parameters], { prepare: false })).rows;
}

/** The condition that rows are about one of these ids. Rows about one of the ids in another of their sessions meet it too. */
export function amongIds(
  reader: DataSource,
  ids: readonly KnownId[],
  prefix = '',
  column = 'waId',
): { sql: string; parameters: unknown[] } {
  const sessions = among(reader, 'sessionId', [...new Set(ids.map(({ sessionId }) => sessionId))]);
  const theirs = among(reader, column, [...new Set(ids.map(({ waId }) => waId))]);
  return {
    sql: `${prefix}${sessions.condition} AND ${prefix}${theirs.condition}`,
    parameters: [sessions.parameter, theirs.parameter],
  };
}

/** Returns a function that finds the person of a session behind one of these ids, from the database: for pages, which need no cache. */
export async function readPeople(reader: DataSource, sessionId: string, waIds: readonly string[]): Promise<People> {
  const theirs = among(reader, 'waId', waIds);
  const { rows } = await runStatement<Omit<Contact, 'id'> & { waId: string }>(
    reader,
    `SELECT f."waId", c.phone, c.lid, c.name FROM contact_forms f JOIN contacts c ON c.id = f."contactId"
      WHERE f."sessionId" = ? AND f.${theirs.condition}`,
    [sessionId, theirs.parameter],
  );
  const found = new Map<string, Contact>();
  for (const { waId, phone, lid, name } of rows)
    found.set(waId, { id: phoneIdOf(phone) ?? lid ?? waId, phone: phone && `+${phone}`, lid, name });
  return (session, waId) => (session === sessionId && waId !== null ? (found.get(waId) ?? null) : null);
}

/** Returns every id of the people who are known under one of these ids. */
export async function idsKnownAs(reader: DataSource, scope: Scope, waIds: readonly string[]): Promise<KnownId[]> {
  const { sql, parameters } = conditionOf(scope);
  const theirs = among(reader, 'waId', waIds);
  const text = `SELECT DISTINCT "contactId" AS id FROM contact_forms WHERE ${sql} AND ${theirs.condition}`;
  return idsOfContacts(reader, await contactsIn(reader, text, [...parameters, theirs.parameter]));
}

/** Returns every id of the people with the digits of one of `wanted` in a number. Null: they are more than `maxPeople`. */
export async function idsWithDigits(reader: DataSource, scope: Scope, wanted: readonly Digits[]): Promise<KnownId[] | null> {
  const { sql, parameters } = conditionOf(scope);
  const like = likeOneOf('"waId"', wanted);
  const text = `SELECT DISTINCT "contactId" AS id FROM contact_forms WHERE ${sql} AND ${like.sql} LIMIT ${maxPeople + 1}`;
  return idsOfAtMost(reader, await contactsIn(reader, text, [...parameters, ...like.parameters]));
}

/** The condition that a column is the id of a number with the digits of one of `wanted`: one reading of the rows, however many there are. */
export function likeOneOf(column: string, wanted: readonly Digits[]): { sql: string; parameters: string[] } {
  // Of two that find the same ids, the first one stays.
  const isLeftOut = (one: Digits, place: number): boolean =>
    wanted.some((other, index) => index !== place && isFoundWith(one, other) && (index < place || !isFoundWith(other, one)));
  const patterns = wanted.filter((one, place) => !isLeftOut(one, place)).map(patternOf);
  return { sql: `(${patterns.map(() => `${column} LIKE ?`).join(' OR ')})`, parameters: patterns };
}

/** Whether each id that `one` finds is found by `other` too. */
const isFoundWith = (one: Digits, other: Digits): boolean =>
  other.isStart ? one.isStart && one.digits.startsWith(other.digits) : one.digits.includes(other.digits);

/** The pattern of LIKE for ids of numbers with these digits. */
const patternOf = ({ digits, isStart }: Digits): string => `${isStart ? '' : '%'}${digits}%@c.us`;

const contactsIn = async (reader: DataSource, sql: string, parameters: unknown[]): Promise<string[]> =>
  (await runStatement<{ id: string }>(reader, sql, parameters)).rows.map(({ id }) => id);

const idsOfAtMost = async (reader: DataSource, contactIds: readonly string[]): Promise<KnownId[] | null> =>
  contactIds.length > maxPeople ? null : idsOfContacts(reader, contactIds);

async function idsOfContacts(reader: DataSource, contactIds: readonly string[]): Promise<KnownId[]> {
  if (contactIds.length === 0) return [];
  return (await readAmong(reader, ContactForm, 'contactId', contactIds)).map(({ sessionId, waId }) => ({ sessionId, waId }));
}
