import { contactOf, type Account, type Device } from './accounts.js';
import type { Groups } from './groups.js';
import type { Phones } from './phones.js';
import type { Clock } from './clock.js';

/** What others see of a person: available or not, or typing in a chat with them. */
export type PresenceType = 'available' | 'unavailable' | 'composing' | 'recording_audio';

/**
 * Pages subscribe to the presence in chats, and a subscription ends with the connection of its page. `show` informs the pages that follow a
 * person, in the chat with that person or in a group.
 */
export function createPresence({ phones, groups, clock }: { phones: Phones; groups: Groups; clock: Clock }) {
  const subscriptions = new Map<Device, { account: Account; chats: Set<string> }>();

  function send(device: Device, viewer: Account, chat: string, person: Account, type: PresenceType): void {
    const isGroup = chat.endsWith('@g.us');
    const from = isGroup ? contactOf(person, viewer).id : chat;
    const t = type === 'unavailable' ? person.lastSeen : null;
    device.line?.send({ ev: 'presence', d: { chat, from, type, t, deny: type === 'unavailable' && t === null } });
  }

  return {
    /** The page follows a chat, and gets what WhatsApp knows of it at once. */
    subscribe(device: Device, account: Account, chat: string): void {
      const known = subscriptions.get(device) ?? { account, chats: new Set<string>() };
      known.chats.add(chat);
      subscriptions.set(device, known);
      const person = chat.endsWith('@g.us') ? null : phones.find(chat);
      if (person) send(device, account, chat, person, person.presence ?? 'unavailable');
      else device.line?.send({ ev: 'presence', d: { chat, from: null, type: null, t: null, deny: false } });
    },
    /** The connection of a page ended. */
    end: (device: Device): void => void subscriptions.delete(device),
    /** The chats that pages of an account follow. */
    followed: (account: Account): string[] =>
      [...subscriptions.values()].flatMap((one) => (one.account === account ? [...one.chats] : [])),
    show(person: Account, type: PresenceType, group: string | null): void {
      if (type === 'available' || type === 'unavailable') person.presence = type;
      if (type === 'unavailable') person.lastSeen = clock.seconds();
      for (const [device, { account, chats }] of subscriptions)
        for (const chat of chats) {
          const isHere = group === null ? phones.find(chat) === person : chat === group && groups.members(group).includes(person);
          if (isHere) send(device, account, chat, person, type);
        }
    },
  };
}
export type Presence = ReturnType<typeof createPresence>;
