import { requireRoom } from '../presence.js';
import type { PageCore } from '../page/world.js';
import { change, wasAccepted } from './change.js';
import { need, type OperationHandlers } from './context.js';

/** What marking a chat as seen needs. */
export const seeing = [
  need('WAWebUpdateUnreadChatAction', 'sendSeen'),
  need('WAWebStreamModel', 'Stream.markAvailable', 'Stream.markUnavailable'),
];
const subscribing = [
  need('WAWebContactPresenceBridge', 'subscribeUserPresence', 'subscribeGroupPresence'),
  need('WAWebPresenceCollection'),
];

export const presence: OperationHandlers<'presence'> = {
  'presence.set': change('presence.set', {
    needs: [need('WAWebPresenceChatAction', 'sendPresenceAvailable', 'sendPresenceUnavailable')],
    act: setPresence,
    effect: wasAccepted,
    done: async ({ state }) => ({ state }),
  }),
  'presence.subscribe': change('presence.subscribe', {
    needs: subscribing,
    prepare({ chatId }, { presence }) {
      requireRoom(presence, chatId);
      return { chatId };
    },
    before: requireChat,
    act: subscribe,
    effect: isSubscribed,
    async done({ chatId }, { presence }, { before }) {
      presence.add(before);
      return { chatId, subscribed: true };
    },
  }),
  /** WhatsApp ends a subscription only with the connection. This ends only our own reports, and the renewal after the page is loaded again. */
  'presence.unsubscribe': change('presence.unsubscribe', {
    needs: [need('WAWebCollections', 'Chat.get')],
    before: requireChat,
    act: unfollow,
    effect: isUnfollowed,
    async done({ chatId }, { presence }, { before }) {
      presence.delete(before);
      return { chatId, subscribed: presence.has(before) };
    },
  }),
};

interface OfChat {
  chatId: string;
}

/** Runs in the page. */
async function setPresence(core: PageCore, { state }: { state: 'available' | 'unavailable' }): Promise<true> {
  await core.calls['setPresence']!({ isAvailable: state === 'available' });
  return true;
}

/** Runs in the page. Refuses channels. Returns the id under which the page has the chat, which may be the person's other id. */
function requireChat(core: PageCore, { chatId }: OfChat): string {
  const { id } = core.requireChat(chatId);
  if (/@newsletter$/.test(chatId)) core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'Channels show no presence.' });
  return core.serialized(id);
}

/** Runs in the page. */
function subscribe(core: PageCore, { chatId }: OfChat): Promise<void> {
  return core.calls['subscribePresence']!({ chatId }) as Promise<void>;
}

/** Runs in the page. */
function unfollow(core: PageCore, { chatId }: OfChat): unknown {
  return core.calls['unfollowPresence']!({ chatId });
}

/** Runs in the page. */
function isUnfollowed(core: PageCore, { chatId }: OfChat): boolean {
  return core.calls['followsPresence']!({ chatId }) === false;
}

/** Runs in the page. The page creates its model of the presence when WhatsApp's first answer arrives. */
function isSubscribed(core: PageCore, { chatId }: OfChat): boolean {
  return core.calls['hasPresence']!({ chatId }) === true;
}
