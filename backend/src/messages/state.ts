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
import type { Core } from '../core.js';
import { lockRows, updateRows } from '../db/rows.js';
import { increment } from '../db/sql.js';
import type { Transaction } from '../db/unit-of-work.js';
import { Session } from '../sessions/session.entity.js';
import { Message } from './message.entity.js';
import { idsIn, presentMessage } from './read/present.js';
import type { Quotas } from './quotas/quotas.js';
import { createFirstContacts, refusals, type FirstContacts } from './send/first-contacts.js';

/** A move of a message to another status. */
export interface Move {
  reason?: MessageReason | null;
  /** Replaces the standard sentence of the reason. */
  detail?: string | null;
  /** Other columns to change in the same update. */
  fields?: Partial<Message>;
  /** Allows fewer sources than the table of `shared/states.ts` does. */
  from?: readonly MessageStatus[];
  /** Further conditions on the row, such as the owner of its lease. */
  where?: FindOptionsWhere<Message>;
  /** The person whose acknowledgement it is. */
  contact?: Contact | null;
  /** The time of the change. Absent: now. */
  at?: Date;
  willRetryAt?: Date | null;
}

/**
 * Every change of a message's status. Each is one conditional update along the table of `shared/states.ts`; the update, its event, the
 * session's counters and the quotas commit together. If two callers move the same message, the second finds no row to update and changes
 * nothing. So acknowledgements only raise the status, in whatever order they arrive. Each verb applies its changes to `message` as well.
 */
export interface MessageState {
  /**
   * Moves a message to a status. Returns false if its present status does not allow the move or the row does not meet the conditions. Throws
   * `QUOTA_EXCEEDED` for a failed message that is queued again while its quota is used up.
   */
  move(tx: Transaction, message: Message, to: MessageStatus, how?: Move): Promise<boolean>;
  /** Changes a message that stays `queued` and emits `message.queued`. Returns false if it is no longer queued. */
  requeue(tx: Transaction, message: Message, changes: Partial<Message>): Promise<boolean>;
  /**
   * Records an acknowledgement of WhatsApp: 1 sent … 4 played. Statuses may be skipped, and no status is lowered. An acknowledgement proves
   * that the message was sent: a message that was queued again leaves the queue, so that it is not sent twice. `message.sent` is emitted
   * before the first `message.ack`.
   */
  acknowledge(
    tx: Transaction,
    message: Message,
    ack: number,
    options: { whatsappId?: string; contact?: Contact | null; at?: Date },
  ): Promise<void>;
  /**
   * Stops the lookups of an uncertain message, which now waits for a person's decision. Emits `message.uncertain` if the reason is new. Returns
   * false if it is no longer uncertain.
   */
  markHeld(tx: Transaction, message: Message, reason: MessageReason): Promise<boolean>;
}

interface Parts {
  contacts: Pick<Contacts, 'people' | 'formsOf'>;
  quotas: Quotas;
  /** Deletes the sealed file of a message whose status is final. */
  wipeFile: (tx: Transaction, mediaId: string) => Promise<void>;
}

type Context = Pick<Core, 'events' | 'clock'> & Parts & { firstContacts: FirstContacts };

export function createMessageState({ events, clock }: Pick<Core, 'events' | 'clock'>, parts: Parts): MessageState {
  const firstContacts = createFirstContacts({ events, clock }, parts);
  const context: Context = { events, clock, ...parts, firstContacts };
  return {
    move: (tx, message, to, how) => move(context, tx, message, to, how),
    requeue: (tx, message, changes) => requeue(context, tx, message, changes),
    acknowledge: (tx, message, ack, options) => acknowledge(context, tx, message, ack, options),
    markHeld: (tx, message, reason) => markHeld(context, tx, message, reason),
  };
}

