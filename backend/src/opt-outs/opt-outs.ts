import { AppError, isId, phoneOf, wordOf, type Contact, type OptOutResource } from '@chasqui/shared';
import type { EntityManager, FindOptionsWhere } from 'typeorm';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Contacts } from '../contacts/contacts.js';
import { formsOf, formsOfAll, personId } from '../contacts/forms.js';
import type { Core } from '../core.js';
import { deleteRows, readRows, updateRows } from '../db/rows.js';
import { containing } from '../db/sql.js';
import { guardOf, readerUsed } from '../db/transaction-guard.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Changes } from '../lib/changes.js';
import type { Sealer } from '../lib/sealer.js';
import type { Session } from '../sessions/session.entity.js';
import { checkKeywords, matchKeyword, wordsIn, type Keywords } from './keywords.js';
import { OptOut, OptOutForm, OptOutSettings, type OptOutSource } from './opt-out.entity.js';
import {
  ensureSettings,
  erasePerson,
  optedOutAmong,
  readPerson,
  keywordsOf,
  readSettings,
  resealedKey,
  writeChange,
  type Change,
  type StoreContext,
  type Where,
} from './people.js';
import { createSharedLookup } from './shared-lookup.js';

/**
 * People who do not want to get messages of an account. A person is found by every known id: the number, its other spellings, and the LID. The ids
 * are stored as keyed hashes too, so that an opt-out stays in force after the person was erased.
 */
export interface OptOuts {
  /**
   * Returns the addresses that belong to people who opted out. Other addresses, such as groups, are never returned. Inside a transaction, pass its
   * manager.
   */
  among(accountId: string, addresses: readonly string[], where?: Where): Promise<Set<string>>;

  list(accountId: string, query: { search?: string | undefined; limit: number; offset: number }): Promise<OptOutPage>;
  /** Returns the next people after `last` in order of their ids, for an export; none at the end. */
  page(accountId: string, last: string): Promise<OptOutResource[]>;
  /** Returns one by any id of the person, or by its own. Throws `OPT_OUT_NOT_FOUND`. */
  find(accountId: string, ref: string): Promise<OptOutResource>;
  /** Opts people out in one transaction. Returns them in the same order, and how many were out already; of those only the time changes. */
  add(caller: Caller, waIds: readonly string[], source: OptOutSource): Promise<{ people: OptOutResource[]; known: number }>;
  /** Throws `OPT_OUT_NOT_FOUND`. */
  remove(caller: Caller, ref: string, source: OptOutSource): Promise<void>;

  keywords(accountId: string): Promise<Keywords>;
  /**
   * Returns all keywords in the form of `wordOf`. Workers need them where they remove texts: in the storage mode `metadata` a message that is a
   * keyword is reported with this word alone.
   */
  normalizedKeywords(accountId: string, where?: Where): Promise<string[]>;
  /** Throws `VALIDATION_FAILED` for words that cannot be used. */
  setKeywords(caller: Caller, changes: Changes<Keywords>): Promise<Keywords>;
  /**
   * Opts the sender of a message out or in if the message is a keyword, in the transaction that records the message. `answer` accepts a text to the
   * sender and returns its id, or null if it cannot be accepted; it is called at most once a day for each person.
   */
  received(tx: Transaction, session: Session, message: ReceivedText, answer: Answer): Promise<void>;

  /**
   * Deletes the rows of people who opted in again more than 30 days ago. Returns their number. No older message can opt them out any more, because a
   * session that returns reads at most the messages of a week.
   */
  prune(): Promise<number>;
  /** Removes the ids of an erased person. The person stays opted out. */
  erase(tx: Transaction, accountId: string, waIds: readonly string[]): Promise<void>;
  /** Returns the opt-out of the person with these ids, for the export of a person. Empty if there is none. */
  stored(accountId: string, waIds: readonly string[]): Promise<OptOutResource[]>;
  /** Seals the hash keys of accounts again. `page` returns the next rows after an account; `one` seals one again and returns whether it did. */
  reseal: {
    page(after: string): Promise<OptOutSettings[]>;
    one(row: OptOutSettings): Promise<boolean>;
  };
}

export interface OptOutPage {
  people: OptOutResource[];
  total: number;
}

