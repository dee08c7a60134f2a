import {
  isWorkerEventType,
  withoutContent,
  workerEvents,
  type OutletEvent,
  type WorkerEventPayload,
  type WorkerEventType,
} from '@chasqui/shared';
import type { Contacts, Sighting } from '../contacts/contacts.js';
import type { Core } from '../core.js';
import type { Transaction } from '../db/unit-of-work.js';
import { markRead } from '../messages/conversations/track.js';
import { recordCall } from '../messages/receive/calls.js';
import type { Messages } from '../messages/messages.js';
import type { Arrivals } from '../messages/receive/arrivals.js';
import type { OptOuts } from '../opt-outs/opt-outs.js';
import { recordAccount } from '../sessions/account-limits.js';
import type { Session } from '../sessions/session.entity.js';
import { ownerOf, patchSession, type SessionState } from '../sessions/state.js';
import type { StorageOf } from '../sessions/storage-mode.js';

/** The parts that the handlers of worker events use. */
export interface WorkerEventContext extends Pick<Core, 'events' | 'log' | 'clock'> {
  state: SessionState;
  contacts: Contacts;
  arrivals: Arrivals;
  messages: Pick<Messages, 'acceptOnce'>;
  storageOf: StorageOf;
  optOuts: Pick<OptOuts, 'normalizedKeywords'>;
}

/**
 * Writes the rows and public events of one worker event, in the caller's transaction, which has locked the session. `qrCode` is the picture of
 * the event's QR code, if it has one. Returns null, or the code with which the event is refused. Throws what a handler throws.
 */
export async function writeWorkerEvent(
  context: WorkerEventContext,
  tx: Transaction,
  session: Session,
  event: OutletEvent,
  qrCode: Promise<string> | undefined,
): Promise<string | null> {
  const { type } = event;
  if (!isWorkerEventType(type)) return 'UNKNOWN_EVENT_TYPE';
  const parsed = workerEvents[type].safeParse(event.payload);
  if (!parsed.success) {
    const fields = parsed.error.issues.map((issue) => issue.path.join('.'));
    context.log.error('A worker event does not match its schema.', { eventId: event.id, type, fields });
    return 'VALIDATION_FAILED';
  }
  const isBare = (await context.storageOf(session, tx.manager)) === 'metadata';
  const payload = isBare ? withoutContent(type, parsed.data, await keywordsFor(context, tx, session, type)) : parsed.data;
  // The schema of this type has just parsed the payload.
  await (handlers[type] as Handler<unknown>)(context, tx, session, payload, qrCode);
  return null;
}

/** The worker removes texts itself, once it knows the storage mode. */
const keywordsFor = async (
  { optOuts }: WorkerEventContext,
  tx: Transaction,
  session: Session,
  type: WorkerEventType,
): Promise<ReadonlySet<string>> =>
  new Set(type === 'message.observed' ? await optOuts.normalizedKeywords(session.accountId, tx.manager) : []);

type Handler<Payload> = (
  context: WorkerEventContext,
  tx: Transaction,
  session: Session,
  payload: Payload,
  qrCode: Promise<string> | undefined,
) => Promise<unknown>;

/** One row for each type of event. */
const handlers: { [T in WorkerEventType]: Handler<WorkerEventPayload<T>> } = {
  'session.observed': async ({ state, contacts }, tx, session, payload) => {
    await state.observe(tx, session, payload);
    await contacts.learn(tx, session, [ownSighting(payload)]);
  },
  'session.account': ({ events, clock }, tx, session, payload) => recordAccount({ events, clock }, tx, session, payload),
  'session.qr': async ({ state }, tx, session, payload, qrCode) =>
    state.showQr(tx, session, { ...payload, qrCode: (await qrCode) ?? '' }),
  'session.pairing_code': ({ state }, tx, session, data) => state.showPairingCode(tx, session, data),
  'session.heal': ({ events }, tx, session, data) => events.append(tx, { ...ownerOf(session), type: 'session.heal', data }),
  'session.recycled': async ({ events }, tx, session, data) => {
    await patchSession(tx, session, { recycles: session.recycles + 1 });
    await events.append(tx, { ...ownerOf(session), type: 'session.recycled', data });
  },
  'session.backfill': ({ events }, tx, session, data) =>
    events.append(tx, { ...ownerOf(session), type: 'session.backfill', data }),
  // Stores how far the messages of a session are recorded, for the next worker of the session, which may have nothing of it on its disk.
  'session.caught_up': (_, tx, session, { phoneNumber, at }) =>
    patchSession(tx, session, { caughtUpAt: new Date(at), caughtUpNumber: phoneNumber }),
  'contact.observed': ({ contacts }, tx, session, { contact }) => contacts.learn(tx, session, [{ contact, isNews: true }]),
  'message.observed': ({ arrivals }, tx, session, { message, origin }) => arrivals.observed(tx, session, message, origin),
  'message.thumbnail': ({ arrivals }, tx, session, payload) => arrivals.thumbnailShown(tx, session, payload),
  'message.ack': ({ arrivals }, tx, session, payload) => arrivals.acknowledged(tx, session, payload),
  'message.edited': ({ arrivals }, tx, session, payload) => arrivals.edited(tx, session, payload),
  'message.revoked': ({ arrivals }, tx, session, payload) => arrivals.revoked(tx, session, payload),
  'message.marked': ({ arrivals }, tx, session, payload) => arrivals.marked(tx, session, payload),
  'message.reaction': ({ arrivals }, tx, session, payload) => arrivals.reacted(tx, session, payload),
  'poll.vote': ({ arrivals }, tx, session, payload) => arrivals.voted(tx, session, payload),
  'chat.updated': async ({ events, contacts }, tx, session, data) => {
    await events.append(tx, { ...ownerOf(session), type: 'chat.updated', data });
    // The chat was opened on the phone.
    if (data.unreadCount === 0)
      await markRead(tx, session.id, await contacts.formsOf(session.accountId, data.chat.id, tx.manager));
  },
  'presence.observed': async ({ events, contacts }, tx, session, data) =>
    events.append(tx, { ...ownerOf(session), type: 'presence.changed', data: await contacts.observe(tx, session, data) }),
  'group.participants': async ({ events, contacts }, tx, session, data) =>
    events.append(tx, {
      ...ownerOf(session),
      type: 'group.participants',
      data: await contacts.observe(tx, session, data),
    }),
  'group.updated': async ({ events, contacts }, tx, session, data) =>
    events.append(tx, { ...ownerOf(session), type: 'group.updated', data: await contacts.observe(tx, session, data) }),
  'group.membership_request': async ({ events, contacts }, tx, session, data) =>
    events.append(tx, {
      ...ownerOf(session),
      type: 'group.membership_request',
      data: await contacts.observe(tx, session, data),
    }),
  'call.received': (context, tx, session, call) => recordCall(context, tx, session, call),
};

/** The session's own number and LID are one person too. Its name is the session's `pushName`. */
const ownSighting = ({ phoneNumber, lid }: WorkerEventPayload<'session.observed'>): Sighting | null =>
  phoneNumber && lid ? { contact: { id: lid, phone: `+${phoneNumber.replace(/^\+/, '')}`, lid, name: null } } : null;
