import type { Contact } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import type { Core } from '../core.js';
import { among, lockRows, readAmong } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { forgetPeople } from '../messages/conversations/track.js';
import { Session } from '../sessions/session.entity.js';
import type { StorageOf } from '../sessions/storage-mode.js';
import { ContactForm, ContactRow } from './contact.entity.js';
import { formsOf, formsOfAll, ownersOf, personId } from './forms.js';
import { createPeopleCache, keyOf, type PeopleCache } from './people-cache.js';
import { completed, type People } from './people.js';
import { idsOf, presentContact, storeSighting, type SessionOfContact, type Sighting } from './sighting.js';

export type { Sighting } from './sighting.js';

/** Stores the people that the sessions of the accounts know, with all of their ids. */
export interface Contacts {
  /**
   * Stores what an event shows of people, inside the transaction of that event, and publishes `contact.updated` for a new name, for a number that
   * becomes known, and for a new contact that WhatsApp reported. Two rows that turn out to be one person are joined. Idempotent.
   *
   * The caller has locked the session's row (`lockRows`), so that two transactions never store one person at once.
   */
  learn(tx: Transaction, session: SessionOfContact, sightings: readonly (Sighting | null)[]): Promise<void>;
  /**
   * Stores the people in an event (`learn`), and returns a function that returns the event with everything that is known of them added: the `data` of
   * an event to append. For events whose people are in `contact`, `by` and `participants`.
   */
  observe<T extends PeopleInEvent>(tx: Transaction, session: SessionOfContact, data: T): Promise<() => Promise<T>>;
  /** The same as `learn` in a transaction of its own. */
  learnNow(session: SessionOfContact, sightings: readonly Sighting[]): Promise<void>;
  /**
   * Returns a function that finds the person behind one of these ids. Inside a transaction pass its manager. `namesVersion`: the version of names
   * (`namesVersionSql`), if the caller read it in the statement that read the ids; otherwise it is read here.
   */
  people(
    ids: Iterable<{ sessionId: string; waId: string | null }>,
    inside?: EntityManager,
    namesVersion?: number,
  ): Promise<People>;
  /**
   * Returns every id of the person behind an id: those that the account's sessions know, and other spellings of the number. The passed id is among
   * them. For the id of a group or a channel it returns only that id.
   */
  formsOf(accountId: string, waId: string, inside?: EntityManager): Promise<string[]>;
  /** Like `formsOf` for many ids, with two queries for all of them. Ids that are not a person’s are left out. */
  formsOfAll(accountId: string, waIds: readonly string[]): Promise<Map<string, string[]>>;
  /** Returns what is stored of people under any of these ids. Inside a transaction pass its manager. */
  stored(
    accountId: string,
    waIds: readonly string[],
    inside?: EntityManager,
  ): Promise<(Contact & { sessionId: string; ids: string[] })[]>;
  /** Removes the names that a session or an account has stored. For a change to the storage mode `metadata`. */
  forgetNames(tx: Transaction, of: { sessionId: string } | { accountId: string }): Promise<void>;
  /** Removes the names of every session whose storage mode is `metadata`. The installation's mode may have changed while the backend was stopped. */
  forgetNamesLeft(): Promise<number>;
  /** Deletes the person that these ids belong to. */
  erase(tx: Transaction, accountId: string, waIds: readonly string[]): Promise<void>;
}

/** The fields of an event's data that name people. */
export interface PeopleInEvent {
  contact?: Contact | null;
  by?: Contact | null;
  participants?: Contact[];
}

interface Context extends Pick<Core, 'database' | 'events' | 'clock'> {
  storageOf: StorageOf;
  cache: PeopleCache;
}

export function createContacts(core: Core, { storageOf }: { storageOf: StorageOf }): Contacts {
  const { database, clock } = core;
  const context: Context = { ...core, storageOf, cache: createPeopleCache(database.dialect, clock) };
  core.events.onNamesVersion(context.cache.keepUp);
  return {
    learn: (tx, session, sightings) => learn(context, tx, session, sightings),
    observe: (tx, session, data) => observe(context, tx, session, data),
    learnNow: (session, sightings) =>
      database.write.run(async (tx) => {
        await lockRows(tx, Session, [session.id]);
        // Closes: the storage mode changes while WhatsApp is asked, before the lock.
        const current = await tx.manager.findOneBy(Session, { id: session.id });
        if (current) await learn(context, tx, current, sightings);
      }),
    people: (ids, inside, namesVersion) => readPeople(context, ids, inside, namesVersion),
    formsOf: (accountId, waId, inside) => formsOf(inside ?? database.reader, accountId, waId),
    formsOfAll: (accountId, waIds) => formsOfAll(database.reader, accountId, waIds),
    stored: (accountId, waIds, inside) => readStored(inside ?? database.reader, accountId, waIds),
    forgetNames: (tx, of) => forgetNames(context, tx, of),
    forgetNamesLeft: () => forgetNamesLeft(context),
    erase: (tx, accountId, waIds) => erase(context, tx, accountId, waIds),
  };
}

