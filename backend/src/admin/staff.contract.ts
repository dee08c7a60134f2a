import { account, auditEntry, defineRoute, instant, listCursor, paging, plan, session, sessionStatuses } from '@chasqui/shared';
import { z } from 'zod';
import { failureKinds } from '../failures/failure.entity.js';

/** The REST routes for staff. The panel calls the same verbs of the domains. */

const accountParams = z.object({ accountId: z.string().max(64) });
const planParams = z.object({ planId: z.string().max(64) });
const sessionParams = z.object({ sessionId: z.string().max(64) });
const figure = z.number().int().min(0).max(1_000_000_000);
const planFields = {
  name: z.string().min(1).max(64),
  dailyMessages: figure,
  monthlyMessages: figure,
  maxSessions: figure,
  apiLimit: figure,
  pricePerMessage: z.string().regex(/^\d{1,12}(\.\d{1,6})?$/, 'A decimal such as 0.0050.'),
  currency: z.string().regex(/^[A-Z]{3}$/, 'Three capital letters such as USD (ISO 4217).'),
};
const role = z.enum(['user', 'staff', 'admin']);
const staffSession = session.extend({ account: z.object({ id: z.string(), username: z.string() }) });
const deleted = z.object({ id: z.string(), deleted: z.literal(true) });

/** A new plan, over REST and from the panel. */
export const newPlan = z.strictObject({
  ...planFields,
  dailyMessages: figure.default(0),
  monthlyMessages: figure.default(0),
  maxSessions: figure.default(0),
  apiLimit: figure.default(0),
  pricePerMessage: planFields.pricePerMessage.default('0.0000'),
  currency: planFields.currency.default('USD'),
});

export const listAccounts = defineRoute({
  id: 'admin.accounts.list',
  method: 'get',
  path: '/admin/accounts',
  summary: 'All accounts',
  auth: 'stf',
  query: z.strictObject({
    ...paging,
    cursor: listCursor.optional(),
    search: z.string().max(254).optional(),
    role: role.optional(),
    active: z.stringbool().optional(),
  }),
  reply: z.array(account),
});
export const createAccount = defineRoute({
  id: 'admin.accounts.create',
  examples: { 'With a one-time password': { username: 'ana', email: 'ana@example.com', role: 'user' } },
  idempotency: {
    without:
      'Only hashes of key and password are stored, so that the first reply cannot be returned again. A second account with this name or address is refused.',
  },
  method: 'post',
  path: '/admin/accounts',
  summary: 'Create an account; without a password, a one-time password is created and returned',
  auth: 'adm',
  body: z.strictObject({
    username: z.string().min(1).max(64),
    email: z.email().max(254),
    password: z.string().min(12).max(128).optional(),
    role: role.optional(),
    planId: z.string().max(64).nullable().optional(),
  }),
  status: 201,
  reply: z.object({ account, apiKey: z.string(), oneTimePassword: z.string().optional() }),
  errors: ['ALREADY_EXISTS', 'PLAN_NOT_FOUND'],
});
export const readAccount = defineRoute({
  id: 'admin.accounts.read',
  method: 'get',
  path: '/admin/accounts/:accountId',
  summary: 'One account, and its usage today and this month',
  auth: 'stf',
  params: accountParams,
  reply: account.extend({
    usage: z.object({ sessions: z.number().int(), today: z.number().int(), thisMonth: z.number().int() }),
  }),
  errors: ['ACCOUNT_NOT_FOUND'],
});
export const changeAccount = defineRoute({
  id: 'admin.accounts.change',
  examples: { 'A limit': { maxMessagesPerDay: 500 }, 'Switched off': { isActive: false } },
  method: 'patch',
  path: '/admin/accounts/:accountId',
  summary: 'Change the role, plan or limits of an account, or switch it off or on',
  auth: 'adm',
  params: accountParams,
  body: z.strictObject({
    role: role.optional(),
    isActive: z.boolean().optional(),
    planId: z.string().max(64).nullable().optional(),
    maxMessagesPerDay: figure.optional(),
  }),
  reply: account,
  errors: ['ACCOUNT_NOT_FOUND', 'PLAN_NOT_FOUND', 'LAST_ADMIN'],
});

export const listPlans = defineRoute({
  id: 'admin.plans.list',
  method: 'get',
  path: '/admin/plans',
  summary: 'All plans',
  auth: 'stf',
  reply: z.array(plan),
});
export const createPlan = defineRoute({
  id: 'admin.plans.create',
  examples: { 'A small plan': { name: 'small', dailyMessages: 500, monthlyMessages: 10_000, maxSessions: 2 } },
  method: 'post',
  path: '/admin/plans',
  summary: 'Create a plan; 0 means no limit',
  auth: 'adm',
  body: newPlan,
  status: 201,
  reply: plan,
  errors: ['ALREADY_EXISTS'],
});
export const changePlan = defineRoute({
  id: 'admin.plans.change',
  examples: { 'More messages a day': { dailyMessages: 1_000 } },
  method: 'put',
  path: '/admin/plans/:planId',
  summary: 'Change a plan; it applies from the next request of every account on it',
  auth: 'adm',
  params: planParams,
  body: z.strictObject(planFields).partial(),
  reply: plan,
  errors: ['PLAN_NOT_FOUND', 'ALREADY_EXISTS'],
});
export const deletePlan = defineRoute({
  id: 'admin.plans.delete',
  method: 'delete',
  path: '/admin/plans/:planId',
  summary: 'Delete a plan that no account is on',
  auth: 'adm',
  params: planParams,
  reply: deleted,
  errors: ['PLAN_NOT_FOUND', 'PLAN_IN_USE'],
});

