import { createAddons } from './addons.js';
import { createChannels } from './channels.js';
import type { Clock } from './clock.js';
import type { Faults } from './faults.js';
import { createGroups } from './groups.js';
import type { Journal } from './journal.js';
import { createMedia } from './media.js';
import { createMessages, type Messages } from './messages.js';
import { createPhones } from './phones.js';

export type World = ReturnType<typeof createWorld>;

/** Everything behind the page: phones, chats, groups, channels, and what travels between them. */
export function createWorld({ journal, clock, faults }: { journal: Journal; clock: Clock; faults: Faults }) {
  const settings = { chainAcks: true };
  const phones = createPhones();
  const media = createMedia();
  // Groups write their notices through the messages, which ask the groups who is in them.
  const groups = createGroups({ phones, clock, notify: (...given) => messages.notify(...given) });
  const messages: Messages = createMessages({ phones, groups, media, clock, journal, settings });
  const addon = createAddons({ phones, groups, clock });
  const channels = createChannels({ phones, clock, journal });
  return { phones, media, groups, channels, messages, addon, settings, faults, journal, clock };
}
