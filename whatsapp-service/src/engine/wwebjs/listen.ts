import type { EngineSignal } from '../engine.js';
import type { ChatChange } from './guard.js';
import type { Identities } from './identities.js';
import type { LibraryClient } from './library.js';
import {
  chatIdOf,
  chatTypeOf,
  idText,
  isEdit,
  isFromMe,
  isNotice,
  keyOf,
  observe,
  personOf,
  timeOf,
  whatsappIdOf,
  type RawMessage,
} from './translate.js';

interface Listening {
  identities: Identities;
  onSignal: (signal: EngineSignal) => void;
  isOver: () => boolean;
  /** Whether this is the key of a send that runs now. */
  isInFlight: (key: string) => boolean;
  onReady: () => Promise<void>;
  lose: (reason: 'LOGGED_OUT_BY_PHONE' | 'CONFLICT' | 'AUTH_FAILURE', detail: string) => void;
}

/** WhatsApp shows a first code for a minute and the next ones for 20 seconds each; a code is told as good for the shorter time. */
const codeLifeMs = 20_000;

type Fields = Record<string, unknown>;
const fields = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});
const rawOf = (message: unknown): RawMessage => fields(fields(message)['_data'] ?? message);

/**
 * The library's events → signals. People behind ids are asked of the page, so that takes a moment; one queue keeps the order in which
 * things happened. Handlers are idempotent: `ready` comes again after a reload, acks repeat.
 */
export function listen(client: LibraryClient, { identities, onSignal, isOver, isInFlight, onReady, lose }: Listening) {
  let tail: Promise<void> = Promise.resolve();
  const inOrder = (ids: readonly (string | null)[], tell: () => void): void => {
    tail = tail.then(async () => {
      if (isOver()) return;
      await identities.learn(ids);
      tell();
    });
  };
  const on = (event: string, handler: (...args: unknown[]) => void): void => {
    client.on(event, (...args: unknown[]) => {
      if (!isOver()) handler(...args);
    });
  };
  const chatRef = (id: string) => ({ id, type: chatTypeOf(id), name: identities.name(id) });
  const aboutMessage = (raw: RawMessage) => ({
    whatsappId: whatsappIdOf(raw),
    key: keyOf(raw),
    chat: chatRef(chatIdOf(raw)),
    at: new Date().toISOString(),
  });
  const contactOf = (id: string | null) => (id ? identities.contact(id) : null);

  on('qr', (text) => onSignal({ type: 'qr', text: String(text), expiresAt: new Date(Date.now() + codeLifeMs) }));
  on('ready', () => void onReady());
  on('auth_failure', (why) => lose('AUTH_FAILURE', String(why)));
  on('disconnected', (why) =>
    why === 'CONFLICT'
      ? lose('CONFLICT', 'WhatsApp Web was opened elsewhere.')
      : why === 'LOGOUT'
        ? lose('LOGGED_OUT_BY_PHONE', 'The library said so.')
        : undefined,
  );

  on('message_create', (message) => {
    const raw = rawOf(message);
    if (isNotice(raw) || isInFlight(keyOf(raw))) return;
    inOrder([chatIdOf(raw), personOf(raw)], () =>
      onSignal({
        type: 'event',
        event: 'message.observed',
        payload: { message: observe(raw, identities.contact, identities.name), origin: 'live' },
      }),
    );
  });
  on('message_ack', (message, ack) => {
    const raw = rawOf(message);
    if (!isFromMe(raw) || typeof ack !== 'number') return;
    const reader = chatTypeOf(chatIdOf(raw)) === 'private' ? chatIdOf(raw) : null;
    inOrder([chatIdOf(raw)], () =>
      onSignal({ type: 'event', event: 'message.ack', payload: { ...aboutMessage(raw), ack, participant: contactOf(reader) } }),
    );
  });
  on('message_edit', (message, body, before) => {
    const raw = rawOf(message);
    if (!isEdit(raw, body, before)) return;
    inOrder([chatIdOf(raw)], () =>
      onSignal({
        type: 'event',
        event: 'message.edited',
        payload: { ...aboutMessage(raw), text: typeof body === 'string' ? body : null },
      }),
    );
  });
  on('message_revoke_everyone', (message) => {
    const raw = rawOf(message);
    inOrder([chatIdOf(raw)], () => onSignal({ type: 'event', event: 'message.revoked', payload: aboutMessage(raw) }));
  });
  on('message_reaction', (given) => {
    const reaction = fields(given);
    const parent = fields(reaction['msgId']);
    const sender = idText(reaction['senderId']);
    const raw = { id: parent };
    const emoji = typeof reaction['reaction'] === 'string' && reaction['reaction'] !== '' ? reaction['reaction'] : null;
    inOrder([chatIdOf(raw), sender], () =>
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
    const options = (Array.isArray(vote['selectedOptions']) ? vote['selectedOptions'] : []).flatMap((option) =>
      typeof fields(option)['name'] === 'string' ? String(fields(option)['name']) : [],
    );
    inOrder([chatIdOf(raw), voter], () =>
      onSignal({ type: 'event', event: 'poll.vote', payload: { ...aboutMessage(raw), contact: contactOf(voter), options } }),
    );
  });
  on('call', (given) => {
    const call = fields(given);
    if (call['fromMe'] === true) return;
    const caller = idText(call['from']);
    inOrder([caller], () =>
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
    inOrder([id], () => onSignal({ type: 'event', event: 'chat.updated', payload: { chat: chatRef(id), change, unreadCount } }));
  }
  return { chatChanged };
}

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
  inOrder: (ids: readonly (string | null)[], tell: () => void) => void,
  { identities, onSignal }: Pick<Listening, 'identities' | 'onSignal'>,
): void {
  const read = (given: unknown) => {
    const notice = fields(given);
    const group = idText(notice['chatId']) ?? '';
    const people = (Array.isArray(notice['recipientIds']) ? notice['recipientIds'] : []).flatMap((id) => idText(id) ?? []);
    return {
      notice,
      group,
      people,
      by: idText(notice['author']),
      at: timeOf(notice['timestamp']),
      subtype: String(notice['type'] ?? ''),
    };
  };
  const groupRef = (id: string) => ({ id, type: 'group' as const, name: identities.name(id) });
  const contactOf = (id: string | null) => (id ? identities.contact(id) : null);

  for (const event of ['group_join', 'group_leave', 'group_admin_changed']) {
    on(event, (given) => {
      const { group, people, by, at, subtype } = read(given);
      const action = actions[subtype];
      if (!action) return;
      inOrder([group, by, ...people], () =>
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
    inOrder([group, by], () =>
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
    inOrder([group, by], () =>
      onSignal({
        type: 'event',
        event: 'group.membership_request',
        payload: { group: groupRef(group), contact: identities.contact(by), method: null, at },
      }),
    );
  });
}
