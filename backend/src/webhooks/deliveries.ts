import { newId } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import { among, insertRows, readRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { EventRow } from '../events/event.entity.js';
import type { Clock } from '../lib/clock.js';
import { Session } from '../sessions/session.entity.js';
import {
  claim,
  claimable,
  claimContext,
  claimProbe,
  due,
  leaveLane,
  own,
  owners,
  release,
  releaseOwn,
  renew,
  type ClaimContext,
  type ClaimRequest,
} from './claims.js';
import { moveDeliveries } from './move-deliveries.js';
import type { OutgoingEvent } from './payload.js';
import { Webhook, WebhookAttempt, WebhookDelivery, type DeliveryStatus } from './webhook.entity.js';

/** The rows of deliveries, as the dispatcher of one backend claims and settles them. */
export interface Deliveries {
  /** Whether lanes are shared with other backends: on PostgreSQL. */
  readonly isShared: boolean;
  /** Returns the active endpoints of active accounts that have a due delivery. */
  due(now: Date): Promise<string[]>;
  /** Whether anything could be claimed now. */
  hasClaimable(request: Omit<ClaimRequest, 'limit'>): Promise<boolean>;
  /**
   * Claims a batch, oldest first, in one commit: this backend owns it until its lease ends. Returns null when another backend owns the lane of the
   * endpoint.
   */
  claim(request: ClaimRequest): Promise<WebhookDelivery[] | null>;
  /**
   * Claims one delivery to probe an endpoint with: the oldest of a session, of another session with each probe, so that the others can
   * follow it in order. After several probes every second one is the delivery with the fewest attempts: an event that the receiver
   * always refuses would otherwise keep the circuit open forever.
   */
  claimProbe(webhookId: string, probe: number): Promise<WebhookDelivery[] | null>;
  /**
   * Returns the events of deliveries of one account, by cursor, without those that retention removed and, with `maxLength`, those whose data is
   * longer than that many characters.
   */
  eventsOf(deliveries: readonly WebhookDelivery[], maxLength?: number): Promise<Map<number, OutgoingEvent>>;
  /**
   * Writes several outcomes in one commit: the attempts, their deliveries, and with `also` the endpoint. May be repeated when it is unknown
   * whether the commit happened. An outcome applies only while the claim is still this backend's.
   */
  settle(outcomes: readonly Outcome[], also: (tx: Transaction) => Promise<void>): Promise<void>;
  /** Makes pending deliveries due now, in order: called when the endpoint answers again. */
  hasten(tx: Transaction, webhookId: string, now: Date): Promise<void>;
  /** Releases the lane of an endpoint, so that any backend may claim it. */
  leaveLane(tx: Transaction, webhookId: string): Promise<void>;
  /** Prolongs all claims and lanes of this backend. Returns the endpoints whose lanes it still has; null: lanes are not shared. */
  renew(): Promise<ReadonlySet<string> | null>;
  /** Changes the pending deliveries of an endpoint that is switched off to `held`, and those of a deleted one to `cancelled`. */
  park(webhookId: string): Promise<void>;
  /** Returns the other backends that own claims or lanes. */
  owners(): Promise<string[]>;
  /** Makes claims pending again: of backends that are gone, and those whose lease expired. Returns their number. */
  release(gone: readonly string[]): Promise<number>;
  /** Returns all claims under this backend's own name. */
  own(): Promise<{ id: string; webhookId: string }[]>;
  /** Makes claims under this backend's own name pending again that nothing in this process works on. */
  releaseOwn(ids: readonly string[]): Promise<void>;
  /** Makes deliveries due whose time is further ahead than their delay, because the clock was set back. Returns their number. */
  repairTimes(now: Date): Promise<number>;
  /** Returns how many deliveries of each of these endpoints are not settled, and since when the oldest waits. */
  backlogOf(webhookIds: readonly string[]): Promise<Map<string, Backlog>>;
  /** Returns since when the oldest delivery of each active endpoint waits, and whether that was reported. */
  oldest(): Promise<{ id: string; behindSince: Date | null; oldestAt: Date | null }[]>;
}

/** The result of one attempt, or of a decision not to make one, as it is written. */
export interface Outcome {
  delivery: WebhookDelivery;
  /** How many attempts the row had before this outcome: the update applies only once, also when it is repeated. */
  attemptsBefore: number;
  attempt: WebhookAttempt | null;
  /** `sending` keeps the claim: the delivery is tried again at once, within its lane. */
  to: DeliveryStatus;
  nextAttemptAt: Date | null;
  /** The time until `nextAttemptAt` when it was set. */
  waitMs: number;
}

/** The deliveries that wait for an endpoint. */
export interface Backlog {
  waiting: number;
  oldestAt: Date | null;
}

/** Names in the cache. */
const maxNames = 5_000;
/** For how long a name is cached. A session that is renamed has its new name in deliveries after this time. */
const nameTtlMs = 10_000;

export interface DeliveryParts {
  database: Database;
  /** The name under which this backend claims. */
  owner: string;
  clock: Clock;
}

interface Context extends ClaimContext {
  clock: Clock;
  /** The names of sessions, by id. `until` is a time of the monotonic clock. */
  names: Map<string, { name: string; until: number }>;
}

export function createDeliveries({ database, owner, clock }: DeliveryParts): Deliveries {
  const context: Context = { ...claimContext(database, owner), clock, names: new Map() };
  return {
    isShared: context.isShared,
    due: (now) => due(database, now),
    hasClaimable: async (request) => (await claimable(database, { ...request, limit: 1 })).length > 0,
    claim: (request) => claim(context, request),
    claimProbe: (webhookId, probe) => claimProbe(context, webhookId, probe),
    eventsOf: (deliveries, maxLength) => eventsOf(context, deliveries, maxLength),
    settle: (outcomes, also) => settle(context, outcomes, also),
    hasten,
    leaveLane: (tx, webhookId) => leaveLane(context, tx, webhookId),
    renew: () => renew(context),
    park: (webhookId) => park(database, webhookId),
    owners: () => owners(context),
    release: (gone) => release(context, gone),
    own: () => own(context),
    releaseOwn: (ids) => releaseOwn(context, ids),
    repairTimes: (now) => repairTimes(database, now),
    backlogOf: (webhookIds) => backlogOf(database, webhookIds),
    oldest: () => oldest(database),
  };
}

async function eventsOf(
  context: Context,
  deliveries: readonly WebhookDelivery[],
  maxLength?: number,
): Promise<Map<number, OutgoingEvent>> {
  const { reader } = context.database;
  const { condition, parameter } = among(
    reader,
    'cursor',
    deliveries.map(({ eventCursor }) => eventCursor),
  );
  const which = `${condition} AND "accountId" = ?${maxLength === undefined ? '' : ` AND LENGTH(data) <= ${maxLength}`}`;
  const found = await readRows(reader, EventRow, which, [parameter, deliveries[0]!.accountId]);
  const names = await namesOf(context, found);
  return new Map(found.map((row) => [row.cursor, outgoingEvent(row, names)]));
}

/** Returns the names of the sessions of these events, by id. Does not depend on what stays in the cache, which others may empty meanwhile. */
async function namesOf(
  { database: { reader }, clock, names }: Context,
  events: readonly EventRow[],
): Promise<ReadonlyMap<string, string>> {
  const now = clock.monotonic();
  const found = new Map<string, string>();
  const missing = new Set<string>();
  for (const { sessionId } of events) {
    if (sessionId === null) continue;
    const cached = names.get(sessionId);
    if (cached && cached.until > now) found.set(sessionId, cached.name);
    else missing.add(sessionId);
  }
  if (missing.size === 0) return found;
  if (names.size > maxNames) names.clear();
  const { condition, parameter } = among(reader, 'id', [...missing]);
  for (const { id, name } of await readRows(reader, Session, condition, [parameter])) {
    found.set(id, name);
    names.set(id, { name, until: now + nameTtlMs });
  }
  return found;
}

const outgoingEvent = (
  { id, cursor, type, sessionId, messageId, data, occurredAt }: EventRow,
  names: ReadonlyMap<string, string>,
): OutgoingEvent => ({
  id,
  cursor,
  type,
  session: sessionId ? { id: sessionId, name: names.get(sessionId) ?? '' } : null,
  messageId,
  data,
  occurredAt,
});

const settleSql = `UPDATE webhook_deliveries SET status = ?, attempts = ?, "nextAttemptAt" = ?, "waitMs" = ?, "leaseOwner" = ?,
  "leaseExpiresAt" = CASE WHEN ? = 'sending' THEN "leaseExpiresAt" END, "statusCode" = ?, error = ?, "finishedAt" = ?
  WHERE id = ? AND status = 'sending' AND "leaseOwner" = ? AND attempts = ?`;

async function settle(
  { database, owner }: Context,
  outcomes: readonly Outcome[],
  also: (tx: Transaction) => Promise<void>,
): Promise<void> {
  await database.write.run(async (tx) => {
    const attempts: WebhookAttempt[] = [];
    for (const outcome of outcomes) {
      const { affected } = await runStatement(tx.manager, settleSql, settleValues(outcome, owner));
      if (outcome.attempt && affected > 0) attempts.push(outcome.attempt);
    }
    if (attempts.length > 0) await insertRows(tx, WebhookAttempt, attempts);
    await also(tx);
  });
}

/** The parameters of `settleSql`. */
function settleValues(
  { delivery, attemptsBefore, attempt, to, nextAttemptAt, waitMs }: Outcome,
  owner: string,
): readonly unknown[] {
  const isOver = to === 'delivered' || to === 'failed';
  return [
    to,
    attemptsBefore + (attempt ? 1 : 0),
    nextAttemptAt?.getTime() ?? null,
    waitMs,
    to === 'sending' ? owner : null,
    to,
    attempt?.statusCode ?? delivery.statusCode,
    attempt ? attempt.error : delivery.error,
    isOver ? (attempt?.at.getTime() ?? null) : null,
    delivery.id,
    owner,
    attemptsBefore,
  ];
}

async function hasten(tx: Transaction, webhookId: string, now: Date): Promise<void> {
  const sql = `UPDATE webhook_deliveries SET "nextAttemptAt" = ?, "waitMs" = 0 WHERE status = 'pending' AND "webhookId" = ? AND "nextAttemptAt" > ?`;
  await runStatement(tx.manager, sql, [now.getTime(), webhookId, now.getTime()]);
}

async function park(database: Database, webhookId: string): Promise<void> {
  await database.write.run(async (tx) => {
    const [webhook] = await readRows(tx.manager, Webhook, 'id = ?', [webhookId]);
    if (!webhook || webhook.isActive) return;
    const to: DeliveryStatus = webhook.deletedAt === null ? 'held' : 'cancelled';
    await moveDeliveries(tx, webhookId, ['pending'], { status: to });
  });
}

const repairSql = `UPDATE webhook_deliveries SET "nextAttemptAt" = ? WHERE status = 'pending' AND "nextAttemptAt" > ? AND "nextAttemptAt" > ? + COALESCE("waitMs", 43200000)`;

function repairTimes({ write }: Database, now: Date): Promise<number> {
  const time = now.getTime();
  return write.run(async (tx) => (await runStatement(tx.manager, repairSql, [time, time, time])).affected);
}

const waitingSql = `SELECT COUNT(*) AS waiting FROM webhook_deliveries WHERE status IN ('pending', 'sending') AND "webhookId" = ?`;
const oldestSql = `SELECT COALESCE("redeliveredAt", "createdAt") AS since FROM webhook_deliveries WHERE status IN ('pending', 'sending') AND "webhookId" = ? ORDER BY "eventCursor" LIMIT 1`;

async function backlogOf({ reader }: Database, webhookIds: readonly string[]): Promise<Map<string, Backlog>> {
  const backlogs = new Map<string, Backlog>();
  for (const id of webhookIds) {
    const { rows: counts } = await runStatement<{ waiting: number | string }>(reader, waitingSql, [id]);
    const { rows: oldestRows } = await runStatement<{ since: number | string }>(reader, oldestSql, [id]);
    const since = oldestRows[0]?.since;
    const waiting = Number(counts[0]!.waiting);
    backlogs.set(id, { waiting, oldestAt: since === undefined ? null : new Date(Number(since)) });
  }
  return backlogs;
}

const oldestOfEachSql = `SELECT w.id, w."behindSince", (SELECT COALESCE(d."redeliveredAt", d."createdAt") FROM webhook_deliveries d
  WHERE d.status = 'pending' AND d."webhookId" = w.id ORDER BY d."eventCursor" LIMIT 1) AS "oldestAt"
  FROM webhooks w WHERE w."isActive" AND w."deletedAt" IS NULL`;

async function oldest({ reader }: Database): Promise<{ id: string; behindSince: Date | null; oldestAt: Date | null }[]> {
  type Row = { id: string; behindSince: number | string | null; oldestAt: number | string | null };
  const { rows } = await runStatement<Row>(reader, oldestOfEachSql);
  const time = (value: number | string | null): Date | null => (value === null ? null : new Date(Number(value)));
  return rows.map(({ id, behindSince, oldestAt }) => ({ id, behindSince: time(behindSince), oldestAt: time(oldestAt) }));
}

/** Writes new deliveries of these events, in the caller's transaction. */
export async function insertDeliveries(
  tx: Transaction,
  list: readonly { webhook: Pick<Webhook, 'id' | 'accountId'>; event: EventRow }[],
  now: Date,
): Promise<void> {
  await insertRows(
    tx,
    WebhookDelivery,
    list.map(({ webhook, event }) => newDelivery(webhook, event, now)),
  );
}

export const newDelivery = (webhook: Pick<Webhook, 'id' | 'accountId'>, event: EventRow, now: Date): WebhookDelivery => ({
  id: newId(now.getTime()),
  webhookId: webhook.id,
  accountId: webhook.accountId,
  sessionId: event.sessionId,
  eventCursor: event.cursor,
  eventId: event.id,
  type: event.type,
  status: 'pending',
  attempts: 0,
  nextAttemptAt: now,
  waitMs: 0,
  leaseOwner: null,
  leaseExpiresAt: null,
  statusCode: null,
  error: null,
  createdAt: now,
  redeliveredAt: null,
  finishedAt: null,
});

/** Since when a delivery is to be made: created, or asked for again. */
export const waitingSince = ({ createdAt, redeliveredAt }: WebhookDelivery): Date => redeliveredAt ?? createdAt;
