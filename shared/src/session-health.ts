import { z } from 'zod';

/** Objects of the API about the health of a session. Times are as in `resources.ts`. */

const time = z.iso.datetime();
const nullableTime = time.nullable();

/** How WhatsApp limits an account, its page or its network. */
export const restrictionKinds = [
  'terms_block',
  'temporary_ban',
  'challenge',
  'reach_out_lock',
  'outdated_version',
  'proxy_block',
] as const;
export type RestrictionKind = (typeof restrictionKinds)[number];
export const restriction = z.object({
  kind: z.enum(restrictionKinds),
  message: z.string(),
  until: nullableTime.describe('When WhatsApp lifts it. Null: WhatsApp does not say.'),
});
export type Restriction = z.infer<typeof restriction>;

/** The result of the worker's check, after `ready`, whether the page has every function that operations call. */
export const selfCheck = z
  .object({
    checkedAt: time,
    whatsappWebVersion: z.string().max(40).nullable(),
    missing: z
      .record(z.string(), z.array(z.string()))
      .describe('The functions that the page does not have, by operation. Operations that lack no function are not listed.'),
    partial: z
      .record(z.string(), z.array(z.object({ part: z.string(), missing: z.array(z.string()) })))
      .optional()
      .describe(
        'Parts of operations that do not work, with the functions that the page does not have. The rest of the operation works.',
      ),
    unchecked: z.array(z.string()).describe('Operations that were not checked: the page answered too slowly.'),
    essential: z
      .array(z.string())
      .describe(
        'Missing functions without which no session works: those that send texts, receive messages and acks, and read chats.',
      ),
    listeners: z.array(z.string()).describe('Kinds of events that cannot be received from this page, such as calls.'),
  })
  .meta({ id: 'SelfCheck' });
export type SelfCheck = z.infer<typeof selfCheck>;

/** A copy of a session's login, from which the worker restores a login that a killed browser has damaged. */
export const loginCopy = z
  .object({
    bytes: z.number().int().describe('The size of the login, without caches.'),
    copiedAt: time,
  })
  .meta({ id: 'LoginCopy' });
export type LoginCopy = z.infer<typeof loginCopy>;

/** `stale`: the worker did not answer, and its measurements are absent or the last known ones. */
export const sessionHealth = z
  .object({
    stale: z.boolean(),
    lastRoundTripAt: nullableTime,
    roundTripMs: z.number().nullable(),
    canaryAt: nullableTime.describe('When an event of the page last came through the event bridge.'),
    recoveryStep: z.enum(['reload', 'restart', 'restore']).nullable().describe('The running attempt to recover the session.'),
    restrictions: z.array(restriction),
    throttle: z
      .object({ factor: z.number(), until: time, reason: z.string() })
      .nullable()
      .describe(
        'The session sends at this part of its pace, because WhatsApp has restricted its account or has refused many messages to new chats.',
      ),
    linkedDevices: z.object({ count: z.number().int(), checkedAt: time }).nullable(),
    loginCopy: loginCopy
      .nullable()
      .describe('The copy of the login on the disk of the worker. Null: there is none yet, or no worker has reported one.'),
    selfCheck: selfCheck.nullable(),
  })
  .meta({ id: 'SessionHealth' });
export type SessionHealth = z.infer<typeof sessionHealth>;

export const sessionMetricsResource = z
  .object({
    stale: z.boolean(),
    memoryMb: z.number().nullable(),
    cpuPercent: z.number().nullable().describe('In percent of one processor.'),
    processes: z.number().int(),
    browserUptimeSeconds: z.number().nullable(),
    recycleAboveMb: z.number().int().nullable().describe('The memory mark that applies. 0: none. Null: the worker did not say.'),
    recycles: z.number().int().describe('How often a browser of the session was restarted for its memory.'),
    queueDepth: z.number().int(),
    sendsPerMinute: z.number().int().describe('Messages that WhatsApp has accepted in the last minute.'),
    roundTripMs: z.number().nullable(),
  })
  .meta({ id: 'SessionMetrics' });
export type SessionMetricsResource = z.infer<typeof sessionMetricsResource>;
