/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import type { PageCore } from '../page/world.js';
import type { RawMessage } from '../translate.js';
import { editEvent } from './calendar-events.js';
import { change, either } from './change.js';
import { need, type OperationHandlers } from './context.js';
import { messageReads } from './message-reads.js';
import { observeAll } from './observed.js';
import { polls } from './polls.js';
import { seeing } from './presence.js';

const capability = 'WAWebMsgActionCapability';
const reacting = [need('WAWebSendReactionMsgAction', 'sendReactionToMsg'), need('WAWebCollections', 'Reactions.find')];
const starring = [need('WAWebCmd', 'Cmd.sendStarMsgs', 'Cmd.sendUnstarMsgs'), need(capability, 'canStarMsg')];
const pinning = [
  need('WAWebSendPinMessageAction', 'sendPinInChatMsg'),
  need('WAWebPinInChatSchema', 'getTable'),
  need('WAWebGroupQueryJob', 'queryAndUpdateGroupMetadataById'),
];
const nothing = async (): Promise<Record<string, never>> => ({});

const editText = change('messages.edit', {
  needs: [need('WAWebSendMessageEditAction', 'sendMessageEdit'), need(capability, 'canEditText', 'canEditCaption')],
  prepare: ({ whatsappId, message = '' }) => ({ whatsappId, text: message }),
  before: requireEditable,
  act: edit,
  effect: showsText,
  done: async ({ whatsappId }, context) => {
    const raw = await context.inPage(editedModel, { whatsappId });
    return { message: (await observeAll([raw], context))[0]! };
  },
});

export const messages: OperationHandlers<'messages'> = {
  ...messageReads,
  ...polls,
  'messages.edit': either('messages.edit', { 'texts and captions': editText, 'calendar events': editEvent }, ({ message }) =>
    message === undefined ? 'calendar events' : 'texts and captions',
  ),
  'messages.delete': change('messages.delete', {
    needs: [
      need('WAWebCmd', 'Cmd.sendRevokeMsgs', 'Cmd.sendDeleteMsgs'),
      need(capability, 'canSenderRevokeMsg', 'canAdminRevokeMsg'),
    ],
    // The scope `log` changes only the backend's data, so it does not reach the worker.
    prepare: ({ whatsappId, scope }) => ({ whatsappId, isForAll: scope === 'everyone' }),
    before: requireDeletable,
    act: deleteMessage,
    effect: isDeleted,
    async done(_input, context, { given, before }) {
      const raw = given.isForAll ? ((await context.inPage(revokedModel, given)) ?? before.model) : before.model;
      return { message: (await observeAll([raw], context))[0]! };
    },
  }),
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
  'messages.star': change('messages.star', {
    needs: starring,
    prepare: ({ whatsappId }) => ({ whatsappId, isStarred: true }),
    before: requireStarrable,
    act: setStar,
    effect: isStarred,
    done: nothing,
  }),
  'messages.unstar': change('messages.unstar', {
    needs: starring,
    prepare: ({ whatsappId }) => ({ whatsappId, isStarred: false }),
    before: requireStarrable,
    act: setStar,
    effect: isStarred,
    done: nothing,
  }),
  'messages.pin': change('messages.pin', {
    needs: pinning,
    prepare: ({ whatsappId, seconds }) => ({ whatsappId, seconds: Number(seconds) }),
    before: requirePinnable,
    act: setPin,
    refusal: pinRefusal,
    effect: isPinned,
    done: nothing,
  }),
  'messages.unpin': change('messages.unpin', {
    needs: pinning,
    prepare: ({ whatsappId }) => ({ whatsappId, seconds: 0 }),
    before: requirePinnable,
    act: setPin,
    refusal: pinRefusal,
    effect: isPinned,
    done: nothing,
  }),
  'messages.seen': change('messages.seen', {
    needs: seeing,
    prepare: ({ chatId }) => ({ chatId }),
    act: sendSeen,
    effect: isSeen,
    done: nothing,
  }),
};

interface OfMessage {
  whatsappId: string;
}
interface Reaction extends OfMessage {
  /** Empty: the reaction is removed. */
  emoji: string;
}
interface Edit extends OfMessage {
  text: string;
}
interface Deletion extends OfMessage {
  isForAll: boolean;
}
interface Star extends OfMessage {
  isStarred: boolean;
}
interface Pin extends OfMessage {
  /** For how long the message stays pinned. 0: it is unpinned. */
  seconds: number;
}

/** A message before it is edited. */
interface Unedited {
  text: unknown;
  /** Milliseconds. 0: never edited. */
  editedAt: number;
}

