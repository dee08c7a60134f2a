import { digitsOf, newId, type Contact } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import type { Database } from '../db/database.js';
import { among, lockRows, insertRow, readAmong, updateRows, upsertRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Events } from '../events/events.js';
import type { Clock } from '../lib/clock.js';
import type { StorageOf } from '../sessions/storage-mode.js';
import { Session } from '../sessions/session.entity.js';
import { ContactForm, ContactRow } from './contact.entity.js';
import { formsOf, ownersOf, personId } from './forms.js';
import { completed, phoneIdOf, type People } from './people.js';

type Place = Pick<Session, 'id' | 'accountId' | 'settings'>;
type Reading = DataSource | EntityManager;

/** A person as an event or an answer of WhatsApp names them. */
export interface Sighting {
  contact: Contact;
  /** Further ids that WhatsApp says are this person, such as the spelling that was typed. */
  alsoKnownAs?: readonly (string | null)[];
  /** WhatsApp reported the contact itself, not a message of theirs: publish it also when the person is new. */
  isNews?: boolean;
}

export interface Contacts {
  /**
   * Stores what was learned of people, inside the transaction of the event that named them, and publishes `contact.updated` for a new name, for a
   * number that becomes known, and for a new contact that WhatsApp reported. Two rows that turn out to be one person are joined. Idempotent.
   *
   * The caller holds the session's row (`lockRows`), so that two transactions never learn of one person at once.
   */
  learn(tx: Transaction, session: Place, sightings: readonly (Sighting | null)[]): Promise<void>;
  /**
   * Learns of the people in an event and returns it with them completed by what is known besides. For events whose people are in `contact`, `by`
   * and `participants`.
   */
  observe<T extends PeopleInEvent>(tx: Transaction, session: Place, data: T): Promise<T>;
  /** The same as `learn` in a transaction of its own. */
  learnNow(session: Place, sightings: readonly Sighting[]): Promise<void>;
  /** What is known of the people behind these ids, by session. Inside a transaction pass its manager. */
  people(ids: Iterable<{ sessionId: string; waId: string | null }>, inside?: EntityManager): Promise<People>;
  /**
   * Every id of the person behind an id: those that the account's sessions know, and other spellings of the number. The given id is among them.
   * Ids of groups and channels give themselves.
   */
  formsOf(accountId: string, waId: string, inside?: EntityManager): Promise<string[]>;
  /** What is stored of a person under any of these ids. For the export. */
  stored(accountId: string, waIds: readonly string[]): Promise<(Contact & { sessionId: string; ids: string[] })[]>;
  /** Removes the names that a session or an account has stored: it stores none from now on (storage mode `metadata`). */
  forgetNames(tx: Transaction, of: { sessionId: string } | { accountId: string }): Promise<void>;
  /** Removes the names of every session whose storage mode is `metadata`: the installation's may have become so while it was stopped. */
  forgetNamesLeft(): Promise<void>;
  /** Deletes the person that these ids belong to. */
  erase(tx: Transaction, accountId: string, waIds: readonly string[]): Promise<void>;
}

interface PeopleInEvent {
  contact?: Contact | null;
  by?: Contact | null;
  participants?: Contact[];
}

/** Ids in the cache. */
const maxKnown = 50_000;
/** For how long an id is believed to belong to the same person. Another backend may learn more meanwhile; SQLite has one backend. */
const cacheTtlMs = { postgres: 5_000, sqlite: 600_000 };

const isLid = (id: string): boolean => id.endsWith('@lid');
const keyOf = (sessionId: string, waId: string): string => `${sessionId} ${waId}`;

const presented = ({ phone, lid, name }: Pick<ContactRow, 'phone' | 'lid' | 'name'>): Contact => ({
  id: phone ? `${phone}@c.us` : (lid ?? ''),
  phone: phone ? `+${phone}` : null,
  lid,
  name,
});

