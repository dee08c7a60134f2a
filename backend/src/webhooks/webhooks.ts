import {
  allows,
  AppError,
  erased,
  eventCatalogue,
  eventTypes,
  isId,
  newId,
  typesNamed,
  type EventType,
  type Permission,
} from '@chasqui/shared';
import { IsNull, type EntityManager, type FindOptionsWhere } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { Database } from '../db/database.js';
import { lockRows, insertRow, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import type { Contacts } from '../contacts/contacts.js';
import type { Transaction } from '../db/unit-of-work.js';
import { readable } from '../db/unreadable.js';
import type { EventRow } from '../events/event.entity.js';
import type { Events } from '../events/events.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Clock } from '../lib/clock.js';
import type { Egress } from '../lib/egress.js';
import type { Sealer } from '../lib/sealer.js';
import type { Backlog, Deliveries } from './deliveries.js';
import { isOfDeletedSession } from './deleted-sessions.js';
import { moveDeliveries } from './move-deliveries.js';
import { filterWith } from './filter.js';
import { idsOfChat, matches, requireTransform } from './payload.js';
import type { Opened } from './send/request.js';
import { isSecret, makeSecret, secretPrefix } from './signing.js';
import { Webhook, type WebhookFilter, type WebhookRetry, type WebhookTransform } from './webhook.entity.js';

export interface WebhookInput {
  url: string;
  events: string[];
  secret?: string | undefined;
  headers?: Record<string, string> | undefined;
  active?: boolean | undefined;
  description?: string | null | undefined;
  includeContent?: boolean | undefined;
  filter?: WebhookFilter | null | undefined;
  transform?: WebhookTransform | null | undefined;
  retry?: WebhookRetry | null | undefined;
}

export interface WebhookRules {
  maxPerSession: number;
  maxPerAccount: number;
  /** Requires https, except for networks that the operator allows. */
  httpsOnly: boolean;
}

/** For how long endpoints are cached: a change that another backend made is known after this time. SQLite has no other backend. */
const cacheTtlMs = { postgres: 1_000, sqlite: 60_000 };
/** Headers that this program or HTTP itself sets. */
const reservedHeaders =
  /^(host|content-length|content-type|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|user-agent|proxy-.*|webhook-.*|x-webhook-.*)$/i;

export type Webhooks = ReturnType<typeof createWebhooks>;

/** Endpoints: access to them, their changes, and the deliveries that are written for events. */
export function createWebhooks({
  database,
  deliveries,
  sealer,
  egress,
  clock,
  rules,
  report = () => undefined,
}: {
  database: Database;
  deliveries: Deliveries;
  sealer: Sealer;
  egress: Egress;
  clock: Clock;
  rules: WebhookRules;
  /** Reports an endpoint that cannot be read. */
  report?: ReportFailure;
}) {
  const rows = database.reader.getRepository(Webhook);
  /** `until` is a time of the monotonic clock. */
  const known = new Map<string, { list: Webhook[]; until: number }>();
  let wake: (webhookId: string) => void = () => undefined;
  let events: Events | null = null;
  let formsOf: Contacts['formsOf'] = (_accountId, waId) => Promise.resolve([waId]);

  let changes = 0;

  /** The active endpoints of an account. Read in the transaction, and cached for a while. */
  async function activeOf(tx: Transaction, accountId: string): Promise<Webhook[]> {
    const found = known.get(accountId);
    if (found && found.until > clock.monotonic()) return found.list;
    const before = changes;
    const list = await readEach(tx, accountId);
    const active = list.filter(({ isActive }) => isActive);
    // Closes: the list is read before an endpoint is created, and cached after it.
    if (before === changes) known.set(accountId, { list: active, until: clock.monotonic() + cacheTtlMs[database.dialect] });
    return active;
  }

  /** The endpoints of an account. One whose row cannot be read is reported and left out: the events are written all the same. */
  async function readEach(tx: Transaction, accountId: string): Promise<Webhook[]> {
    const which = '"accountId" = ? AND "deletedAt" IS NULL';
    const isWhole = ({ types }: Webhook): boolean => typeof types === 'object' && types !== null;
    try {
      const list = await readRows(tx.manager, Webhook, which, [accountId]);
      if (list.every(isWhole)) return list;
    } catch (error) {
      if (isSystemError(error)) throw error;
    }
    const { rows: ids } = await runStatement(tx.manager, `SELECT id FROM webhooks WHERE ${which}`, [accountId]);
    const readable: Webhook[] = [];
    for (const { id } of ids as { id: string }[])
      try {
        const [row] = await readRows(tx.manager, Webhook, 'id = ?', [id]);
        if (row && !isWhole(row)) throw new TypeError('The event types of the endpoint are not a table.');
        if (row) readable.push(row);
      } catch (error) {
        if (isSystemError(error)) throw error;
        report({ kind: 'webhook', subject: id, accountId, ...describeError(error) });
      }
    return readable;
  }

  const forget = (accountId: string): void => {
    changes += 1;
    known.delete(accountId);
  };

  /**
   * Whether an event is for an endpoint. One whose row is damaged gets nothing: it must not undo the commit of the event, and with it every
   * accept and every arrival of the account.
   */
  function wants(event: EventRow, webhook: Webhook, chatIds: readonly string[]): boolean {
    try {
      return matches(event, webhook, chatIds);
    } catch (error) {
      const { id: subject, accountId, sessionId } = webhook;
      report({ kind: 'webhook', subject, accountId, sessionId, ...describeError(error) });
      return false;
    }
  }

  /**
   * The ids of an event's chat that a filter is compared with: a private chat has every id of its person. Asks the database only for a filter that
   * names chats. Inside a transaction pass its manager.
   */
  async function chatIdsOf(
    { accountId, filter }: Pick<Webhook, 'accountId' | 'filter'>,
    data: Record<string, unknown>,
    inside?: EntityManager,
  ): Promise<string[]> {
    const named = idsOfChat(data);
    if (!filter?.chats || named[0] === undefined) return named;
    return [...new Set([...named, ...(await formsOf(accountId, named[0], inside))])];
  }

  /** Written in the commit of the events: what matches now is delivered, whatever dies afterwards. */
  async function deliver(tx: Transaction, list: readonly EventRow[]): Promise<void> {
    const wanted: { webhook: Webhook; event: EventRow }[] = [];
    for (const accountId of new Set(list.map((event) => event.accountId))) {
      const active = await activeOf(tx, accountId);
      if (active.length === 0) continue;
      for (const event of list) {
        if (event.accountId !== accountId) continue;
        const isByChat = active.find((webhook) => readable(webhook.filter, null)?.chats);
        const chatIds = await chatIdsOf(isByChat ?? { accountId, filter: null }, event.data, tx.manager);
        for (const webhook of active) if (wants(event, webhook, chatIds)) wanted.push({ webhook, event });
      }
    }
    if (wanted.length === 0) return;
    await deliveries.add(tx, wanted, clock.now());
    tx.afterCommit(() => {
      for (const id of new Set(wanted.map(({ webhook }) => webhook.id))) wake(id);
    });
  }

  async function find(caller: Caller, id: string): Promise<Webhook> {
    const where: FindOptionsWhere<Webhook> = { id, accountId: caller.accountId, deletedAt: IsNull() };
    if (caller.sessionId !== null) where.sessionId = caller.sessionId;
    const webhook = isId(id) ? await rows.findOneBy(where) : null;
    if (!webhook) throw new AppError('WEBHOOK_NOT_FOUND');
    requireAccess(caller, webhook);
    return webhook;
  }

  /** The permissions of the events that an endpoint gets. Those of all events for one whose list cannot be read. */
  const permissionsOf = ({ types }: Webhook): Permission[] => {
    const stored = readable(types, null);
    const known = stored === null ? eventTypes : eventTypes.filter((type) => Object.hasOwn(stored, type));
    return [...new Set(known.map((type) => eventCatalogue[type].permission))];
  };
  const missingPermission = (caller: Caller, webhook: Webhook): Permission | undefined =>
    permissionsOf(webhook).find((permission) => !allows(caller.permissions, permission));

  /**
   * Reading or changing an endpoint, its deliveries and its secret gives access to its events: a caller that changes its URL receives them. Throws
   * `PERMISSION_DENIED` unless the caller has the permission of each of them.
   */
  function requireAccess(caller: Caller, webhook: Webhook): void {
    const permission = missingPermission(caller, webhook);
    if (permission === undefined) return;
    const message = `This webhook gets events that need the permission ${permission}. Use a key that has it.`;
    throw new AppError('PERMISSION_DENIED', { permission }, message);
  }

  /** Resolves names to types, without those that the caller may not read. Throws for a single type that the caller may not read. */
  function typesOf(caller: Caller, names: readonly string[]): Partial<Record<EventType, string>> {
    const types: Partial<Record<EventType, string>> = {};
    for (const name of names) {
      const stand = typesNamed(name);
      if (!stand) throw new AppError('UNKNOWN_EVENT_TYPE', { event: name, known: eventTypes }, `There is no event type ${name}.`);
      for (const type of stand) {
        const { permission } = eventCatalogue[type];
        if (allows(caller.permissions, permission)) types[type] ??= stand.length === 1 ? name : type;
        else if (stand.length === 1)
          throw new AppError('PERMISSION_DENIED', { permission }, `Events ${name} need the permission ${permission}.`);
      }
    }
    return types;
  }

  function requireUrl(text: string): void {
    const url = egress.check(text);
    if (rules.httpsOnly && url.protocol !== 'https:' && !egress.isOpenedHost(url.hostname))
      throw new AppError('URL_NOT_ALLOWED', {}, 'Use https. http is for networks in EGRESS_ALLOW.');
  }

  function requireHeaders(headers: Record<string, string>): void {
    const name = Object.keys(headers).find((header) => reservedHeaders.test(header));
    const isBad = Object.values(headers).some((value) => /[^\t\x20-\x7e]/.test(value));
    if (!name && !isBad && Object.keys(headers).length <= 20) return;
    const message = name
      ? `The header ${name} is set by Chasqui.`
      : isBad
        ? 'A header’s value must be printable ASCII.'
        : 'At most 20 headers.';
    throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'headers', code: 'INVALID_FORMAT', message }] }, message);
  }

  const sealedHeaders = (id: string, headers: Record<string, string>): string | null =>
    Object.keys(headers).length === 0 ? null : sealer.seal(JSON.stringify(headers), headersPlace(id));

  /** The fields of an input in the form of the row; only those that were sent. */
  function fieldsOf(caller: Caller, id: string, input: Partial<WebhookInput>): Partial<Webhook> {
    if (input.url !== undefined) requireUrl(input.url);
    if (input.headers) requireHeaders(input.headers);
    if (input.secret !== undefined && !isSecret(input.secret)) {
      const message =
        'A secret is whsec_ and 16 to 64 bytes in base64, or another text of 16 to 128 printable ASCII characters without blanks.';
      throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'secret', code: 'INVALID_FORMAT', message }] }, message);
    }
    requireTransform(input.transform);
    const { url, description, includeContent, filter, transform, retry } = input;
    const fields: Partial<Webhook> = {
      ...(input.events ? { events: input.events, types: typesOf(caller, input.events) } : {}),
      ...(input.secret === undefined
        ? {}
        : { secret: sealer.seal(input.secret, secretPlace(id)), oldSecret: null, oldSecretUntil: null }),
      ...(input.headers ? { headers: sealedHeaders(id, input.headers) } : {}),
    };
    const plain = { url, description, includeContent, filter: filter && filterWith(filter), transform, retry };
    for (const [name, value] of Object.entries(plain)) if (value !== undefined) Object.assign(fields, { [name]: value });
    return fields;
  }

  const audit = (tx: Transaction, caller: Caller, action: string, { id, accountId }: Webhook, changes: object = {}) =>
    recordAudit(tx, caller, { action, objectType: 'webhook', objectId: id, accountId, changes: { ...changes }, at: clock.now() });

  /**
   * Changes one endpoint in a transaction, with its entry in the audit log. Throws `WEBHOOK_NOT_FOUND` for one that another request has deleted
   * since it was looked up.
   */
  async function change(
    caller: Caller,
    webhook: Webhook,
    action: string,
    work: (tx: Transaction) => Promise<void>,
    shown: object = {},
  ): Promise<Webhook> {
    await database.write.run(async (tx) => {
      await lockRows(tx, Webhook, [webhook.id]);
      if (!(await tx.manager.existsBy(Webhook, { id: webhook.id, deletedAt: IsNull() }))) throw new AppError('WEBHOOK_NOT_FOUND');
      await work(tx);
      await audit(tx, caller, action, webhook, shown);
      tx.afterCommit(() => forget(webhook.accountId));
    });
    return rows.findOneByOrFail({ id: webhook.id });
  }

  async function switchOff(tx: Transaction, webhook: Webhook, reason: string): Promise<boolean> {
    const now = clock.now();
    const changes = {
      isActive: false,
      disabledReason: reason,
      disabledAt: now,
      openUntil: null,
      openMs: null,
      behindSince: null,
      updatedAt: now,
    };
    if ((await updateRows(tx, Webhook, { id: webhook.id, isActive: true }, changes)) === 0) return false;
    await moveDeliveries(tx, webhook.id, ['pending'], { status: 'held' });
    tx.afterCommit(() => forget(webhook.accountId));
    return true;
  }
  async function switchOn(tx: Transaction, webhook: Webhook): Promise<void> {
    const now = clock.now();
    const fresh = {
      disabledReason: null,
      disabledAt: null,
      failures: 0,
      failingSince: null,
      failingMs: 0,
      openUntil: null,
      openMs: null,
    };
    await updateRows(tx, Webhook, { id: webhook.id }, { isActive: true, ...fresh, updatedAt: now });
    await moveDeliveries(tx, webhook.id, ['held', 'pending'], { status: 'pending', nextAttemptAt: now, waitMs: 0 });
    tx.afterCommit(() => {
      forget(webhook.accountId);
      wake(webhook.id);
    });
  }
  const eventAbout = (webhook: Webhook, reason: string | null) => ({
    accountId: webhook.accountId,
    sessionId: webhook.sessionId,
    data: { webhookId: webhook.id, url: webhook.url, reason, since: webhook.failingSince?.toISOString() ?? null },
  });

  return {
    deliver,
    find,
    requireAccess,
    /** An entry in the audit log for what was done with the deliveries of an endpoint. */
    note: (caller: Caller, webhook: Webhook, action: string, changes: object): Promise<void> =>
      database.write.run((tx) => audit(tx, caller, action, webhook, changes)),
    mayAccess: (caller: Caller, webhook: Webhook): boolean => missingPermission(caller, webhook) === undefined,
    forget,
    /** Decrypts the secrets of an endpoint: the present one first, then the previous one while both sign. */
    open({ id, secret, oldSecret, oldSecretUntil, headers }: Webhook, now: Date): Opened {
      const isOverlap = oldSecret !== null && oldSecretUntil !== null && oldSecretUntil > now;
      return {
        secrets: [secret, ...(isOverlap ? [oldSecret] : [])].map((sealed) => sealer.open(sealed, secretPlace(id))),
        headers: headers ? (JSON.parse(sealer.open(headers, headersPlace(id))) as Record<string, string>) : {},
      };
    },
    /** Page by page, for the job that re-encrypts data of another key. */
    reseal: {
      page: (after: string): Promise<Webhook[]> =>
        readRows(database.reader, Webhook, 'id > ? ORDER BY id LIMIT 200', [after], ['secret', 'oldSecret', 'headers']),
      async one(row: Webhook): Promise<boolean> {
        const places = { secret: secretPlace(row.id), oldSecret: secretPlace(row.id), headers: headersPlace(row.id) };
        let done = 0;
        for (const [name, place] of Object.entries(places) as [keyof typeof places, string][]) {
          const sealed = row[name];
          if (sealed === null || !sealer.isStale(sealed)) continue;
          const resealed = sealer.seal(sealer.open(sealed, place), place);
          // Each under its own condition: a value that was changed meanwhile is newer, and already sealed with the first key.
          done += await database.write.run((tx) => updateRows(tx, Webhook, { id: row.id, [name]: sealed }, { [name]: resealed }));
        }
        return done > 0;
      },
    },
    /**
     * Removes a person from the account's filters, also of deleted endpoints. A filter without other chats keeps the placeholder of an erased
     * contact: without any chat, it would match the events of every chat.
     */
    async eraseFromFilters(accountId: string, isThem: (chat: string) => boolean): Promise<void> {
      for (const { id } of await rows.find({ where: { accountId }, select: { id: true } }))
        await database.write.run(async (tx) => {
          await lockRows(tx, Webhook, [id]);
          const filter = readable((await tx.manager.findOneBy(Webhook, { id }))?.filter ?? null, null);
          const chats = filter?.chats;
          if (!chats?.some(isThem)) return;
          const others = chats.filter((chat) => !isThem(chat));
          const next = { ...filter, chats: others.length > 0 ? others : [erased] };
          await updateRows(tx, Webhook, { id }, { filter: next, updatedAt: clock.now() });
          tx.afterCommit(() => forget(accountId));
        });
    },
    /** The endpoint with its secret columns, still sealed. */
    whole: async (id: string): Promise<Webhook> => {
      const [row] = await readRows(database.reader, Webhook, 'id = ?', [id], ['secret', 'oldSecret', 'headers']);
      return row!;
    },
    /** What the API shows of the secrets: the names of the headers that are sent along, and the first characters of the signing secret. */
    async shownSecrets(id: string): Promise<{ headers: string[]; secretPrefix: string | null }> {
      const { secret, headers } = await this.whole(id);
      try {
        return {
          headers: headers === null ? [] : Object.keys(JSON.parse(sealer.open(headers, headersPlace(id))) as object),
          secretPrefix: secretPrefix(sealer.open(secret, secretPlace(id))),
        };
      } catch {
        return { headers: [], secretPrefix: null }; // No key opens them: the deliveries of this endpoint fail with the reason.
      }
    },
    chatIdsOf,
    /** Connects the modules that depend on each other: the sender, the event log and the contacts. */
    connect(parts: { wake: (webhookId: string) => void; events: Events; formsOf: Contacts['formsOf'] }): void {
      ({ wake, events, formsOf } = parts);
    },
    list: (
      caller: Caller,
      { sessionId, active }: { sessionId?: string | undefined; active?: boolean | undefined },
    ): Promise<Webhook[]> =>
      rows.find({
        where: {
          accountId: caller.accountId,
          deletedAt: IsNull(),
          ...((caller.sessionId ?? sessionId) ? { sessionId: (caller.sessionId ?? sessionId)! } : {}),
          ...(active === undefined ? {} : { isActive: active }),
        },
        order: { createdAt: 'ASC', id: 'ASC' },
      }),
    /** Only this reply contains the plain secret. A session key creates endpoints of its session. */
    async create(caller: Caller, input: WebhookInput, sessionId: string | null): Promise<{ webhook: Webhook; secret: string }> {
      if (caller.sessionId !== null && sessionId !== caller.sessionId) throw new AppError('ACCOUNT_KEY_REQUIRED');
      const now = clock.now();
      const id = newId(now.getTime());
      const secret = input.secret ?? makeSecret();
      const webhook: Webhook = {
        id,
        accountId: caller.accountId,
        sessionId,
        url: input.url,
        description: null,
        events: input.events,
        types: {},
        secret: '',
        oldSecret: null,
        oldSecretUntil: null,
        headers: null,
        isActive: input.active ?? true,
        includeContent: true,
        filter: null,
        transform: null,
        retry: null,
        disabledReason: input.active === false ? 'BY_REQUEST' : null,
        disabledAt: input.active === false ? now : null,
        failingSince: null,
        failingMs: 0,
        failures: 0,
        openUntil: null,
        openMs: null,
        laneOwner: null,
        laneUntil: null,
        behindSince: null,
        lastDeliveredAt: null,
        createdAt: now,
        updatedAt: now,
        deletedAt: null,
        ...fieldsOf(caller, id, { ...input, secret }),
      };
      await database.write.run(async (tx) => {
        // Closes: two requests create endpoints at once, each finding room for one more.
        await lockRows(tx, Account, [caller.accountId]);
        const counts: [number, number][] = [[await countLive(tx, caller.accountId, now), rules.maxPerAccount]];
        const ofSession = { accountId: caller.accountId, sessionId: sessionId ?? '', deletedAt: IsNull() };
        if (sessionId) counts.push([await tx.manager.countBy(Webhook, ofSession), rules.maxPerSession]);
        const full = counts.find(([count, most]) => count >= most);
        if (full) throw new AppError('WEBHOOK_LIMIT_REACHED', { limit: full[1] });
        await insertRow(tx, Webhook, webhook);
        await audit(tx, caller, 'webhook.create', webhook, { url: webhook.url, events: webhook.events, sessionId });
        tx.afterCommit(() => forget(caller.accountId));
      });
      return { webhook, secret };
    },
    async update(caller: Caller, webhook: Webhook, input: Partial<WebhookInput>): Promise<Webhook> {
      const fields = { ...fieldsOf(caller, webhook.id, input), updatedAt: clock.now() };
      const { url, events: names, active } = input;
      return change(
        caller,
        webhook,
        'webhook.update',
        async (tx) => {
          await updateRows(tx, Webhook, { id: webhook.id }, fields);
          if (active === false) await switchOff(tx, webhook, 'BY_REQUEST');
          if (active === true && !webhook.isActive) await switchOn(tx, webhook);
          tx.afterCommit(() => wake(webhook.id));
        },
        { url, events: names, active },
      );
    },
    async remove(caller: Caller, webhook: Webhook): Promise<void> {
      await change(caller, webhook, 'webhook.delete', async (tx) => {
        await updateRows(tx, Webhook, { id: webhook.id }, { deletedAt: clock.now(), isActive: false });
        await moveDeliveries(tx, webhook.id, ['pending', 'held'], { status: 'cancelled', finishedAt: clock.now() });
        tx.afterCommit(() => wake(webhook.id));
      });
    },
    /** Replaces the secret; the old one also signs for `overlapHours`. */
    async rotate(caller: Caller, webhook: Webhook, overlapHours: number): Promise<{ webhook: Webhook; secret: string }> {
      const secret = makeSecret();
      const { secret: old } = await this.whole(webhook.id);
      const oldSecretUntil = new Date(clock.now().getTime() + overlapHours * 3_600_000);
      const fields = {
        secret: sealer.seal(secret, secretPlace(webhook.id)),
        oldSecret: old,
        oldSecretUntil,
        updatedAt: clock.now(),
      };
      const changed = await change(caller, webhook, 'webhook.rotate_secret', async (tx) => {
        await updateRows(tx, Webhook, { id: webhook.id }, fields);
      });
      return { webhook: changed, secret };
    },
    enable: (caller: Caller, webhook: Webhook): Promise<Webhook> =>
      change(caller, webhook, 'webhook.enable', async (tx) => {
        await switchOn(tx, webhook);
        if (!webhook.isActive) await events!.append(tx, { ...eventAbout(webhook, null), type: 'webhook.enabled' });
      }),
    /**
     * Records that an endpoint is behind, or that it has caught up, with the event `webhook.backlog`. Two backends that notice it at
     * once write one event.
     */
    async reportBacklog(id: string, isBehind: boolean, { waiting, oldestAt }: Backlog): Promise<void> {
      const [webhook] = await readRows(database.reader, Webhook, 'id = ?', [id]);
      if (!webhook) return;
      await database.write.run(async (tx) => {
        const now = clock.now();
        const sql = `UPDATE webhooks SET "behindSince" = ? WHERE id = ? AND "behindSince" IS ${isBehind ? 'NULL' : 'NOT NULL'}`;
        if ((await runStatement(tx.manager, sql, [isBehind ? now.getTime() : null, id])).affected === 0) return;
        await events!.append(tx, {
          accountId: webhook.accountId,
          sessionId: webhook.sessionId,
          type: 'webhook.backlog',
          data: { webhookId: id, url: webhook.url, isBehind, waiting, oldestAt: oldestAt?.toISOString() ?? null },
        });
      });
    },
    /** Switches an endpoint off because of its receiver's answers. */
    async disable(tx: Transaction, webhook: Webhook, reason: 'GONE' | 'FAILING'): Promise<void> {
      if (await switchOff(tx, webhook, reason))
        await events!.append(tx, { ...eventAbout(webhook, reason), type: 'webhook.disabled' });
    },
  };
}

/** The endpoints of an account that count towards its limit: not those of deleted sessions, which only deliver their last events. */
async function countLive(tx: Transaction, accountId: string, now: Date): Promise<number> {
  const sql = `SELECT COUNT(*) AS live FROM webhooks WHERE "accountId" = ? AND "deletedAt" IS NULL AND NOT ${isOfDeletedSession}`;
  const {
    rows: [row],
  } = await runStatement<{ live: number | string }>(tx.manager, sql, [accountId, now], { prepare: false });
  return Number(row!.live);
}

const headersPlace = (id: string): string => `webhooks.headers:${id}`;
const secretPlace = (id: string): string => `webhooks.secret:${id}`;