/** Runs in the page. */
async function requireEditable(core: PageCore, { whatsappId }: Edit): Promise<Unedited> {
  const message = await core.requireMessage(whatsappId);
  const { canEditText, canEditCaption } = core.module('WAWebMsgActionCapability');
  if (!message.id.fromMe || !(canEditText(message) || canEditCaption(message)))
    core.refuse('MESSAGE_NOT_EDITABLE', {
      reason: message.id.fromMe ? 'WhatsApp allows it for 15 minutes.' : 'The account did not send this message.',
    });
  const text: unknown = typeof message.caption === 'string' ? message.caption : message.body;
  return { text, editedAt: Number(message.latestEditSenderTimestampMs ?? 0) };
}

/**
 * Runs in the page. The people and groups that the message mentions stay mentioned if the new text still contains their `@number` or `@id`. Adds
 * WhatsApp's preview of a link if it arrives within two seconds.
 */
async function edit(core: PageCore, { whatsappId, text }: Edit): Promise<true> {
  const message = await core.requireMessage(whatsappId);
  const isIn = (name: string): boolean => text.split(`@${name}`).some((after, n) => n > 0 && !/^\d/.test(after));
  // A person can be named by phone number or by LID. WhatsApp shows a mention only under the id that the text contains.
  const mentionedJidList = (message.mentionedJidList ?? []).flatMap((id: any) => {
    const wid = core.widOf(core.serialized(id));
    return [wid, core.otherIdOf(wid)].filter((one) => one && isIn(core.serialized(one).split('@')[0]!)).slice(0, 1);
  });
  const groupMentions = (message.groupMentions ?? []).filter(({ groupJid }: any) => isIn(core.serialized(groupJid)));
  let preview: any = null;
  try {
    const link = core.moduleIfAny('WALinkify')?.findLink(text);
    const chat = core.collections().Chat.get(message.id.remote);
    const asked = link ? core.moduleIfAny('WAWebLinkPreviewChatAction')?.getLinkPreview(link, chat) : null;
    preview = await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, 2_000))]);
  } catch {
    // The text is edited without a preview.
  }
  const shown = preview?.data ? { ...preview.data, preview: true, subtype: 'url' } : {};
  await core.module('WAWebSendMessageEditAction').sendMessageEdit(message, text, { mentionedJidList, groupMentions, ...shown });
  return true;
}

/** Runs in the page. A message that had this text before must also show that it was edited, unless WhatsApp's function has resolved. */
async function showsText(core: PageCore, { whatsappId, text }: Edit, before: Unedited, result: true | null): Promise<boolean> {
  const message = await core.requireMessage(whatsappId);
  const shown: unknown = typeof message.caption === 'string' ? message.caption : message.body;
  const isChanged = before.text !== text || Number(message.latestEditSenderTimestampMs ?? 0) > before.editedAt;
  return shown === text && (isChanged || result !== null);
}

/** Runs in the page. Returns the message as it is now. If the page does not report the time of the edit, it is the current time. */
async function editedModel(core: PageCore, { whatsappId }: OfMessage): Promise<RawMessage> {
  const model = core.modelOf(await core.requireMessage(whatsappId));
  return { ...model, latestEditSenderTimestampMs: model.latestEditSenderTimestampMs ?? Date.now() };
}

/** Runs in the page. Refuses a deletion for everyone that WhatsApp does not allow: its own function would then delete for the account alone. */
async function requireDeletable(core: PageCore, { whatsappId, isForAll }: Deletion): Promise<{ model: RawMessage }> {
  const message = await core.requireMessage(whatsappId);
  const { canSenderRevokeMsg, canAdminRevokeMsg } = core.module('WAWebMsgActionCapability');
  const isAllowed = message.type === 'revoked' || canSenderRevokeMsg(message) || canAdminRevokeMsg(message);
  if (isForAll && !isAllowed)
    core.refuse('MESSAGE_NOT_EDITABLE', { reason: 'WhatsApp does not allow deleting it for everyone.' });
  return { model: core.modelOf(message) };
}

/** Runs in the page. */
async function deleteMessage(core: PageCore, { whatsappId, isForAll }: Deletion): Promise<void> {
  const message = await core.requireMessage(whatsappId);
  const { Cmd } = core.module('WAWebCmd');
  const chat = core.requireChat(core.serialized(message.id.remote));
  const batch = { list: [message], type: 'message' };
  if (!isForAll) await Cmd.sendDeleteMsgs(chat, batch, true);
  else if (message.type !== 'revoked') await Cmd.sendRevokeMsgs(chat, batch, { clearMedia: true });
}

