import type { ChatRef, Contact } from '@chasqui/shared';
import type { EngineSignal } from '../engine.js';
import { createEventQueue, type EventQueue } from './event-queue.js';
import type { ChatChange } from './guard.js';
import type { Identities } from './identities.js';
import type { LibraryClient } from './library.js';
import { presenceReport } from './presence.js';
import { thumbnailIn, thumbnailOf } from './thumbnail.js';
import { happenedAt } from './time.js';
import {
  chatIdOf,
  chatTypeOf,
  idText,
  idsOf,
  isEdit,
  isFromMe,
  keyOf,
  observeAny,
  personOf,
  whatsappIdOf,
  type RawMessage,
} from './translate.js';

/**
 * Converts the library's events to signals of the engine. Handlers are idempotent, because `ready` repeats after a reload and acks repeat. An event
 * that cannot be read does not stop later ones.
 */
export interface Listener {
  /** The page reports a change of a chat, for which the library would read the whole chat again. */
  chatChanged(id: string, change: ChatChange, unreadCount: number | null): void;
  /** The page reports that the names of these contacts changed. Emits one event for each real change. */
  contactsChanged(ids: unknown): void;
  /** The page reports that a person in a followed chat became available, is typing, and so on. */
  presenceChanged(report: unknown): void;
  /** A message that the library could not convert, or for which it emits no event. */
  messageCreated(raw: unknown): void;
  /** An older message that the phone has sent on request. */
  historyCreated(raw: unknown): void;
  /** The page reports that a message was starred or pinned, or the end of either. */
  marksChanged(report: Record<string, unknown>): void;
  /** The author of a calendar event has changed it. */
  calendarEventChanged(raw: unknown): void;
  /** Resolves when all events so far have been emitted. */
  drained(): Promise<void>;
}

interface ListenOptions {
  identities: Identities;
  /** The chats whose presence is followed; reports about others are dropped. */
  presence: ReadonlySet<string>;
  onSignal: (signal: EngineSignal) => void;
  isOver: () => boolean;
  /** Whether a send with this key is running. */
  isInFlight: (key: string) => boolean;
  /** The group participant with the newest receipt of this level, who caused the ack. Null: unknown. */
  lastReceipt: (whatsappId: string, ack: number) => Promise<string | null>;
  onReady: () => Promise<void>;
  onGone: (reason: 'LOGGED_OUT_BY_PHONE' | 'CONFLICT' | 'AUTH_FAILURE', detail: string) => void;
  /** An event could not be read, completely or in part. `what` is its name. Later events are processed. */
  onUnreadable: (what: string, error: unknown) => void;
}

interface ListenContext extends ListenOptions {
  /** Reading contacts from the page takes time, so one queue keeps the events in their order. */
  queue: EventQueue;
}

/** How long one event waits until the page returns the contacts of its ids. */
const identifyMs = 5_000;
const maxPeople = 2_000;

/** WhatsApp shows the first code for a minute and each later one for 20 seconds; every code is reported with the shorter time. */
const codeLifeMs = 20_000;
/** The maximum number of bytes of a QR code. */
const maxCode = 2_953;

/** One function for each event of the library that the worker uses. An error is reported, and later events are processed. */
const handlers: Record<string, (context: ListenContext, ...args: unknown[]) => void> = {
  qr: showCode,
  ready: ({ onReady }) => void onReady(),
  auth_failure: ({ onGone }, why) => onGone('AUTH_FAILURE', String(why)),
  disconnected: ({ onGone }, why) => {
    if (why === 'CONFLICT') onGone('CONFLICT', 'WhatsApp Web was opened elsewhere.');
    else if (why === 'LOGOUT') onGone('LOGGED_OUT_BY_PHONE', 'The library reported a logout.');
  },
  message_create: (context, message) => messageCreated(context, message),
  message_ciphertext: (context, message) => messageCreated(context, message),
  message_ack: messageAcked,
  message_edit: messageEdited,
  message_revoke_everyone: messageRevoked,
  message_reaction: reactionChanged,
  vote_update: voteChanged,
  call: callReceived,
  group_join: (context, notice) => participantsChanged(context, 'group_join', notice),
  group_leave: (context, notice) => participantsChanged(context, 'group_leave', notice),
  group_admin_changed: (context, notice) => participantsChanged(context, 'group_admin_changed', notice),
  group_update: groupUpdated,
  group_membership_request: membershipRequested,
};

