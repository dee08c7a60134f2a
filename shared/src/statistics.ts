import { z } from 'zod';
import { chatRef, contact } from './resources.js';

/** Statistics of messages. Days, weeks and hours are those of the account's time zone, which `timezone` names. Weeks begin on Monday. */

const count = z.number().int();
const sums = { sent: count, received: count, failed: count };
/** A share from 0 to 1; null where nothing was sent. */
const rate = z.number().min(0).max(1).nullable();
const perPeriod = z.object({ today: count, thisWeek: count, thisMonth: count, total: count });
const byType = z.record(z.string(), z.object(sums));
const limited = z.object({ used: count, limit: count.nullable() });

const rates = {
  /** Of the sent messages, those that reached a device of the recipient. */
  deliveryRate: rate,
  /** Of the sent messages, those that were read. Recipients may have switched off read receipts. */
  readRate: rate,
};
/** What the messages cost by the prices of the plans they were accepted under. */
const cost = z.object({ amount: z.string(), currency: z.string().nullable() });

export const statistics = z
  .object({
    timezone: z.string(),
    sent: perPeriod.describe('Messages that WhatsApp has accepted, also those written on the phone.'),
    received: perPeriod,
    failed: perPeriod,
    /** The days that the fields below cover. Null at the beginning: everything until `endDate`. */
    startDate: z.iso.date().nullable(),
    endDate: z.iso.date(),
    inRange: z.object(sums),
    byType,
    byStatus: z.record(z.string(), count).describe('Outgoing messages by their present status.'),
    ...rates,
    cost,
    /** How much of the account's quotas is used; `limit` null: there is none. */
    quota: z.object({ today: limited, thisMonth: limited }),
    /** The fields below are null unless the statistics are those of one session. */
    sessionId: z.string().nullable(),
    uptimePercent: z.number().nullable(),
    errorCount: count.nullable(),
    lastError: z.string().nullable(),
    lastSeen: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Statistics' });
export type StatisticsResource = z.infer<typeof statistics>;

export const statisticsOfDay = z.object({ date: z.iso.date(), ...sums, byType }).meta({ id: 'StatisticsOfDay' });
export type StatisticsOfDayResource = z.infer<typeof statisticsOfDay>;

export const statisticsReport = z
  .object({
    timezone: z.string(),
    startDate: z.iso.date(),
    endDate: z.iso.date(),
    ...sums,
    ...rates,
    byType,
    byStatus: z.record(z.string(), count),
    byHour: z.array(z.object({ hour: count, sent: count, received: count })),
    byWeekday: z.array(z.object({ weekday: count.describe('0 is Monday.'), sent: count, received: count })),
    byWeekdayAndHour: z.array(z.array(count)).describe('Sent and received messages: seven days from Monday, 24 hours each.'),
    bySession: z.array(z.object({ sessionId: z.string(), name: z.string(), ...sums })),
    failuresByReason: z.array(z.object({ code: z.string().nullable(), message: z.string().nullable(), count })),
    /** How long people waited for an answer in private chats, from the first unanswered message. Null where nothing was answered. */
    responses: z.object({ count, meanSeconds: z.number().nullable(), within5Minutes: rate, within1Hour: rate }),
    /**
     * The busiest chats, by the days in UTC that the range touches: `from` and `to` are their bounds. Null for a credential without
     * `messages.receive`, which may not read who writes.
     */
    topChats: z
      .object({
        from: z.iso.datetime(),
        to: z.iso.datetime(),
        chats: z.array(z.object({ chat: chatRef, contact: contact.nullable(), inbound: count, outbound: count })),
      })
      .nullable(),
    cost,
  })
  .meta({ id: 'StatisticsReport' });
export type StatisticsReportResource = z.infer<typeof statisticsReport>;
