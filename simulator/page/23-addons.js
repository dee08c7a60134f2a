// Additions to messages: reactions, votes, pins, stars, edits, answers to events, revokes.
const votes = new Map();
/** The pinned messages. The real page gives each the key of its message behind two exclamation marks as its id. */
const PinInChat = new Collection(Model);

const localIds = (msg, names) =>
  (msg?.pollOptions ?? []).filter((option) => names.includes(option.name)).map((option) => option.localId);
const writerOf = (by) => (by === 'me' ? me.pn : createWid(by));

function addonKey(parent, by) {
  return new MsgKey({
    fromMe: by === 'me',
    remote: parent.remote,
    id: `A${parent.id.slice(1)}`,
    participant: parent.participant ? writerOf(by) : undefined,
  });
}
function voteRow(msg, by, { options: names, t }) {
  return {
    id: addonKey(msg.id, by),
    parentMsgKey: String(msg.id),
    pollUpdateParentKey: msg.id,
    selectedOptionLocalIds: localIds(msg, names),
    t: t * 1000,
    author: writerOf(by),
    from: writerOf(by),
    sender: writerOf(by),
    senderTimestampMs: t * 1000,
  };
}
function reactionRow(msg, by, { emoji, t }) {
  return {
    id: addonKey(msg.id, by),
    reactionParentKey: msg.id,
    reactionText: emoji,
    reactionTimestamp: t * 1000,
    author: writerOf(by),
    from: writerOf(by),
    ack: by === 'me' ? 1 : 0,
    read: false,
    orphan: 0,
    msgId: msg.id,
  };
}

function keepVote(row) {
  const rows = (votes.get(row.parentMsgKey) ?? []).filter((other) => String(other.sender) !== String(row.sender));
  votes.set(row.parentMsgKey, [...rows, row]);
}
function keepPin(msg, pin) {
  const id = `!!${msg.id}`;
  if (!pin || pin.t + pin.seconds <= Date.now() / 1000) return PinInChat.remove(id);
  const times = { t: Math.floor(pin.t), senderTimestampMs: Math.floor(pin.t * 1000), pinExpiryDuration: pin.seconds };
  PinInChat.add({ id, chatId: String(msg.id.remote), parentMsgKey: msg.id, pinType: 1, ...times });
}

/** All reactions to one message, by emoji, as the library reads them. */
class ReactionsModel extends Model {
  #reactions = new Collection(Model);
  get reactions() {
    return this.#reactions;
  }
  keep(row) {
    const sender = String(row.author);
    for (const group of this.#reactions.getModelsArray()) {
      group.senders = group.senders.filter((other) => String(other.senderUserJid) !== sender);
      if (group.senders.length === 0) this.#reactions.remove(group.id);
    }
    if (!row.reactionText) return;
    const group =
      this.#reactions.get(row.reactionText) ??
      this.#reactions.add(
        new Model({ id: row.reactionText, aggregateEmoji: row.reactionText, hasReactionByMe: false, senders: [] }),
      );
    group.hasReactionByMe ||= isMe(row.author);
    group.senders.push({
      msgKey: row.id,
      parentMsgKey: row.reactionParentKey,
      senderUserJid: sender,
      reactionText: row.reactionText,
      timestamp: row.reactionTimestamp,
      orphan: row.orphan,
      read: row.read,
      ack: row.ack,
    });
  }
}
const Reactions = new (class extends Collection {
  async find(id) {
    const msg = await loadMessage(idOf(id));
    return msg ? (this.get(msg.id) ?? null) : null;
  }
})(ReactionsModel);
function keepReaction(row) {
  const model = Reactions.get(row.reactionParentKey) ?? Reactions.add(new ReactionsModel({ id: row.reactionParentKey }));
  model.keep(row);
  Msg.get(row.reactionParentKey)?.set({ hasReaction: model.reactions.length > 0 });
}

/** Applies the additions that a message already had when it arrived. */
function remindMarks(msg, marks) {
  for (const [by, reaction] of Object.entries(marks.reactions)) keepReaction(reactionRow(msg, by, reaction));
  for (const [by, vote] of Object.entries(marks.votes)) keepVote(voteRow(msg, by, vote));
  keepPin(msg, marks.pin);
}

__d('WAWebAddonReactionTableMode', () => ({ reactionTableMode: { bulkUpsert: async (rows) => rows.forEach(keepReaction) } }));
__d('WAWebAddonPollVoteTableMode', () => ({ pollVoteTableMode: { bulkUpsert: async (rows) => rows.forEach(keepVote) } }));
__d('WAWebPollsVotesSchema', () => ({ getTable: () => ({ equals: async (fields, key) => votes.get(idOf(key)) ?? [] }) }));
__d('WAWebPinInChatSchema', () => ({
  getTable: () => ({ equals: async (fields, chat) => PinInChat.filter((pin) => pin.chatId === chat) }),
}));
__d('WAWebPinInChatCollection', () => ({ PinInChatCollection: PinInChat }));

