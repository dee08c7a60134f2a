import type { DataSource, EntityManager } from 'typeorm';
import { formsOf } from '../contacts/forms.js';
import { isSystemError } from '../db/database-errors.js';
import type { Database } from '../db/database.js';
import { readRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { readable } from '../db/unreadable.js';
import type { EventRow } from '../events/event.entity.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import type { Clock } from '../lib/clock.js';
import { insertDeliveries } from './deliveries.js';
import { idsOfChat, matches } from './payload.js';
import { Webhook } from './webhook.entity.js';

/**
 * Matches events to endpoints and writes their deliveries. The event log calls it, so it is built before the log. webhooks.ts, which changes
 * endpoints and publishes events about them, is built after the log and notifies this module of each change.
 */
export interface Subscriptions {
  /**
   * Writes one delivery for each endpoint that an event matches, in the transaction of the events: what matches now is delivered, whatever fails
   * afterwards. Wakes these endpoints after the commit. An endpoint whose row is damaged is reported and gets nothing.
   */
  deliver(tx: Transaction, events: readonly EventRow[]): Promise<void>;
  /** Discards the cached endpoints of an account. Call it after each commit that changes one of them. */
  forget(accountId: string): void;
  /** Notifies the subscribers that there is something to send to this endpoint, or that its row has changed. */
  wake(webhookId: string): void;
  /** Calls `listener` with the id of each endpoint that is woken. It must not throw. Returns a function that unsubscribes. */
  onWake(listener: (webhookId: string) => void): () => void;
}

export interface SubscriptionParts {
  database: Pick<Database, 'dialect'>;
  clock: Clock;
  /** Reports an endpoint that cannot be read. */
  report: ReportFailure;
}

interface Context extends SubscriptionParts {
  /** The active endpoints of accounts, and the state of the table that they were read in. `until` is a time of the monotonic clock. */
  cache: Map<string, { endpoints: readonly Webhook[]; state: string; until: number }>;
  /** Counts the committed changes of endpoints. What was read before one of them is not cached after it. */
  changes: number;
  listeners: Set<(webhookId: string) => void>;
}

/** For how long endpoints are cached. On PostgreSQL the cache is only used while `stateOf` is the same. */
const cacheTtlMs = { postgres: 10_000, sqlite: 60_000 };

export function createSubscriptions(parts: SubscriptionParts): Subscriptions {
  const context: Context = { ...parts, cache: new Map(), changes: 0, listeners: new Set() };
  return {
    deliver: (tx, events) => deliver(context, tx, events),
    forget(accountId) {
      context.changes += 1;
      context.cache.delete(accountId);
    },
    wake: (webhookId) => wake(context, webhookId),
    onWake(listener) {
      context.listeners.add(listener);
      return () => void context.listeners.delete(listener);
    },
  };
}

async function deliver(context: Context, tx: Transaction, events: readonly EventRow[]): Promise<void> {
  const matched: { webhook: Webhook; event: EventRow }[] = [];
  for (const accountId of new Set(events.map((event) => event.accountId))) {
    const active = await activeEndpoints(context, tx, accountId);
    if (active.length === 0) continue;
    const byChat = active.find(({ filter }) => readable(filter, null)?.chats) ?? { accountId, filter: null };
    for (const event of events) {
      if (event.accountId !== accountId) continue;
      const chatIds = await chatIdsOf(tx.manager, byChat, event.data);
      for (const webhook of active) if (isMatch(context, event, webhook, chatIds)) matched.push({ webhook, event });
    }
  }
  if (matched.length === 0) return;
  await insertDeliveries(tx, matched, context.clock.now());
  tx.afterCommit(() => {
    for (const id of new Set(matched.map(({ webhook }) => webhook.id))) wake(context, id);
  });
}

function wake({ listeners }: Context, webhookId: string): void {
  for (const listener of listeners) listener(webhookId);
}

/** Returns the active endpoints of an account: cached, or read in the transaction. */
async function activeEndpoints(context: Context, tx: Transaction, accountId: string): Promise<readonly Webhook[]> {
  const { cache, clock, database } = context;
  const state = database.dialect === 'postgres' ? await stateOf(tx, accountId) : '';
  const cached = cache.get(accountId);
  if (cached && cached.state === state && cached.until > clock.monotonic()) return cached.endpoints;
  const before = context.changes;
  const endpoints = (await readEndpoints(context, tx, accountId)).filter(({ isActive }) => isActive);
  // Closes: the list is read before an endpoint is created, and cached after it.
  if (before === context.changes)
    cache.set(accountId, { endpoints, state, until: clock.monotonic() + cacheTtlMs[database.dialect] });
  return endpoints;
}

/**
 * Differs after each change of an account's endpoints, also one that another backend made: an event that is committed after an endpoint was created
 * is delivered to it, whichever backend commits it. The sum of the times, not the latest one: a change has the time at which its request began, which
 * may be before that of a change that committed earlier.
 */
async function stateOf(tx: Transaction, accountId: string): Promise<string> {
  const sql =
    'SELECT count(*) AS n, sum("updatedAt") AS at, max(id) AS id FROM webhooks WHERE "accountId" = ? AND "deletedAt" IS NULL';
  const { rows } = await runStatement<{ n: string; at: string | null; id: string | null }>(tx.manager, sql, [accountId]);
  const { n, at, id } = rows[0]!;
  return [n, at, id].join(' ');
}

/** Reads the endpoints of an account. One whose row cannot be read is reported and left out: the events are written all the same. */
async function readEndpoints({ report }: Context, tx: Transaction, accountId: string): Promise<Webhook[]> {
  const where = '"accountId" = ? AND "deletedAt" IS NULL';
  try {
    const endpoints = await readRows(tx.manager, Webhook, where, [accountId]);
    if (endpoints.every(isWhole)) return endpoints;
  } catch (error) {
    if (isSystemError(error)) throw error;
  }
  const { rows } = await runStatement<{ id: string }>(tx.manager, `SELECT id FROM webhooks WHERE ${where}`, [accountId]);
  const endpoints: Webhook[] = [];
  for (const { id } of rows)
    try {
      const [row] = await readRows(tx.manager, Webhook, 'id = ?', [id]);
      if (row && !isWhole(row)) throw new TypeError('The event types of the endpoint are not a table.');
      if (row) endpoints.push(row);
    } catch (error) {
      if (isSystemError(error)) throw error;
      report({ kind: 'webhook', subject: id, accountId, ...describeError(error) });
    }
  return endpoints;
}

const isWhole = ({ types }: Webhook): boolean => typeof types === 'object' && types !== null;

/**
 * Whether an event matches an endpoint. A damaged row matches nothing: it must not undo the commit of the event, and with it every accepted
 * message and every arrival of the account.
 */
function isMatch({ report }: Context, event: EventRow, webhook: Webhook, chatIds: readonly string[]): boolean {
  try {
    return matches(event, webhook, chatIds);
  } catch (error) {
    const { id: subject, accountId, sessionId } = webhook;
    report({ kind: 'webhook', subject, accountId, sessionId, ...describeError(error) });
    return false;
  }
}

/**
 * Returns the ids of an event's chat that a filter is compared with: a private chat has every id of its person. Reads the database only for a
 * filter that names chats. Inside a transaction pass its manager.
 */
export async function chatIdsOf(
  where: DataSource | EntityManager,
  { accountId, filter }: Pick<Webhook, 'accountId' | 'filter'>,
  data: Record<string, unknown>,
): Promise<string[]> {
  const named = idsOfChat(data);
  if (!filter?.chats || named[0] === undefined) return named;
  return [...new Set([...named, ...(await formsOf(where, accountId, named[0]))])];
}
