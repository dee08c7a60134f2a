/* eslint-disable max-lines -- every move of a message, and what commits with it */
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
  type MessageResource,
  type MessageStatus,
} from '@chasqui/shared';
import type { FindOptionsWhere } from 'typeorm';
import type { Contacts } from '../contacts/contacts.js';
import { completed, type People } from '../contacts/people.js';
import type { Core } from '../core.js';
import { lockRows, readAmong, updateRows } from '../db/rows.js';
import { increment } from '../db/sql.js';
import type { Transaction } from '../db/unit-of-work.js';
import { Session } from '../sessions/session.entity.js';
import { followStatus } from './conversations/track.js';
import { Message } from './message.entity.js';
import { idsIn, presentMessage } from './read/present.js';
import type { Quotas } from './quotas/quotas.js';
import { countChange, type Counted } from './usage/counts.js';
import { responseTime } from './usage/response-time.js';
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
 * session's counters, the quotas and the statistics commit together. If two callers move the same message, the second finds no row to update and changes
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
  /** Changes a message that stays `scheduled` and emits `message.scheduled`. Returns false if it is not scheduled for the same time any more. */
  reschedule(tx: Transaction, message: Message, changes: Partial<Message>): Promise<boolean>;
  /**
   * Queues scheduled messages whose time has come, in order, with their quota. One without quota stays `scheduled` with `QUOTA_WAIT` and is due
   * again half a minute later, or when its grace time is over. Messages that another writer has moved are left alone. Returns how many are queued.
   */
  queueDue(tx: Transaction, messages: readonly Message[], graceMs: number): Promise<number>;
  /**
   * Records an acknowledgement of WhatsApp: 1 sent … 4 played. Statuses may be skipped, and no status is lowered. An acknowledgement proves
   * that the message was sent: a message that was queued again leaves the queue, so that it is not sent twice. `message.sent` is emitted
   * before the first `message.ack`.
   */
  acknowledge(
    tx: Transaction,
    message: Message,
    ack: number,
    options: { whatsappId?: string; contact?: Contact | null; at?: Date; fields?: Partial<Message> },
  ): Promise<void>;
  /**
   * Stops the lookups of an uncertain message, which now waits for a person's decision. Emits `message.uncertain` if the reason is new. `fields`:
   * other columns to change. Returns false if it is no longer uncertain.
   */
  markHeld(tx: Transaction, message: Message, reason: MessageReason, fields?: Partial<Message>): Promise<boolean>;
}

interface Parts {
  contacts: Pick<Contacts, 'people' | 'formsOf'>;
  quotas: Quotas;
  /** Called in the transaction of each change of a message's status, after its event. The session's row is locked. */
  onMoved?: (tx: Transaction, message: Message) => Promise<void>;
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
    reschedule: (tx, message, changes) => reschedule(context, tx, message, changes),
    queueDue: (tx, messages, graceMs) => queueDue(context, tx, messages, graceMs),
    acknowledge: (tx, message, ack, options) => acknowledge(context, tx, message, ack, options),
    markHeld: (tx, message, reason, fields) => markHeld(context, tx, message, reason, fields),
  };
}

async function move(context: Context, tx: Transaction, message: Message, to: MessageStatus, how: Move = {}): Promise<boolean> {
  if (isUnproven(message, to, how)) return endAsUncertain(context, tx, message, to, how);
  const at = how.at ?? context.clock.now();
  const wipesContent = message.sealed !== null && isOver(to);
  const changes = changesOf(to, at, wipesContent, how);
  await lockRows(tx, Session, [message.sessionId]);
  if (isFirstAck(message.status, to)) changes.responseMs = await responseTime(context, tx, message);
  const before = await updateStatus(tx, message, to, changes, how);
  if (before === null) {
    if (!(await isUnprovenByNow(tx, message, to, how))) return false;
    return endAsUncertain(context, tx, Object.assign(message, { hasUncertainAttempt: true }), to, how);
  }
  const previous = before.status;
  // Messages of a bulk job share its file, which is deleted with the content of the job.
  if (wipesContent && message.mediaId && message.bulkJobId === null) await context.wipeFile(tx, message.mediaId);
  Object.assign(message, changes);
  await countInSession(tx, message, previous, to);
  await appendEvent(context, tx, message, to, { ...how, at });
  await countFirstContact(context, tx, message, previous, to, how.reason);
  await countAgainstQuotas(context, tx, message, previous, to);
  await countChange(tx, before, message);
  await followStatus(tx, before, message);
  await context.onMoved?.(tx, message);
  return true;
}