/** The effect of each kind. Those that the library listens to go through the tables that it wraps. */
const addonKinds = {
  reaction: (msg, { by, value, t }) =>
    requireModule('WAWebAddonReactionTableMode').reactionTableMode.bulkUpsert([reactionRow(msg, by, { emoji: value ?? '', t })]),
  vote: (msg, { by, value, t }) =>
    requireModule('WAWebAddonPollVoteTableMode').pollVoteTableMode.bulkUpsert([voteRow(msg, by, { options: value, t })]),
  edit(msg, { value, t }) {
    const { text, ...mentioned } = typeof value === 'string' ? { text: value } : decode(value);
    const field = typeof msg.caption === 'string' ? 'caption' : 'body';
    msg.set({ ...mentioned, [field]: text, latestEditSenderTimestampMs: Math.round(t * 1000) });
  },
  event: (msg, { value, t }) => msg.set({ ...decode(value), latestEditSenderTimestampMs: Math.round(t * 1000) }),
  revoke(msg, { value }) {
    const id = value ? new MsgKey({ ...msg.id, id: value }) : msg.id;
    msg.set({ id, type: 'revoked', body: undefined, caption: undefined, protocolMessageKey: msg.protocolMessageKey ?? msg.id });
  },
  star: (msg, { value }) => msg.set({ star: Boolean(value) }),
  pin: (msg, { value, t }) => keepPin(msg, value ? { t, seconds: Number(value) } : null),
  response: () => {},
};
line.on('addon', async (addon) => {
  const parent = keyOf(addon);
  const msg = Msg.get(parent) ?? (await loadMessage(String(parent)));
  if (msg) addonKinds[addon.kind]?.(msg, addon);
});

/** Asks the server first. What it refuses has no effect here either. */
async function hang(kind, msg, value) {
  await line.request('addon', { kind, key: msg.id.id, value });
  // The page writes the time of its own edits in milliseconds.
  const t = ['edit', 'event'].includes(kind) ? Date.now() / 1000 : Math.floor(Date.now() / 1000);
  addonKinds[kind](msg, { by: 'me', value, t });
}

__d('WAWebSendMessageEditAction', () => ({
  sendMessageEdit: (msg, text, { mentionedJidList = [], groupMentions = [] } = {}) =>
    hang('edit', msg, { text, ...encode({ mentionedJidList, groupMentions }) }),
}));
__d('WAWebSendReactionMsgAction', () => ({ sendReactionToMsg: (msg, emoji) => hang('reaction', msg, emoji) }));
__d('WAWebPollsSendVoteMsgAction', () => ({
  sendVote: (msg, selected) =>
    hang(
      'vote',
      msg,
      msg.pollOptions.filter((option) => selected.has(option.localId)).map((option) => option.name),
    ),
}));
__d('WAWebSendEventEditMsgAction', () => ({
  async sendEventEditMessage(event, msg) {
    if (!msg.id.fromMe) return null;
    const type = event.callType ?? 'none';
    const known = String(msg.eventJoinLink ?? '');
    const isKept = type === 'none' ? known === '' : known.includes(`/${type}/`);
    const link = type === 'none' ? '' : requireModule('WAWebGenerateEventCallLink').createEventCallLink(event.startTime, type);
    return hang('event', msg, {
      eventName: event.name,
      eventDescription: event.description ?? null,
      eventStartTime: event.startTime,
      eventEndTime: event.endTime ?? null,
      isEventCanceled: event.isEventCanceled,
      eventLocation: event.location ? { degreesLatitude: 0, degreesLongitude: 0, name: event.location } : null,
      eventJoinLink: (isKept ? known : await link) || null,
    });
  },
}));
__d('WAWebSendEventResponseMsgAction', () => ({ sendEventResponseMsg: (response, msg) => hang('response', msg, response) }));
// Older builds number the durations, and the library replaces the function that reads the number. Newer builds take seconds, and their exports are frozen.
const pinSeconds = [86_400, 604_800, 2_592_000];
const pinConstants = {
  getPinExpiryDuration: (option) => (lazy && pinSeconds.includes(option) ? option : (pinSeconds[option] ?? 604_800)),
};
if (lazy) Object.freeze(pinConstants);
__d('WAWebPinMsgConstants', () => pinConstants);
__d('WAWebSendPinMessageAction', () => ({
  async sendPinInChatMsg(msg, action, duration) {
    await hang('pin', msg, action === 1 ? pinConstants.getPinExpiryDuration(duration) : 0);
    return { messageSendResult: 'OK' };
  },
}));
const isText = (msg) => msg.type === 'chat';
__d('WAWebMsgActionCapability', () => ({
  // WhatsApp allows two and a half days.
  canSenderRevokeMsg: (msg) => msg.id.fromMe && msg.type !== 'revoked' && Date.now() / 1000 - msg.t < 216_000,
  canAdminRevokeMsg: (msg) => !msg.id.fromMe && msg.id.remote.isGroup() && Boolean(Chat.get(msg.id.remote)?.iAmAdmin()),
  // WhatsApp allows 15 minutes.
  canEditText: (msg) => msg.id.fromMe && isText(msg) && Date.now() / 1000 - msg.t < 900,
  canEditCaption: (msg) => msg.id.fromMe && typeof msg.caption === 'string' && Date.now() / 1000 - msg.t < 900,
  canStarMsg: (msg) => !msg.isNotification,
}));
Cmd.sendRevokeMsgs = async (chat, { list }) => {
  for (const msg of list) await hang('revoke', msg, null);
};
Cmd.sendDeleteMsgs = async (chat, { list }) => {
  await line.request('delete', { keys: list.map((msg) => msg.id.id) });
  for (const msg of list) drop(msg);
};
const star = (value) => async (chat, msgs) => {
  for (const msg of msgs) await hang('star', msg, value);
};
Cmd.sendStarMsgs = star(true);
Cmd.sendUnstarMsgs = star(false);