export interface ReceivedText {
  /** The sender's chat. */
  waId: string;
  text: string;
  /** WhatsApp's time of the message. */
  at: Date;
}
export type Answer = (text: string) => Promise<string | null>;

export interface OptOutParts {
  contacts: Pick<Contacts, 'people' | 'stored'>;
  sealer: Sealer;
}

interface Context extends Pick<Core, 'database'>, StoreContext, OptOutParts {}

const pageSize = 200;
const dayMs = 86_400_000;
/**
 * How long the row of a person who opted in again is stored. Must be longer than the week of missed messages that a session reads when it returns.
 */
const rememberedMs = 30 * dayMs;

export function createOptOuts(
  { database, events, clock }: Pick<Core, 'database' | 'events' | 'clock'>,
  parts: OptOutParts,
): OptOuts {
  const context: Context = { database, events, clock, ...parts };
  const lookup = createSharedLookup((accountId, addresses) => optedOutAmong(context, database.reader, accountId, addresses));
  return {
    async among(accountId, addresses, where) {
      if (where) return optedOutAmong(context, where, accountId, addresses);
      // The check is repeated here, because a caller that joins the look-up of another caller would not reach the check of the reader.
      guardOf(database.reader)?.mustBeOutside(readerUsed);
      return lookup(accountId, addresses);
    },
    list: (accountId, query) => list(context, accountId, query),
    page: async (accountId, last) => {
      const condition = `"accountId" = ? AND state = 'out' AND id > ? ORDER BY id LIMIT ${pageSize}`;
      return present(context, accountId, await readRows(database.reader, OptOut, condition, [accountId, last]));
    },
    find: async (accountId, ref) => (await present(context, accountId, [await findOut(context, accountId, ref)]))[0]!,
    add: (caller, waIds, source) => add(context, caller, waIds, source),
    remove: (caller, ref, source) => remove(context, caller, ref, source),
    keywords: async (accountId) => keywordsOf(await readSettings(database.reader, accountId)),
    normalizedKeywords: async (accountId, where = database.reader) => wordsIn(keywordsOf(await readSettings(where, accountId))),
    setKeywords: (caller, changes) => setKeywords(context, caller, changes),
    received: (tx, session, message, answer) => received(context, tx, session, message, answer),
    prune: () => prune(context),
    erase: (tx, accountId, waIds) => erasePerson(context, tx, accountId, waIds),
    stored: async (accountId, waIds) => {
      const row = await readPerson(context, database.reader, accountId, waIds);
      return row?.state === 'out' ? present(context, accountId, [row]) : [];
    },
    reseal: {
      page: (after) =>
        readRows(database.reader, OptOutSettings, `"accountId" > ? ORDER BY "accountId" LIMIT ${pageSize}`, [after]),
      one: (row) => resealOne(context, row),
    },
  };
}

async function list(
  context: Context,
  accountId: string,
  { search, limit, offset }: { search?: string | undefined; limit: number; offset: number },
): Promise<OptOutPage> {
  const { reader } = context.database;
  const found = search === undefined ? null : await findPerson(context, accountId, search);
  if (found) return { people: offset === 0 ? await present(context, accountId, [found]) : [], total: 1 };
  const where: FindOptionsWhere<OptOut> = { accountId, state: 'out' };
  // Numbers are stored as digits only.
  const digits = search?.replace(/[\s()+./-]/g, '');
  if (search !== undefined) where.waId = containing(reader, digits || search);
  const order = { changedAt: 'DESC', id: 'DESC' } as const;
  const [rows, total] = await reader.getRepository(OptOut).findAndCount({ where, order, take: limit, skip: offset });
  return { people: await present(context, accountId, rows), total };
}

/** Returns the person with this complete id or number; null if there is none who is opted out. */
async function findPerson(context: Context, accountId: string, id: string): Promise<OptOut | null> {
  const { reader } = context.database;
  const waId = personId(id) ?? personId(`${id.replace(/\D/g, '')}@c.us`);
  if (!waId) return null;
  const row = await readPerson(context, reader, accountId, await formsOf(reader, accountId, waId));
  return row?.state === 'out' ? row : null;
}