export function createContacts({
  database,
  events,
  storageOf,
  clock,
}: {
  database: Database;
  events: Events;
  storageOf: StorageOf;
  clock: Clock;
}): Contacts {
  /** Who is behind an id of a session. `until` is a time of the monotonic clock. */
  const known = new Map<string, { contact: Contact | null; until: number }>();
  /** Committed changes of contacts. A reader that began before one of them may have read what is no longer so. */
  let changes = 0;

  function remember(sessionId: string, waId: string, contact: Contact | null): void {
    const key = keyOf(sessionId, waId);
    known.delete(key);
    known.set(key, { contact, until: clock.monotonic() + cacheTtlMs[database.dialect] });
    for (const oldest of known.keys()) {
      if (known.size <= maxKnown) break;
      known.delete(oldest);
    }
  }
  const cached = (sessionId: string, waId: string): Contact | null | undefined => {
    const entry = known.get(keyOf(sessionId, waId));
    return entry && entry.until > clock.monotonic() ? entry.contact : undefined;
  };
  /** Whether the sighting says nothing that is not stored. */
  const isStored = (sessionId: string, ids: readonly string[], { phone, lid, name }: Contact): boolean =>
    ids.every((waId) => {
      const contact = cached(sessionId, waId);
      return (
        !!contact &&
        [
          [phone, contact.phone],
          [lid, contact.lid],
          [name, contact.name],
        ].every(([said, is]) => said === null || said === is)
      );
    });

  async function learn(tx: Transaction, session: Place, sightings: readonly (Sighting | null)[]): Promise<void> {
    for (const sighting of sightings) {
      if (!sighting) continue;
      const ids = idsOf(sighting);
      if (ids.length === 0 || isStored(session.id, ids, sighting.contact)) continue;
      const { row, forms, others } = await store(tx, session, sighting, ids);
      const forget = (): void => [...forms, ...others].forEach((id) => known.delete(keyOf(session.id, id)));
      forget();
      // Closes: a reader puts the person back into the cache as they were before this transaction.
      tx.afterCommit(() => {
        changes += 1;
        forget();
        for (const id of ids) remember(session.id, id, presented(row));
      });
    }
  }

  /**
   * Finds or makes the row of the person, gives it all of these ids, and writes what is new. Returns the row, every id that the person has now, and
   * the ids of other people from whom something was taken.
   */
  async function store(
    tx: Transaction,
    session: Place,
    { contact, isNews }: Sighting,
    ids: string[],
  ): Promise<{ row: ContactRow; forms: string[]; others: string[] }> {
    const where = among(tx.manager, 'waId', ids);
    const { rows } = await runStatement(
      tx.manager,
      `SELECT "waId", "contactId" FROM contact_forms WHERE "sessionId" = ? AND ${where.condition}`,
      [session.id, where.parameter],
    );
    const owners = new Map((rows as { waId: string; contactId: string }[]).map((form) => [form.waId, form.contactId]));
    const candidates = owners.size > 0 ? await readAmong(tx.manager, ContactRow, 'id', [...new Set(owners.values())]) : [];
    // The owner of the id that the person is named by comes first, and of the spelling that was typed last.
    const placeOf = ({ id }: ContactRow): number => ids.findIndex((waId) => owners.get(waId) === id);
    candidates.sort((a, b) => placeOf(a) - placeOf(b));
    const lid = personId(contact.lid) ?? (isLid(contact.id) ? personId(contact.id) : null);
    const row = (lid && candidates.find((one) => one.lid === lid)) || candidates.find((one) => !lid || one.lid === null) || null;
    const others = candidates.filter((other) => other !== row);
    const nextLid = lid ?? row?.lid ?? others.find((other) => other.lid !== null)?.lid ?? null;
    const same = others.filter((other) => other.lid === null || other.lid === nextLid);
    const named = phoneIdOf(contact.phone) ?? contact.id;
    // Another spelling or a former number, which the person is known by already, is no new number unless it comes with the LID.
    const isOtherForm = lid === null && row !== null && row.phone !== null && owners.get(named) === row.id;
    const phone =
      (isOtherForm ? row.phone : digitsOf(named)) ?? row?.phone ?? same.find((other) => other.phone !== null)?.phone ?? null;
    const isBare = (await storageOf(session, tx.manager)) === 'metadata';
    const now = clock.now();
    const next: ContactRow = {
      id: row?.id ?? newId(now.getTime()),
      accountId: session.accountId,
      sessionId: session.id,
      phone,
      lid: nextLid,
      name: isBare ? null : (nameOf(contact) ?? row?.name ?? same.find((other) => other.name !== null)?.name ?? null),
      createdAt: row?.createdAt ?? now,
      updatedAt: now,
    };
    if (!row) await insertRow(tx, ContactRow, next);
    else if (row.phone !== next.phone || row.lid !== next.lid || row.name !== next.name) {
      const { phone, lid, name, updatedAt } = next;
      await updateRows(tx, ContactRow, { id: row.id }, { phone, lid, name, updatedAt });
    }
    await join(tx, next, others);
    const missing = ids.filter((id) => owners.get(id) !== next.id);
    const forms = missing.map((waId) => ({ sessionId: session.id, waId, accountId: session.accountId, contactId: next.id }));
    await upsertRows(tx, ContactForm, forms);
    await publish(tx, session, row, next, isNews ?? false);
    const all = row ? await readAmong(tx.manager, ContactForm, 'contactId', [next.id, ...others.map(({ id }) => id)]) : [];
    const formsOf = (isOurs: boolean): string[] =>
      all.filter(({ contactId }) => (contactId === next.id) === isOurs).map(({ waId }) => waId);
    return { row: next, forms: [...ids, ...formsOf(true)], others: formsOf(false) };
  }

  /**
   * Takes over the ids of rows that are the same person. A row with another LID is another person, who had this number before: it keeps its LID and
   * its name, and loses the number.
   */
  async function join(tx: Transaction, into: ContactRow, others: readonly ContactRow[]): Promise<void> {
    for (const other of others) {
      const isOtherPerson = other.lid !== null && into.lid !== null && other.lid !== into.lid;
      if (isOtherPerson) {
        if (other.phone !== null && other.phone === into.phone)
          await updateRows(tx, ContactRow, { id: other.id }, { phone: null });
        continue;
      }
      await runStatement(tx.manager, 'UPDATE contact_forms SET "contactId" = ? WHERE "contactId" = ?', [into.id, other.id]);
      await runStatement(tx.manager, 'DELETE FROM contacts WHERE id = ?', [other.id]);
    }
  }

  async function publish(tx: Transaction, { id, accountId }: Place, was: ContactRow | null, is: ContactRow, isNews: boolean) {
    const isRenamed = was !== null && was.name !== is.name && (isNews || was.name !== null);
    const isNumbered = was !== null && was.phone !== is.phone;
    if (!isRenamed && !isNumbered && !(isNews && was === null)) return;
    const data = { contact: presented(is), previous: was && presented(was) };
    await events.append(tx, { accountId, sessionId: id, type: 'contact.updated', data });
  }

  async function read(
    where: Reading,
    bySession: ReadonlyMap<string, readonly string[]>,
    add: (sessionId: string, waId: string, contact: Contact | null) => void,
  ): Promise<void> {
    for (const [sessionId, waIds] of bySession) {
      const { condition, parameter } = among(where, 'waId', waIds);
      const { rows } = await runStatement(
        where,
        `SELECT f."waId", c.phone, c.lid, c.name FROM contact_forms f JOIN contacts c ON c.id = f."contactId"
          WHERE f."sessionId" = ? AND f.${condition}`,
        [sessionId, parameter],
      );
      const found = new Map((rows as (ContactRow & { waId: string })[]).map((row) => [row.waId, presented(row)]));
      for (const waId of waIds) add(sessionId, waId, found.get(waId) ?? null);
    }
  }

  async function people(ids: Iterable<{ sessionId: string; waId: string | null }>, inside?: EntityManager): Promise<People> {
    const found = new Map<string, Contact | null>();
    const wanted = new Map<string, string[]>();
    for (const { sessionId, waId: given } of ids) {
      const waId = personId(given);
      if (!waId || found.has(keyOf(sessionId, waId))) continue;
      const contact = cached(sessionId, waId);
      found.set(keyOf(sessionId, waId), contact ?? null);
      if (contact === undefined) wanted.set(sessionId, [...(wanted.get(sessionId) ?? []), waId]);
    }
    const before = changes;
    if (wanted.size > 0)
      await read(inside ?? database.reader, wanted, (sessionId, waId, contact) => {
        found.set(keyOf(sessionId, waId), contact);
        // What is read inside a transaction may be rolled back.
        if (!inside && changes === before) remember(sessionId, waId, contact);
      });
    return (sessionId, waId) => (waId === null ? null : (found.get(keyOf(sessionId, waId)) ?? null));
  }

  async function forgetNames(tx: Transaction, of: { sessionId: string } | { accountId: string }): Promise<void> {
    const [column, value] = 'sessionId' in of ? ['sessionId', of.sessionId] : ['accountId', of.accountId];
    await runStatement(tx.manager, `UPDATE contacts SET name = NULL WHERE "${column}" = ? AND name IS NOT NULL`, [value]);
    tx.afterCommit(() => {
      changes += 1;
      known.clear();
    });
  }

  return {
    learn,
    async observe(tx, session, data) {
      const { contact = null, by = null, participants = [] } = data;
      const all = [contact, by, ...participants].filter((one) => one !== null);
      await learn(
        tx,
        session,
        all.map((one) => ({ contact: one })),
      );
      const ids = all.flatMap(({ id, lid }) => [id, lid]).map((waId) => ({ sessionId: session.id, waId }));
      const known = await people(ids, tx.manager);
      const whole = (one: Contact): Contact => completed(one, session.id, known) ?? one;
      return {
        ...data,
        ...(contact ? { contact: whole(contact) } : {}),
        ...(by ? { by: whole(by) } : {}),
        ...(data.participants ? { participants: participants.map(whole) } : {}),
      };
    },
    learnNow: (session, sightings) =>
      database.write.run(async (tx) => {
        await lockRows(tx, Session, [session.id]);
        await learn(tx, session, sightings);
      }),
    people,
    formsOf: (accountId, waId, inside) => formsOf(inside ?? database.reader, accountId, waId),
    async stored(accountId, waIds) {
      const owners = await ownersOf(database.reader, accountId, waIds);
      const [rows, forms] = await Promise.all([
        readAmong(database.reader, ContactRow, 'id', owners),
        readAmong(database.reader, ContactForm, 'contactId', owners),
      ]);
      return rows.map((row) => ({
        ...presented(row),
        sessionId: row.sessionId,
        ids: forms.filter(({ contactId }) => contactId === row.id).map((form) => form.waId),
      }));
    },
    forgetNames,
    async forgetNamesLeft() {
      const { rows } = await runStatement(
        database.reader,
        'SELECT DISTINCT "sessionId" FROM contacts WHERE name IS NOT NULL',
        [],
      );
      for (const { sessionId } of rows as { sessionId: string }[])
        await database.write.run(async (tx) => {
          await lockRows(tx, Session, [sessionId]);
          const session = await tx.manager.findOneBy(Session, { id: sessionId });
          if (session && (await storageOf(session, tx.manager)) === 'metadata') await forgetNames(tx, { sessionId });
        });
    },
    async erase(tx, accountId, waIds) {
      const owners = await ownersOf(tx.manager, accountId, waIds);
      const byId = among(tx.manager, 'id', owners);
      const byContact = among(tx.manager, 'contactId', owners);
      await runStatement(tx.manager, `DELETE FROM contact_forms WHERE ${byContact.condition}`, [byContact.parameter]);
      await runStatement(tx.manager, `DELETE FROM contacts WHERE ${byId.condition}`, [byId.parameter]);
      tx.afterCommit(() => {
        changes += 1;
        known.clear();
      });
    },
  };
}

/** All ids of the person that the sighting names, in WhatsApp's own form. */
function idsOf({ contact, alsoKnownAs = [] }: Sighting): string[] {
  const all = [contact.id, phoneIdOf(contact.phone), contact.lid, ...alsoKnownAs];
  return [...new Set(all.map(personId).filter((id): id is string => id !== null))];
}

const nameOf = ({ name }: Contact): string | null => name?.replaceAll('\0', '').slice(0, 256) || null;
