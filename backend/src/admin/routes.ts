import {
  AppError,
  bulkRecipientStatuses,
  eventTypes,
  instant,
  messageTypes,
  passkeyAnswer,
  permissionCatalogue,
  permissionGroups,
  permissions,
  sessionSettings,
  storageModes,
  timezoneName,
  whole,
} from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { z } from 'zod';
import type { Clock } from '../lib/clock.js';
import { sentFields } from '../lib/sent-fields.js';
import { templateOptOutChanges, templateOptOutReads } from './template-opt-out-routes.js';
import type { MessageSearch } from '../search/search.js';
import type { Statistics } from '../statistics/statistics.js';
import type { Visitor } from './guard.js';
import type { OverviewReader } from './overview.js';
import { readWorkers } from './overview.js';
import { change, read, type PanelRoute } from './route.js';
import { newPlan } from './staff.contract.js';
import { deliveryFilter, webhookChanges } from './webhook-routes.js';
import type { PanelVerbs } from './verbs.js';
import { proxyInput } from '../sessions/contract.js';
import type { Bulk } from '../bulk/bulk.js';
import { accountView } from './views/account.js';
import { bulkView } from './views/bulk.js';
import { allCapabilitiesView, capabilitiesView } from './views/capabilities.js';
import { choicesView } from './views/choices.js';
import { errorsView } from './views/errors.js';
import { findView } from './views/find.js';
import { deliveriesView, deliveryView, endpointChoices } from './views/delivery.js';
import { eventPageView, eventSampleView, eventsView, eventTypesView } from './views/event.js';
import { keyView } from './views/key.js';
import { messageView, rawMessageView } from './views/message.js';
import { planView } from './views/plan.js';
import { scheduleChanges } from './schedule-routes.js';
import { schedulesView } from './views/schedule.js';
import { sessionView } from './views/session.js';
import { usageTable, usageView } from './views/usage-page.js';
import { webhookView } from './views/webhook.js';

const emptyBody = z.strictObject({});
const cursor = whole(0, Number.MAX_SAFE_INTEGER).optional();
const role = z.enum(['user', 'staff', 'admin']);
const id = z.string().min(1).max(64);
const { quietHours, warmUp, timezone } = sessionSettings.shape;
/** The zone of the browser: the panel shows all times in it. Absent: that of the person's account. */
const zone = timezoneName.optional();
const figure = z.number('Enter a number.').int('Enter a whole number.').min(0, 'Enter 0 or more.').max(1_000_000_000);

/** What the panel reads of bulk jobs besides their table. */
export type BulkReader = Pick<Bulk, 'byId' | 'present' | 'recipients'>;

/** Which events the panel's page shows. */
const eventFilter = {
  after: cursor,
  before: cursor,
  type: z.string().max(40).optional(),
  sessionId: id.optional(),
  accountId: id.optional(),
};

interface ReadParts {
  webhooks: Pick<PanelVerbs['webhooks'], 'deliveries' | 'countDeliveries' | 'headerNames'>;
  reader: DataSource;
  overview: OverviewReader;
  clock: Clock;
  bulk: BulkReader;
  statistics: Pick<Statistics, 'forStaff'>;
  search: Pick<MessageSearch, 'find'>;
}

