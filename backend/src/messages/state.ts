import {
  ackOfStatus,
  uncertainReasons,
  messageReasons,
  messageSources,
  retryableReasons,
  statusOfAck,
  type Contact,
  type EventType,
  type MessageReason,
  type MessageStatus,
} from '@chasqui/shared';
import type { FindOptionsWhere } from 'typeorm';
import type { Contacts } from '../contacts/contacts.js';
import { completed } from '../contacts/people.js';
import { lockRows, updateRows } from '../db/rows.js';
import { increment } from '../db/sql.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Events } from '../events/events.js';
import type { Clock } from '../lib/clock.js';
import { Session } from '../sessions/session.entity.js';
import { Message } from './message.entity.js';
import { idsIn, presentMessage } from './read/present.js';
import type { Quotas } from './quotas/quotas.js';

export type MessageState = ReturnType<typeof createMessageState>;

/** When each status was first reached. */
const timeField: Partial<Record<MessageStatus, keyof Message>> = {
  queued: 'queuedAt',
  sent: 'sentAt',
  delivered: 'deliveredAt',
  read: 'readAt',
  played: 'playedAt',
  failed: 'failedAt',
  cancelled: 'cancelledAt',
};

export interface Move {
  reason?: MessageReason | null;
  /** A sentence that says more than the table's. */
  detail?: string | null;
  fields?: Partial<Message>;
  /** Narrows the statuses it may come from. */
  from?: readonly MessageStatus[];
  /** What else must be true of the row, such as whose lease it is. */
  where?: FindOptionsWhere<Message>;
  contact?: Contact | null;
  at?: Date;
  willRetryAt?: Date | null;
}

/**
 * Every change of a message's status: one conditional update along the table of `shared/states.ts`, with its event, in one
 * transaction. Of two that want to move the same message one finds it moved already, is told so by the affected count, and does
 * nothing. Acks therefore only climb, in whatever order they come.
 */
