import { defineRoute, instant, statistics, statisticsOfDay, statisticsReport, withAliases } from '@chasqui/shared';
import { z } from 'zod';
import { sessionAliases, sessionRef } from '../sessions/contract.js';

const day = z
  .union([z.iso.date(), instant])
  .describe('A day of the account’s time zone, such as 2026-11-21, or an instant, which names the day that contains it.');
const dates = { startDate: day.optional(), endDate: day.optional().describe('The last day of the range.') };
const ofAccount = withAliases(z.strictObject({ sessionId: sessionRef.optional(), ...dates }), sessionAliases);

export const ofSession = defineRoute({
  id: 'statistics.ofSession',
  method: 'get',
  path: '/sessions/:sessionId/statistics',
  summary: 'Sent, received and failed messages of a session, its uptime and its errors',
  auth: 'key',
  permission: 'instance.stats',
  params: z.object({ sessionId: sessionRef }),
  query: z.strictObject(dates),
  reply: statistics,
  errors: ['SESSION_NOT_FOUND', 'SESSION_REQUIRED', 'SESSION_NOT_CONNECTED'],
});
export const ofMessages = defineRoute({
  id: 'statistics.ofMessages',
  method: 'get',
  path: '/messages/statistics',
  summary: 'Sent, received and failed messages that the credential reaches; with `sessionId` those of one session',
  auth: 'key',
  permission: 'instance.stats',
  query: ofAccount,
  reply: statistics,
  errors: ['SESSION_NOT_FOUND'],
});
export const ofCaller = defineRoute({
  id: 'statistics.read',
  method: 'get',
  path: '/statistics',
  summary: 'Sent, received and failed messages of the account, by type and status; delivery and read rates, cost and quotas',
  auth: 'acc',
  permission: 'instance.stats',
  query: ofAccount,
  reply: statistics,
  errors: ['SESSION_NOT_FOUND'],
});
export const daily = defineRoute({
  id: 'statistics.daily',
  method: 'get',
  path: '/statistics/daily',
  summary: 'The messages of each day of at most 400; the last 30 days if no range is named',
  auth: 'acc',
  permission: 'instance.stats',
  query: ofAccount,
  reply: z.array(statisticsOfDay),
  errors: ['SESSION_NOT_FOUND'],
});
export const report = defineRoute({
  id: 'statistics.report',
  method: 'get',
  path: '/statistics/report',
  summary: 'Rates, busiest hours and chats, response times, failures by reason and cost of at most 400 days, as JSON or CSV',
  auth: 'acc',
  permission: 'instance.stats',
  query: withAliases(
    z.strictObject({ sessionId: sessionRef.optional(), ...dates, format: z.enum(['json', 'csv']).default('json') }),
    sessionAliases,
  ),
  reply: statisticsReport,
  files: ['text/csv'],
  errors: ['SESSION_NOT_FOUND'],
});