/** Subscribes to all events of `handlers`. Emits nothing once `isOver` returns true. */
export function listen(client: LibraryClient, options: ListenOptions): Listener {
  const { isOver, onUnreadable } = options;
  const queue = createEventQueue({ isOver, prepareMs: identifyMs, onSkipped: onUnreadable });
  const context: ListenContext = { ...options, queue };
  const guarded = (what: string, handle: () => void): void => {
    if (isOver()) return;
    try {
      handle();
    } catch (error) {
      onUnreadable(what, error);
    }
  };
  for (const [event, handle] of Object.entries(handlers))
    client.on(event, (...args: unknown[]) => guarded(event, () => handle(context, ...args)));
  return {
    chatChanged: (id, change, unreadCount) => {
      if (!isOver()) chatChanged(context, id, change, unreadCount);
    },
    presenceChanged: (report) => guarded('presence', () => presenceChanged(context, report)),
    contactsChanged: (ids) => guarded('contact', () => contactsChanged(context, idsOf(ids))),
    messageCreated: (raw) => guarded('message_create', () => messageCreated(context, raw)),
    historyCreated: (raw) => guarded('history', () => messageCreated(context, raw, 'asked')),
    // Its message is recorded already, so it is compared with that.
    marksChanged: (report) => guarded('marks', () => marksChanged(context, report)),
    calendarEventChanged: (raw) => guarded('event_change', () => messageCreated(context, raw, 'compare')),
    drained: queue.drained,
  };
}

type Fields = Record<string, unknown>;
const fields = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});
const rawOf = (message: unknown): RawMessage => fields(fields(message)['_data'] ?? message);

/** Emits an event after the contacts of its people and chats were read. `what` names the event in reports. */
function inOrder({ queue, identities }: ListenContext, what: string, ids: readonly (string | null)[], emit: () => void): void {
  queue.push(what, () => identities.learn(ids.slice(0, maxPeople)), emit);
}

const chatRef = ({ identities }: ListenContext, id: string): ChatRef => ({
  id,
  type: chatTypeOf(id),
  name: identities.name(id),
});
const contactOf = ({ identities }: ListenContext, id: string | null): Contact | null => (id ? identities.contact(id) : null);

/** The fields that every event of a message has. */
const aboutMessage = (context: ListenContext, raw: RawMessage) => ({
  whatsappId: whatsappIdOf(raw),
  key: keyOf(raw),
  fromMe: isFromMe(raw),
  chat: chatRef(context, chatIdOf(raw)),
  at: new Date().toISOString(),
});

function showCode({ onSignal }: ListenContext, text: unknown): void {
  if (typeof text !== 'string' || text.length > maxCode) throw new Error('The page returned no valid QR code.');
  onSignal({ type: 'qr', text, expiresAt: new Date(Date.now() + codeLifeMs) });
}

/** Reports any message that the page shows in a chat. A placeholder is reported again, under the same key, when its content arrives. */
function messageCreated(context: ListenContext, message: unknown, origin: 'live' | 'asked' | 'compare' = 'live'): void {
  const { identities, onSignal, onUnreadable, isInFlight } = context;
  const raw = rawOf(message);
  // A running send reports its own message. Only messages of the account are skipped: another sender may choose the same key.
  if (isFromMe(raw) && isInFlight(keyOf(raw))) return thumbnailShown(context, raw, thumbnailOf(raw));
  inOrder(context, 'message_create', [chatIdOf(raw), personOf(raw)], () => {
    const { message, error } = observeAny(raw, identities.contact, identities.name);
    if (error !== null) onUnreadable('message_create', error);
    onSignal({ type: 'event', event: 'message.observed', payload: { message, origin } });
  });
}