async function requeue(context: Context, tx: Transaction, message: Message, changes: Partial<Message>): Promise<boolean> {
  if ((await updateRows(tx, Message, { id: message.id, status: 'queued' }, changes)) === 0) return false;
  Object.assign(message, changes);
  await appendEvent(context, tx, message, 'queued', { at: context.clock.now() });
  return true;
}

async function reschedule(context: Context, tx: Transaction, message: Message, changes: Partial<Message>): Promise<boolean> {
  const { id, scheduledAt } = message;
  if (scheduledAt === null) return false;
  if ((await updateRows(tx, Message, { id, status: 'scheduled', scheduledAt }, changes)) === 0) return false;
  Object.assign(message, changes);
  await appendEvent(context, tx, message, 'scheduled', { at: context.clock.now() });
  return true;
}

/** How long a message that is due waits before quota is looked for again. */
const quotaRetryMs = 30_000;

async function queueDue(context: Context, tx: Transaction, messages: readonly Message[], graceMs: number): Promise<number> {
  const { clock, quotas } = context;
  const sessionIds = [...new Set(messages.map(({ sessionId }) => sessionId))];
  await lockRows(tx, Session, sessionIds);
  const due: Message[] = [];
  // Closes: two backends find the same message, or it is moved to another time after it was found. The second update meets no row.
  for (const message of messages) {
    const { id, scheduledAt } = message;
    if (scheduledAt === null) continue;
    const changes = {
      status: 'queued',
      queuedAt: clock.now(),
      nextAttemptAt: scheduledAt,
      reasonCode: null,
      reasonText: null,
    } as const;
    const isMoved = (await updateRows(tx, Message, { id, status: 'scheduled', scheduledAt }, changes)) === 1;
    if (isMoved) due.push(Object.assign({ ...message }, changes));
  }
  const before = new Map(messages.map((message) => [message.id, countedOf(message)]));
  const sessions = new Map((await readAmong(tx.manager, Session, 'id', sessionIds)).map((session) => [session.id, session]));
  const refused = await quotas.reserve(
    tx,
    due.map((message) => ({ session: sessions.get(message.sessionId)!, message })),
  );
  for (const message of due) {
    const { id, quotaDay, cost } = message;
    const refusal = refused.get(message);
    if (refusal) {
      const isMissedAt = message.scheduledAt!.getTime() + graceMs + 1;
      const nextAttemptAt = new Date(Math.min(clock.now().getTime() + quotaRetryMs, isMissedAt));
      const waits = {
        status: 'scheduled',
        queuedAt: null,
        nextAttemptAt,
        reasonCode: 'QUOTA_WAIT',
        reasonText: refusal.message,
      } as const;
      await updateRows(tx, Message, { id }, waits);
      continue;
    }
    await updateRows(tx, Message, { id }, { quotaDay, cost });
    await appendEvent(context, tx, message, 'queued', { at: clock.now() });
    await countChange(tx, before.get(id)!, message);
  }
  return due.length - refused.size;
}

async function acknowledge(
  context: Context,
  tx: Transaction,
  message: Message,
  ack: number,
  options: { whatsappId?: string; contact?: Contact | null; at?: Date; fields?: Partial<Message> },
): Promise<void> {
  const to = statusOfAck(ack);
  if (!to) return;
  const at = options.at ?? context.clock.now();
  const fields: Partial<Message> = {
    ...options.fields,
    ...(options.whatsappId && !message.whatsappId ? { whatsappId: options.whatsappId, nextAttemptAt: null } : {}),
  };
  if (message.status === 'queued') await move(context, tx, message, 'sending', { from: ['queued'] });
  const isFirst = ackOfStatus(message.status) === 0;
  if (isFirst) await move(context, tx, message, 'sent', { fields, at });
  if (to !== 'sent') await move(context, tx, message, to, { fields, contact: options.contact ?? null, at });
}

