import { permissions, storageModes, whole } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { z } from 'zod';
import type { Clock } from '../lib/clock.js';
import { sentFields } from '../lib/sent-fields.js';
import type { OverviewReader } from './overview.js';
import { readWorkers } from './overview.js';
import { change, read, type PanelRoute } from './route.js';
import { newPlan } from './staff.contract.js';
import type { PanelVerbs } from './verbs.js';
import { accountView } from './views/account.js';
import { choicesView } from './views/choices.js';
import { eventsView } from './views/event.js';
import { keyView } from './views/key.js';
import { messageView } from './views/message.js';
import { planView } from './views/plan.js';
import { sessionView } from './views/session.js';
import { webhookView } from './views/webhook.js';

const nothing = z.strictObject({});
const cursor = whole(0, Number.MAX_SAFE_INTEGER).optional();
const role = z.enum(['user', 'staff', 'admin']);
const id = z.string().min(1).max(64);
const figure = z.number().int().min(0).max(1_000_000_000);

/** What pages ask for, many of them every few seconds. Only the reader is asked, so a worker that is down delays none of them. */
export function readRoutes(parts: { reader: DataSource; overview: OverviewReader; clock: Clock }): PanelRoute[] {
  const { reader, overview, clock } = parts;
  return [
    read('/live/overview', z.object({}), ({ visitor }) => overview.overview(visitor.account.timezone)),
    read('/live/chart', z.object({ range: z.enum(['24h', '14d']).default('24h') }), ({ visitor, query }) =>
      overview.chart(query.range, visitor.account.timezone),
    ),
    read('/live/sessions/:id', z.object({}), (asked) => sessionView(reader, asked.id, clock.now())),
    read('/live/messages/:id', z.object({}), (asked) => messageView(reader, asked.id)),
    read(
      '/live/events',
      z.object({ after: cursor, before: cursor, type: z.string().max(40).optional(), sessionId: id.optional() }),
      ({ query }) => eventsView(reader, query),
    ),
    read('/live/workers', z.object({}), async () => ({ at: clock.now().getTime(), workers: await readWorkers(reader) })),
    read('/live/accounts/:id', z.object({}), (asked) => accountView(reader, asked.id, clock.now())),
    read('/live/keys/:id', z.object({}), (asked) => keyView(reader, asked.id)),
    read('/live/webhooks/:id', z.object({}), (asked) => webhookView(reader, asked.id)),
    read('/live/plans/:id', z.object({}), (asked) => planView(reader, asked.id)),
    read('/live/choices', z.object({}), () => choicesView(reader)),
  ];
}

/** Every change that can be made from the panel, and who may make it. */
export function changeRoutes(verbs: PanelVerbs): PanelRoute[] {
  return [
    ...sessionChanges(verbs.sessions, verbs.messages),
    ...messageChanges(verbs.messages),
    ...accessChanges(verbs),
    ...planChanges(verbs.plans),
    ...webhookChanges(verbs.webhooks),
  ];
}

function sessionChanges(sessions: PanelVerbs['sessions'], messages: PanelVerbs['messages']): PanelRoute[] {
  const newSession = z.strictObject({
    accountId: id,
    name: z.string().regex(/^[-_A-Za-z0-9]{1,64}$/, 'Letters, digits, dashes and underscores, at most 64.'),
    deviceName: z.string().max(64).nullable().default(null),
  });
  const simple = (['start', 'stop', 'logout', 'restart', 'resume'] as const).map((verb) =>
    change('staff', `/live/sessions/:id/${verb}`, nothing, (asked) => sessions[verb](asked.visitor.caller, asked.id)),
  );
  return [
    ...simple,
    change('staff', '/live/sessions', newSession, ({ visitor, body }) => sessions.create(visitor.caller, body)),
    change('staff', '/live/sessions/:id/suspend', z.strictObject({ reason: z.string().trim().min(1).max(500) }), (asked) =>
      sessions.suspend(asked.visitor.caller, asked.id, asked.body.reason),
    ),
    change(
      'staff',
      '/live/sessions/:id/pairing-code',
      z.strictObject({ phoneNumber: z.string().min(1).max(80) }),
      async (asked) => {
        const given = await sessions.pairingCode(asked.visitor.caller, asked.id, asked.body.phoneNumber);
        return { code: given.code, expiresAt: given.expiresAt.getTime() };
      },
    ),
    change(
      'staff',
      '/live/sessions/:id/limits',
      z.strictObject({ dailyLimit: figure.nullable(), storage: z.enum(storageModes) }).partial(),
      (asked) => sessions.setLimits(asked.visitor.caller, asked.id, sentFields(asked.body)),
    ),
    change(
      'staff',
      '/live/sessions/:id/send',
      z.strictObject({ recipient: z.string().trim().min(1).max(128), message: z.string().min(1).max(65_536) }),
      (asked) => messages.sendText(asked.visitor.caller, asked.id, asked.body),
    ),
  ];
}

