import { AppError, erased, isId } from '@chasqui/shared';
import { IsNull, type FindOptionsWhere } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { insertRow, lockRows, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { readable } from '../db/unreadable.js';
import type { Egress } from '@chasqui/shared/egress';
import { requireAccess } from './access.js';
import { isOfDeletedSession } from './deleted-sessions.js';
import type { Backlog } from './deliveries.js';
import { columnsOf, type WebhookInput } from './endpoint-input.js';
import type { EndpointSecrets } from './endpoint-secrets.js';
import { moveDeliveries } from './move-deliveries.js';
import { makeSecret } from './signing.js';
import type { Subscriptions } from './subscriptions.js';
import { shownBefore, shownFilter } from './audit-fields.js';
import { draftEndpoint, inputRules, newEndpoint } from './new-webhook.js';
import { Webhook } from './webhook.entity.js';
import type { Changes } from '../lib/changes.js';

/**
 * Manages endpoints: their creation, changes and state. Each change receives an endpoint that the caller has found, so that access is checked in one place.
 * `WEBHOOK_NOT_FOUND` is thrown for an endpoint that another request has deleted since it was looked up.
 */
export interface Webhooks {
  /** Returns one endpoint. Throws `WEBHOOK_NOT_FOUND`, and `PERMISSION_DENIED` when the caller may not read its events (access.ts). */
  find(caller: Caller, id: string): Promise<Webhook>;
  /** Returns the endpoints of the caller, oldest first, including those whose events the caller may not read. */
  list(caller: Caller, which: { sessionId?: string | undefined; active?: boolean | undefined }): Promise<Webhook[]>;
  /**
   * Creates an endpoint of a session; `sessionId` null: of the account. Only this reply contains the plain secret. Throws `ACCOUNT_KEY_REQUIRED`
   * when the key of a session asks for another one, `WEBHOOK_LIMIT_REACHED`, and the errors of `columnsOf`. With `isFirst`, throws `ALREADY_EXISTS`
   * if the session has an endpoint.
   */
  create(
    caller: Caller,
    input: WebhookInput,
    sessionId: string | null,
    options?: { isFirst?: boolean },
  ): Promise<{ webhook: Webhook; secret: string }>;
  /** As `create`, in the transaction that creates the session. */
  createWithin(
    tx: Transaction,
    caller: Caller,
    input: WebhookInput,
    sessionId: string,
  ): Promise<{ webhook: Webhook; secret: string }>;
  /**
   * Returns an endpoint with these fields that is not stored, for a test before it is saved. The fields that the input leaves out are those of `base`,
   * which has its sealed columns; null: a new endpoint. Throws the errors of `columnsOf`.
   */
  draft(caller: Caller, input: Changes<WebhookInput>, base: Webhook | null): Webhook;
  /** Changes the fields that are present. `active` switches the endpoint on or off. Throws the errors of `columnsOf`. */
  update(caller: Caller, webhook: Webhook, input: Changes<WebhookInput>): Promise<Webhook>;
  /** Deletes the endpoint and cancels its pending deliveries. */
  remove(caller: Caller, webhook: Webhook): Promise<void>;
  /** Replaces the secret; the old one also signs for `overlapHours`. */
  rotate(caller: Caller, webhook: Webhook, overlapHours: number): Promise<{ webhook: Webhook; secret: string }>;
  /** Switches the endpoint on: held and pending deliveries become due now. Publishes `webhook.enabled` if it was off. */
  enable(caller: Caller, webhook: Webhook): Promise<Webhook>;
  /** Switches the endpoint off because of its receiver's answers, and publishes `webhook.disabled`. Does nothing if it is off. */
  disable(tx: Transaction, webhook: Webhook, reason: 'GONE' | 'FAILING'): Promise<void>;
  /**
   * Records that an endpoint is behind, or that it has caught up, with the event `webhook.backlog`. Two backends that notice it at once write one
   * event.
   */
  reportBacklog(id: string, isBehind: boolean, backlog: Backlog): Promise<void>;
  /**
   * Removes a person from the account's filters, also of deleted endpoints. A filter without other chats keeps the placeholder of an erased
   * contact: without any chat, it would match the events of every chat.
   */
  eraseFromFilters(accountId: string, isThem: (chat: string) => boolean): Promise<void>;
}

export interface WebhookRules {
  maxPerSession: number;
  maxPerAccount: number;
  /** Requires https, except for networks that the operator allows. */
  httpsOnly: boolean;
}

interface WebhookParts {
  subscriptions: Subscriptions;
  secrets: EndpointSecrets;
  egress: Egress;
  rules: WebhookRules;
}
type Context = Core & WebhookParts;

export function createWebhooks(core: Core, parts: WebhookParts): Webhooks {
  const context: Context = { ...core, ...parts };
  return {
    find: (caller, id) => findEndpoint(context, caller, id),
    list: (caller, which) => listEndpoints(context, caller, which),
    create: (caller, input, sessionId, options) => createEndpoint(context, caller, input, sessionId, options),
    createWithin: (tx, caller, input, sessionId) => createWithin(context, tx, caller, input, sessionId),
    draft: (caller, input, base) => draftEndpoint(context, caller, input, base),
    update: (caller, webhook, input) => updateEndpoint(context, caller, webhook, input),
    remove: (caller, webhook) => removeEndpoint(context, caller, webhook),
    rotate: (caller, webhook, overlapHours) => rotateSecret(context, caller, webhook, overlapHours),
    enable: (caller, webhook) => enableEndpoint(context, caller, webhook),
    disable: (tx, webhook, reason) => disableEndpoint(context, tx, webhook, reason),
    reportBacklog: (id, isBehind, backlog) => reportBacklog(context, id, isBehind, backlog),
    eraseFromFilters: (accountId, isThem) => eraseFromFilters(context, accountId, isThem),
  };
}

async function findEndpoint({ database }: Context, caller: Caller, id: string): Promise<Webhook> {
  const where: FindOptionsWhere<Webhook> = { id, accountId: caller.accountId, deletedAt: IsNull() };
  if (caller.sessionId !== null) where.sessionId = caller.sessionId;
  const webhook = isId(id) ? await database.reader.getRepository(Webhook).findOneBy(where) : null;
  if (!webhook) throw new AppError('WEBHOOK_NOT_FOUND');
  requireAccess(caller, webhook);
  return webhook;
}

function listEndpoints(
  { database }: Context,
  caller: Caller,
  which: { sessionId?: string | undefined; active?: boolean | undefined },
): Promise<Webhook[]> {
  const sessionId = caller.sessionId ?? which.sessionId;
  return database.reader.getRepository(Webhook).find({
    where: {
      accountId: caller.accountId,
      deletedAt: IsNull(),
      ...(sessionId ? { sessionId } : {}),
      ...(which.active === undefined ? {} : { isActive: which.active }),
    },
    order: { createdAt: 'ASC', id: 'ASC' },
  });
}

async function createEndpoint(
  context: Context,
  caller: Caller,
  input: WebhookInput,
  sessionId: string | null,
  { isFirst = false }: { isFirst?: boolean } = {},
): Promise<{ webhook: Webhook; secret: string }> {
  if (caller.sessionId !== null && sessionId !== caller.sessionId) throw new AppError('ACCOUNT_KEY_REQUIRED');
  const made = newEndpoint(context, caller, input, sessionId);
  await context.database.write.run((tx) => insertEndpoint(context, tx, caller, made.webhook, isFirst));
  return made;
}

async function createWithin(
  context: Context,
  tx: Transaction,
  caller: Caller,
  input: WebhookInput,
  sessionId: string,
): Promise<{ webhook: Webhook; secret: string }> {
  const made = newEndpoint(context, caller, input, sessionId);
  await insertEndpoint(context, tx, caller, made.webhook, false);
  return made;
}

async function insertEndpoint(
  context: Context,
  tx: Transaction,
  caller: Caller,
  webhook: Webhook,
  isFirst: boolean,
): Promise<void> {
  // Closes: two requests create endpoints at once, each finding room for one more.
  await lockRows(tx, Account, [caller.accountId]);
  if (isFirst) await requireNone(tx, webhook);
  await requireRoom(context, tx, webhook);
  await insertRow(tx, Webhook, webhook);
  const { url, events, sessionId } = webhook;
  await audit(context, tx, caller, { action: 'webhook.create', webhook, changes: { url, events, sessionId } });
  tx.afterCommit(() => context.subscriptions.forget(caller.accountId));
}

/** Throws `ALREADY_EXISTS` when the session has an endpoint. The caller has locked the account. */
async function requireNone(tx: Transaction, { accountId, sessionId }: Webhook): Promise<void> {
  const where = { accountId, sessionId: sessionId!, deletedAt: IsNull() };
  const [existing] = await tx.manager.find(Webhook, {
    where,
    select: { id: true },
    order: { createdAt: 'ASC', id: 'ASC' },
    take: 1,
  });
  if (existing) throw new AppError('ALREADY_EXISTS', { webhookId: existing.id });
}

/** Throws `WEBHOOK_LIMIT_REACHED` when the account or the session has no room for one more endpoint. The caller has locked the account. */
async function requireRoom({ rules }: Context, tx: Transaction, { accountId, sessionId, createdAt }: Webhook): Promise<void> {
  const counts: [count: number, limit: number][] = [[await countLive(tx, accountId, createdAt), rules.maxPerAccount]];
  if (sessionId) {
    const ofSession = { accountId, sessionId, deletedAt: IsNull() };
    counts.push([await tx.manager.countBy(Webhook, ofSession), rules.maxPerSession]);
  }
  const reached = counts.find(([count, limit]) => count >= limit);
  if (reached) throw new AppError('WEBHOOK_LIMIT_REACHED', { limit: reached[1] });
}

/** The endpoints of an account that count towards its limit: not those of deleted sessions, which only deliver their last events. */
async function countLive(tx: Transaction, accountId: string, now: Date): Promise<number> {
  const sql = `SELECT COUNT(*) AS live FROM webhooks WHERE "accountId" = ? AND "deletedAt" IS NULL AND NOT ${isOfDeletedSession}`;
  const { rows } = await runStatement<{ live: number | string }>(tx.manager, sql, [accountId, now], { prepare: false });
  return Number(rows[0]!.live);
}

async function updateEndpoint(
  context: Context,
  caller: Caller,
  webhook: Webhook,
  input: Changes<WebhookInput>,
): Promise<Webhook> {
  const columns = { ...columnsOf(inputRules(context), caller, webhook.id, input), updatedAt: context.clock.now() };
  const { url, events, active, description, includeContent, filter, headers } = input;
  const shown = { url, events, active, description, includeContent, filter: filter && shownFilter(filter) };
  const entry = { action: 'webhook.update', webhook, changes: { ...shown, headers: headers && Object.keys(headers) } };
  return changeEndpoint(context, caller, entry, async (tx, { isActive }) => {
    await updateRows(tx, Webhook, { id: webhook.id }, columns);
    if (active === false) await switchOff(context, tx, webhook, 'BY_REQUEST');
    if (active === true && !isActive) await switchOn(context, tx, webhook);
    tx.afterCommit(() => context.subscriptions.wake(webhook.id));
  });
}

async function removeEndpoint(context: Context, caller: Caller, webhook: Webhook): Promise<void> {
  const { clock, subscriptions } = context;
  await changeEndpoint(context, caller, { action: 'webhook.delete', webhook }, async (tx) => {
    await updateRows(tx, Webhook, { id: webhook.id }, { deletedAt: clock.now(), isActive: false });
    await moveDeliveries(tx, webhook.id, ['pending', 'held'], { status: 'cancelled', finishedAt: clock.now() });
    tx.afterCommit(() => subscriptions.wake(webhook.id));
  });
}

async function rotateSecret(
  context: Context,
  caller: Caller,
  webhook: Webhook,
  overlapHours: number,
): Promise<{ webhook: Webhook; secret: string }> {
  const { clock, secrets } = context;
  const secret = makeSecret();
  const now = clock.now();
  const columns = {
    secret: secrets.sealSecret(webhook.id, secret),
    oldSecretUntil: new Date(now.getTime() + overlapHours * 3_600_000),
    updatedAt: now,
  };
  const entry = { action: 'webhook.rotate_secret', webhook };
  const changed = await changeEndpoint(context, caller, entry, async (tx, { secret: oldSecret }) => {
    await updateRows(tx, Webhook, { id: webhook.id }, { ...columns, oldSecret });
  });
  return { webhook: changed, secret };
}

function enableEndpoint(context: Context, caller: Caller, webhook: Webhook): Promise<Webhook> {
  return changeEndpoint(context, caller, { action: 'webhook.enable', webhook }, async (tx, { isActive }) => {
    await switchOn(context, tx, webhook);
    if (!isActive) await context.events.append(tx, { ...eventAbout(webhook, null), type: 'webhook.enabled' });
  });
}

async function disableEndpoint(context: Context, tx: Transaction, webhook: Webhook, reason: 'GONE' | 'FAILING'): Promise<void> {
  if (await switchOff(context, tx, webhook, reason))
    await context.events.append(tx, { ...eventAbout(webhook, reason), type: 'webhook.disabled' });
}

async function reportBacklog(
  { database, clock, events }: Context,
  id: string,
  isBehind: boolean,
  { waiting, oldestAt }: Backlog,
): Promise<void> {
  const [webhook] = await readRows(database.reader, Webhook, 'id = ?', [id]);
  if (!webhook) return;
  await database.write.run(async (tx) => {
    const sql = `UPDATE webhooks SET "behindSince" = ? WHERE id = ? AND "behindSince" IS ${isBehind ? 'NULL' : 'NOT NULL'}`;
    const since = isBehind ? clock.now().getTime() : null;
    if ((await runStatement(tx.manager, sql, [since, id])).affected === 0) return;
    await events.append(tx, {
      accountId: webhook.accountId,
      sessionId: webhook.sessionId,
      type: 'webhook.backlog',
      data: { webhookId: id, url: webhook.url, isBehind, waiting, oldestAt: oldestAt?.toISOString() ?? null },
    });
  });
}

async function eraseFromFilters(
  { database, clock, subscriptions }: Context,
  accountId: string,
  isThem: (chat: string) => boolean,
): Promise<void> {
  for (const { id } of await database.reader.getRepository(Webhook).find({ where: { accountId }, select: { id: true } }))
    await database.write.run(async (tx) => {
      await lockRows(tx, Webhook, [id]);
      const filter = readable((await tx.manager.findOneBy(Webhook, { id }))?.filter ?? null, null);
      const chats = filter?.chats;
      if (!chats?.some(isThem)) return;
      const others = chats.filter((chat) => !isThem(chat));
      const next = { ...filter, chats: others.length > 0 ? others : [erased] };
      await updateRows(tx, Webhook, { id }, { filter: next, updatedAt: clock.now() });
      tx.afterCommit(() => subscriptions.forget(accountId));
    });
}

/** An entry in the audit log about an endpoint. */
interface AuditEntry {
  action: string;
  webhook: Webhook;
  changes?: object;
}

/** Columns of an endpoint that another call may have changed since the caller read it. */
type LockedColumns = Pick<Webhook, 'isActive' | 'secret'>;
const lockedSql = 'SELECT "isActive", secret FROM webhooks WHERE id = ? AND "deletedAt" IS NULL';

/**
 * Changes one endpoint in a transaction, with its entry in the audit log. `work` receives columns as they are under the lock of the row. Returns the
 * changed row.
 */
async function changeEndpoint(
  context: Context,
  caller: Caller,
  entry: AuditEntry,
  work: (tx: Transaction, locked: LockedColumns) => Promise<void>,
): Promise<Webhook> {
  const { database, subscriptions } = context;
  const { id, accountId } = entry.webhook;
  await database.write.run(async (tx) => {
    await lockRows(tx, Webhook, [id]);
    const [row] = (await runStatement<{ isActive: boolean | number; secret: string }>(tx.manager, lockedSql, [id])).rows;
    if (!row) throw new AppError('WEBHOOK_NOT_FOUND');
    const before = shownBefore(await tx.manager.findOneByOrFail(Webhook, { id }));
    await work(tx, { ...row, isActive: Boolean(row.isActive) });
    await audit(context, tx, caller, entry, before);
    tx.afterCommit(() => subscriptions.forget(accountId));
  });
  return database.reader.getRepository(Webhook).findOneByOrFail({ id });
}

function audit(
  { clock }: Context,
  tx: Transaction,
  caller: Caller,
  { action, webhook, changes = {} }: AuditEntry,
  before?: object,
): Promise<void> {
  const { id: objectId, accountId } = webhook;
  const about = { action, objectType: 'webhook', objectId, accountId, changes: { ...changes } };
  return recordAudit(tx, caller, { ...about, ...(before ? { before } : {}), at: clock.now() });
}

/** Switches an endpoint off and sets its pending deliveries to `held`. Returns false if it was off. */
async function switchOff({ clock, subscriptions }: Context, tx: Transaction, webhook: Webhook, reason: string): Promise<boolean> {
  const now = clock.now();
  const off = { isActive: false, disabledReason: reason, disabledAt: now, openUntil: null, openMs: null, behindSince: null };
  if ((await updateRows(tx, Webhook, { id: webhook.id, isActive: true }, { ...off, updatedAt: now })) === 0) return false;
  await moveDeliveries(tx, webhook.id, ['pending'], { status: 'held' });
  tx.afterCommit(() => subscriptions.forget(webhook.accountId));
  return true;
}

/** Switches an endpoint on, without its earlier failures, and makes its held and pending deliveries due now. */
async function switchOn({ clock, subscriptions }: Context, tx: Transaction, webhook: Webhook): Promise<void> {
  const now = clock.now();
  const on = { isActive: true, disabledReason: null, disabledAt: null, openUntil: null, openMs: null };
  const healthy = { failures: 0, failingSince: null, failingMs: 0 };
  await updateRows(tx, Webhook, { id: webhook.id }, { ...on, ...healthy, updatedAt: now });
  await moveDeliveries(tx, webhook.id, ['held', 'pending'], { status: 'pending', nextAttemptAt: now, waitMs: 0 });
  tx.afterCommit(() => {
    subscriptions.forget(webhook.accountId);
    subscriptions.wake(webhook.id);
  });
}

const eventAbout = (webhook: Webhook, reason: string | null) => ({
  accountId: webhook.accountId,
  sessionId: webhook.sessionId,
  data: { webhookId: webhook.id, url: webhook.url, reason, since: webhook.failingSince?.toISOString() ?? null },
});
