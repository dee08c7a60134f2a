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
 * Returns every id of the person behind an id: those that the account's sessions know, and other spellings of the number. The given id is among
 * them. For ids of groups and channels it returns only the given id. Inside a transaction pass its manager.
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

/** Like `formsOf` for many ids at once: returns the forms of each id that has more than itself. */
export async function formsOfMany(
  where: DataSource | EntityManager,
  accountId: string,
  waIds: readonly string[],
): Promise<Map<string, string[]>> {
  const spelled = new Map(
    waIds.map((waId) => {
      const digits = digitsOf(waId);
      return [waId, [waId, ...(digits ? spellingsOf(digits).map((other) => `${other}@c.us`) : [])]];
    }),
  );
  const owned = among(where, 'waId', [...new Set([...spelled.values()].flat())]);
  const sql = `SELECT DISTINCT "waId", "contactId" FROM contact_forms WHERE "accountId" = ? AND ${owned.condition}`;
  const { rows } = await runStatement<{ waId: string; contactId: string }>(where, sql, [accountId, owned.parameter]);
  const all =
    rows.length > 0 ? await readAmong(where, ContactForm, 'contactId', [...new Set(rows.map(({ contactId }) => contactId))]) : [];
  const ofContact = groupBy(
    all,
    ({ contactId }) => contactId,
    (form) => form.waId,
  );
  const contactsOf = groupBy(
    rows,
    ({ waId }) => waId,
    ({ contactId }) => contactId,
  );
  const forms = new Map<string, string[]>();
  for (const [waId, spellings] of spelled) {
    const known = spellings.flatMap((spelling) => (contactsOf.get(spelling) ?? []).flatMap((id) => ofContact.get(id) ?? []));
    const found = [...new Set([...spellings, ...known])];
    if (found.length > 1) forms.set(waId, found);
  }
  return forms;
}

function groupBy<T>(rows: readonly T[], keyOf: (row: T) => string, valueOf: (row: T) => string): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const row of rows) groups.set(keyOf(row), [...(groups.get(keyOf(row)) ?? []), valueOf(row)]);
  return groups;
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
