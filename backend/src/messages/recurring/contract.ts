import {
  defineRoute,
  fileErrors,
  instant,
  listCursor,
  paging,
  schedule,
  timezoneName,
  withAliases,
  type ErrorCode,
  type InputOf,
} from '@chasqui/shared';
import { z } from 'zod';
import { sessionAliases, sessionRef } from '../../sessions/contract.js';
import { laterMessage } from '../contract.js';
import { scheduleStatuses } from './schedule.entity.js';

const params = z.object({ scheduleId: z.string().min(1).max(64) });
/** The fields of a schedule, for the panel too. */
export const scheduleFields = {
  name: z.string().min(1).max(100),
  cron: z
    .string()
    .min(9)
    .max(100)
    .describe(
      'Minute, hour, day of the month, month and day of the week, as in a cron expression: `0 9 * * 1-5` is nine o’clock on weekdays.',
    ),
  timezone: timezoneName.optional().describe('Absent: that of the session, or else of the account.'),
  endsAt: instant.nullable().optional().describe('There is no occurrence at this time or later. Null: no end.'),
  maxOccurrences: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .nullable()
    .optional()
    .describe('The schedule ends after so many occurrences. Null: no limit.'),
};
const message = laterMessage.describe(
  'As the body of `POST /messages/send`. Its file is stored with the schedule. A template keeps the version that it has now, and is filled for each occurrence.',
);
const example = { name: 'Monday greeting', cron: '0 9 * * 1', timezone: 'America/Lima' };
const text = { type: 'text', recipient: '+5511999990001', message: 'Good morning' };

/** The errors of a message that is checked before it is stored. */
const composing: readonly ErrorCode[] = [
  'INVALID_RECIPIENT',
  'RECIPIENT_NOT_SUPPORTED',
  'MESSAGE_NOT_FOUND',
  'INTERACTIVE_REJECTED',
  'TEMPLATE_NOT_FOUND',
  'MISSING_VARIABLE',
  ...fileErrors,
];
const route = { auth: 'key', permission: 'messages.send' } as const;

export const list = defineRoute({
  ...route,
  id: 'schedules.list',
  method: 'get',
  path: '/schedules',
  summary: 'Recurring schedules, oldest first',
  query: withAliases(
    z.strictObject({
      sessionId: sessionRef.optional(),
      status: z.enum(scheduleStatuses).optional(),
      limit: paging.limit,
      cursor: listCursor.optional(),
    }),
    sessionAliases,
  ),
  reply: z.array(schedule),
  errors: ['SESSION_NOT_FOUND'],
});
export const create = defineRoute({
  ...route,
  id: 'schedules.create',
  examples: { 'Every Monday at nine': { ...example, message: text } },
  method: 'post',
  path: '/schedules',
  summary: 'Send a message again and again, by a cron expression in a time zone',
  headers: ['X-Session-Id'],
  body: withAliases(z.strictObject({ sessionId: sessionRef.optional(), ...scheduleFields, message }), sessionAliases),
  status: 201,
  reply: schedule,
  errors: ['SESSION_NOT_FOUND', 'SESSION_REQUIRED', 'SESSION_NOT_CONNECTED', 'QUOTA_EXCEEDED', ...composing],
});
export const read = defineRoute({
  ...route,
  id: 'schedules.read',
  method: 'get',
  path: '/schedules/:scheduleId',
  summary: 'One schedule, with its next five occurrences',
  params,
  reply: schedule,
  errors: ['SCHEDULE_NOT_FOUND'],
});
export const update = defineRoute({
  ...route,
  id: 'schedules.update',
  examples: { 'Another time': { cron: '0 10 * * 1' } },
  method: 'put',
  path: '/schedules/:scheduleId',
  summary: 'Change fields of a schedule, or its whole message; messages that exist are not changed',
  params,
  body: z.strictObject({ ...z.strictObject(scheduleFields).partial().shape, message: message.optional() }),
  reply: schedule,
  errors: ['SCHEDULE_NOT_FOUND', 'SESSION_NOT_FOUND', ...composing],
});
export const remove = defineRoute({
  ...route,
  id: 'schedules.delete',
  method: 'delete',
  path: '/schedules/:scheduleId',
  summary: 'Delete a schedule; messages that exist stay',
  params,
  reply: z.object({ id: z.string(), deleted: z.literal(true) }),
  errors: ['SCHEDULE_NOT_FOUND'],
});
export const pause = defineRoute({
  ...route,
  id: 'schedules.pause',
  method: 'post',
  path: '/schedules/:scheduleId/pause',
  summary: 'Pause a schedule',
  params,
  body: z.strictObject({}),
  reply: schedule,
  errors: ['SCHEDULE_NOT_FOUND'],
});
export const resume = defineRoute({
  ...route,
  id: 'schedules.resume',
  method: 'post',
  path: '/schedules/:scheduleId/resume',
  summary: 'Continue a paused schedule from now on',
  params,
  body: z.strictObject({}),
  reply: schedule,
  errors: ['SCHEDULE_NOT_FOUND', 'SCHEDULE_ENDED', 'SESSION_NOT_FOUND'],
});
export type CreateBody = InputOf<typeof create>['body'];
export type UpdateBody = InputOf<typeof update>['body'];