/** Throws `OPT_OUT_NOT_FOUND`. Inside a transaction pass its manager. */
async function findOut(context: Context, accountId: string, ref: string, inside?: EntityManager): Promise<OptOut> {
  const where = inside ?? context.database.reader;
  const row = isId(ref)
    ? await where.getRepository(OptOut).findOneBy({ id: ref, accountId })
    : await readPerson(context, where, accountId, await formsOf(where, accountId, ref));
  if (row?.state !== 'out') throw new AppError('OPT_OUT_NOT_FOUND');
  return row;
}

async function add(
  context: Context,
  caller: Caller,
  waIds: readonly string[],
  source: OptOutSource,
): Promise<{ people: OptOutResource[]; known: number }> {
  const { database, events, clock } = context;
  const { accountId } = caller;
  const written = await database.write.run(async (tx) => {
    // Closes: a person is erased after they were read, and an event names them again. An erasure locks the log when it deletes names.
    await events.lock(tx);
    const forms = await formsOfAll(tx.manager, accountId, waIds);
    const people = await peopleOf(context, accountId, waIds, tx.manager);
    const results: { row: OptOut; isChanged: boolean }[] = [];
    for (const waId of waIds) {
      const change: Change = {
        accountId,
        waId,
        forms: forms.get(waId) ?? [waId],
        state: 'out',
        source,
        keyword: null,
        at: clock.now(),
      };
      const result = (await writeChange(context, tx, change))!;
      results.push(result);
      if (!result.isChanged) continue;
      await publish(context, tx, change, null, async () => people.get(waId)!, null);
      await audit(context, tx, caller, 'opt_out.add', result.row.id);
    }
    return results;
  });
  const rows = written.map(({ row }) => row);
  return { people: await present(context, accountId, rows), known: written.filter(({ isChanged }) => !isChanged).length };
}

async function remove(context: Context, caller: Caller, ref: string, source: OptOutSource): Promise<void> {
  const { database, events, clock } = context;
  const { accountId } = caller;
  await database.write.run(async (tx) => {
    // Closes: two calls remove one person at once, and a person is erased after they were read.
    await events.lock(tx);
    const row = await findOut(context, accountId, ref, tx.manager);
    const at = clock.now();
    // An erased person is named by the id of the row, and has no address.
    const waId = isId(ref) ? row.waId : (personId(ref) ?? ref);
    if (waId) {
      const forms = await formsOf(tx.manager, accountId, waId);
      const person = (await peopleOf(context, accountId, [waId], tx.manager)).get(waId)!;
      const change: Change = { accountId, waId, forms, state: 'in', source, keyword: null, at };
      await writeChange(context, tx, change);
      await publish(context, tx, change, null, async () => person, null);
    } else await updateRows(tx, OptOut, { id: row.id }, { state: 'in', source, keyword: null, changedAt: at });
    await audit(context, tx, caller, 'opt_out.remove', row.id);
  });
}

async function setKeywords(context: Context, caller: Caller, changes: Changes<Keywords>): Promise<Keywords> {
  const { accountId } = caller;
  return context.database.write.run(async (tx) => {
    await context.events.lock(tx);
    const before = keywordsOf(await ensureSettings(context, tx, accountId));
    const keywords = changedKeywords(before, changes);
    checkKeywords(keywords);
    await updateRows(tx, OptOutSettings, { accountId }, { keywords });
    await audit(context, tx, caller, 'opt_out.keywords', null, { fields: Object.keys(changes) });
    return keywords;
  });
}

const changedKeywords = (before: Keywords, changes: Changes<Keywords>): Keywords => ({
  out: changes.out ?? before.out,
  in: changes.in ?? before.in,
  replyOut: changes.replyOut === undefined ? before.replyOut : changes.replyOut,
  replyIn: changes.replyIn === undefined ? before.replyIn : changes.replyIn,
  languages: changes.languages ?? before.languages,
});