function messageChanges(messages: PanelVerbs['messages']): PanelRoute[] {
  return [
    change('staff', '/live/messages/:id/retry', nothing, (asked) => messages.retry(asked.visitor.caller, asked.id)),
    change('staff', '/live/messages/:id/cancel', nothing, (asked) => messages.cancel(asked.visitor.caller, asked.id)),
    change('staff', '/live/sessions/:id/held-messages', z.strictObject({ decision: z.enum(['send', 'cancel']) }), (asked) =>
      messages.decideHeld(asked.visitor.caller, asked.id, asked.body.decision),
    ),
    change('staff', '/live/messages/:id/resolve', z.strictObject({ as: z.enum(['sent', 'failed', 'retry']) }), (asked) =>
      messages.resolve(asked.visitor.caller, asked.id, asked.body.as),
    ),
  ];
}

function accessChanges({ accounts, keys }: PanelVerbs): PanelRoute[] {
  const newAccount = z.strictObject({
    username: z
      .string()
      .trim()
      .regex(/^[-_.A-Za-z0-9]{1,64}$/, 'Letters, digits, dots, dashes and underscores, at most 64.'),
    email: z.email('This is not an e-mail address.').max(254),
    role: role.default('user'),
  });
  const newKey = z.strictObject({
    accountId: id,
    sessionId: id.nullable().default(null),
    name: z.string().trim().min(1, 'Give it a name.').max(100),
    permissions: z.array(z.enum(['*', ...permissions])).min(1, 'Choose at least one permission.'),
  });
  return [
    change('admin', '/live/accounts', newAccount, ({ visitor, body }) => accounts.create(visitor.caller, body)),
    change('admin', '/live/accounts/:id/role', z.strictObject({ role }), (asked) =>
      accounts.setRole(asked.visitor.caller, asked.id, asked.body.role),
    ),
    change('admin', '/live/accounts/:id/activate', nothing, (asked) => accounts.activate(asked.visitor.caller, asked.id)),
    change('admin', '/live/accounts/:id/deactivate', nothing, (asked) => accounts.deactivate(asked.visitor.caller, asked.id)),
    change('admin', '/live/accounts/:id/reset-password', nothing, (asked) =>
      accounts.resetPassword(asked.visitor.caller, asked.id),
    ),
    change(
      'admin',
      '/live/accounts/:id/limits',
      z.strictObject({ planId: id.nullable(), maxMessagesPerDay: figure }).partial(),
      (asked) => accounts.setLimits(asked.visitor.caller, asked.id, sentFields(asked.body)),
    ),
    change('admin', '/live/keys/:id/activate', nothing, (asked) => keys.setActive(asked.visitor.caller, asked.id, true)),
    change('admin', '/live/keys/:id/deactivate', nothing, (asked) => keys.setActive(asked.visitor.caller, asked.id, false)),
    change('admin', '/live/keys/:id/rate-limit', z.strictObject({ rateLimit: figure.nullable() }), (asked) =>
      keys.setRateLimit(asked.visitor.caller, asked.id, asked.body.rateLimit),
    ),
    change('admin', '/live/keys', newKey, ({ visitor, body }) => keys.create(visitor.caller, body)),
    change('admin', '/live/keys/:id/revoke', nothing, (asked) => keys.revoke(asked.visitor.caller, asked.id)),
    change('admin', '/live/keys/:id/regenerate', nothing, (asked) => keys.regenerate(asked.visitor.caller, asked.id)),
  ];
}

function planChanges(plans: PanelVerbs['plans']): PanelRoute[] {
  return [
    change('admin', '/live/plans', newPlan, ({ visitor, body }) => plans.create(visitor.caller, body)),
    change('admin', '/live/plans/:id', newPlan, (asked) => plans.update(asked.visitor.caller, asked.id, asked.body)),
    change('admin', '/live/plans/:id/delete', nothing, (asked) => plans.remove(asked.visitor.caller, asked.id)),
  ];
}

function webhookChanges(webhooks: PanelVerbs['webhooks']): PanelRoute[] {
  const newWebhook = z.strictObject({
    accountId: id,
    sessionId: id.nullable().default(null),
    url: z.string().trim().min(1, 'Give it a URL.').max(2_048),
    events: z.array(z.string().max(60)).min(1, 'Name at least one event.').max(100),
  });
  return [
    change('admin', '/live/webhooks', newWebhook, ({ visitor, body }) => webhooks.create(visitor.caller, body)),
    change('staff', '/live/webhooks/:id/test', nothing, (asked) => webhooks.test(asked.visitor.caller, asked.id)),
    change('staff', '/live/webhooks/:id/enable', nothing, (asked) => webhooks.enable(asked.visitor.caller, asked.id)),
    change('staff', '/live/webhooks/:id/disable', nothing, (asked) => webhooks.disable(asked.visitor.caller, asked.id)),
    change('staff', '/live/webhooks/:id/redeliver-failed', nothing, (asked) =>
      webhooks.redeliverFailed(asked.visitor.caller, asked.id),
    ),
    change('staff', '/live/deliveries/:id/redeliver', nothing, (asked) => webhooks.redeliver(asked.visitor.caller, asked.id)),
  ];
}