async function markHeld(
  context: Context,
  tx: Transaction,
  message: Message,
  reason: MessageReason,
  fields: Partial<Message> = {},
): Promise<boolean> {
  const keepsReason = message.reasonCode !== null && !uncertainReasons.has(message.reasonCode);
  const reasonFields = keepsReason ? {} : { reasonCode: reason, reasonText: messageReasons[reason] };
  const changes = { ...fields, ...reasonFields, nextAttemptAt: null };
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
const isOver = (status: MessageStatus): boolean => !['scheduled', 'queued', 'sending', 'uncertain'].includes(status);

/**
 * Whether a message would end although an earlier attempt may have been sent. Only a person's explicit decision or a proof makes such a
 * message `failed` or `cancelled`.
 */
const isUnproven = (message: Message, to: MessageStatus, how: Move): boolean =>
  message.hasUncertainAttempt && needsProof(to, how);

const needsProof = (to: MessageStatus, { reason, fields }: Move): boolean =>
  (to === 'failed' || to === 'cancelled') && fields?.hasUncertainAttempt !== false && reason !== 'SETTLED_AS_FAILED';

/** Closes: after `message` was read, it was sent with an unknown outcome and queued again. */
async function isUnprovenByNow(
  tx: Transaction,
  { id, hasUncertainAttempt }: Message,
  to: MessageStatus,
  how: Move,
): Promise<boolean> {
  if (hasUncertainAttempt || !needsProof(to, how)) return false;
  return tx.manager.existsBy(Message, { id, hasUncertainAttempt: true });
}

/** Ends a message whose earlier attempt may have been sent: it becomes `uncertain`, is looked up once more, and then waits for a person. */
function endAsUncertain(
  context: Context,
  tx: Transaction,
  message: Message,
  to: MessageStatus,
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

/** Whether the move is the first acknowledgement of a message. */
const isFirstAck = (previous: MessageStatus, to: MessageStatus): boolean => ackOfStatus(to) > 0 && ackOfStatus(previous) === 0;

/** Returns the message as it was before it moved; null if it did not move. */
async function updateStatus(
  tx: Transaction,
  message: Message,
  to: MessageStatus,
  changes: Partial<Message>,
  how: Move,
): Promise<Counted | null> {
  const { from } = how;
  const sources = messageSources(to).filter((source) => !from || from.includes(source));
  const where = { ...how.where, ...(needsProof(to, how) ? { hasUncertainAttempt: false } : {}), id: message.id };
  const updateFrom = async (status: MessageStatus): Promise<boolean> =>
    sources.includes(status) && (await updateRows(tx, Message, { ...where, status }, changes)) > 0;
  if (await updateFrom(message.status)) return countedOf(message);
  // Another writer moved it after it was read. The counters must follow from its present status.
  const select = { id: true, status: true, reasonCode: true, cost: true, responseMs: true } as const;
  const current = await tx.manager.findOne(Message, { where: { id: message.id }, select });
  if (!current || current.status === message.status) return null;
  if (!isFirstAck(current.status, to)) delete changes.responseMs;
  if (!(await updateFrom(current.status))) return null;
  const { status, reasonCode, cost, responseMs } = current;
  message.responseMs = responseMs;
  return { ...countedOf(message), status, reasonCode, cost, responseMs };
}

/** Names each field: a copy of the whole row by `...` is slow. */
const countedOf = (message: Message): Counted => ({
  accountId: message.accountId,
  sessionId: message.sessionId,
  createdAt: message.createdAt,
  direction: message.direction,
  type: message.type,
  status: message.status,
  reasonCode: message.reasonCode,
  cost: message.cost,
  responseMs: message.responseMs,
});

/** Updates the session's counters. A message counts as sent once, at its first acknowledgement. */
async function countInSession(tx: Transaction, message: Message, previous: MessageStatus, to: MessageStatus): Promise<void> {
  if (message.direction === 'inbound') return;
  const column = isFirstAck(previous, to) ? 'sentCount' : to === 'failed' ? 'failedCount' : null;
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
  const people = (): Promise<People> => contacts.people(idsIn(message), tx.manager);
  const whole = async (): Promise<MessageResource> => presentMessage(message, await people());
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
        data: async () => {
          const known = await people();
          const { chat, contact: recipient } = presentMessage(message, known);
          return {
            id: message.id,
            whatsappId: message.whatsappId,
            status: to,
            ack: ackOfStatus(to),
            contact: contact ? completed(contact, message.sessionId, known) : recipient,
            at: at.toISOString(),
            chat,
          };
        },
      }));
    case 'failed':
      return void (await events.append(tx, {
        ...about,
        type: 'message.failed',
        data: async () => ({
          ...(await whole()),
          retryable: reason !== null && retryableReasons.has(reason),
          willRetryAt: willRetryAt?.toISOString() ?? null,
        }),
      }));
    case 'scheduled':
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
  const isReleased = (status: MessageStatus): boolean => ['scheduled', 'failed', 'cancelled'].includes(status);
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
