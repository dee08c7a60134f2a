import { z } from 'zod';
import { messageTypes } from './message-types/index.js';
import { reason } from './resources.js';

const time = z.iso.datetime();
const nullableTime = time.nullable();

/** A recurring schedule. */
export const schedule = z
  .object({
    id: z.string(),
    sessionId: z.string(),
    name: z.string(),
    status: z.enum(['active', 'paused', 'ended']),
    /** Why it is paused or ended, if no person did it. */
    reason: reason.nullable(),
    cron: z.string(),
    timezone: z.string(),
    endsAt: nullableTime,
    maxOccurrences: z.number().int().nullable(),
    /** The occurrences so far, missed ones included. */
    occurrences: z.number().int(),
    /** Those that were missed by more than SCHEDULE_GRACE_MINUTES. */
    missed: z.number().int(),
    lastAt: nullableTime,
    /** The next occurrences, at most five. */
    next: z.array(time),
    recipient: z.string(),
    type: z.enum(messageTypes),
    /** What each occurrence sends. Null where the storage mode withholds it. */
    content: z.record(z.string(), z.unknown()).nullable(),
    /** The template that it was made from, and the version that it keeps. Null where the storage mode withholds it. */
    template: z.object({ id: z.string(), version: z.number().int() }).nullable(),
    isUrgent: z.boolean(),
    createdAt: time,
    updatedAt: time,
  })
  .meta({ id: 'Schedule' });
export type ScheduleResource = z.infer<typeof schedule>;
