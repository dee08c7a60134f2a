import { AppError, newId, pageMeta, type InputOf } from '@chasqui/shared';
import { Reply } from '@chasqui/shared/express';
import type { EventLog } from '../events/log.js';
import type { Caller, Mount } from '../accounts/caller.js';
import type { Clock } from '../lib/clock.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import * as contract from './contract.js';
import { filterWith } from './filter.js';
import * as ofDeliveries from './deliveries.contract.js';
import type { Backlog, Deliveries } from './deliveries.js';
import type { WebhookDispatcher } from './send/dispatcher.js';
import type { WebhookHistory } from './history.js';
import { bodyOf, matches, nameFor, requireTransform, testEvent } from './payload.js';
import { presentAttempts, presentDelivery, presentWebhook } from './present.js';
import type { Webhook } from './webhook.entity.js';
import type { Webhooks } from './webhooks.js';

interface Deps {
  webhooks: Webhooks;
  history: WebhookHistory;
  dispatcher: Pick<WebhookDispatcher, 'tryOut'>;
  deliveries: Pick<Deliveries, 'backlogOf'>;
  sessions: Sessions;
  eventLog: EventLog;
  clock: Clock;
}

export function mountWebhooks(mount: Mount, deps: Deps): void {
  const { webhooks, history, sessions } = deps;
  const present = async (webhook: Webhook) => (await presentAll([webhook]))[0]!;
  const presentAll = async (list: readonly Webhook[]) => {
    const backlogs = await deps.deliveries.backlogOf(list.map(({ id }) => id));
    return Promise.all(list.map((webhook) => presentWith(webhook, backlogs.get(webhook.id)!)));
  };
  const presentWith = async (webhook: Webhook, backlog: Backlog) =>
    presentWebhook(webhook, { ...(await webhooks.shownSecrets(webhook.id)), backlog, now: deps.clock.now() });
  const withSecret = async ({ webhook, secret }: { webhook: Webhook; secret: string }) => ({
    ...(await present(webhook)),
    secret,
  });
  /** Endpoints whose events the caller may not read are left out, as they cannot be read alone. */
  const listed = async (caller: Caller, which: Parameters<Webhooks['list']>[1]): Promise<Webhook[]> =>
    (await webhooks.list(caller, which)).filter((webhook) => webhooks.mayAccess(caller, webhook));
  const firstOf = async (caller: Caller, named: string): Promise<{ session: Session; webhook: Webhook | null }> => {
    const session = await sessions.find(caller, named);
    const [webhook = null] = await webhooks.list(caller, { sessionId: session.id });
    return { session, webhook };
  };
  const firstOrFail = async (caller: Caller, named: string): Promise<Webhook> => {
    const { webhook } = await firstOf(caller, named);
    if (!webhook) throw new AppError('WEBHOOK_NOT_FOUND');
    webhooks.requireAccess(caller, webhook);
    return webhook;
  };
  const deliveriesOf = async (webhook: Webhook, query: InputOf<typeof ofDeliveries.listDeliveries>['query']) => {
    const { found, total } = await history.list(webhook, query);
    return new Reply(found.map(presentDelivery), { meta: pageMeta(query, total) });
  };
  const statsOf = (webhook: Webhook, { startDate, endDate }: { startDate?: string | undefined; endDate?: string | undefined }) =>
    history.stats(webhook, startDate ? new Date(startDate) : null, endDate ? new Date(endDate) : null);
  const cleared = async (caller: Caller, webhook: Webhook, before: string | undefined) => {
    const deleted = await history.clear(webhook.id, before ? new Date(before) : new Date(deps.clock.now().getTime() + 1));
    await webhooks.note(caller, webhook, 'webhook.clear_deliveries', { deleted });
    return { deleted };
  };
  const redelivered = async (caller: Caller, webhook: Webhook, deliveryId: string) => {
    const delivery = await history.redeliver(webhook, deliveryId);
    await webhooks.note(caller, webhook, 'webhook.redeliver', { deliveryId });
    return presentDelivery(delivery);
  };
  const queuedAgain = async (caller: Caller, webhook: Webhook, queue: Promise<number>) => {
    const queued = await queue;
    await webhooks.note(caller, webhook, 'webhook.redeliver', { queued });
    return { queued };
  };
  const tried = async (webhook: Webhook, type: string | undefined) => {
    const whole = await webhooks.whole(webhook.id);
    const named = webhook.sessionId ? await sessions.byId(webhook.sessionId) : null;
    const session = named && { id: named.id, name: named.name };
    const outgoing = testEvent(deps.clock.now(), { session, ...(type === undefined ? {} : { type }) });
    const { statusCode, durationMs, response, error } = await deps.dispatcher.tryOut(whole, outgoing);
    const ok = statusCode !== null && statusCode >= 200 && statusCode < 300;
    return { ok, statusCode, durationMs, response, error };
  };
  const removed = async (caller: Caller, webhook: Webhook) => {
    await webhooks.remove(caller, webhook);
    return { id: webhook.id, deleted: true as const };
  };

  mount(contract.list, async ({ query }, caller) => {
    const sessionId = query.sessionId ? (await sessions.find(caller, query.sessionId)).id : undefined;
    return presentAll(await listed(caller, { sessionId, active: query.active }));
  });
  mount(contract.listOfSession, async ({ params }, caller) => {
    const { id } = await sessions.find(caller, params.sessionId);
    return presentAll(await listed(caller, { sessionId: id }));
  });
  mount(contract.create, async ({ body }, caller) => {
    const { sessionId, ...input } = body;
    const session = sessionId ? await sessions.find(caller, sessionId) : null;
    return withSecret(await webhooks.create(caller, input, session?.id ?? (sessionId === null ? null : caller.sessionId)));
  });
  mount(contract.createOfSession, async ({ params, body }, caller) =>
    withSecret(await webhooks.create(caller, body, (await sessions.find(caller, params.sessionId)).id)),
  );
  mount(contract.preview, async ({ body }, caller) => {
    requireTransform(body.transform);
    const filter = body.filter ? filterWith(body.filter) : null;
    const reading = { accountId: caller.accountId, permissions: caller.permissions, sessionId: caller.sessionId, types: null };
    const event = body.eventId ? await deps.eventLog.one(reading, body.eventId) : null;
    const outgoing = {
      id: event?.id ?? newId(deps.clock.now().getTime()),
      cursor: Number(event?.cursor ?? 0),
      type: event?.type ?? body.event?.type ?? 'message.received',
      session: event?.session ?? null,
      data: (event?.data ?? body.event?.data ?? {}) as Record<string, unknown>,
      occurredAt: event ? new Date(event.occurredAt) : deps.clock.now(),
    };
    const form = {
      sessionId: null,
      types: { [outgoing.type]: outgoing.type },
      filter,
      transform: (body.transform ?? null) as Webhook['transform'],
      includeContent: body.includeContent ?? true,
    };
    const chatIds = await webhooks.chatIdsOf({ accountId: caller.accountId, filter }, outgoing.data);
    return {
      matches: matches({ ...outgoing, sessionId: outgoing.session?.id ?? null }, form, chatIds),
      event: nameFor(outgoing.type, form),
      body: bodyOf(outgoing, form).body,
    };
  });
  mount(contract.read, async ({ params }, caller) => present(await webhooks.find(caller, params.webhookId)));
  mount(contract.update, async ({ params, body }, caller) =>
    present(await webhooks.update(caller, await webhooks.find(caller, params.webhookId), body)),
  );
  mount(contract.remove, async ({ params }, caller) => removed(caller, await webhooks.find(caller, params.webhookId)));
  mount(contract.tryOut, async ({ params, body }, caller) => tried(await webhooks.find(caller, params.webhookId), body.event));
  mount(contract.statsOf, async ({ params, query }, caller) => statsOf(await webhooks.find(caller, params.webhookId), query));
  mount(contract.rotate, async ({ params, body }, caller) =>
    withSecret(await webhooks.rotate(caller, await webhooks.find(caller, params.webhookId), body.overlapHours ?? 24)),
  );
  mount(contract.enable, async ({ params, body }, caller) => {
    const webhook = await webhooks.find(caller, params.webhookId);
    const enabled = await webhooks.enable(caller, webhook);
    if (body.recover && webhook.disabledAt)
      await history.redeliverRange(enabled, { from: webhook.disabledAt.toISOString(), onlyMissing: true });
    return present(enabled);
  });
  mount(ofDeliveries.listDeliveries, async ({ params, query }, caller) =>
    deliveriesOf(await webhooks.find(caller, params.webhookId), query),
  );
  mount(ofDeliveries.clearDeliveries, async ({ params, query }, caller) =>
    cleared(caller, await webhooks.find(caller, params.webhookId), query.before),
  );
  mount(ofDeliveries.readDelivery, async ({ params }, caller) => {
    const delivery = await history.find(await webhooks.find(caller, params.webhookId), params.deliveryId);
    return { ...presentDelivery(delivery), attemptLog: presentAttempts(delivery, await history.attempts(delivery)) };
  });
  mount(ofDeliveries.redeliverOne, async ({ params }, caller) =>
    redelivered(caller, await webhooks.find(caller, params.webhookId), params.deliveryId),
  );
  mount(ofDeliveries.redeliver, async ({ params, body }, caller) => {
    const webhook = await webhooks.find(caller, params.webhookId);
    const queue = 'failed' in body ? history.redeliverFailed(webhook) : history.redeliverRange(webhook, body);
    return queuedAgain(caller, webhook, queue);
  });

  const { first } = contract;
  mount(first.read, async ({ params }, caller) => present(await firstOrFail(caller, params.sessionId)));
  mount(first.create, async ({ params, body }, caller) => {
    const { session, webhook } = await firstOf(caller, params.sessionId);
    if (webhook) throw new AppError('ALREADY_EXISTS', { webhookId: webhook.id });
    return withSecret(await webhooks.create(caller, body, session.id));
  });
  mount(first.update, async ({ params, body }, caller) =>
    present(await webhooks.update(caller, await firstOrFail(caller, params.sessionId), body)),
  );
  mount(first.remove, async ({ params }, caller) => removed(caller, await firstOrFail(caller, params.sessionId)));
  mount(first.tryOut, async ({ params, body }, caller) => tried(await firstOrFail(caller, params.sessionId), body.event));
  mount(first.stats, async ({ params, query }, caller) => statsOf(await firstOrFail(caller, params.sessionId), query));
  mount(first.logs, async ({ params, query }, caller) => deliveriesOf(await firstOrFail(caller, params.sessionId), query));
  mount(first.clear, async ({ params, query }, caller) =>
    cleared(caller, await firstOrFail(caller, params.sessionId), query.before),
  );
  mount(first.retryOne, async ({ params }, caller) =>
    redelivered(caller, await firstOrFail(caller, params.sessionId), params.deliveryId),
  );
  mount(first.retryAll, async ({ params }, caller) => {
    const webhook = await firstOrFail(caller, params.sessionId);
    return queuedAgain(caller, webhook, history.redeliverFailed(webhook));
  });
}
