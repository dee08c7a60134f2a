import type { PageCore } from '../page/world.js';
import { change } from './change.js';
import { need, type OperationHandlers } from './context.js';

const reacting = [need('WAWebSendReactionMsgAction', 'sendReactionToMsg'), need('WAWebCollections', 'Reactions.find')];
const nothing = async (): Promise<Record<string, never>> => ({});

export const messages: OperationHandlers<'messages'> = {
  'messages.react': change('messages.react', {
    needs: reacting,
    prepare: ({ whatsappId, emoji }) => ({ whatsappId, emoji }),
    act: react,
    effect: showsReaction,
    done: nothing,
  }),
  'messages.unreact': change('messages.unreact', {
    needs: reacting,
    prepare: ({ whatsappId }) => ({ whatsappId, emoji: '' }),
    act: react,
    effect: showsReaction,
    done: nothing,
  }),
};

interface Reaction {
  whatsappId: string;
  /** Empty: none. */
  emoji: string;
}

/** Runs in the page. */
async function react(core: PageCore, { whatsappId, emoji }: Reaction): Promise<void> {
  const message = await core.requireMessage(whatsappId);
  await core.module('WAWebSendReactionMsgAction').sendReactionToMsg(message, emoji);
}

/** Runs in the page. Whether the own reaction is this one. */
async function showsReaction(core: PageCore, { whatsappId, emoji }: Reaction): Promise<boolean> {
  const message = await core.requireMessage(whatsappId);
  const found = await core.collections().Reactions.find(core.serialized(message.id));
  const groups = found?.reactions?.getModelsArray?.() ?? found?.reactions ?? [];
  const own = groups
    .flatMap((group: { senders?: unknown[] }) => group.senders ?? [])
    .filter((sender: { senderUserJid?: unknown }) => core.me().some((id) => core.isSame(id, sender.senderUserJid)));
  return (
    own.some((sender: { reactionText?: string }) => (sender.reactionText ?? '') === emoji) || (emoji === '' && own.length === 0)
  );
}
