// Sending, editing, revoking, reacting, voting: each resolves when WhatsApp's server has answered, and throws what it refused.
function addAndSendMsgToChat(chat, message) {
  const msg = message instanceof MsgModel ? message : new MsgModel({ ...message, star: false, hasReaction: false });
  chat.msgs.add(msg, { silent: true });
  const added = (async () => {
    Msg.add(msg);
    chat.set({ t: msg.t });
    Object.defineProperty(chat, 'lastReceivedKey', { value: msg.id, enumerable: false, configurable: true });
    return msg;
  })();
  const sent = added.then(async () => {
    const { id, from, to, ack, local, self, isNewMsg, author, type, t, __x_id, ...data } = msg.serialize();
    const answer = await line
      .request('send', { key: msg.id.id, to: String(chat.id), type, t, data: encode(data) })
      .catch((error) => {
        if (error.status === 0) return null; // The line broke: WhatsApp would try again by itself, and so do we below.
        return { ack: -1 };
      });
    const settled = answer ?? (await line.request('send', { key: msg.id.id, to: String(chat.id), type, t, data: encode(data) }));
    if (settled.ack > msg.ack || settled.ack < 0) msg.set({ ack: settled.ack });
    return { messageSendResult: settled.ack < 0 ? 'ERROR_UNKNOWN' : 'OK', t: settled.t };
  });
  sent.catch(() => {});
  return [added, sent];
}

function local(key, changes) {
  const msg = Msg.get(key);
  if (msg) msg.set(changes);
}
const addon = (kind, msg, value) => line.request('addon', { kind, key: msg.id.id, value });

__d('WAWebSendMsgChatAction', () => ({ addAndSendMsgToChat }));
__d('WAWebChatSendMessages', () => ({
  sendGroupInviteMessage: async () => {
    throw new r('not simulated', 501);
  },
}));
__d('WAWebMsgReply', () => ({ canReplyMsg: () => true }));
__d('WAWebMsgDataFromModel', () => ({ msgDataFromMsgModel: (msg) => msg.serialize() }));
__d('WAWebGetEphemeralFieldsMsgActionsUtils', () => ({ getEphemeralFields: () => ({}) }));
__d('WAWebQuotedMsgModelUtils', () => ({
  getQuotedMsgObj: (msg) => Msg.filter((candidate) => candidate.id.id === msg.quotedStanzaID)[0],
}));
__d('WAWebMsgActionCapability', () => ({
  canSenderRevokeMsg: (msg) => msg.id.fromMe && msg.type !== 'revoked',
  canAdminRevokeMsg: () => false,
  canEditText: (msg) => msg.id.fromMe && msg.type === 'chat',
  canEditCaption: (msg) => msg.id.fromMe && typeof msg.caption === 'string',
  canStarMsg: () => true,
}));
__d('WAWebSendMessageEditAction', () => ({
  async sendMessageEdit(msg, content) {
    await addon('edit', msg, content);
    local(msg.id, {
      ...(typeof msg.caption === 'string' ? { caption: content } : { body: content }),
      latestEditSenderTimestampMs: Date.now(),
    });
  },
}));
__d('WAWebSendReactionMsgAction', () => ({ sendReactionToMsg: (msg, emoji) => addon('reaction', msg, emoji) }));
__d('WAWebPollsSendVoteMsgAction', () => ({
  sendVote: (msg, selected) =>
    addon(
      'vote',
      msg,
      msg.pollOptions.filter((option) => selected.has(option.localId)).map((option) => option.name),
    ),
}));
__d('WAWebPollsVotesSchema', () => ({ getTable: () => ({ equals: async () => [] }) }));
__d('WAWebChatForwardMessage', () => ({
  async forwardMessages({ chat, msgs }) {
    for (const msg of msgs) {
      const { id, ack, t, from, to, ...rest } = msg.serialize();
      const key = new MsgKey({ from: me.pn, to: chat.id, id: await MsgKey.newId(), selfDir: 'out' });
      await addAndSendMsgToChat(chat, {
        ...rest,
        id: key,
        ack: 0,
        from: me.pn,
        to: chat.id,
        t: Math.floor(Date.now() / 1000),
        isForwarded: true,
        isNewMsg: true,
        local: true,
        self: 'out',
      })[1];
    }
  },
}));
Cmd.sendRevokeMsgs = async (chat, { list }) => {
  for (const msg of list) {
    await addon('revoke', msg, null);
    msg.set({ type: 'revoked', body: undefined, caption: undefined });
  }
};
Cmd.sendDeleteMsgs = async (chat, { list }) => {
  for (const msg of list) {
    chat.msgs.remove(msg);
    Msg.remove(msg);
  }
};
Cmd.sendStarMsgs = async (chat, msgs) => msgs.forEach((msg) => msg.set({ star: true }));
Cmd.sendUnstarMsgs = async (chat, msgs) => msgs.forEach((msg) => msg.set({ star: false }));

async function loadEarlier(chat) {
  const have = chat.msgs.getModelsArray();
  const before = have.length > 0 ? Math.min(...have.map((msg) => msg.t)) : null;
  const older = await line.request('history', { chat: String(chat.id), before, limit: 50 });
  return older.map((wire) => take(wire, false));
}
// From 2026-07 it takes options alone; 1.34.7 calls it so, earlier releases passed the chat itself.
__d('WAWebChatLoadMessages', () => ({
  loadEarlierMsgs: async (given) => {
    if (drifted && !given?.chat) throw new TypeError("Cannot read properties of undefined (reading 'msgs')");
    return loadEarlier(given.chat ?? given);
  },
}));
__d('WAWebApiMessageInfoStore', () => ({
  queryMsgInfo: async () => ({ delivery: [], read: [], played: [], deliveryRemaining: 0, readRemaining: 0, playedRemaining: 0 }),
}));

const links = (text) =>
  [...String(text ?? '').matchAll(/https?:\/\/\S+/g)].map(([href]) => ({ href, url: href, suspiciousCharacters: new Set() }));
__d('WALinkify', () => ({ findLink: (text) => links(text)[0], findLinks: links }));
__d('WAWebLinkPreviewChatAction', () => ({
  getLinkPreview: async (link, chat) => {
    if (newest && !chat) throw new TypeError("Cannot read properties of undefined (reading 'id')");
    return { data: { title: new URL(link.href).hostname, description: '', canonicalUrl: link.href, matchedText: link.href } };
  },
}));
__d('WAWebChatStateBridge', () => ({
  sendChatStateComposing: (wid) => line.request('chatstate', { chat: String(wid), state: 'composing' }),
  sendChatStateRecording: (wid) => line.request('chatstate', { chat: String(wid), state: 'recording' }),
  sendChatStatePaused: (wid) => line.request('chatstate', { chat: String(wid), state: 'paused' }),
}));
__d('WAWebPresenceChatAction', () => ({
  sendPresenceAvailable: () => line.request('presence'),
  sendPresenceUnavailable: () => line.request('presence'),
}));