async function learn(
  context: Context,
  tx: Transaction,
  session: SessionOfContact,
  sightings: readonly (Sighting | null)[],
): Promise<void> {
  const { cache } = context;
  for (const sighting of sightings) {
    if (!sighting) continue;
    const ids = idsOf(sighting);
    if (ids.length === 0 || isCached(cache, session.id, ids, sighting.contact)) continue;
    const { row, forms, others } = await storeSighting(context, tx, session, sighting, ids);
    const changed = [...forms, ...others];
    cache.forget(session.id, changed);
    const clears = cache.clears();
    // Closes: a reader puts the person back into the cache as they were before this transaction.
    tx.afterCommit(() => {
      cache.forget(session.id, changed);
      // Closes: names are removed between this commit and its answer.
      if (cache.clears() !== clears) return;
      for (const id of ids) cache.set(session.id, id, presentContact(row));
    });
  }
}

/** Whether everything that the sighting says is in the cache, and so in the database. */
function isCached(cache: PeopleCache, sessionId: string, ids: readonly string[], { phone, lid, name }: Contact): boolean {
  return ids.every((waId) => {
    const contact = cache.get(sessionId, waId);
    if (!contact) return false;
    return (
      (phone === null || phone === contact.phone) &&
      (lid === null || lid === contact.lid) &&
      (name === null || name === contact.name)
    );
  });
}

async function observe<T extends PeopleInEvent>(
  context: Context,
  tx: Transaction,
  session: SessionOfContact,
  data: T,
): Promise<() => Promise<T>> {
  const { contact = null, by = null, participants = [] } = data;
  const all = [contact, by, ...participants].filter((one) => one !== null);
  await learn(
    context,
    tx,
    session,
    all.map((one) => ({ contact: one })),
  );
  const ids = all.flatMap(({ id, lid }) => [id, lid]).map((waId) => ({ sessionId: session.id, waId }));
  return async () => {
    const people = await readPeople(context, ids, tx.manager);
    const complete = (one: Contact): Contact => completed(one, session.id, people) ?? one;
    return {
      ...data,
      ...(contact ? { contact: complete(contact) } : {}),
      ...(by ? { by: complete(by) } : {}),
      ...(data.participants ? { participants: participants.map(complete) } : {}),
    };
  };
}

/** Returns the people behind ids, from the cache or with one query for each session. */
async function readPeople(
  context: Context,
  ids: Iterable<{ sessionId: string; waId: string | null }>,
  inside?: EntityManager,
  namesVersion?: number,
): Promise<People> {
  const { database, cache } = context;
  const asked = [...ids].flatMap(({ sessionId, waId: id }) => {
    const waId = personId(id);
    return waId ? [{ sessionId, waId }] : [];
  });
  // In a transaction, the append of its event compares the version.
  if (namesVersion !== undefined) cache.keepUp(namesVersion);
  else if (!inside && asked.some(({ sessionId, waId }) => cache.get(sessionId, waId)?.name)) await compareNamesVersion(context);
  const found = new Map<string, Contact | null>();
  const missing = new Map<string, string[]>();
  for (const { sessionId, waId } of asked) {
    if (found.has(keyOf(sessionId, waId))) continue;
    const contact = cache.get(sessionId, waId);
    found.set(keyOf(sessionId, waId), contact ?? null);
    if (contact === undefined) missing.set(sessionId, [...(missing.get(sessionId) ?? []), waId]);
  }
  const version = cache.version();
  for (const [sessionId, waIds] of missing) {
    const rows = await readOfSession(inside ?? database.reader, sessionId, waIds);
    for (const waId of waIds) {
      const contact = rows.get(waId) ?? null;
      found.set(keyOf(sessionId, waId), contact);
      // What is read inside a transaction may be rolled back.
      if (!inside && cache.version() === version) cache.set(sessionId, waId, contact);
    }
  }
  return (sessionId, waId) => (waId === null ? null : (found.get(keyOf(sessionId, waId)) ?? null));
}

/** Selects the version of names, which grows when any backend removes names. */
export const namesVersionSql = `SELECT "namesVersion" FROM event_counters WHERE scope = 'log'`;