/** Runs in the page. */
async function isDeleted(core: PageCore, { whatsappId, isForAll }: Deletion): Promise<boolean> {
  const message = await core.findMessage(whatsappId);
  if (!isForAll) return message === null;
  if (message) return message.type === 'revoked';
  const key = whatsappId.split('_')[2];
  return core
    .collections()
    .Msg.getModelsArray()
    .some((one: any) => one.type === 'revoked' && one.protocolMessageKey?.id === key);
}

/** Runs in the page. Returns the revoked message. On some builds that is a separate message, which names the deleted one. */
async function revokedModel(core: PageCore, { whatsappId }: OfMessage): Promise<RawMessage | null> {
  const key = whatsappId.split('_')[2];
  const named = (one: any): boolean => one.type === 'revoked' && one.protocolMessageKey?.id === key;
  const message = (await core.findMessage(whatsappId)) ?? core.collections().Msg.getModelsArray().find(named);
  return message ? core.modelOf(message) : null;
}

/** Runs in the page. */
async function react(core: PageCore, { whatsappId, emoji }: Reaction): Promise<void> {
  const message = await core.requireMessage(whatsappId);
  await core.module('WAWebSendReactionMsgAction').sendReactionToMsg(message, emoji);
}

/** Runs in the page. Whether the account's reaction is this one. */
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

/** Runs in the page. Refuses a message that cannot be starred, for which WhatsApp's own function does nothing. */
async function requireStarrable(core: PageCore, { whatsappId }: Star): Promise<void> {
  const message = await core.requireMessage(whatsappId);
  if (!core.module('WAWebMsgActionCapability').canStarMsg(message)) core.refuse('MESSAGE_NOT_EDITABLE');
}

/** Runs in the page. */
async function setStar(core: PageCore, { whatsappId, isStarred }: Star): Promise<void> {
  const message = await core.requireMessage(whatsappId);
  const { Cmd } = core.module('WAWebCmd');
  const chat = core.requireChat(core.serialized(message.id.remote));
  await (isStarred ? Cmd.sendStarMsgs(chat, [message], false) : Cmd.sendUnstarMsgs(chat, [message], false));
}

/** Runs in the page. */
async function isStarred(core: PageCore, { whatsappId, isStarred }: Star): Promise<boolean> {
  return Boolean((await core.requireMessage(whatsappId)).star) === isStarred;
}

/** Runs in the page. Refuses a member who is not an admin in a group whose info only admins may edit. */
async function requirePinnable(core: PageCore, { whatsappId }: Pin): Promise<void> {
  const message = await core.requireMessage(whatsappId);
  const id = core.serialized(message.id.remote);
  if (!/@g\.us$/.test(id)) return;
  const group = await core.requireGroup(id);
  if (group.groupMetadata?.restrict) await core.requireGroup(id, 'admin');
}

/** Runs in the page. */
async function setPin(core: PageCore, { whatsappId, seconds }: Pin): Promise<string | null> {
  const message = await core.requireMessage(whatsappId);
  const constants = core.moduleIfAny('WAWebPinMsgConstants');
  const original = constants?.getPinExpiryDuration;
  // Older builds expect WhatsApp's number of the duration. The wrapper also accepts seconds, so that parallel calls do not disturb each other.
  if (typeof original === 'function' && !original.chasquiSeconds && !Object.isFrozen(constants)) {
    const inSeconds = (option: unknown): unknown =>
      [86_400, 604_800, 2_592_000].includes(Number(option)) ? option : original(option);
    constants.getPinExpiryDuration = Object.assign(inSeconds, { chasquiSeconds: true });
  }
  const answer = await core.module('WAWebSendPinMessageAction').sendPinInChatMsg(message, seconds > 0 ? 1 : 2, seconds);
  return answer?.messageSendResult ?? null;
}

/** Returns the result of WhatsApp's own send function if it is not OK. */
function pinRefusal(result: string | null): string | null {
  return result === null || result === 'OK' ? null : result;
}

/** Runs in the page. */
async function isPinned(core: PageCore, { whatsappId, seconds }: Pin): Promise<boolean> {
  const message = await core.requireMessage(whatsappId);
  const chatId = core.serialized(message.id.remote);
  const rows: any[] = await core.module('WAWebPinInChatSchema').getTable().equals(['chatId'], chatId);
  const isThis = (row: any): boolean => core.serialized(row.parentMsgKey) === core.serialized(message.id);
  return rows.some((row) => row.pinType === 1 && isThis(row)) === seconds > 0;
}

/** Runs in the page. */
async function sendSeen(core: PageCore, { chatId }: { chatId: string }): Promise<void> {
  await core.calls['markSeen']!({ chatId });
}

/** Runs in the page. */
function isSeen(core: PageCore, { chatId }: { chatId: string }): boolean {
  return (core.requireChat(chatId).unreadCount ?? 0) === 0;
}
