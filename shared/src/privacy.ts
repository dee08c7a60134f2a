import { wordOf } from './fold.js';
import type { ObservedMessage } from './observed.js';
import type { Contact } from './resources.js';
import type { WorkerEventPayload, WorkerEventType } from './worker-api.js';

/** Removes the content from the payload of one event type; `as is`: the payload has no content. */
type Strip<T extends WorkerEventType> =
  'as is' | ((payload: WorkerEventPayload<T>, keywords: ReadonlySet<string>) => WorkerEventPayload<T>);

const nameless = <T extends { name: string | null } | null>(one: T): T => (one ? { ...one, name: null } : one);
const withoutNames = <T extends { chat: { name: string | null }; contact: Contact | null }>(payload: T): T => ({
  ...payload,
  chat: nameless(payload.chat),
  contact: nameless(payload.contact),
});

const bareMessage = (message: ObservedMessage, keywords: ReadonlySet<string>): ObservedMessage => ({
  ...withoutNames(message),
  thumbnail: null,
  content: message.content.type === 'withheld' ? message.content : withheld(message.content, keywords),
  mentions: [],
  groupMentions: [],
  ...(message.reactions ? { reactions: message.reactions.map((one) => ({ ...one, contact: nameless(one.contact) })) } : {}),
});

type Withheld = Extract<ObservedMessage['content'], { type: 'withheld' }>;
function withheld(content: Exclude<ObservedMessage['content'], Withheld>, keywords: ReadonlySet<string>): Withheld {
  const word = content.type === 'text' ? wordOf(content.message) : '';
  return { type: 'withheld', of: content.type, ...(keywords.has(word) ? { keyword: word } : {}) };
}

/**
 * For each type of worker event, how its content is removed in the storage mode `metadata`: text, caption, file, and names of people and chats. A new
 * type does not compile until it is listed here. An emoji stays, because an empty one means that the reaction was removed. The chosen options
 * of a vote are removed, because their texts are content of the poll.
 */
const strips: { [T in WorkerEventType]: Strip<T> } = {
  'session.observed': 'as is',
  'session.account': 'as is',
  'session.qr': 'as is',
  'session.pairing_code': 'as is',
  'session.heal': 'as is',
  'session.recycled': 'as is',
  'session.backfill': 'as is',
  'session.caught_up': 'as is',
  'message.observed': (payload, keywords) => ({ ...payload, message: bareMessage(payload.message, keywords) }),
  'message.thumbnail': (payload) => ({ ...payload, chat: nameless(payload.chat), thumbnail: null }),
  'message.ack': (payload) => ({ ...payload, chat: nameless(payload.chat), participant: nameless(payload.participant) }),
  'message.edited': (payload) => ({ ...payload, chat: nameless(payload.chat), text: null }),
  'message.revoked': (payload) => ({ ...payload, chat: nameless(payload.chat) }),
  'message.marked': (payload) => ({ ...payload, chat: nameless(payload.chat) }),
  'message.reaction': withoutNames,
  'poll.vote': (payload) => ({ ...withoutNames(payload), options: [] }),
  'chat.updated': (payload) => ({ ...payload, chat: nameless(payload.chat) }),
  'presence.observed': withoutNames,
  'group.participants': ({ participants, ...payload }) => ({
    ...payload,
    group: nameless(payload.group),
    participants: participants.map(nameless),
    by: nameless(payload.by),
  }),
  'group.updated': (payload) => ({ ...payload, group: nameless(payload.group), value: null, by: nameless(payload.by) }),
  'group.membership_request': (payload) => ({
    ...payload,
    group: nameless(payload.group),
    contact: nameless(payload.contact),
  }),
  'contact.observed': ({ contact }) => ({ contact: nameless(contact) }),
  'call.received': (payload) => ({ ...payload, contact: nameless(payload.contact) }),
};

const noKeywords: ReadonlySet<string> = new Set();

/** Returns the payload as the storage mode `metadata` keeps it. Of a text that is one of these keywords, it says which one. */
export function withoutContent<T extends WorkerEventType>(
  type: T,
  payload: WorkerEventPayload<T>,
  keywords: ReadonlySet<string> = noKeywords,
): WorkerEventPayload<T> {
  const strip = strips[type] as Strip<T>;
  return strip === 'as is' ? payload : strip(payload, keywords);
}

/** Replaces the name of a person who was erased on request in stored values. */
export const erased = 'erased';
