import { allows, AppError, newId, type InputOf } from '@chasqui/shared';
import { Reply } from '@chasqui/shared/express';
import type { Caller, Mount } from '../accounts/caller.js';
import type { Core } from '../core.js';
import type { EventLog } from '../events/log.js';
import { iso } from '../lib/iso.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import { mayAccess, requireAccess } from './access.js';
import * as contract from './contract.js';
import type { Deliveries } from './deliveries.js';
import * as ofDeliveries from './deliveries.contract.js';
import type { EndpointSecrets } from './endpoint-secrets.js';
import type { DeliveryExplorer, DeliveryFilter, Resent } from './explorer.js';
import { filterWith } from './filter.js';
import { createSession as createSessionRoute } from './new-session.contract.js';
import type { WebhookHistory } from './history.js';
import { bodyOf, matches, nameFor, requireTransform, testEvent, type OutgoingEvent } from './payload.js';
import { circuitOf, presentAttempts, presentDelivery, presentWebhook } from './present.js';
import type { TestResult, WebhookDispatcher } from './send/dispatcher.js';
import { chatIdsOf } from './subscriptions.js';
import type { Webhook } from './webhook.entity.js';
import type { Webhooks } from './webhooks.js';

interface RouteParts {
  webhooks: Webhooks;
  secrets: EndpointSecrets;
  history: WebhookHistory;
  explorer: DeliveryExplorer;
  dispatcher: Pick<WebhookDispatcher, 'tryOut'>;
  deliveries: Pick<Deliveries, 'backlogOf'>;
  sessions: Sessions;
  eventLog: EventLog;
}
type Context = Core & RouteParts;

/** Mounts the routes of endpoints and of their deliveries: by the endpoint's id, and for the first endpoint of a session. */
export function mountWebhooks(mount: Mount, core: Core, parts: RouteParts): void {
  const context: Context = { ...core, ...parts };
  mountExplorer(mount, context);
  mountLists(mount, context);
  mountEndpoint(mount, context);
  mountDeliveries(mount, context);
  mountFirst(mount, context);
}

/** The deliveries of all endpoints. Mounted before `/webhooks/:webhookId`, which would match its paths. */
function mountExplorer(mount: Mount, context: Context): void {
  const { explorer, sessions } = context;
  const filterOf = async (caller: Caller, { sessionId, ...filter }: DeliveryFilter): Promise<DeliveryFilter> =>
    sessionId ? { ...filter, sessionId: (await sessions.find(caller, sessionId)).id } : filter;
  mount(ofDeliveries.listAllDeliveries, async ({ query: { limit, cursor, ...filter } }, caller) => {
    const endpoints = await listAccessible(context, caller, {});
    const { found, nextCursor } = await explorer.list({ endpoints }, await filterOf(caller, filter), { limit, cursor });
    return new Reply(found.map(presentDelivery), { meta: { limit, nextCursor } });
  });
  mount(ofDeliveries.resendDeliveries, async ({ body }, caller) => {
    const scope = { endpoints: await listAccessible(context, caller, {}) };
    if ('ids' in body) return presentResent(context, await explorer.resend(caller, scope, body), null);
    const filter = await filterOf(caller, body.filter);
    const count = await explorer.count(scope, { ...filter, status: filter.status ?? 'failed' });
    const resent = body.dryRun ? null : await explorer.resend(caller, scope, { filter });
    return presentResent(context, resent, count);
  });
}

/** `resent` null: a dry run. `count` null: ids were named. */
function presentResent({ clock }: Context, resent: Resent | null, count: { total: number; isExact: boolean } | null) {
  const { queued = 0, unchanged = 0, wiped = 0, unknown = [], isCut = false, endpoints = [] } = resent ?? {};
  const now = clock.now();
  return {
    dryRun: resent === null,
    matching: count?.total ?? null,
    matchingExact: count?.isExact ?? true,
    queued,
    unchanged,
    wiped,
    unknown,
    remaining: isCut,
    endpoints: endpoints.map(({ webhook, queued: ofEndpoint }) => ({
      webhookId: webhook.id,
      queued: ofEndpoint,
      active: webhook.isActive,
      circuit: circuitOf(webhook, now),
      openUntil: iso(webhook.openUntil && webhook.openUntil > now ? webhook.openUntil : null),
    })),
  };
}