async function received(
  context: Context,
  tx: Transaction,
  session: Session,
  { waId, text, at }: ReceivedText,
  answer: Answer,
): Promise<void> {
  // Most texts cannot be a keyword, and need no query.
  if (wordOf(text) === '') return;
  const { id: sessionId, accountId } = session;
  const match = matchKeyword(keywordsOf(await readSettings(tx.manager, accountId)), text);
  if (!match) return;
  const { clock, contacts } = context;
  const now = clock.now();
  const { keyword, state } = match;
  const forms = await formsOf(tx.manager, accountId, waId);
  const change: Change = { accountId, waId, forms, state, source: 'keyword', keyword, at: at < now ? at : now };
  const written = await writeChange(context, tx, change);
  if (!written?.isChanged) return;
  const { id, repliedAt } = written.row;
  const isDue = repliedAt === null || repliedAt.getTime() <= now.getTime() - dayMs;
  const replyMessageId = match.reply !== null && isDue ? await answer(match.reply) : null;
  if (replyMessageId !== null) await updateRows(tx, OptOut, { id }, { repliedAt: now });
  const known = async (): Promise<Contact> =>
    (await contacts.people([{ sessionId, waId }], tx.manager))(sessionId, waId) ?? bare(waId);
  await publish(context, tx, change, sessionId, known, replyMessageId);
}

/** May die halfway: each commit is complete, and the next run continues. */
async function prune({ database, events, clock }: Context): Promise<number> {
  const condition = `state = 'in' AND "changedAt" < ? LIMIT ${pageSize}`;
  const before = clock.now().getTime() - rememberedMs;
  for (let total = 0; ;) {
    const count = await database.write.run(async (tx) => {
      // Closes: the person opts out between reading and deleting.
      await events.lock(tx);
      const rows = await readRows(tx.manager, OptOut, condition, [before]);
      for (const { id } of rows) {
        await deleteRows(tx, OptOutForm, { optOutId: id });
        await deleteRows(tx, OptOut, { id });
      }
      return rows.length;
    });
    total += count;
    if (count < pageSize) return total;
  }
}

const publish = async (
  { events }: Context,
  tx: Transaction,
  { accountId, state, source, keyword }: Change,
  sessionId: string | null,
  contact: () => Promise<Contact>,
  replyMessageId: string | null,
): Promise<void> => {
  const type = state === 'out' ? 'contact.opted_out' : 'contact.opted_in';
  const data = async () => ({ contact: await contact(), source, keyword, replyMessageId });
  await events.append(tx, { accountId, sessionId, type, data });
};

/** The audit log names the row and not the person. */
const audit = (
  { clock }: Context,
  tx: Transaction,
  caller: Caller,
  action: string,
  objectId: string | null,
  changes: Record<string, unknown> = {},
): Promise<void> => recordAudit(tx, caller, { action, objectType: 'opt_out', objectId, changes, at: clock.now() });

async function present(context: Context, accountId: string, rows: readonly OptOut[]): Promise<OptOutResource[]> {
  const people = await peopleOf(
    context,
    accountId,
    rows.flatMap(({ waId }) => waId ?? []),
  );
  return rows.map(({ id, waId, source, keyword, changedAt }) => ({
    id,
    contact: waId === null ? null : people.get(waId)!,
    source,
    keyword,
    createdAt: changedAt.toISOString(),
  }));
}

/**
 * Returns what the account's sessions know of each person: the number, the LID and a name may come from different sessions. Inside a transaction pass
 * its manager.
 */
async function peopleOf(
  { contacts }: Context,
  accountId: string,
  waIds: readonly string[],
  inside?: EntityManager,
): Promise<Map<string, Contact>> {
  const people = new Map(waIds.map((waId) => [waId, bare(waId)]));
  if (waIds.length === 0) return people;
  for (const { phone, lid, name, ids } of await contacts.stored(accountId, waIds, inside))
    for (const id of ids) {
      const known = people.get(id);
      if (!known) continue;
      known.phone ??= phone;
      known.lid ??= lid;
      known.name ??= name;
      if (known.phone) known.id = `${known.phone.slice(1)}@c.us`;
    }
  return people;
}

/** A contact of which only one id is known. */
const bare = (waId: string): Contact => ({
  id: waId,
  phone: phoneOf(waId),
  lid: waId.endsWith('@lid') ? waId : null,
  name: null,
});

async function resealOne({ database, sealer }: Context, row: OptOutSettings): Promise<boolean> {
  const hashKey = resealedKey(sealer, row);
  if (hashKey === null) return false;
  const { accountId, hashKey: before } = row;
  return (await database.write.run((tx) => updateRows(tx, OptOutSettings, { accountId, hashKey: before }, { hashKey }))) === 1;
}
