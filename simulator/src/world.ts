import { createAddons } from './addons.js';
import { createChannels } from './channels.js';
import type { Clock } from './clock.js';
import type { Faults } from './faults.js';
import { createCommunities } from './communities.js';
import { createGroups } from './groups.js';
import type { Journal } from './journal.js';
import { createMedia } from './media.js';
import { createMessages, type Messages } from './messages.js';
import { createPhones } from './phones.js';
import { createPresence } from './presence.js';

export type World = ReturnType<typeof createWorld>;

/** Everything behind the page: phones, chats, groups and channels, and the messages between them. */
export function createWorld({ journal, clock, faults }: { journal: Journal; clock: Clock; faults: Faults }) {
  const settings = { chainAcks: true };
  const phones = createPhones();
  const media = createMedia();
  // Groups send their notices as messages, and messages look up the members of groups.
  const groups = createGroups({ phones, clock, notify: (...given) => messages.notify(...given) });
  const messages: Messages = createMessages({ phones, groups, media, clock, journal, settings });
  const addon = createAddons({ phones, groups, clock });
  const channels = createChannels({ phones, clock, journal });
  const presence = createPresence({ phones, groups, clock });
  return {
    phones,
    media,
    groups,
    communities: createCommunities({ groups }),
    channels,
    messages,
    addon,
    presence,
    settings,
    faults,
    journal,
    clock,
  };
}