function mountLists(mount: Mount, context: Context): void {
  const { webhooks, sessions } = context;
  mount(contract.list, async ({ query }, caller) => {
    const sessionId = query.sessionId ? (await sessions.find(caller, query.sessionId)).id : undefined;
    return presentAll(context, await listAccessible(context, caller, { sessionId, active: query.active }));
  });
  mount(contract.listOfSession, async ({ params }, caller) => {
    const { id } = await sessions.find(caller, params.sessionId);
    return presentAll(context, await listAccessible(context, caller, { sessionId: id }));
  });
  mount(contract.create, async ({ body }, caller) => {
    const { sessionId, ...input } = body;
    const session = sessionId ? await sessions.find(caller, sessionId) : null;
    const created = await webhooks.create(caller, input, session?.id ?? (sessionId === null ? null : caller.sessionId));
    return presentWithSecret(context, created);
  });
  mount(contract.createOfSession, async ({ params, body }, caller) => {
    const session = await sessions.find(caller, params.sessionId);
    return presentWithSecret(context, await webhooks.create(caller, body, session.id));
  });
  mount(createSessionRoute, ({ body }, caller) => createSession(context, caller, body));
  mount(contract.preview, ({ body }, caller) => preview(context, caller, body));
}

/** Creates a session with its endpoints in one transaction. */
async function createSession(
  context: Context,
  caller: Caller,
  { webhooks: inputs, ...input }: InputOf<typeof createSessionRoute>['body'],
) {
  const { sessions, webhooks } = context;
  if (!inputs) return sessions.present(await sessions.create(caller, input));
  const { permission } = ofDeliveries.access;
  if (!allows(caller.permissions, permission))
    throw new AppError('PERMISSION_DENIED', { permission }, `Webhooks need the permission ${permission}.`);
  let created: Awaited<ReturnType<Webhooks['create']>>[] = [];
  const session = await sessions.create(caller, input, async (tx, { id }) => {
    created = [];
    for (const each of inputs) created.push(await webhooks.createWithin(tx, caller, each, id));
  });
  return { ...sessions.present(session), webhooks: await Promise.all(created.map((each) => presentWithSecret(context, each))) };
}

function mountEndpoint(mount: Mount, context: Context): void {
  const { webhooks, history } = context;
  mount(contract.read, async ({ params }, caller) => present(context, await webhooks.find(caller, params.webhookId)));
  mount(contract.update, async ({ params, body }, caller) =>
    present(context, await webhooks.update(caller, await webhooks.find(caller, params.webhookId), body)),
  );
  mount(contract.remove, async ({ params }, caller) => remove(context, caller, await webhooks.find(caller, params.webhookId)));
  mount(contract.tryOut, async ({ params, body }, caller) =>
    tryOut(context, await webhooks.find(caller, params.webhookId), body.event),
  );
  mount(contract.statsOf, async ({ params, query }, caller) =>
    statsOf(context, await webhooks.find(caller, params.webhookId), query),
  );
  mount(contract.rotate, async ({ params, body }, caller) => {
    const webhook = await webhooks.find(caller, params.webhookId);
    return presentWithSecret(context, await webhooks.rotate(caller, webhook, body.overlapHours ?? 24));
  });
  mount(contract.enable, async ({ params, body }, caller) => {
    const webhook = await webhooks.find(caller, params.webhookId);
    const enabled = await webhooks.enable(caller, webhook);
    if (body.recover && webhook.disabledAt) await history.recover(enabled, webhook.disabledAt);
    return present(context, enabled);
  });
}

