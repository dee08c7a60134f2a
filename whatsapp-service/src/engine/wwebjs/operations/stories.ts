/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import type { PageCore } from '../page/world.js';
import { change } from './change.js';
import { need, read, type OperationHandlers } from './context.js';
import { seenMessages } from './seen-messages.js';

export const stories: OperationHandlers<'stories'> = {
  'stories.list': read('stories.list', {
    needs: [need('WAWebCollections', 'Status.getModelsArray')],
    async run({ mine }, { inPage, identities }) {
      const wanted = (await inPage(storyRows)).filter((row) => mine === undefined || row.mine === mine);
      await identities.learn(wanted.map(({ id }) => id));
      return Promise.all(
        wanted.map(async (row) => ({
          contact: identities.contact(row.id),
          mine: row.mine,
          unreadCount: row.unreadCount,
          messages: await seenMessages(row.messages, identities),
        })),
      );
    },
  }),
  'stories.revoke': change('stories.revoke', {
    needs: [need('WAWebRevokeStatusAction', 'sendStatusRevokeMsgAction'), need('WAWebCollections', 'Status.getModelsArray')],
    prepare: ({ messageId }) => ({ whatsappId: messageId }),
    before: requireOwnStory,
    act: revoke,
    effect: isGone,
    done: async ({ messageId }) => ({ whatsappId: messageId, revoked: true as const }),
  }),
};

interface StoryRow {
  id: string;
  mine: boolean;
  unreadCount: number;
  messages: any[];
}

/** Runs in the page. Returns each person's stories, oldest first, as a phone shows them. */
function storyRows(core: PageCore): StoryRow[] {
  return core
    .collections()
    .Status.getModelsArray()
    .map((story: any) => {
      const messages: any[] = story.msgs?.getModelsArray?.() ?? story.getAllMsgs?.() ?? story._msgs?._models ?? [];
      return {
        id: core.serialized(story.id),
        mine: core.me().some((own) => core.isSame(own, story.id)),
        unreadCount: Number(story.unreadCount ?? 0),
        messages: messages.filter((message) => message.type !== 'revoked').map((message) => core.modelOf(message)),
      };
    })
    .filter(({ messages }: StoryRow) => messages.length > 0);
}

/** Runs in the page. */
async function requireOwnStory(core: PageCore, { whatsappId }: { whatsappId: string }): Promise<void> {
  const message = await core.requireMessage(whatsappId);
  const isStory = core.serialized(message.id.remote) === 'status@broadcast';
  if (!isStory || !message.id.fromMe || message.type === 'revoked')
    core.refuse('MESSAGE_NOT_FOUND', { whatsappId, reason: 'This is not a story of the linked account.' });
}

/** Runs in the page. Some builds store the account's stories under its phone number, others under its LID. */
async function revoke(core: PageCore, { whatsappId }: { whatsappId: string }): Promise<void> {
  const { Status } = core.collections();
  const own = core.me().map((id) => Status.get(id));
  const message = await core.requireMessage(whatsappId);
  const store = Status.getMyStatus?.() ?? own.find(Boolean);
  await core.module('WAWebRevokeStatusAction').sendStatusRevokeMsgAction(store, message);
}

/** Runs in the page. */
function isGone(core: PageCore, { whatsappId }: { whatsappId: string }): boolean {
  const { Msg, Status } = core.collections();
  const message = Msg.get(whatsappId);
  if (message && message.type !== 'revoked') return false;
  const stores = core.me().map((id) => Status.get(id));
  return stores.every((store) => {
    const messages: any[] = store?.msgs?.getModelsArray?.() ?? store?._msgs?._models ?? [];
    return !messages.some((one) => core.serialized(one.id) === whatsappId && one.type !== 'revoked');
  });
}