/** Clears the cache if another backend has removed names. All requests of a tick share the query. SQLite has one backend. */
async function compareNamesVersion({ database: { coalescer, dialect, reader }, cache }: Context): Promise<void> {
  if (dialect === 'sqlite') return;
  const [row] = await coalescer.coalesce(
    'names version',
    async () => (await runStatement<{ namesVersion: string }>(reader, namesVersionSql, [])).rows,
  );
  if (row) cache.keepUp(Number(row.namesVersion));
}

async function readOfSession(
  where: DataSource | EntityManager,
  sessionId: string,
  waIds: readonly string[],
): Promise<ReadonlyMap<string, Contact>> {
  const { condition, parameter } = among(where, 'waId', waIds);
  const { rows } = await runStatement<Pick<ContactRow, 'phone' | 'lid' | 'name'> & { waId: string }>(
    where,
    `SELECT f."waId", c.phone, c.lid, c.name FROM contact_forms f JOIN contacts c ON c.id = f."contactId"
      WHERE f."sessionId" = ? AND f.${condition}`,
    [sessionId, parameter],
  );
  return new Map(rows.map((row) => [row.waId, presentContact(row)]));
}

async function readStored(
  where: DataSource | EntityManager,
  accountId: string,
  waIds: readonly string[],
): Promise<(Contact & { sessionId: string; ids: string[] })[]> {
  const owners = await ownersOf(where, accountId, waIds);
  const rows = await readAmong(where, ContactRow, 'id', owners);
  const forms = await readAmong(where, ContactForm, 'contactId', owners);
  return rows.map((row) => ({
    ...presentContact(row),
    sessionId: row.sessionId,
    ids: forms.filter(({ contactId }) => contactId === row.id).map((form) => form.waId),
  }));
}

async function forgetNames(
  { cache, events }: Context,
  tx: Transaction,
  of: { sessionId: string } | { accountId: string },
): Promise<void> {
  const [column, value] = 'sessionId' in of ? (['sessionId', of.sessionId] as const) : (['accountId', of.accountId] as const);
  if ('accountId' in of) await lockSessions(tx, 'SELECT id FROM sessions WHERE "accountId" = ?', [of.accountId]);
  const sql = `UPDATE contacts SET name = NULL, "foldedName" = NULL WHERE "${column}" = ? AND name IS NOT NULL`;
  await runStatement(tx.manager, sql, [value]);
  await events.raiseNamesVersion(tx);
  // The event log is locked now, as each change of conversations wants it.
  await forgetPeople(tx, column, value);
  tx.afterCommit(() => cache.clear());
}

async function forgetNamesLeft(context: Context): Promise<number> {
  const { database, storageOf } = context;
  const sql = 'SELECT DISTINCT "sessionId" FROM contacts WHERE name IS NOT NULL';
  const { rows } = await runStatement<{ sessionId: string }>(database.reader, sql);
  let cleared = 0;
  for (const { sessionId } of rows)
    cleared += await database.write.run(async (tx) => {
      await lockRows(tx, Session, [sessionId]);
      const session = await tx.manager.findOneBy(Session, { id: sessionId });
      if (!session || (await storageOf(session, tx.manager)) !== 'metadata') return 0;
      await forgetNames(context, tx, { sessionId });
      return 1;
    });
  return cleared;
}

/**
 * Locks the sessions that a query names. Closes: this transaction and one that learns of people, which locks the sessions first, write the same
 * contacts in different orders.
 */
async function lockSessions(tx: Transaction, sql: string, parameters: readonly unknown[]): Promise<void> {
  if (tx.manager.connection.options.type !== 'postgres') return;
  const { rows } = await runStatement<{ id: string }>(tx.manager, sql, parameters);
  await lockRows(
    tx,
    Session,
    rows.map(({ id }) => id),
  );
}

async function erase({ cache, events }: Context, tx: Transaction, accountId: string, waIds: readonly string[]): Promise<void> {
  const forms = among(tx.manager, 'waId', waIds);
  const sessionsSql = `SELECT DISTINCT "sessionId" AS id FROM contact_forms WHERE "accountId" = ? AND ${forms.condition}`;
  await lockSessions(tx, sessionsSql, [accountId, forms.parameter]);
  const owners = await ownersOf(tx.manager, accountId, waIds);
  const byId = among(tx.manager, 'id', owners);
  const byContact = among(tx.manager, 'contactId', owners);
  await runStatement(tx.manager, `DELETE FROM contact_forms WHERE ${byContact.condition}`, [byContact.parameter]);
  await runStatement(tx.manager, `DELETE FROM contacts WHERE ${byId.condition}`, [byId.parameter]);
  await events.raiseNamesVersion(tx);
  tx.afterCommit(() => cache.clear());
}