function mountDeliveries(mount: Mount, context: Context): void {
  const { webhooks, history } = context;
  mount(ofDeliveries.listDeliveries, async ({ params, query }, caller) =>
    listDeliveries(context, await webhooks.find(caller, params.webhookId), query),
  );
  mount(ofDeliveries.clearDeliveries, async ({ params, query }, caller) =>
    clearDeliveries(context, caller, await webhooks.find(caller, params.webhookId), query.before),
  );
  mount(ofDeliveries.readDelivery, async ({ params }, caller) => {
    const delivery = await history.find(await webhooks.find(caller, params.webhookId), params.deliveryId);
    return { ...presentDelivery(delivery), attemptLog: presentAttempts(delivery, await history.attempts(delivery)) };
  });
  mount(ofDeliveries.redeliverOne, async ({ params }, caller) =>
    presentDelivery(await history.redeliver(caller, await webhooks.find(caller, params.webhookId), params.deliveryId)),
  );
  mount(ofDeliveries.redeliver, async ({ params, body }, caller) => {
    const webhook = await webhooks.find(caller, params.webhookId);
    const isFailed = 'failed' in body;
    return {
      queued: isFailed ? await history.redeliverFailed(caller, webhook) : await history.redeliverRange(caller, webhook, body),
    };
  });
}

/** The routes of a session's first endpoint, for clients that know one endpoint for each session. */
function mountFirst(mount: Mount, context: Context): void {
  const { webhooks, history } = context;
  const { first } = contract;
  mount(first.read, async ({ params }, caller) => present(context, await firstOrFail(context, caller, params.sessionId)));
  mount(first.create, async ({ params, body }, caller) => {
    const { session, webhook } = await firstOf(context, caller, params.sessionId);
    if (webhook) throw new AppError('ALREADY_EXISTS', { webhookId: webhook.id });
    return presentWithSecret(context, await webhooks.create(caller, body, session.id, { isFirst: true }));
  });
  mount(first.update, async ({ params, body }, caller) =>
    present(context, await webhooks.update(caller, await firstOrFail(context, caller, params.sessionId), body)),
  );
  mount(first.remove, async ({ params }, caller) =>
    remove(context, caller, await firstOrFail(context, caller, params.sessionId)),
  );
  mount(first.tryOut, async ({ params, body }, caller) =>
    tryOut(context, await firstOrFail(context, caller, params.sessionId), body.event),
  );
  mount(first.stats, async ({ params, query }, caller) =>
    statsOf(context, await firstOrFail(context, caller, params.sessionId), query),
  );
  mount(first.logs, async ({ params, query }, caller) =>
    listDeliveries(context, await firstOrFail(context, caller, params.sessionId), query),
  );
  mount(first.clear, async ({ params, query }, caller) =>
    clearDeliveries(context, caller, await firstOrFail(context, caller, params.sessionId), query.before),
  );
  mount(first.retryOne, async ({ params }, caller) =>
    presentDelivery(await history.redeliver(caller, await firstOrFail(context, caller, params.sessionId), params.deliveryId)),
  );
  mount(first.retryAll, async ({ params }, caller) => ({
    queued: await history.redeliverFailed(caller, await firstOrFail(context, caller, params.sessionId)),
  }));
}

async function firstOf(
  { sessions, webhooks }: Context,
  caller: Caller,
  named: string,
): Promise<{ session: Session; webhook: Webhook | null }> {
  const session = await sessions.find(caller, named);
  const [webhook = null] = await webhooks.list(caller, { sessionId: session.id });
  return { session, webhook };
}

async function firstOrFail(context: Context, caller: Caller, named: string): Promise<Webhook> {
  const { webhook } = await firstOf(context, caller, named);
  if (!webhook) throw new AppError('WEBHOOK_NOT_FOUND');
  requireAccess(caller, webhook);
  return webhook;
}