/** Reports the thumbnail of a message that is not reported as observed with it: one of a running send, or one that was observed without it. */
function thumbnailShown(context: ListenContext, raw: RawMessage, thumbnail: string | null): void {
  if (thumbnail === null) return;
  inOrder(context, 'thumbnail', [chatIdOf(raw)], () =>
    context.onSignal({ type: 'event', event: 'message.thumbnail', payload: { ...aboutMessage(context, raw), thumbnail } }),
  );
}

/** Reports an ack of a message that the account sent. In a group, the participant whose receipt caused it is read from the page. */
function messageAcked(context: ListenContext, message: unknown, ack: unknown): void {
  const { queue, identities, onSignal, lastReceipt } = context;
  const raw = rawOf(message);
  if (!isFromMe(raw) || typeof ack !== 'number') return;
  const chat = chatIdOf(raw);
  const kind = chatTypeOf(chat);
  let reader = kind === 'private' ? chat : null;
  const prepare = async (): Promise<boolean> => {
    if (kind === 'group' && ack >= 2) reader = await lastReceipt(whatsappIdOf(raw), ack);
    return identities.learn([chat, reader]);
  };
  queue.push('message_ack', prepare, () => {
    const payload = { ...aboutMessage(context, raw), ack, participant: contactOf(context, reader) };
    onSignal({ type: 'event', event: 'message.ack', payload });
  });
}

function messageEdited(context: ListenContext, message: unknown, body: unknown, before: unknown): void {
  const raw = rawOf(message);
  if (!isEdit(raw, body, before)) return thumbnailShown(context, raw, thumbnailIn(raw, body));
  inOrder(context, 'message_edit', [chatIdOf(raw)], () => {
    // The page's time of the edit is also in the message, so an edit that backfill reads again is recognised as the same.
    const at = happenedAt(raw['latestEditSenderTimestampMs']);
    const payload = { ...aboutMessage(context, raw), text: typeof body === 'string' ? body : null, at };
    context.onSignal({ type: 'event', event: 'message.edited', payload });
  });
}

function messageRevoked(context: ListenContext, message: unknown): void {
  const raw = rawOf(message);
  inOrder(context, 'message_revoke_everyone', [chatIdOf(raw)], () =>
    context.onSignal({ type: 'event', event: 'message.revoked', payload: aboutMessage(context, raw) }),
  );
}

function marksChanged(context: ListenContext, { message, starred, pinnedUntil }: Fields): void {
  const raw = rawOf(message);
  inOrder(context, 'marks', [chatIdOf(raw)], () => {
    const payload = {
      ...aboutMessage(context, raw),
      ...(typeof starred === 'boolean' ? { starred } : {}),
      ...(typeof pinnedUntil === 'string' || pinnedUntil === null ? { pinnedUntil } : {}),
    };
    context.onSignal({ type: 'event', event: 'message.marked', payload });
  });
}

function reactionChanged(context: ListenContext, event: unknown): void {
  const reaction = fields(event);
  const raw = { id: fields(reaction['msgId']) };
  const sender = idText(reaction['senderId']);
  const emoji = typeof reaction['reaction'] === 'string' && reaction['reaction'] !== '' ? reaction['reaction'] : null;
  inOrder(context, 'message_reaction', [chatIdOf(raw), sender], () => {
    const payload = { ...aboutMessage(context, raw), contact: contactOf(context, sender), emoji };
    context.onSignal({ type: 'event', event: 'message.reaction', payload });
  });
}

function voteChanged(context: ListenContext, event: unknown): void {
  const vote = fields(event);
  const raw = { id: fields(vote['parentMsgKey']) };
  const voter = idText(vote['voter']);
  const chosen: unknown[] = Array.isArray(vote['selectedOptions']) ? vote['selectedOptions'].slice(0, 100) : [];
  const options = chosen.flatMap((option) => (typeof fields(option)['name'] === 'string' ? String(fields(option)['name']) : []));
  inOrder(context, 'vote_update', [chatIdOf(raw), voter], () => {
    const payload = { ...aboutMessage(context, raw), contact: contactOf(context, voter), options };
    context.onSignal({ type: 'event', event: 'poll.vote', payload });
  });
}

