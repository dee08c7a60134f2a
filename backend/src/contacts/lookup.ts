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

/** A search names at most this many people: the newest. */
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

/** Returns every id of the people whose name contains the folded text. */
export async function idsNamed(reader: DataSource, scope: Scope, folded: string): Promise<KnownId[]> {
  const { sql, parameters } = conditionOf(scope);
  const text = `SELECT id FROM contacts WHERE ${sql} AND ${nameContains(reader, '"foldedName"')} ORDER BY id DESC LIMIT ${maxPeople}`;
  return idsOfContacts(reader, await contactsIn(reader, text, [...parameters, folded]));
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

/** Returns every id of the people with these digits in a number. */
export async function idsWithDigits(reader: DataSource, scope: Scope, wanted: Digits): Promise<KnownId[]> {
  const { sql, parameters } = conditionOf(scope);
  const text = `SELECT DISTINCT "contactId" AS id FROM contact_forms WHERE ${sql} AND "waId" LIKE ? ORDER BY id DESC LIMIT ${maxPeople}`;
  return idsOfContacts(reader, await contactsIn(reader, text, [...parameters, patternOf(wanted)]));
}

/** The pattern of LIKE for ids of numbers with these digits. */
export const patternOf = ({ digits, isStart }: Digits): string => `${isStart ? '' : '%'}${digits}%@c.us`;

const contactsIn = async (reader: DataSource, sql: string, parameters: unknown[]): Promise<string[]> =>
  (await runStatement<{ id: string }>(reader, sql, parameters)).rows.map(({ id }) => id);

async function idsOfContacts(reader: DataSource, contactIds: readonly string[]): Promise<KnownId[]> {
  if (contactIds.length === 0) return [];
  return (await readAmong(reader, ContactForm, 'contactId', contactIds)).map(({ sessionId, waId }) => ({ sessionId, waId }));
}