/** Omits endpoints whose events the caller may not read: they cannot be read alone either. */
async function listAccessible({ webhooks }: Context, caller: Caller, which: Parameters<Webhooks['list']>[1]): Promise<Webhook[]> {
  return (await webhooks.list(caller, which)).filter((webhook) => mayAccess(caller, webhook));
}

async function presentAll({ deliveries, secrets, clock }: Context, list: readonly Webhook[]) {
  const backlogs = await deliveries.backlogOf(list.map(({ id }) => id));
  return Promise.all(
    list.map(async (webhook) => {
      const shown = await secrets.shown(webhook.id);
      return presentWebhook(webhook, { ...shown, backlog: backlogs.get(webhook.id)!, now: clock.now() });
    }),
  );
}

const present = async (context: Context, webhook: Webhook) => (await presentAll(context, [webhook]))[0]!;

const presentWithSecret = async (context: Context, { webhook, secret }: { webhook: Webhook; secret: string }) => ({
  ...(await present(context, webhook)),
  secret,
});

async function remove({ webhooks }: Context, caller: Caller, webhook: Webhook) {
  await webhooks.remove(caller, webhook);
  return { id: webhook.id, deleted: true as const };
}

async function tryOut(
  { secrets, sessions, dispatcher, clock }: Context,
  { id, sessionId }: Webhook,
  type: string | undefined,
): Promise<TestResult> {
  const webhook = await secrets.read(id);
  const row = sessionId ? await sessions.byId(sessionId) : null;
  const session = row && { id: row.id, name: row.name };
  return dispatcher.tryOut(webhook, testEvent(clock.now(), { session, ...(type === undefined ? {} : { type }) }));
}

function statsOf(
  { history }: Context,
  webhook: Webhook,
  { startDate, endDate }: { startDate?: string | undefined; endDate?: string | undefined },
) {
  return history.stats(webhook, startDate ? new Date(startDate) : null, endDate ? new Date(endDate) : null);
}

async function listDeliveries(
  { history }: Context,
  webhook: Webhook,
  query: InputOf<typeof ofDeliveries.listDeliveries>['query'],
) {
  const { found, meta } = await history.list(webhook, query);
  return new Reply(found.map(presentDelivery), { meta });
}

async function clearDeliveries({ history, clock }: Context, caller: Caller, webhook: Webhook, before: string | undefined) {
  const end = before ? new Date(before) : new Date(clock.now().getTime() + 1);
  return { deleted: await history.clear(caller, webhook, end) };
}

/** Shows what an endpoint with this filter and this transformation would receive for an event: a logged one, or one in the request. */
async function preview({ database, eventLog, clock }: Context, caller: Caller, body: InputOf<typeof contract.preview>['body']) {
  requireTransform(body.transform);
  const { accountId, permissions, sessionId } = caller;
  const filter = body.filter ? filterWith(body.filter) : null;
  const event = body.eventId ? await eventLog.one({ accountId, permissions, sessionId, types: null }, body.eventId) : null;
  const outgoing: OutgoingEvent = {
    id: event?.id ?? newId(clock.now().getTime()),
    cursor: Number(event?.cursor ?? 0),
    type: event?.type ?? body.event?.type ?? 'message.received',
    session: event?.session ?? null,
    messageId: null,
    data: (event?.data ?? body.event?.data ?? {}) as Record<string, unknown>,
    occurredAt: event ? new Date(event.occurredAt) : clock.now(),
  };
  const form = {
    sessionId: null,
    types: { [outgoing.type]: outgoing.type },
    filter,
    transform: (body.transform ?? null) as Webhook['transform'],
    includeContent: body.includeContent ?? true,
  };
  const chatIds = await chatIdsOf(database.reader, { accountId, filter }, outgoing.data);
  return {
    matches: matches({ ...outgoing, sessionId: outgoing.session?.id ?? null }, form, chatIds),
    event: nameFor(outgoing.type, form),
    body: bodyOf(outgoing, form).body,
  };
}