function callReceived(context: ListenContext, event: unknown): void {
  const call = fields(event);
  if (call['fromMe'] === true) return;
  const caller = idText(call['from']);
  inOrder(context, 'call', [caller], () =>
    context.onSignal({
      type: 'event',
      event: 'call.received',
      payload: {
        callId: String(call['id'] ?? ''),
        contact: contactOf(context, caller),
        isVideo: call['isVideo'] === true,
        isGroup: call['isGroup'] === true,
        at: new Date().toISOString(),
      },
    }),
  );
}

function chatChanged(context: ListenContext, id: string, change: ChatChange, unreadCount: number | null): void {
  inOrder(context, 'chat', [id], () =>
    context.onSignal({ type: 'event', event: 'chat.updated', payload: { chat: chatRef(context, id), change, unreadCount } }),
  );
}

function contactsChanged({ queue, identities, onSignal }: ListenContext, ids: readonly string[]): void {
  let changed: Contact[] = [];
  queue.push(
    'contact',
    async () => {
      changed = await identities.refresh(ids);
      return true;
    },
    () => {
      for (const contact of changed) onSignal({ type: 'event', event: 'contact.observed', payload: { contact } });
    },
  );
}

/** Reports presence in followed chats. A chat may be followed under the person's other id, so both ids of the contact are compared. */
function presenceChanged(context: ListenContext, report: unknown): void {
  const { presence, identities, onSignal } = context;
  const reported = presenceReport(report);
  if (!reported) throw new Error('The page returned no valid presence.');
  const { chat, person, state, lastSeen } = reported;
  const at = new Date().toISOString();
  inOrder(context, 'presence', [chat, person], () => {
    const contact = identities.contact(person);
    const names = [chat, ...(chat === person ? [contact.id, contact.lid] : [])];
    if (!names.some((name) => name !== null && presence.has(name))) return;
    const payload = {
      chat: chatRef(context, chat),
      contact,
      state,
      lastSeen: lastSeen === null ? null : happenedAt(lastSeen),
      at,
    };
    onSignal({ type: 'event', event: 'presence.observed', payload });
  });
}

/** WhatsApp's names for changes of a group's participants. */
const participantActions: Record<string, 'join' | 'leave' | 'add' | 'remove' | 'promote' | 'demote'> = {
  add: 'add',
  invite: 'join',
  linked_group_join: 'join',
  remove: 'remove',
  leave: 'leave',
  promote: 'promote',
  demote: 'demote',
};

/** Reads the fields of a group notice of the library. */
function readNotice(event: unknown) {
  const notice = fields(event);
  return {
    group: idText(notice['chatId']) ?? '',
    people: idsOf(notice['recipientIds']),
    by: idText(notice['author']),
    at: happenedAt(notice['timestamp']),
    subtype: String(notice['type'] ?? ''),
    body: typeof notice['body'] === 'string' ? notice['body'] : null,
  };
}
const groupRef = ({ identities }: ListenContext, id: string) => ({ id, type: 'group' as const, name: identities.name(id) });

function participantsChanged(context: ListenContext, event: string, notice: unknown): void {
  const { group, people, by, at, subtype } = readNotice(notice);
  const action = Object.hasOwn(participantActions, subtype) ? participantActions[subtype] : undefined;
  if (!action) return;
  inOrder(context, event, [group, by, ...people], () => {
    const participants = people.map(context.identities.contact);
    const payload = { group: groupRef(context, group), action, participants, by: contactOf(context, by), at };
    context.onSignal({ type: 'event', event: 'group.participants', payload });
  });
}

function groupUpdated(context: ListenContext, notice: unknown): void {
  const { group, by, at, subtype, body } = readNotice(notice);
  inOrder(context, 'group_update', [group, by], () => {
    const payload = { group: groupRef(context, group), change: subtype, value: body, by: contactOf(context, by), at };
    context.onSignal({ type: 'event', event: 'group.updated', payload });
  });
}

function membershipRequested(context: ListenContext, notice: unknown): void {
  const { group, by, at } = readNotice(notice);
  if (!by) return;
  inOrder(context, 'group_membership_request', [group, by], () => {
    const payload = { group: groupRef(context, group), contact: context.identities.contact(by), at };
    context.onSignal({ type: 'event', event: 'group.membership_request', payload });
  });
}
