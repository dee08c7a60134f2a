import type { PageWindow } from '../page/world.js';
import type { Patch } from './patch.js';

/** An id of the page. */
interface Wid {
  isLid(): boolean;
}

export const block: Patch = {
  id: 'block',
  since: '2026, gone by 2026-06-01',
  effect: 'A contact is blocked by its LID, and the page’s helper that found it is gone: block and unblock fail.',
  threads: [],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    const name = 'getContactToBlockOnlyUseIfNoAssociatedChat';
    core.view('block', 'WAWebBlockContactUtils', (module) =>
      module[name]
        ? {}
        : {
            [name]: async (contact: { id: Wid }) => {
              core.report('block', 'corrected');
              const wid = contact.id;
              if (wid.isLid()) return contact;
              const api = core.module('WAWebApiContact');
              if (!api.getCurrentLid(wid)) await core.module('WAWebQueryExistsJob').queryWidExists(wid);
              const lid = api.getCurrentLid(wid);
              if (!lid) throw new Error('WhatsApp has no LID for this contact and can only block a LID.');
              const { Contact } = core.module('WAWebCollections');
              return Contact.get(lid) ?? { ...contact, id: lid };
            },
          },
    );
    core.onModules('block', () =>
      core.report('block', core.moduleIfAny('WAWebBlockContactUtils')?.[name] ? 'not_needed' : 'armed'),
    );
  },
};

export const chatOrigin: Patch = {
  id: 'chat-origin',
  since: '2026-08',
  effect:
    'The page creates a chat with a LID only for callers that name their origin, and the library names none: a first message to a LID is refused.',
  threads: ['wa-js 3573', 'wa-js 3474'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    core.view('chat-origin', 'WAWebFindChatAction', (module) => ({
      findOrCreateLatestChat: (wid: Partial<Wid> | undefined, origin: unknown, ...more: unknown[]) => {
        if (origin === undefined && wid?.isLid?.()) core.report('chat-origin', 'corrected');
        return module.findOrCreateLatestChat(wid, origin ?? 'createChat', ...more);
      },
    }));
    core.onModules('chat-origin', () => core.report('chat-origin', 'armed'));
  },
};