/** The reads of the panel's pages; many are polled every few seconds. They use only the database reader, so that an unreachable worker delays none. */
export function readRoutes(parts: ReadParts): PanelRoute[] {
  const { reader, overview, clock, bulk, statistics, webhooks, search } = parts;
  const usageQuery = z.object({ days: whole(1, 366).default(30), accountId: id.optional(), sessionId: id.optional() });
  const usageParts = ({ account }: Visitor) => ({ reader, statistics, now: clock.now(), timezone: account.timezone });
  return [
    read('/live/status', z.object({}), () => overview.status()),
    read('/live/overview', z.object({ timezone: zone }), ({ visitor, query }) =>
      overview.overview(query.timezone ?? visitor.account.timezone),
    ),
    read('/live/chart', z.object({ range: z.enum(['24h', '14d']).default('24h'), timezone: zone }), ({ visitor, query }) =>
      overview.chart(query.range, query.timezone ?? visitor.account.timezone),
    ),
    read('/live/sessions/:id', z.object({}), (input) => sessionView(reader, input.id, clock.now())),
    read('/live/sessions/:id/capabilities', z.object({}), (input) => capabilitiesView(reader, input.id)),
    read('/live/capabilities', z.object({}), () => allCapabilitiesView(reader)),
    read('/live/messages/:id', z.object({}), (input) => messageView(reader, input.id)),
    read('/live/messages/:id/raw', z.object({}), (input) => rawMessageView(reader, input.id)),
    read('/live/events', z.object(eventFilter), ({ query }) => eventsView(reader, query)),
    read('/live/event-page', z.object({ ...eventFilter, text: z.string().max(200).optional() }), ({ query }) =>
      eventPageView(reader, query),
    ),
    read('/live/event-types', z.object({}), async () => eventTypes),
    read('/live/permissions', z.object({}), async () =>
      Object.entries(permissionCatalogue).map(([name, doc]) => ({ name, doc })),
    ),
    read('/live/message-types', z.object({}), async () => [...messageTypes]),
    read('/live/event-sample', z.object({ type: z.enum(eventTypes as [string, ...string[]]) }), async ({ query }) =>
      eventSampleView(query.type, clock.now()),
    ),
    read('/live/event-catalogue', z.object({}), async () => eventTypesView()),
    read('/live/workers', z.object({}), async () => ({ at: clock.now().getTime(), workers: await readWorkers(reader) })),
    read('/live/errors', z.object({ hours: whole(1, 720).default(24) }), ({ query }) =>
      errorsView(reader, clock.now(), query.hours),
    ),
    read('/live/accounts/:id', z.object({}), (input) => accountView(reader, input.id, clock.now())),
    read('/live/keys/:id', z.object({}), (input) => keyView(reader, input.id)),
    read('/live/webhooks/:id', z.object({}), (input) => webhookView({ reader, webhooks }, input.id, clock.now())),
    read(
      '/live/bulk/:id',
      z.object({ status: z.enum(bulkRecipientStatuses).optional(), page: whole(1, 1_000).default(1) }),
      (input) => bulkView(reader, bulk, input.id, input.query),
    ),
    read('/live/deliveries', z.object({ ...deliveryFilter, cursor: z.string().max(200).optional() }), ({ query }) =>
      deliveriesView(reader, webhooks, query, clock.now()),
    ),
    read('/live/delivery-count', z.object(deliveryFilter), ({ query }) => webhooks.countDeliveries(query)),
    read('/live/deliveries/:id', z.object({}), (input) => deliveryView(reader, input.id, clock.now())),
    read('/live/endpoints', z.object({}), () => endpointChoices(reader)),
    read('/live/plans/:id', z.object({}), (input) => planView(reader, input.id)),
    ...templateOptOutReads(reader),
    read(
      '/live/schedules',
      z.object({
        month: z
          .string()
          .regex(/^20\d\d-(0[1-9]|1[0-2])$/)
          .optional(),
      }),
      ({ visitor, query }) => schedulesView(reader, query.month, visitor.account.timezone, clock.now()),
    ),
    read('/live/find', z.object({ term: z.string().trim().max(200).default('') }), ({ query }) =>
      findView({ reader, search }, query.term),
    ),
    read('/live/choices', z.object({}), () => choicesView(reader)),
    read('/live/usage', usageQuery, ({ visitor, query }) => usageView(usageParts(visitor), query)),
    read('/live/usage/table', usageQuery, ({ visitor, query }) => usageTable(usageParts(visitor), query)),
  ];
}

/** Every change that the panel can make, and the role that it requires. */
export function changeRoutes(verbs: PanelVerbs): PanelRoute[] {
  return [
    ...sessionChanges(verbs.sessions, verbs.messages),
    ...messageChanges(verbs.messages),
    ...bulkChanges(verbs.bulk),
    ...scheduleChanges(verbs.schedules),
    ...accessChanges(verbs),
    ...planChanges(verbs.plans),
    ...webhookChanges(verbs.webhooks),
    ...templateOptOutChanges(verbs),
  ];
}

const scheduledTime = z.iso.datetime({ offset: true, local: true });
/** When a message is sent; absent: now. */
const sendTime = { scheduledAt: scheduledTime.optional(), timezone: timezoneName.optional() };

/** The settings that the form on a session's page has. */
const sessionForm = sessionSettings
  .pick({
    autoReconnect: true,
    queueIfOffline: true,
    pacing: true,
    autoRead: true,
    rejectCalls: true,
    stories: true,
    recycleAboveMb: true,
  })
  .partial()
  .strict()
  .extend({ proxy: proxyInput.nullable().optional() });