export function createMessageState({
  events,
  contacts,
  quotas,
  clock,
  wipeFile,
}: {
  events: Events;
  contacts: Pick<Contacts, 'people'>;
  quotas: Quotas;
  clock: Clock;
  /** Removes the sealed file of a message that is final. */
  wipeFile: (tx: Transaction, mediaId: string) => Promise<void>;
}) {
  async function move(
    tx: Transaction,
    message: Message,
    to: MessageStatus,
    { reason = null, detail = null, fields = {}, from, where = {}, contact = null, at, willRetryAt = null }: Move = {},
  ): Promise<boolean> {
    if (isUncertain(message, to, reason, fields)) return keepUncertain(tx, message, to, { reason, from, where });
    const now = at ?? clock.now();
    const sources = messageSources(to).filter((source) => !from || from.includes(source));
    const field = timeField[to];
    const changes: Partial<Message> = {
      leaseOwner: null,
      leaseExpiresAt: null,
      ...fields,
      status: to,
      reasonCode: reason,
      reasonText: reason ? (detail ?? messageReasons[reason]) : null,
      ...(field ? { [field]: now } : {}),
      ...(message.sealed !== null && isOver(to) ? { sealed: null, mediaId: null } : {}),
    };
    await lockRows(tx, Session, [message.sessionId]);
    const claim = async (status: MessageStatus): Promise<boolean> =>
      sources.includes(status) && (await updateRows(tx, Message, { ...where, id: message.id, status }, changes)) > 0;
    let previous = message.status;
    if (!(await claim(previous))) {
      // Moved since it was read: what is counted below must follow from where it truly stands.
      const current = await tx.manager.findOne(Message, { where: { id: message.id }, select: { id: true, status: true } });
      if (!current || current.status === previous || !(await claim(current.status))) return false;
      previous = current.status;
    }
    if (message.sealed !== null && isOver(to) && message.mediaId) await wipeFile(tx, message.mediaId);
    Object.assign(message, changes);
    await count(tx, message, previous, to);
    await tell(tx, message, to, now, contact, reason, willRetryAt);
    await countAgainstQuotas(tx, message, previous, to);
    return true;
  }

  /** It ends, but it is unknown whether an earlier attempt was sent: looked up once more, and then for a person to settle. */
  function keepUncertain(
    tx: Transaction,
    message: Message,
    to: 'failed' | 'cancelled',
    { reason, from, where }: Pick<Move, 'reason' | 'from' | 'where'>,
  ): Promise<boolean> {
    const why = to === 'cancelled' ? 'CANCELLED_IN_DOUBT' : (reason ?? 'HELD_BY_POLICY');
    const detail = `${messageReasons[why]} An earlier attempt may have left; settle it with POST /api/v1/messages/:id/resolve.`;
    const allowed = messageSources(to).filter((source) => source !== 'uncertain' && (!from || from.includes(source)));
    const fields = { nextAttemptAt: clock.now() };
    return move(tx, message, 'uncertain', { reason: why, detail, fields, from: allowed, ...(where ? { where } : {}) });
  }

  /** Places in the quotas follow the outcome of the message; see quotas.ts. Throws `QUOTA_EXCEEDED` for a retry that finds none. */
  async function countAgainstQuotas(
    tx: Transaction,
    message: Message,
    previous: MessageStatus,
    to: MessageStatus,
  ): Promise<void> {
    if (message.direction === 'inbound' || message.origin === 'device') return;
    const isOut = (status: MessageStatus): boolean => status === 'failed' || status === 'cancelled';
    if (isOut(to) === isOut(previous)) return;
    if (isOut(to)) {
      const { quotaDay } = await tx.manager.findOneOrFail(Message, {
        where: { id: message.id },
        select: { id: true, quotaDay: true },
      });
      await quotas.release(tx, { ...message, quotaDay });
      message.quotaDay = null;
    } else if (to === 'queued') {
      const session = await tx.manager.findOneByOrFail(Session, { id: message.sessionId });
      const why = (await quotas.reserve(tx, [{ session, message }])).get(message);
      if (why) throw why;
    } else message.quotaDay = await quotas.recount(tx, message);
    await updateRows(tx, Message, { id: message.id }, { quotaDay: message.quotaDay, cost: message.cost });
  }

  async function tell(
    tx: Transaction,
    message: Message,
    to: MessageStatus,
    at: Date,
    contact: Contact | null,
    reason: MessageReason | null,
    willRetryAt: Date | null,
  ): Promise<void> {
    const about = { accountId: message.accountId, sessionId: message.sessionId, messageId: message.id };
    const people = await contacts.people(idsIn(message), tx.manager);
    const whole = presentMessage(message, people);
    switch (to) {
      case 'sending':
        return void (await events.append(tx, {
          ...about,
          type: 'message.sending',
          data: { id: message.id, attempt: message.attempts, reservedId: message.whatsappKey },
        }));
      case 'delivered':
      case 'read':
      case 'played':
        return void (await events.append(tx, {
          ...about,
          type: 'message.ack',
          data: {
            id: message.id,
            whatsappId: message.whatsappId,
            status: to,
            ack: ackOfStatus(to),
            contact: contact ? completed(contact, message.sessionId, people) : whole.contact,
            at: at.toISOString(),
            chat: whole.chat,
          },
        }));
      case 'failed':
        return void (await events.append(tx, {
          ...about,
          type: 'message.failed',
          data: {
            ...whole,
            retryable: reason !== null && retryableReasons.has(reason),
            willRetryAt: willRetryAt?.toISOString() ?? null,
          },
        }));
      case 'queued':
      case 'sent':
      case 'uncertain':
      case 'cancelled':
        return void (await events.append(tx, { ...about, type: `message.${to}` satisfies EventType, data: whole }));
    }
  }

  /** The session's counters, in the same commit. A message counts as sent once, at its first acknowledgement. */
  async function count(tx: Transaction, message: Message, previous: MessageStatus, to: MessageStatus): Promise<void> {
    if (message.direction === 'inbound') return;
    const acknowledged = (status: MessageStatus): boolean => ackOfStatus(status) > 0;
    const column = acknowledged(to) && !acknowledged(previous) ? 'sentCount' : to === 'failed' ? 'failedCount' : null;
    if (column) await increment(tx.manager, 'sessions', column, { column: 'id', value: message.sessionId });
  }

  return {
    move,
    /** Changes a message that stays `queued`, and says so. Returns false when it is not queued any more. */
    async requeue(tx: Transaction, message: Message, changes: Partial<Message>): Promise<boolean> {
      if ((await updateRows(tx, Message, { id: message.id, status: 'queued' }, changes)) === 0) return false;
      Object.assign(message, changes);
      await tell(tx, message, 'queued', clock.now(), null, null, null);
      return true;
    },
    /**
     * An ack of WhatsApp's: 1 sent … 4 played, whatever came before. Statuses may be skipped; none is taken back. It proves that the
     * message left: one that was put back into the queue meanwhile is taken out of it before it can leave twice, and whoever
     * listens for `message.sent` hears it before the first `message.ack`.
     */
    async acknowledge(
      tx: Transaction,
      message: Message,
      ack: number,
      options: { whatsappId?: string; contact?: Contact | null; at?: Date },
    ): Promise<void> {
      const to = statusOfAck(ack);
      if (!to) return;
      const at = options.at ?? clock.now();
      const fields: Partial<Message> =
        options.whatsappId && !message.whatsappId ? { whatsappId: options.whatsappId, nextAttemptAt: null } : {};
      if (message.status === 'queued') await move(tx, message, 'sending', { from: ['queued'] });
      const isFirst = ackOfStatus(message.status) === 0;
      if (isFirst) await move(tx, message, 'sent', { fields, at });
      if (to !== 'sent') await move(tx, message, to, { fields, contact: options.contact ?? null, at });
    },
    /** Still in doubt, and now for a person to settle: said once. */
    async markHeld(tx: Transaction, message: Message, reason: MessageReason): Promise<boolean> {
      const isKept = message.reasonCode !== null && !uncertainReasons.has(message.reasonCode);
      const why = isKept ? {} : { reasonCode: reason, reasonText: messageReasons[reason] };
      const changes = { ...why, nextAttemptAt: null };
      const held = await updateRows(tx, Message, { id: message.id, status: 'uncertain' }, changes);
      if (held === 0) return false;
      const isNews = !isKept && message.reasonCode !== reason;
      Object.assign(message, changes);
      if (isNews) await tell(tx, message, 'uncertain', clock.now(), null, reason, null);
      return true;
    },
  };
}

/** Nothing of it will be sent any more, unless by a new request. */
const isOver = (status: MessageStatus): boolean => !['queued', 'sending', 'uncertain'].includes(status);

/** Only a person, who says so, or a proof makes a message `failed` or `cancelled` whose earlier attempt may have left. */
function isUncertain(
  message: Message,
  to: MessageStatus,
  reason: MessageReason | null,
  fields: Partial<Message>,
): to is 'failed' | 'cancelled' {
  return (
    (to === 'failed' || to === 'cancelled') &&
    message.hasUncertainAttempt &&
    fields.hasUncertainAttempt !== false &&
    reason !== 'SETTLED_AS_FAILED'
  );
}
