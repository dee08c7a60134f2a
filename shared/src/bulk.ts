import { z } from 'zod';
import { messageTypes } from './message-types/index.js';
import { contact, reason } from './resources.js';

/** Bulk jobs: one message to many recipients, each with their own variables. */

const time = z.iso.datetime();
const nullableTime = time.nullable();

export const bulkStatuses = ['scheduled', 'running', 'waiting', 'paused', 'completed', 'cancelled'] as const;
export type BulkStatus = (typeof bulkStatuses)[number];

/**
 * | from | to | on |
 * | --- | --- | --- |
 * | scheduled | running | due |
 * | running | waiting | something delays it: see the reasons below |
 * | waiting | running | the cause is gone |
 * | scheduled, running, waiting | paused | pause; too many failures, a restriction, another linked account; a backup was restored |
 * | paused | running, scheduled | resume; before its time it is scheduled again |
 * | running, waiting, paused | completed | every recipient is final |
 * | completed | running | a failed recipient is retried |
 * | all but completed | cancelled | cancel; the session was deleted |
 */
export const bulkMoves: Record<BulkStatus, readonly BulkStatus[]> = {
  scheduled: ['running', 'paused', 'cancelled'],
  running: ['waiting', 'paused', 'completed', 'cancelled'],
  waiting: ['running', 'paused', 'completed', 'cancelled'],
  paused: ['running', 'scheduled', 'completed', 'cancelled'],
  completed: ['running'],
  cancelled: [],
};

/** Why a job waits, has paused by itself, or was cancelled by itself. A job that a caller paused or cancelled has no reason. */
export const bulkReasons = {
  SESSION_NOT_CONNECTED: 'Waits until the session is connected.',
  ACCOUNT_INACTIVE: 'Waits until the account is active again.',
  QUIET_HOURS: 'Waits for the end of the quiet hours of the session.',
  QUOTA_EXCEEDED: 'The quota is used up. The job continues when it resets.',
  QUEUE_FULL: 'The queue of the session is full. The job continues when it drains.',
  NUMBERS_NOT_CHECKED: 'The numbers could not be checked. The check is repeated, and the job continues then.',
  THROTTLED: 'The session is slowed down after a restriction. The job continues when that ends.',
  UNCERTAIN_MESSAGES:
    'All messages left the queue, and it is unknown whether some of them were sent. Settle them with POST /api/v1/messages/:id/resolve.',
  TOO_MANY_FAILURES: 'Too many messages failed. Find the cause, then resume or cancel the job.',
  ACCOUNT_RESTRICTED: 'WhatsApp restricts the account of the session. Resume the job when the restriction is lifted.',
  REACH_OUT_LOCKED: 'WhatsApp does not let the account write to new chats now. Resume the job when it does.',
  SESSION_IDENTITY_CHANGED:
    'The session is linked to another WhatsApp account than the one the job was accepted for. Resume the job to send as the current account, or cancel it.',
  CONTENT_UNREADABLE: 'The next message of the job cannot be read or written. Staff see the cause among the failures.',
  SESSION_DELETED: 'The session was deleted.',
  RESTORED:
    'A backup was restored, and recipients that are still pending may have got the message after the backup was taken. Resume the job to send to them, or cancel it.',
} as const;
export type BulkReason = keyof typeof bulkReasons;

export const bulkRecipientStatuses = [
  'pending',
  'queued',
  'sent',
  'delivered',
  'read',
  'failed',
  'uncertain',
  'skipped',
  'cancelled',
] as const;
export type BulkRecipientStatus = (typeof bulkRecipientStatuses)[number];

/** Why a recipient gets no message. */
export const skipReasons = {
  DUPLICATE: 'The same person is earlier in the list.',
  OPTED_OUT: 'The person is on the opt-out list.',
  INVALID_RECIPIENT: 'This is neither a phone number in international form nor a WhatsApp id that messages can be sent to.',
  RECIPIENT_NOT_ON_WHATSAPP: 'The number is not registered on WhatsApp.',
  ERASED: 'The data of the person was erased.',
} as const;
export type SkipReason = keyof typeof skipReasons;

const count = z.number().int();
/** The recipients in each state. They add up to `total`. `queued` includes messages that are being sent. */
export const bulkCounts = z.object({
  total: count,
  pending: count,
  queued: count,
  sent: count,
  delivered: count,
  read: count,
  failed: count,
  uncertain: count,
  skipped: count,
  cancelled: count,
});
export type BulkCounts = z.infer<typeof bulkCounts>;

export const bulkJob = z
  .object({
    id: z.string(),
    name: z.string().nullable(),
    sessionId: z.string(),
    status: z.enum(bulkStatuses),
    reason: reason.nullable(),
    waitingUntil: nullableTime.describe('When the cause of waiting ends, if that is known.'),
    type: z.enum(messageTypes),
    templateId: z.string().nullable(),
    counts: bulkCounts,
    gapMs: z.array(count).length(2).describe('The shortest and the longest gap between two messages.'),
    checkNumbers: z.boolean(),
    scheduledAt: nullableTime,
    startedAt: nullableTime,
    finishedAt: nullableTime,
    createdAt: time,
  })
  .meta({ id: 'BulkJob' });
export type BulkJobResource = z.infer<typeof bulkJob>;

/** A job as the routes return it. */
export const bulkJobDetails = bulkJob
  .extend({
    estimatedEndAt: nullableTime.describe(
      'When the last message is queued if nothing else delays it: computed from the gaps, the pace, quiet hours and quotas. Null for a job that does not run, and if it is too far ahead to be computed.',
    ),
  })
  .meta({ id: 'BulkJobDetails' });
export type BulkJobDetails = z.infer<typeof bulkJobDetails>;

export const bulkRecipient = z
  .object({
    row: count.describe('The place in the list, from 1.'),
    recipient: z.string().nullable().describe('As it was given. Null once the person was erased.'),
    contact: contact.nullable(),
    status: z.enum(bulkRecipientStatuses),
    reason: reason.nullable(),
    messageId: z.string().nullable(),
  })
  .meta({ id: 'BulkRecipient' });
export type BulkRecipientResource = z.infer<typeof bulkRecipient>;

/** What would become of each recipient of a job. */
export const bulkCheck = z
  .object({
    total: count,
    accepted: count.describe('Recipients that would get a message.'),
    skipped: z.record(z.string(), count).describe('The number of skipped recipients, by reason.'),
    isAcceptable: z.boolean().describe('Whether POST /messages/bulk would accept the job.'),
    issues: z
      .array(
        z.object({
          row: count.describe('The place in the list, from 1.'),
          recipient: z.string(),
          code: z.string(),
          message: z.string(),
          variables: z.array(z.string()).optional(),
        }),
      )
      .describe('Rows that would be skipped or make the job be refused, at most 1,000.'),
    columns: z.array(z.string()).nullable().describe('The columns of a CSV file.'),
    preview: z.string().nullable().describe('The text for the first recipient.'),
    estimatedEndAt: nullableTime,
  })
  .meta({ id: 'BulkCheck' });
export type BulkCheck = z.infer<typeof bulkCheck>;
