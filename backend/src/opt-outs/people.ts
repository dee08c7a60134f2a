import { createHmac, randomBytes } from 'node:crypto';
import { newId } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import { formsOfAll } from '../contacts/forms.js';
import type { Core } from '../core.js';
import { among, deleteRows, insertMissing, insertRow, readAmong, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { readable } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Sealer } from '../lib/sealer.js';
import { defaultKeywords, type Keywords } from './keywords.js';
import { OptOut, OptOutForm, OptOutSettings, type OptOutSource } from './opt-out.entity.js';

/**
 * Reads and writes the rows of people who opted out. Every change publishes an event, so it locks the event log first: two changes of one person
 * never run at the same time, and transactions do not deadlock.
 */

export type Where = DataSource | EntityManager;

export interface StoreContext extends Pick<Core, 'events' | 'clock'> {
  sealer: Sealer;
}

/** A change that a message of the person or a request causes. */
export interface Change {
  accountId: string;
  /** The id under which the person is shown. */
  waId: string;
  /** Every known id of the person. */
  forms: readonly string[];
  state: 'out' | 'in';
  source: OptOutSource;
  keyword: string | null;
  at: Date;
}

/** Returns which of these ids belong to people who opted out. */
export async function optedOutAmong(
  context: StoreContext,
  where: Where,
  accountId: string,
  waIds: readonly string[],
): Promise<Set<string>> {
  const key = waIds.length > 0 ? await hashKeyOf(context, where, accountId) : null;
  if (!key) return new Set();
  const formsById = await formsOfAll(where, accountId, waIds);
  const latest = await latestByHash(where, accountId, hashesOf(key, [...formsById.values()].flat()));
  const isOut = (forms: readonly string[]): boolean => {
    const found = forms.flatMap((form) => latest.get(hashOf(key, form)) ?? []);
    return decisive(found)?.state === 'out';
  };
  return new Set([...formsById].filter(([, forms]) => isOut(forms)).map(([waId]) => waId));
}

/** Returns the row that counts for the person with these ids; null if there is none. */
export async function readPerson(
  context: StoreContext,
  where: Where,
  accountId: string,
  forms: readonly string[],
): Promise<OptOut | null> {
  const key = await hashKeyOf(context, where, accountId);
  return key ? decisive(await readRowsOf(where, accountId, hashesOf(key, forms))) : null;
}

/**
 * Writes a change, and joins rows that turn out to be one person. Returns the person's row; `isChanged`: whether the state differs from before.
 * Returns null, and writes nothing, for a keyword that is older than the last change.
 */
export async function writeChange(
  context: StoreContext,
  tx: Transaction,
  change: Change,
): Promise<{ row: OptOut; isChanged: boolean } | null> {
  const { accountId, waId, forms, state, source, keyword, at } = change;
  await context.events.lock(tx);
  const key = await ensureHashKey(context, tx, accountId);
  const hashes = hashesOf(key, forms);
  const rows = await readRowsOf(tx.manager, accountId, hashes);
  const last = decisive(rows);
  if (last && source === 'keyword' && seconds(at) < seconds(last.changedAt)) return null;
  const isChanged = (last?.state ?? 'in') !== state;
  // An erased person who is removed from the list is not named again.
  const named = state === 'in' && last?.waId === null ? null : waId;
  const isWritten = isChanged || last?.state === 'in';
  // Closes: a keyword of the other kind that was sent before this one is read later, by a session that was not connected.
  const confirmed = last && at > last.changedAt ? { changedAt: at } : {};
  const changes = isWritten ? { waId: named, state, source, keyword, changedAt: at } : confirmed;
  const now = context.clock.now();
  const row: OptOut = last
    ? { ...last, ...changes }
    : { id: newId(now.getTime()), accountId, waId, state, source, keyword, changedAt: at, repliedAt: null, createdAt: now };
  if (last) await updateRows(tx, OptOut, { id: row.id }, changes);
  else await insertRow(tx, OptOut, row);
  await joinRows(tx, row, rows);
  await addForms(tx, row, hashes);
  return { row, isChanged };
}

/** Removes the ids of a person from their rows. The hashes stay, so that the opt-out stays in force. */
export async function erasePerson(
  context: StoreContext,
  tx: Transaction,
  accountId: string,
  waIds: readonly string[],
): Promise<void> {
  await context.events.lock(tx);
  const key = await hashKeyOf(context, tx.manager, accountId);
  if (!key) return;
  const hashes = hashesOf(key, waIds);
  const rows = await readRowsOf(tx.manager, accountId, hashes);
  const row = decisive(rows);
  if (!row) return;
  await updateRows(tx, OptOut, { id: row.id }, { waId: null });
  await joinRows(tx, row, rows);
  await addForms(tx, row, hashes);
}