function sessionChanges(sessions: PanelVerbs['sessions'], messages: PanelVerbs['messages']): PanelRoute[] {
  const name = z.string().regex(/^[-_A-Za-z0-9]{1,64}$/, 'Letters, digits, dashes and underscores, at most 64.');
  const newSession = z.strictObject({
    accountId: id,
    name,
    deviceName: z.string().max(64).nullable().default(null),
    phoneNumber: z.string().min(1).max(80).nullable().default(null),
  });
  const simple = (['start', 'stop', 'logout', 'restart', 'resume'] as const).map((verb) =>
    change('staff', `/live/sessions/:id/${verb}`, emptyBody, (input) => sessions[verb](input.visitor.caller, input.id)),
  );
  return [
    ...simple,
    change('staff', '/live/sessions', newSession, ({ visitor, body }) => sessions.create(visitor.caller, body)),
    change('staff', '/live/sessions/:id/rename', z.strictObject({ name }), (input) =>
      sessions.rename(input.visitor.caller, input.id, input.body.name),
    ),
    change('staff', '/live/sessions/:id/delete', emptyBody, (input) => sessions.remove(input.visitor.caller, input.id)),
    change('staff', '/live/sessions/:id/suspend', z.strictObject({ reason: z.string().trim().min(1).max(500) }), (input) =>
      sessions.suspend(input.visitor.caller, input.id, input.body.reason),
    ),
    change(
      'staff',
      '/live/sessions/:id/pairing-code',
      z.strictObject({ phoneNumber: z.string().min(1).max(80) }),
      async (input) => {
        const pairing = await sessions.pairingCode(input.visitor.caller, input.id, input.body.phoneNumber);
        return { code: pairing.code, expiresAt: pairing.expiresAt.getTime() };
      },
    ),
    change('staff', '/live/sessions/:id/passkey', emptyBody, async (input) => {
      const { script, expiresAt } = await sessions.passkeyScript(input.visitor.caller, input.id);
      return { script, expiresAt: expiresAt.getTime() };
    }),
    change('staff', '/live/sessions/:id/passkey-answer', z.strictObject({ answer: passkeyAnswer }), (input) =>
      sessions.answerPasskey(input.visitor.caller, input.id, input.body.answer),
    ),
    change('staff', '/live/sessions/:id/glance', z.strictObject({ at: z.enum(['chats', 'groups', 'contacts']) }), (input) =>
      sessions.glance(input.id, input.body.at),
    ),
    change('staff', '/live/sessions/:id/health', emptyBody, (input) => sessions.health(input.id)),
    change(
      'staff',
      '/live/sessions/:id/limits',
      z.strictObject({ dailyLimit: figure.nullable(), storage: z.enum(storageModes), quietHours, warmUp, timezone }).partial(),
      (input) => sessions.setLimits(input.visitor.caller, input.id, sentFields(input.body)),
    ),
    change('staff', '/live/sessions/:id/settings', sessionForm, (input) =>
      sessions.setSettings(input.visitor.caller, input.id, sentFields(input.body)),
    ),
    change('staff', '/live/sessions/:id/unthrottle', emptyBody, (input) => sessions.unthrottle(input.visitor.caller, input.id)),
    change(
      'staff',
      '/live/sessions/:id/send',
      z.strictObject({ recipient: z.string().trim().min(1).max(128), message: z.string().min(1).max(65_536), ...sendTime }),
      (input) => messages.sendText(input.visitor.caller, input.id, input.body),
    ),
  ];
}

function messageChanges(messages: PanelVerbs['messages']): PanelRoute[] {
  const typed = z.strictObject({ sessionId: id.nullable(), recipient: z.string().trim().min(1).max(128) });
  return [
    change('staff', '/live/recipient', typed, ({ body }) => messages.readRecipient(body)),
    change('staff', '/live/messages/:id/resend', z.strictObject({ recipient: z.string().trim().min(1).max(128) }), (input) =>
      messages.resendTo(input.visitor.caller, input.id, input.body.recipient),
    ),
    change('staff', '/live/messages/:id/retry', emptyBody, (input) => messages.retry(input.visitor.caller, input.id)),
    change('staff', '/live/messages/:id/schedule', z.strictObject({ ...sendTime, scheduledAt: scheduledTime }), (input) =>
      messages.reschedule(input.visitor.caller, input.id, input.body),
    ),
    change('staff', '/live/messages/:id/cancel', emptyBody, (input) => messages.cancel(input.visitor.caller, input.id)),
    change('staff', '/live/sessions/:id/held-messages', z.strictObject({ decision: z.enum(['send', 'cancel']) }), (input) =>
      messages.decideHeld(input.visitor.caller, input.id, input.body.decision),
    ),
    change('staff', '/live/messages/:id/resolve', z.strictObject({ as: z.enum(['sent', 'failed', 'retry']) }), (input) =>
      messages.resolve(input.visitor.caller, input.id, input.body.as),
    ),
    change('staff', '/live/messages/:id/receipts', emptyBody, (input) => messages.receipts(input.id)),
  ];
}

