import { messageOrigins, messageTypes } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import type { Contacts } from '../../contacts/contacts.js';
import type { Condition } from '../../db/ranges.js';
import { runStatement } from '../../db/statement.js';
import { readCursor } from '../../lib/list-cursor.js';
import { parseAddressInput } from '../accept/recipients.js';
import type { ListQuery } from '../contract.js';

/**
 * The conditions of a list. A message belongs to it if it meets all of `all` and, if there are branches, one of `branches`. Each branch is read from
 * an index in the order of time, and no message meets two of them. One condition for several values would make the database sort all of their rows.
 */
export interface Selection {
  all: Condition[];
  branches: Condition[];
  /** The facts of the search index that follow from the filters. Of each entry, at least one applies. */
  facts: Facts[];
}

export interface Facts {
  chats?: readonly string[];
  authors?: readonly string[];
  kinds?: readonly (readonly [origin: string, type: string])[];
}

type Filters = Pick<ListQuery, 'direction' | 'type' | 'status' | 'origin' | 'bulkJobId' | 'chatId' | 'contact' | 'from' | 'to'>;

/** A session with fewer messages than this is read by time, whatever the filters are. */
const smallSession = 2_000;
const originsOf = { inbound: ['live', 'backfill'], outbound: ['api', 'panel', 'bulk', 'device'] } as const;

/**
 * Returns the conditions of a list. A person is found by every id that the account has of them, in structured columns only: names that people
 * choose for themselves are never compared. Throws `INVALID_RECIPIENT`.
 */
export async function selectionOf(
  { reader, contacts }: { reader: DataSource; contacts: Pick<Contacts, 'formsOf'> },
  {
    accountId,
    sessionId,
    query: filters,
    countryCode,
  }: { accountId: string; sessionId: string | null; query: Filters; countryCode?: string | null | undefined },
): Promise<Selection> {
  const all: Condition[] = [{ sql: '"accountId" = ? AND "deletedAt" IS NULL', parameters: [accountId] }];
  if (sessionId) all.push(equal('sessionId', sessionId));
  if (filters.from) all.push({ sql: '"createdAt" >= ?', parameters: [Date.parse(filters.from)] });
  if (filters.to) all.push({ sql: '"createdAt" <= ?', parameters: [Date.parse(filters.to)] });
  const { indexed, facts } = await indexedConditions(filters, (field, input) =>
    contacts.formsOf(accountId, parseAddressInput(input, field, countryCode).id),
  );
  // SQLite has no statistics. With a condition on the session and another one, it would use the index of the other one.
  const isByTime = sessionId !== null && reader.options.type !== 'postgres' && (await isSmall(reader, sessionId));
  const [branches = [], ...others] = isByTime ? [[], ...indexed] : indexed;
  return { all: [...all, ...others.map((values) => unindexed(reader, anyOf(values)))], branches: [...branches], facts };
}

/** Returns the conditions that have an index, the most selective first; each as one condition for each value. */
async function indexedConditions(filters: Filters, formsOf: (field: string, input: string) => Promise<string[]>) {
  const indexed: Condition[][] = [];
  const facts: Facts[] = [];
  if (filters.bulkJobId) indexed.push([equal('bulkJobId', filters.bulkJobId)]);
  if (filters.chatId) {
    const forms = await formsOf('chatId', filters.chatId);
    indexed.push(forms.map((form) => equal('chatId', form)));
    facts.push({ chats: forms });
  }
  if (filters.contact) {
    const forms = await formsOf('contact', filters.contact);
    const written = (form: string): Condition => ({ sql: `"chatType" <> 'private' AND "fromId" = ?`, parameters: [form] });
    indexed.push(forms.flatMap((form) => [equal('chatId', form), written(form)]));
    facts.push({ chats: forms, authors: forms });
  }
  if (filters.status) indexed.push(filters.status.map((status) => equal('status', status)));
  if (filters.type || filters.origin || filters.direction) {
    const { direction, origin = messageOrigins, type = messageTypes } = filters;
    const origins = origin.filter((candidate) => !direction || (originsOf[direction] as readonly string[]).includes(candidate));
    const kinds = origins.flatMap((origin) => type.map((type) => [origin, type] as const));
    indexed.push(
      kinds.length > 0 ? kinds.map((kind) => ({ sql: '"origin" = ? AND "type" = ?', parameters: kind })) : [matchesNothing],
    );
    if (kinds.length > 0) facts.push({ kinds });
  }
  return { indexed, facts };
}

const equal = (column: string, value: string): Condition => ({ sql: `"${column}" = ?`, parameters: [value] });
const matchesNothing: Condition = { sql: '1 = 0', parameters: [] };

/** One condition for all branches. */
export const anyOf = (branches: readonly Condition[]): Condition => ({
  sql: `(${branches.map(({ sql }) => sql).join(' OR ')})`,
  parameters: branches.flatMap(({ parameters }) => parameters),
});

/** Rewrites a condition so that SQLite uses no index for it. SQLite has no statistics and might prefer it to the intended index. */
export const unindexed = (reader: DataSource, { sql, parameters }: Condition): Condition => ({
  sql: reader.options.type === 'postgres' ? sql : sql.replace(/"(\w+)" (=|[<>]=)/g, '+"$1" $2'),
  parameters,
});

async function isSmall(reader: DataSource, sessionId: string): Promise<boolean> {
  const sql = `SELECT COUNT(*) AS n FROM (SELECT 1 FROM messages WHERE "sessionId" = ? LIMIT ${smallSession}) counted`;
  const {
    rows: [row],
  } = await runStatement<{ n: number }>(reader, sql, [sessionId], { prepare: false });
  return Number(row?.n ?? 0) < smallSession;
}

/** The condition for messages after the cursor of a page, in the order of time. Throws `VALIDATION_FAILED` for a text that no page returned. */
export function afterCursor(cursor: string, order: 'asc' | 'desc'): Condition {
  const { at, id } = readCursor(cursor);
  return { sql: `("createdAt", id) ${order === 'asc' ? '>' : '<'} (?, ?)`, parameters: [at, id] };
}

/** The same condition in the order of ids. */
export const idAfterCursor = (cursor: string, order: 'asc' | 'desc'): Condition => ({
  sql: `id ${order === 'asc' ? '>' : '<'} ?`,
  parameters: [idOfCursor(cursor)],
});

/** Returns the id of the last message of the page that returned the cursor. Throws like `afterCursor`. */
export const idOfCursor = (cursor: string): string => readCursor(cursor).id;