/** The keywords of an account. Where the stored ones are damaged, the default ones apply: a person who writes STOP is never ignored. */
export const keywordsOf = (settings: OptOutSettings | null): Keywords =>
  readable(settings?.keywords ?? null, null) ?? defaultKeywords;

/** Returns the settings row of an account; null if it has none. */
export async function readSettings(where: Where, accountId: string): Promise<OptOutSettings | null> {
  const [row = null] = await readRows(where, OptOutSettings, '"accountId" = ?', [accountId]);
  return row;
}

/** Returns the settings row of an account, which is created with a new hash key if it does not exist. The caller has locked the event log. */
export async function ensureSettings({ sealer }: StoreContext, tx: Transaction, accountId: string): Promise<OptOutSettings> {
  const known = await readSettings(tx.manager, accountId);
  if (known) return known;
  const hashKey = sealer.seal(randomBytes(32).toString('base64url'), placeOf(accountId));
  const row: OptOutSettings = { accountId, hashKey, keywords: null };
  await insertRow(tx, OptOutSettings, row);
  return row;
}

/** Returns the hash key of an account, sealed with the current key of the installation; null if it is sealed with that key already. */
export const resealedKey = (sealer: Sealer, { accountId, hashKey }: OptOutSettings): string | null =>
  sealer.isStale(hashKey) ? sealer.seal(sealer.open(hashKey, placeOf(accountId)), placeOf(accountId)) : null;

const ensureHashKey = async (context: StoreContext, tx: Transaction, accountId: string): Promise<string> =>
  context.sealer.open((await ensureSettings(context, tx, accountId)).hashKey, placeOf(accountId));

async function hashKeyOf({ sealer }: StoreContext, where: Where, accountId: string): Promise<string | null> {
  const row = await readSettings(where, accountId);
  return row && sealer.open(row.hashKey, placeOf(accountId));
}

const placeOf = (accountId: string): string => `opt-outs.key:${accountId}`;
const hashOf = (key: string, form: string): string => createHmac('sha256', key).update(form).digest('base64url');
const hashesOf = (key: string, forms: readonly string[]): string[] => [...new Set(forms.map((form) => hashOf(key, form)))];
/** WhatsApp's times of messages are whole seconds. */
const seconds = (time: Date): number => Math.floor(time.getTime() / 1_000);

type Latest = Pick<OptOut, 'state' | 'changedAt'>;

async function latestByHash(where: Where, accountId: string, hashes: readonly string[]): Promise<Map<string, Latest>> {
  const { condition, parameter } = among(where, 'hash', hashes);
  const sql = `SELECT f.hash, o.state, o."changedAt" FROM opt_out_forms f JOIN opt_outs o ON o.id = f."optOutId"
    WHERE f."accountId" = ? AND f.${condition}`;
  type Found = { hash: string; state: 'out' | 'in'; changedAt: number | string };
  const { rows } = await runStatement<Found>(where, sql, [accountId, parameter]);
  return new Map(rows.map(({ hash, state, changedAt }) => [hash, { state, changedAt: new Date(Number(changedAt)) }]));
}

async function readRowsOf(where: Where, accountId: string, hashes: readonly string[]): Promise<OptOut[]> {
  const { condition, parameter } = among(where, 'hash', hashes);
  const forms = await readRows(where, OptOutForm, `"accountId" = ? AND ${condition}`, [accountId, parameter]);
  return readAmong(where, OptOut, 'id', [...new Set(forms.map(({ optOutId }) => optOutId))]);
}

/** Returns the row that counts among several of one person: the last change, and of two changes at one time the one that opts out. */
function decisive<T extends Latest>(rows: readonly T[]): T | null {
  const rank = (row: T): number => row.changedAt.getTime() * 2 + (row.state === 'out' ? 1 : 0);
  return rows.reduce<T | null>((best, row) => (best === null || rank(row) > rank(best) ? row : best), null);
}

async function joinRows(tx: Transaction, into: OptOut, rows: readonly OptOut[]): Promise<void> {
  for (const { id } of rows) {
    if (id === into.id) continue;
    await updateRows(tx, OptOutForm, { optOutId: id }, { optOutId: into.id });
    await deleteRows(tx, OptOut, { id });
  }
}

const addForms = (tx: Transaction, { id, accountId }: OptOut, hashes: readonly string[]): Promise<void> =>
  insertMissing(
    tx,
    OptOutForm,
    hashes.map((hash) => ({ accountId, hash, optOutId: id })),
  );
