import { digitsOf, newId, type Contact } from '@chasqui/shared';
import type { Core } from '../core.js';
import { among, insertRow, readAmong, updateRows, upsertRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Session } from '../sessions/session.entity.js';
import { mayStoreName, type StorageOf } from '../sessions/storage-mode.js';
import { ContactForm, ContactRow, nameColumns } from './contact.entity.js';
import { personId } from './forms.js';
import { phoneIdOf } from './people.js';

/** A person as an event or an answer of WhatsApp names them. */
export interface Sighting {
  contact: Contact;
  /** Further ids that WhatsApp says are this person, such as the spelling that was typed. */
  alsoKnownAs?: readonly (string | null)[];
  /** WhatsApp reported the contact itself, not a message of theirs: publish it also when the person is new. */
  isNews?: boolean;
}

/** The session that knows the person. */
export type SessionOfContact = Pick<Session, 'id' | 'accountId' | 'settings'>;

export interface StoredSighting {
  row: ContactRow;
  /** Every id that the person has now. */
  forms: string[];
  /** Ids of the people from whom a number or an id was moved to this person. */
  others: string[];
}

/** Returns all ids of the person that the sighting names, in WhatsApp's own form. */
export function idsOf({ contact, alsoKnownAs = [] }: Sighting): string[] {
  const all = [contact.id, phoneIdOf(contact.phone), contact.lid, ...alsoKnownAs];
  return [...new Set(all.map(personId).filter((id): id is string => id !== null))];
}

export const presentContact = ({ phone, lid, name }: Pick<ContactRow, 'phone' | 'lid' | 'name'>): Contact => ({
  id: phone ? `${phone}@c.us` : (lid ?? ''),
  phone: phone ? `+${phone}` : null,
  lid,
  name,
});

/** Finds or creates the row of the person, assigns all of these ids (`idsOf`) to it, writes what is new, and publishes it. */
export async function storeSighting(
  { events, storageOf, clock }: Pick<Core, 'events' | 'clock'> & { storageOf: StorageOf },
  tx: Transaction,
  session: SessionOfContact,
  { contact, isNews = false }: Sighting,
  ids: string[],
): Promise<StoredSighting> {
  const owners = await readOwners(tx, session.id, ids);
  const match = matchPerson(contact, ids, owners);
  const { row, others } = match;
  const now = clock.now();
  const { name, ...identity } = completeIdentity(contact, match);
  const mayHaveName = name !== null && (await mayStoreName(storageOf, session, tx.manager));
  const next: ContactRow = {
    id: row?.id ?? newId(now.getTime()),
    accountId: session.accountId,
    sessionId: session.id,
    ...identity,
    ...nameColumns(mayHaveName ? name : null),
    createdAt: row?.createdAt ?? now,
    updatedAt: now,
  };
  if (!row) await insertRow(tx, ContactRow, next);
  else if (row.phone !== next.phone || row.lid !== next.lid || row.name !== next.name) {
    const { phone, lid, name, foldedName, updatedAt } = next;
    await updateRows(tx, ContactRow, { id: row.id }, { phone, lid, name, foldedName, updatedAt });
  }
  await joinRows(tx, next, others);
  const missing = ids.filter((waId) => owners.get(waId)?.id !== next.id);
  await upsertRows(
    tx,
    ContactForm,
    missing.map((waId) => ({ sessionId: session.id, waId, accountId: session.accountId, contactId: next.id })),
  );
  await publishChange(events, tx, row, next, isNews);
  const forms = row ? await readAmong(tx.manager, ContactForm, 'contactId', [next.id, ...others.map(({ id }) => id)]) : [];
  const formsOf = (isTheirs: boolean): string[] =>
    forms.filter(({ contactId }) => (contactId === next.id) === isTheirs).map(({ waId }) => waId);
  return { row: next, forms: [...ids, ...formsOf(true)], others: formsOf(false) };
}

