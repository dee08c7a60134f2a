import type { ObservedMessage } from './observed.js';
import type { Contact } from './resources.js';
import type { WorkerEventPayload, WorkerEventType } from './worker-api.js';

type Bare = { [T in WorkerEventType]?: (payload: WorkerEventPayload<T>) => WorkerEventPayload<T> };

const nameless = <T extends { name: string | null } | null>(one: T): T => (one ? { ...one, name: null } : one);
const named = <T extends { chat: { name: string | null }; contact: Contact | null }>(payload: T): T => ({
  ...payload,
  chat: nameless(payload.chat),
  contact: nameless(payload.contact),
});

const bareMessage = (message: ObservedMessage): ObservedMessage => ({
  ...named(message),
  content: message.content.type === 'withheld' ? message.content : { type: 'withheld', of: message.content.type },
  mentions: [],
  ...(message.reactions ? { reactions: message.reactions.map((one) => ({ ...one, contact: nameless(one.contact) })) } : {}),
});

/**
 * What remains of a worker event in the storage mode `metadata`: no body, caption, file, or name of a person or chat. The emoji of a reaction
 * remains, because an absent one means that the reaction was removed. The chosen texts of a vote are removed: they are content of the poll.
 */
const bare: Bare = {
  'message.observed': (payload) => ({ ...payload, message: bareMessage(payload.message) }),
  'message.ack': (payload) => ({ ...payload, chat: nameless(payload.chat), participant: nameless(payload.participant) }),
  'message.edited': (payload) => ({ ...payload, chat: nameless(payload.chat), text: null }),
  'message.revoked': (payload) => ({ ...payload, chat: nameless(payload.chat) }),
  'message.reaction': named,
  'poll.vote': (payload) => ({ ...named(payload), options: [] }),
  'chat.updated': (payload) => ({ ...payload, chat: nameless(payload.chat) }),
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

export function withoutContent<T extends WorkerEventType>(type: T, payload: WorkerEventPayload<T>): WorkerEventPayload<T> {
  const strip = bare[type] as ((payload: WorkerEventPayload<T>) => WorkerEventPayload<T>) | undefined;
  return strip ? strip(payload) : payload;
}

/** Replaces the ids of a person who was erased on request. */
export const erased = 'erased';
