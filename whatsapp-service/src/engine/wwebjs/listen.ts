import type { Contact } from '@chasqui/shared';
import type { EngineSignal } from '../engine.js';
import { createEventQueue } from './event-queue.js';
import type { ChatChange } from './guard.js';
import type { Identities } from './identities.js';
import type { LibraryClient } from './library.js';
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

interface Listening {
  identities: Identities;
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

/** How long one event waits until the page returns the contacts of its ids. */
const identifyMs = 5_000;
const maxPeople = 2_000;

/** WhatsApp shows the first code for a minute and each later one for 20 seconds; every code is reported with the shorter time. */
const codeLifeMs = 20_000;
/** The maximum number of bytes of a QR code. */
const maxCode = 2_953;

type Fields = Record<string, unknown>;
const fields = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});
const rawOf = (message: unknown): RawMessage => fields(fields(message)['_data'] ?? message);

/**
 * Converts the library's events to signals. Reading contacts from the page takes time, so one queue keeps the events in their order.
 * Handlers are idempotent: `ready` repeats after a reload, acks repeat. Each event fails alone.
 */
export function listen(
  client: LibraryClient,
  { identities, onSignal, isOver, isInFlight, lastReceipt, onReady, onGone, onUnreadable }: Listening,
) {
  const queue = createEventQueue({ isOver, prepareMs: identifyMs, onSkipped: onUnreadable });
  const inOrder: InOrder = (what, ids, emit) => queue.push(what, () => identities.learn(ids.slice(0, maxPeople)), emit);
  const guarded = (what: string, handle: () => void): void => {
    if (isOver()) return;
    try {
      handle();
    } catch (error) {
      onUnreadable(what, error);
    }
  };
  const on = (event: string, handler: (...args: unknown[]) => void): void => {
    client.on(event, (...args: unknown[]) => guarded(event, () => handler(...args)));
  };
  const chatRef = (id: string) => ({ id, type: chatTypeOf(id), name: identities.name(id) });
  const aboutMessage = (raw: RawMessage) => ({
    whatsappId: whatsappIdOf(raw),
    key: keyOf(raw),
    fromMe: isFromMe(raw),
    chat: chatRef(chatIdOf(raw)),
    at: new Date().toISOString(),
  });
  const contactOf = (id: string | null) => (id ? identities.contact(id) : null);

  on('qr', (text) => {
    if (typeof text !== 'string' || text.length > maxCode) throw new Error('The page returned no valid QR code.');
    onSignal({ type: 'qr', text, expiresAt: new Date(Date.now() + codeLifeMs) });
  });
  on('ready', () => void onReady());
  on('auth_failure', (why) => onGone('AUTH_FAILURE', String(why)));
  on('disconnected', (why) =>
    why === 'CONFLICT'
      ? onGone('CONFLICT', 'WhatsApp Web was opened elsewhere.')
      : why === 'LOGOUT'
        ? onGone('LOGGED_OUT_BY_PHONE', 'The library reported a logout.')
        : undefined,
  );

  /** Any message that the page shows in a chat. A placeholder repeats under the same key once its content has arrived. */
  function messageCreated(given: unknown): void {
    const raw = rawOf(given);
    // The sender of a message chooses its key and may choose one of ours, so only an own message is left to its running send.
    if (isFromMe(raw) && isInFlight(keyOf(raw))) return;
    inOrder('message_create', [chatIdOf(raw), personOf(raw)], () => {
      const { message, error } = observeAny(raw, identities.contact, identities.name);
      if (error !== null) onUnreadable('message_create', error);
      onSignal({ type: 'event', event: 'message.observed', payload: { message, origin: 'live' } });
    });
  }
  on('message_create', messageCreated);
  on('message_ciphertext', messageCreated);
  on('message_ack', (message, ack) => {
    const raw = rawOf(message);
    if (!isFromMe(raw) || typeof ack !== 'number') return;
    const chat = chatIdOf(raw);
    const kind = chatTypeOf(chat);
    let reader = kind === 'private' ? chat : null;
    const prepare = async (): Promise<boolean> => {
      if (kind === 'group' && ack >= 2) reader = await lastReceipt(whatsappIdOf(raw), ack);
      return identities.learn([chat, reader]);
    };
    queue.push('message_ack', prepare, () =>
      onSignal({ type: 'event', event: 'message.ack', payload: { ...aboutMessage(raw), ack, participant: contactOf(reader) } }),
    );
  });
  on('message_edit', (message, body, before) => {
    const raw = rawOf(message);
    if (!isEdit(raw, body, before)) return;
    inOrder('message_edit', [chatIdOf(raw)], () =>
      onSignal({
        type: 'event',
        event: 'message.edited',
        payload: { ...aboutMessage(raw), text: typeof body === 'string' ? body : null },
      }),
    );
  });
  on('message_revoke_everyone', (message) => {
    const raw = rawOf(message);
    inOrder('message_revoke_everyone', [chatIdOf(raw)], () =>
      onSignal({ type: 'event', event: 'message.revoked', payload: aboutMessage(raw) }),
    );
  });
  on('message_reaction', (given) => {
    const reaction = fields(given);
    const parent = fields(reaction['msgId']);
    const sender = idText(reaction['senderId']);
    const raw = { id: parent };
    const emoji = typeof reaction['reaction'] === 'string' && reaction['reaction'] !== '' ? reaction['reaction'] : null;
    inOrder('message_reaction', [chatIdOf(raw), sender], () =>
      onSignal({
        type: 'event',
        event: 'message.reaction',
        payload: { ...aboutMessage(raw), contact: contactOf(sender), emoji },
      }),
    );
  });
  on('vote_update', (given) => {
    const vote = fields(given);
    const raw = { id: fields(vote['parentMsgKey']) };
    const voter = idText(vote['voter']);
    const chosen: unknown[] = Array.isArray(vote['selectedOptions']) ? vote['selectedOptions'].slice(0, 100) : [];
    const options = chosen.flatMap((option) =>
      typeof fields(option)['name'] === 'string' ? String(fields(option)['name']) : [],
    );
    inOrder('vote_update', [chatIdOf(raw), voter], () =>
      onSignal({ type: 'event', event: 'poll.vote', payload: { ...aboutMessage(raw), contact: contactOf(voter), options } }),
    );
  });
  on('call', (given) => {
    const call = fields(given);
    if (call['fromMe'] === true) return;
    const caller = idText(call['from']);
    inOrder('call', [caller], () =>
      onSignal({
        type: 'event',
        event: 'call.received',
        payload: {
          callId: String(call['id'] ?? ''),
          contact: contactOf(caller),
          isVideo: call['isVideo'] === true,
          isGroup: call['isGroup'] === true,
          at: new Date().toISOString(),
        },
      }),
    );
  });
  listenToGroups(on, inOrder, { identities, onSignal });

  function chatChanged(id: string, change: ChatChange, unreadCount: number | null): void {
    if (isOver()) return;
    inOrder('chat', [id], () =>
      onSignal({ type: 'event', event: 'chat.updated', payload: { chat: chatRef(id), change, unreadCount } }),
    );
  }
  /** The page reports that the names of these contacts changed. Emits one event for each real change. */
  function contactsChanged(ids: readonly string[]): void {
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
  return {
    chatChanged,
    contactsChanged: (ids: unknown): void => guarded('contact', () => contactsChanged(idsOf(ids))),
    /** A message that the library could not convert, or for which it emits no message. */
    messageCreated: (raw: unknown): void => guarded('message_create', () => messageCreated(raw)),
    /** Resolves when all events so far have been emitted. */
    drained: queue.drained,
  };
}

/** `what` names the event in reports, `ids` are the people and chats in it. */
type InOrder = (what: string, ids: readonly (string | null)[], emit: () => void) => void;

const actions: Record<string, 'join' | 'leave' | 'add' | 'remove' | 'promote' | 'demote'> = {
  add: 'add',
  invite: 'join',
  linked_group_join: 'join',
  remove: 'remove',
  leave: 'leave',
  promote: 'promote',
  demote: 'demote',
};

function listenToGroups(
  on: (event: string, handler: (...args: unknown[]) => void) => void,
  inOrder: InOrder,
  { identities, onSignal }: Pick<Listening, 'identities' | 'onSignal'>,
): void {
  const read = (given: unknown) => {
    const notice = fields(given);
    const group = idText(notice['chatId']) ?? '';
    const people = idsOf(notice['recipientIds']);
    return {
      notice,
      group,
      people,
      by: idText(notice['author']),
      at: happenedAt(notice['timestamp']),
      subtype: String(notice['type'] ?? ''),
    };
  };
  const groupRef = (id: string) => ({ id, type: 'group' as const, name: identities.name(id) });
  const contactOf = (id: string | null) => (id ? identities.contact(id) : null);

  for (const event of ['group_join', 'group_leave', 'group_admin_changed']) {
    on(event, (given) => {
      const { group, people, by, at, subtype } = read(given);
      const action = Object.hasOwn(actions, subtype) ? actions[subtype] : undefined;
      if (!action) return;
      inOrder(event, [group, by, ...people], () =>
        onSignal({
          type: 'event',
          event: 'group.participants',
          payload: { group: groupRef(group), action, participants: people.map(identities.contact), by: contactOf(by), at },
        }),
      );
    });
  }
  on('group_update', (given) => {
    const { notice, group, by, at, subtype } = read(given);
    const value = typeof notice['body'] === 'string' ? notice['body'] : null;
    inOrder('group_update', [group, by], () =>
      onSignal({
        type: 'event',
        event: 'group.updated',
        payload: { group: groupRef(group), change: subtype, value, by: contactOf(by), at },
      }),
    );
  });
  on('group_membership_request', (given) => {
    const { group, by, at } = read(given);
    if (!by) return;
    inOrder('group_membership_request', [group, by], () =>
      onSignal({
        type: 'event',
        event: 'group.membership_request',
        payload: { group: groupRef(group), contact: identities.contact(by), at },
      }),
    );
  });
}