function bulkChanges(bulk: PanelVerbs['bulk']): PanelRoute[] {
  const job = z.strictObject({
    sessionId: id,
    name: z.string().trim().max(200).nullable().default(null),
    message: z.string().min(1, 'Enter a message.').max(65_536),
    csv: z.string().min(1, 'Choose a CSV file, or paste its text.'),
    checkNumbers: z.boolean().default(false),
    scheduledAt: instant.nullable().default(null),
  });
  // The text of a file with 10,000 rows.
  const bodyLimit = '9mb';
  const simple = (['pause', 'resume', 'cancel', 'retry'] as const).map((verb) =>
    change('staff', `/live/bulk/:id/${verb}`, emptyBody, (input) => bulk[verb](input.visitor.caller, input.id)),
  );
  return [
    ...simple,
    change('staff', '/live/bulk', job, ({ visitor, body }) => bulk.create(visitor.caller, { ...body, name: body.name || null }), {
      bodyLimit,
    }),
    change('staff', '/live/bulk-check', job, ({ visitor, body }) => bulk.check(visitor.caller, body), { bodyLimit }),
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
    planId: id.nullable().default(null),
  });
  const newKey = z.strictObject({
    accountId: id,
    sessionId: id.nullable().default(null),
    name: z.string().trim().min(1, 'Enter a name.').max(100),
    permissions: z
      .array(z.enum(['*', ...permissions, ...permissionGroups]))
      .min(1, 'Choose at least one permission.')
      .max(100),
    rateLimit: z
      .number('Enter a number.')
      .int('Enter a whole number.')
      .min(0, 'Enter 0 or more.')
      .max(100_000_000)
      .nullable()
      .default(null),
    rateWindowMs: z
      .number('Enter a number.')
      .min(1_000, 'Enter 1 second or more.')
      .max(86_400_000, 'Enter at most 86,400 seconds.')
      .nullable()
      .default(null),
    /** Absent: the rules of the installation decide. Null: never. */
    expiresAt: z.iso.datetime({ offset: true, error: 'Enter a time.' }).nullable().optional(),
    autoRotation: z.boolean().optional(),
  });
  return [
    change('admin', '/live/accounts', newAccount, ({ visitor, body }) => accounts.create(visitor.caller, body)),
    change('admin', '/live/accounts/:id/role', z.strictObject({ role }), (input) =>
      accounts.setRole(input.visitor.caller, input.id, input.body.role),
    ),
    change('admin', '/live/accounts/:id/activate', emptyBody, (input) => accounts.activate(input.visitor.caller, input.id)),
    change('admin', '/live/accounts/:id/deactivate', emptyBody, (input) => accounts.deactivate(input.visitor.caller, input.id)),
    change('admin', '/live/accounts/:id/reset-password', emptyBody, (input) =>
      accounts.resetPassword(input.visitor.caller, input.id),
    ),
    change(
      'admin',
      '/live/accounts/:id/limits',
      z.strictObject({ planId: id.nullable(), maxMessagesPerDay: figure }).partial(),
      (input) => accounts.setLimits(input.visitor.caller, input.id, sentFields(input.body)),
    ),
    change(
      'staff',
      '/live/accounts/:id/timezone',
      z.strictObject({ timezone: timezoneName }),
      async ({ visitor, id: of, body }) => {
        if (visitor.account.role !== 'admin' && visitor.account.id !== of) throw new AppError('ADMIN_REQUIRED');
        await accounts.setTimezone(visitor.caller, of, body.timezone);
      },
    ),
    change('admin', '/live/keys/:id/activate', emptyBody, (input) => keys.setActive(input.visitor.caller, input.id, true)),
    change('admin', '/live/keys/:id/deactivate', emptyBody, (input) => keys.setActive(input.visitor.caller, input.id, false)),
    change('admin', '/live/keys/:id/rate-limit', z.strictObject({ rateLimit: figure.nullable() }), (input) =>
      keys.setRateLimit(input.visitor.caller, input.id, input.body.rateLimit),
    ),
    change('admin', '/live/keys', newKey, ({ visitor, body }) => {
      const { expiresAt, ...fields } = sentFields(body);
      const at = expiresAt === undefined ? {} : { expiresAt: expiresAt === null ? null : new Date(expiresAt) };
      return keys.create(visitor.caller, { ...fields, ...at });
    }),
    change('admin', '/live/keys/:id/revoke', emptyBody, (input) => keys.revoke(input.visitor.caller, input.id)),
    change('admin', '/live/keys/:id/regenerate', emptyBody, (input) => keys.regenerate(input.visitor.caller, input.id)),
  ];
}

function planChanges(plans: PanelVerbs['plans']): PanelRoute[] {
  return [
    change('admin', '/live/plans', newPlan, ({ visitor, body }) => plans.create(visitor.caller, body)),
    change('admin', '/live/plans/:id', newPlan, (input) => plans.update(input.visitor.caller, input.id, input.body)),
    change('admin', '/live/plans/:id/delete', emptyBody, (input) => plans.remove(input.visitor.caller, input.id)),
  ];
}