/** Returns the people of the session that have any of these ids, by id. */
async function readOwners(tx: Transaction, sessionId: string, ids: readonly string[]): Promise<ReadonlyMap<string, ContactRow>> {
  const { condition, parameter } = among(tx.manager, 'waId', ids);
  const { rows: forms } = await runStatement<{ waId: string; contactId: string }>(
    tx.manager,
    `SELECT "waId", "contactId" FROM contact_forms WHERE "sessionId" = ? AND ${condition}`,
    [sessionId, parameter],
  );
  if (forms.length === 0) return new Map();
  const rows = await readAmong(tx.manager, ContactRow, 'id', [...new Set(forms.map(({ contactId }) => contactId))]);
  const byId = new Map(rows.map((row) => [row.id, row]));
  return new Map(forms.flatMap(({ waId, contactId }) => (byId.has(contactId) ? [[waId, byId.get(contactId)!] as const] : [])));
}

/** Which rows a sighting is about. */
interface Match {
  /** The person's row. Null when the person is new. */
  row: ContactRow | null;
  /** Rows that had one of the person's ids until now. */
  others: ContactRow[];
  lid: string | null;
  /** The number's id, or the id under which the person was named. */
  named: string;
  /** The id under which the person was named belonged to `row` before. */
  isNamedByKnownId: boolean;
}

/** The owner of the LID is the person. Without one it is the first owner of an id that cannot be another person. */
function matchPerson(contact: Contact, ids: readonly string[], owners: ReadonlyMap<string, ContactRow>): Match {
  // In the order of the ids: the id that the person is named by comes first, and the spelling that was typed last.
  const candidates = [...new Set(ids.flatMap((waId) => owners.get(waId) ?? []))];
  const lid = personId(contact.lid) ?? (contact.id.endsWith('@lid') ? personId(contact.id) : null);
  const row = (lid && candidates.find((one) => one.lid === lid)) || candidates.find((one) => !lid || one.lid === null) || null;
  const named = phoneIdOf(contact.phone) ?? contact.id;
  const isNamedByKnownId = row !== null && owners.get(named) === row;
  return { row, others: candidates.filter((other) => other !== row), lid, named, isNamedByKnownId };
}

/** Returns the fields of the person from the sighting, and missing ones from the matched rows. */
function completeIdentity(contact: Contact, match: Match): Pick<ContactRow, 'phone' | 'lid' | 'name'> {
  const { row, others, named, isNamedByKnownId } = match;
  const lid = match.lid ?? row?.lid ?? others.find((other) => other.lid !== null)?.lid ?? null;
  const same = others.filter((other) => other.lid === null || other.lid === lid);
  // Another spelling or a former number, which the person is known by already, is no new number unless it comes with the LID.
  const isOtherForm = match.lid === null && isNamedByKnownId && row !== null && row.phone !== null;
  const phone = isOtherForm ? row.phone : digitsOf(named);
  return {
    phone: phone ?? row?.phone ?? same.find((other) => other.phone !== null)?.phone ?? null,
    lid,
    name: nameOf(contact) ?? row?.name ?? same.find((other) => other.name !== null)?.name ?? null,
  };
}

/**
 * Moves the ids of rows that are the same person to one row. A row with another LID is another person, who had this number before: it keeps its
 * LID and its name, and loses the number.
 */
async function joinRows(tx: Transaction, into: ContactRow, others: readonly ContactRow[]): Promise<void> {
  for (const other of others) {
    const isOtherPerson = other.lid !== null && into.lid !== null && other.lid !== into.lid;
    if (isOtherPerson) {
      if (other.phone !== null && other.phone === into.phone) await updateRows(tx, ContactRow, { id: other.id }, { phone: null });
      continue;
    }
    await runStatement(tx.manager, 'UPDATE contact_forms SET "contactId" = ? WHERE "contactId" = ?', [into.id, other.id]);
    await runStatement(tx.manager, 'DELETE FROM contacts WHERE id = ?', [other.id]);
  }
}

/** Publishes a new name, a new number, and a new contact that WhatsApp reported. */
async function publishChange(
  events: Core['events'],
  tx: Transaction,
  was: ContactRow | null,
  is: ContactRow,
  isNews: boolean,
): Promise<void> {
  const isRenamed = was !== null && was.name !== is.name && (isNews || was.name !== null);
  const isNumbered = was !== null && was.phone !== is.phone;
  if (!isRenamed && !isNumbered && !(isNews && was === null)) return;
  const data = { contact: presentContact(is), previous: was && presentContact(was) };
  await events.append(tx, { accountId: is.accountId, sessionId: is.sessionId, type: 'contact.updated', data });
}

const nameOf = ({ name }: Contact): string | null => name?.replaceAll('\0', '').slice(0, 256) || null;