export const listSessions = defineRoute({
  id: 'admin.sessions.list',
  method: 'get',
  path: '/admin/sessions',
  summary: 'Sessions of all accounts',
  auth: 'stf',
  query: z.strictObject({
    ...paging,
    cursor: listCursor.optional(),
    accountId: z.string().max(64).optional(),
    status: z.enum(sessionStatuses).optional(),
    workerId: z.string().max(64).optional(),
  }),
  reply: z.array(staffSession),
});
const onSession = (verb: 'suspend' | 'resume' | 'restart' | 'disconnect', summary: string, status = 200) =>
  defineRoute({
    id: `admin.sessions.${verb}`,
    ...(verb === 'suspend' ? { examples: { 'For review': { reason: 'Under review' } } } : {}),
    method: 'post',
    path: `/admin/sessions/:sessionId/${verb}`,
    summary,
    auth: 'stf',
    params: sessionParams,
    body: z.strictObject(verb === 'suspend' ? { reason: z.string().min(1).max(500) } : {}),
    status,
    reply: session,
    errors: ['SESSION_NOT_FOUND', 'SESSION_STATE_CONFLICT', 'SESSION_SUSPENDED', 'WORKER_UNAVAILABLE'],
  });
export const suspend = onSession('suspend', 'Suspend a session of any account: it stops, keeps its login and sends nothing');
export const resume = onSession('resume', 'End the suspension of a session');
export const restart = onSession('restart', 'Restart a session of any account', 202);
export const disconnect = onSession('disconnect', 'Stop a session of any account, and keep its login');

const auditQuery = {
  ...paging,
  cursor: listCursor.optional(),
  actor: z.string().max(100).optional(),
  action: z.string().max(64).optional(),
  object: z.string().max(64).optional(),
  from: instant.optional(),
  to: instant.optional(),
};
export const audit = defineRoute({
  id: 'audit.list',
  method: 'get',
  path: '/audit',
  summary: 'Audit log of the own account. Sends through the API are listed as messages, not here',
  auth: 'acc',
  permission: 'audit.read',
  query: z.strictObject(auditQuery),
  reply: z.array(auditEntry),
});
export const auditAll = defineRoute({
  id: 'admin.audit.list',
  method: 'get',
  path: '/admin/audit',
  summary: 'Audit log of all accounts',
  auth: 'stf',
  query: z.strictObject({ ...auditQuery, accountId: z.string().max(64).optional() }),
  reply: z.array(auditEntry),
});

const failure = z
  .object({
    id: z.string(),
    kind: z.enum(failureKinds),
    /** What failed: the id of an event, message, session, key or file, or the name of a task. */
    subject: z.string(),
    accountId: z.string().nullable(),
    sessionId: z.string().nullable(),
    code: z.string(),
    detail: z.string(),
    firstAt: z.iso.datetime(),
    lastAt: z.iso.datetime(),
    count: z.number().int(),
  })
  .meta({ id: 'Failure' });
export const listFailures = defineRoute({
  id: 'admin.failures.list',
  method: 'get',
  path: '/admin/failures',
  summary: 'Items that failed by themselves and were isolated, such as worker events that cannot be stored, the latest first',
  auth: 'stf',
  query: z.strictObject({
    ...paging,
    cursor: listCursor
      .optional()
      .describe('A failure that happens again moves to the first page, also while you read the others.'),
    kind: z.enum(failureKinds).optional(),
    code: z.string().max(64).optional(),
    accountId: z.string().max(64).optional(),
    sessionId: z.string().max(64).optional(),
  }),
  reply: z.array(failure),
});

const countedError = z
  .object({
    code: z.string(),
    count: z.number().int(),
    lastAt: z.iso.datetime(),
    advice: z.string().nullable().describe('What the code means, and the next step.'),
    sample: z
      .object({
        requestId: z.string(),
        method: z.string(),
        route: z.string(),
        status: z.number().int(),
        accountId: z.string().nullable(),
      })
      .nullable()
      .describe('The last reply with this code. Its request id is in the logs and in the reply that the caller has.'),
  })
  .meta({ id: 'CountedError' });
export const listErrors = defineRoute({
  id: 'admin.errors.list',
  method: 'get',
  path: '/admin/errors',
  summary:
    'Error replies by code since a time (by default the last day), the latest first. `meta.since` is the quarter of an hour from which they are counted',
  auth: 'stf',
  query: z.strictObject({ since: instant.optional() }),
  reply: z.array(countedError),
});
