import { digitsOf, erased, parseAddress } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import { among, readAmong } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { ContactForm } from './contact.entity.js';
import { spellingsOf } from './spellings.js';

/** The ids under which one person is known. Reads only, so that modules below the event log may use it too. */

/** The id in WhatsApp's own form; null for an id that is not a person's. */
export const personId = (id: string | null | undefined): string | null => {
  const address = id && id !== erased ? parseAddress(id) : null;
  return address && (address.kind === 'phone' || address.kind === 'lid') ? address.id : null;
};

/**
 * Returns every id of the person behind an id: those that the account's sessions know, and other spellings of the number. The passed id is among
 * them. For ids of groups and channels it returns only the passed id. Inside a transaction pass its manager.
 */
export async function formsOf(where: DataSource | EntityManager, accountId: string, waId: string): Promise<string[]> {
  const id = personId(waId);
  if (!id) return [waId];
  const digits = digitsOf(id);
  const spellings = [id, ...(digits ? spellingsOf(digits).map((other) => `${other}@c.us`) : [])];
  const owners = await ownersOf(where, accountId, spellings);
  const forms = owners.length > 0 ? await readAmong(where, ContactForm, 'contactId', owners) : [];
  return [...new Set([...spellings, ...forms.map((form) => form.waId)])];
}

/**
 * The same as `formsOf` for many ids, with two queries for all of them. Ids that are not a person's are left out; the keys of the result are the ids
 * as passed.
 */
export async function formsOfAll(
  where: DataSource | EntityManager,
  accountId: string,
  waIds: readonly string[],
): Promise<Map<string, string[]>> {
  const spellings = new Map<string, string[]>();
  for (const waId of waIds) {
    const id = personId(waId);
    const digits = digitsOf(id);
    if (id) spellings.set(waId, [id, ...(digits ? spellingsOf(digits).map((other) => `${other}@c.us`) : [])]);
  }
  const contactOf = await contactsOf(where, accountId, [...new Set([...spellings.values()].flat())]);
  const owners = new Set([...contactOf.values()].flat());
  const formsOfContact = new Map<string, string[]>();
  for (const { contactId, waId } of owners.size > 0 ? await readAmong(where, ContactForm, 'contactId', [...owners]) : [])
    formsOfContact.set(contactId, [...(formsOfContact.get(contactId) ?? []), waId]);
  const all = [...spellings].map(([waId, own]): [string, string[]] => {
    const known = own.flatMap((form) => contactOf.get(form) ?? []).flatMap((contactId) => formsOfContact.get(contactId) ?? []);
    return [waId, [...new Set([...own, ...known])]];
  });
  return new Map(all);
}

/** Returns the ids of the contacts that have each of these ids, one for each session that knows the person. */
async function contactsOf(
  where: DataSource | EntityManager,
  accountId: string,
  waIds: readonly string[],
): Promise<Map<string, string[]>> {
  const { condition, parameter } = among(where, 'waId', waIds);
  const sql = `SELECT "waId", "contactId" FROM contact_forms WHERE "accountId" = ? AND ${condition}`;
  const { rows } = await runStatement<{ waId: string; contactId: string }>(where, sql, [accountId, parameter]);
  const found = new Map<string, string[]>();
  for (const { waId, contactId } of rows) found.set(waId, [...(found.get(waId) ?? []), contactId]);
  return found;
}

/** Returns the ids of the contacts of an account that have any of these WhatsApp ids. */
export async function ownersOf(
  where: DataSource | EntityManager,
  accountId: string,
  waIds: readonly string[],
): Promise<string[]> {
  const { condition, parameter } = among(where, 'waId', waIds);
  const sql = `SELECT DISTINCT "contactId" FROM contact_forms WHERE "accountId" = ? AND ${condition}`;
  const { rows } = await runStatement<{ contactId: string }>(where, sql, [accountId, parameter]);
  return rows.map(({ contactId }) => contactId);
}