async function move(context: Context, tx: Transaction, message: Message, to: MessageStatus, how: Move = {}): Promise<boolean> {
  if (isUnproven(message, to, how)) return endAsUncertain(context, tx, message, to, how);
  const at = how.at ?? context.clock.now();
  const wipesContent = message.sealed !== null && isOver(to);
  const changes = changesOf(to, at, wipesContent, how);
  await lockRows(tx, Session, [message.sessionId]);
  const previous = await updateStatus(tx, message, to, changes, how);
  if (previous === null) return false;
  if (wipesContent && message.mediaId) await context.wipeFile(tx, message.mediaId);
  Object.assign(message, changes);
  await countInSession(tx, message, previous, to);
  await appendEvent(context, tx, message, to, { ...how, at });
  await countFirstContact(context, tx, message, previous, to, how.reason);
  await countAgainstQuotas(context, tx, message, previous, to);
  return true;
}

async function requeue(context: Context, tx: Transaction, message: Message, changes: Partial<Message>): Promise<boolean> {
  if ((await updateRows(tx, Message, { id: message.id, status: 'queued' }, changes)) === 0) return false;
  Object.assign(message, changes);
  await appendEvent(context, tx, message, 'queued', { at: context.clock.now() });
  return true;
}

async function acknowledge(
  context: Context,
  tx: Transaction,
  message: Message,
  ack: number,
  options: { whatsappId?: string; contact?: Contact | null; at?: Date },
): Promise<void> {
  const to = statusOfAck(ack);
  if (!to) return;
  const at = options.at ?? context.clock.now();
  const fields: Partial<Message> =
    options.whatsappId && !message.whatsappId ? { whatsappId: options.whatsappId, nextAttemptAt: null } : {};
  if (message.status === 'queued') await move(context, tx, message, 'sending', { from: ['queued'] });
  const isFirst = ackOfStatus(message.status) === 0;
  if (isFirst) await move(context, tx, message, 'sent', { fields, at });
  if (to !== 'sent') await move(context, tx, message, to, { fields, contact: options.contact ?? null, at });
}

async function markHeld(context: Context, tx: Transaction, message: Message, reason: MessageReason): Promise<boolean> {
  const keepsReason = message.reasonCode !== null && !uncertainReasons.has(message.reasonCode);
  const reasonFields = keepsReason ? {} : { reasonCode: reason, reasonText: messageReasons[reason] };
  const changes = { ...reasonFields, nextAttemptAt: null };
  if ((await updateRows(tx, Message, { id: message.id, status: 'uncertain' }, changes)) === 0) return false;
  const isNewReason = !keepsReason && message.reasonCode !== reason;
  Object.assign(message, changes);
  if (isNewReason) await appendEvent(context, tx, message, 'uncertain', { at: context.clock.now(), reason });
  return true;
}

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

/** No further attempt is made, unless by a new request. */
const isOver = (status: MessageStatus): boolean => !['queued', 'sending', 'uncertain'].includes(status);

/**
 * Whether a message would end although an earlier attempt may have been sent. Only a person's explicit decision or a proof makes such a
 * message `failed` or `cancelled`.
 */
function isUnproven(message: Message, to: MessageStatus, { reason, fields }: Move): to is 'failed' | 'cancelled' {
  if (to !== 'failed' && to !== 'cancelled') return false;
  return message.hasUncertainAttempt && fields?.hasUncertainAttempt !== false && reason !== 'SETTLED_AS_FAILED';
}

/** Ends a message whose earlier attempt may have been sent: it becomes `uncertain`, is looked up once more, and then waits for a person. */
function endAsUncertain(
  context: Context,
  tx: Transaction,
  message: Message,
  to: 'failed' | 'cancelled',
  { reason: cause, from, where = {} }: Move,
): Promise<boolean> {
  const reason = to === 'cancelled' ? 'CANCELLED_IN_DOUBT' : (cause ?? 'HELD_BY_POLICY');
  const detail = `${messageReasons[reason]} An earlier attempt may have left; settle it with POST /api/v1/messages/:id/resolve.`;
  const sources = messageSources(to).filter((source) => source !== 'uncertain' && (!from || from.includes(source)));
  const fields = { nextAttemptAt: context.clock.now() };
  return move(context, tx, message, 'uncertain', { reason, detail, fields, from: sources, where });
}

