import { z } from 'zod';
import { isTimezone } from './timezones.js';

/** The settings of a session that say when it sends, and how much a day. */

/** The days of the week in the order of ISO 8601. */
export const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

const clockTime = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'Write a time of day such as 21:00.');
export const timezoneName = z.string().max(64).refine(isTimezone, 'Use a time zone such as America/Lima.');

/** When due messages wait. */
export const quietHours = z
  .strictObject({
    from: clockTime.describe('The first minute of the quiet hours, such as `21:00`.'),
    to: clockTime.describe(
      'The first minute after them. Not later than `from`: on the next day. The same as `from`: a day later.',
    ),
    days: z
      .array(z.enum(weekdays))
      .min(1)
      .max(7)
      .refine((days) => new Set(days).size === days.length, 'Name each day once.')
      .optional()
      .describe('The days on which the quiet hours begin. Absent: every day.'),
    timezone: timezoneName.optional().describe('Absent: the time zone of the session.'),
  })
  .refine(({ from, to, days }) => from !== to || (days !== undefined && days.length < 7), {
    path: ['to'],
    message: 'Every hour of the week would be quiet, so that no message is ever sent. Choose another end, or fewer days.',
  });
export type QuietHours = z.infer<typeof quietHours>;

/** A plan by which a session sends more messages each day. */
export const warmUp = z
  .strictObject({
    startedOn: z.iso
      .date()
      .describe('The first day of the plan, in the time zone of the account. Before it the plan has no effect.'),
    messagesPerDay: z.number().int().min(1).max(100_000).describe('The limit of the first day.'),
    growth: z
      .number()
      .min(1)
      .max(10)
      .describe('The factor by which the limit grows each day: 1.5 makes 20 messages 30 on the second day.'),
    until: z.iso.date().optional().describe('The last day of the plan. Absent: it does not end.'),
  })
  .refine(({ startedOn, until }) => until === undefined || until >= startedOn, {
    path: ['until'],
    message: 'The plan would end before it begins.',
  });
export type WarmUp = z.infer<typeof warmUp>;