function changesOf(
  to: MessageStatus,
  at: Date,
  wipesContent: boolean,
  { reason = null, detail = null, fields = {} }: Move,
): Partial<Message> {
  const field = timeField[to];
  return {
    leaseOwner: null,
    leaseExpiresAt: null,
    ...fields,
    status: to,
    reasonCode: reason,
    reasonText: reason ? (detail ?? messageReasons[reason]) : null,
    ...(field ? { [field]: at } : {}),
    ...(wipesContent ? { sealed: null, mediaId: null } : {}),
  };
}

/** Returns the status from which the message moved; null if it did not move. */
async function updateStatus(
  tx: Transaction,
  message: Message,
  to: MessageStatus,
  changes: Partial<Message>,
  { from, where = {} }: Move,
): Promise<MessageStatus | null> {
  const sources = messageSources(to).filter((source) => !from || from.includes(source));
  const updateFrom = async (status: MessageStatus): Promise<boolean> =>
    sources.includes(status) && (await updateRows(tx, Message, { ...where, id: message.id, status }, changes)) > 0;
  if (await updateFrom(message.status)) return message.status;
  // Another writer moved it after it was read. The counters must follow from its present status.
  const current = await tx.manager.findOne(Message, { where: { id: message.id }, select: { id: true, status: true } });
  if (!current || current.status === message.status || !(await updateFrom(current.status))) return null;
  return current.status;
}

/** Updates the session's counters. A message counts as sent once, at its first acknowledgement. */
async function countInSession(tx: Transaction, message: Message, previous: MessageStatus, to: MessageStatus): Promise<void> {
  if (message.direction === 'inbound') return;
  const acknowledged = (status: MessageStatus): boolean => ackOfStatus(status) > 0;
  const column = acknowledged(to) && !acknowledged(previous) ? 'sentCount' : to === 'failed' ? 'failedCount' : null;
  if (column) await increment(tx.manager, 'sessions', column, { column: 'id', value: message.sessionId });
}

/** What WhatsApp made of the message; only the first word about it counts. */
async function countFirstContact(
  { firstContacts }: Context,
  tx: Transaction,
  message: Message,
  previous: MessageStatus,
  to: MessageStatus,
  reason: MessageReason | null = null,
): Promise<void> {
  if (ackOfStatus(to) > 0 && ackOfStatus(previous) === 0) await firstContacts.count(tx, message, 'accepted');
  else if (to === 'failed' && reason !== null && refusals.has(reason)) await firstContacts.count(tx, message, 'refused');
}

async function appendEvent(
  { events, contacts }: Context,
  tx: Transaction,
  message: Message,
  to: MessageStatus,
  { at, contact = null, reason = null, willRetryAt = null }: Move & { at: Date },
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

/**
 * Keeps the quotas in step with the status: a message that fails or is cancelled releases its place, and one that leaves these statuses
 * reserves or counts a place. Throws `QUOTA_EXCEEDED` for a retry that finds none.
 */
async function countAgainstQuotas(
  { quotas }: Context,
  tx: Transaction,
  message: Message,
  previous: MessageStatus,
  to: MessageStatus,
): Promise<void> {
  if (message.direction === 'inbound' || message.origin === 'device') return;
  const isReleased = (status: MessageStatus): boolean => status === 'failed' || status === 'cancelled';
  if (isReleased(to) === isReleased(previous)) return;
  if (isReleased(to)) {
    const { quotaDay } = await tx.manager.findOneOrFail(Message, {
      where: { id: message.id },
      select: { id: true, quotaDay: true },
    });
    await quotas.release(tx, { ...message, quotaDay });
    message.quotaDay = null;
  } else if (to === 'queued') {
    const session = await tx.manager.findOneByOrFail(Session, { id: message.sessionId });
    const exceeded = (await quotas.reserve(tx, [{ session, message }])).get(message);
    if (exceeded) throw exceeded;
  } else message.quotaDay = await quotas.recount(tx, message);
  await updateRows(tx, Message, { id: message.id }, { quotaDay: message.quotaDay, cost: message.cost });
}
