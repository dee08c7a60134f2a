// Sending. A send ends when WhatsApp's server has answered. A refusal becomes ack −1, not an exception.
function addAndSendMsgToChat(chat, message) {
  const msg = message instanceof MsgModel ? message : new MsgModel({ ...message, star: false, hasReaction: false });
  if (msg.directPath) msg.isUnsentMedia = true;
  const isStory = chat.id.isStatus();
  chat.msgs.add(msg, { silent: true });
  const added = (async () => {
    if (isStory) posted(msg);
    // Lazy builds show own posts in the store of stories alone.
    if (!isStory || !lazy) Msg.add(msg);
    chat.heard(msg);
    return msg;
  })();
  const answered = added.then(() => post(msg, String(chat.id)));
  answered.catch(() => {});
  const sent = isStory ? settled(answered) : answered;
  sent.catch(() => {});
  return [added, sent];
}

async function post(msg, to) {
  const {
    id,
    from,
    to: _,
    ack: __,
    local,
    self,
    isNewMsg,
    isUnsentMedia,
    author,
    type,
    t,
    __x_id,
    star,
    hasReaction,
    ...data
  } = msg.serialize();
  const request = { key: id.id, to, type, t, data: encode(data) };
  for (;;) {
    await dialogClosed();
    try {
      const answer = await line.request('send', request);
      if (answer.ack > msg.ack || answer.ack < 0) msg.set({ ack: answer.ack });
      delete msg.mediaBlob;
      if (answer.ack > 0 && msg.isUnsentMedia) msg.set({ isUnsentMedia: false });
      // The server says with a number that the account may not start new chats.
      const error = answer.reason === 'reach-out-locked' ? { error: 463 } : {};
      return { messageSendResult: answer.ack < 0 ? 'ERROR_UNKNOWN' : 'OK', t: answer.t, ...error };
    } catch (error) {
      // The connection broke: WhatsApp sends the message again on the next one, under the same id.
      if (error.status === 0) continue;
      msg.set({ ack: -1 });
      return { messageSendResult: 'ERROR_UNKNOWN', t };
    }
  }
}

/** A message of the page itself. */
async function compose(chat, content) {
  const from = chat.id.isLid() || chat.groupMetadata?.isLidAddressingMode ? me.lid : me.pn;
  const shared = chat.id.isGroup() || chat.id.isStatus();
  const id = new MsgKey({ from, to: chat.id, id: await MsgKey.newId(), participant: shared ? from : undefined, selfDir: 'out' });
  return {
    ...content,
    id,
    ack: 0,
    from,
    to: chat.id,
    t: Math.floor(Date.now() / 1000),
    isNewMsg: true,
    local: true,
    self: 'out',
  };
}

__d('WAWebSendMsgChatAction', () => ({ addAndSendMsgToChat }));
__d('WAWebChatSendMessages', () => ({
  async sendGroupInviteMessage(chat, inviteGrp, inviteGrpName, inviteCode, inviteCodeExp, comment) {
    const invite = { type: 'groups_v4_invite', inviteGrp, inviteGrpName, inviteCode, inviteCodeExp, comment };
    return addAndSendMsgToChat(chat, await compose(chat, invite))[1];
  },
}));
__d('WAWebMsgReply', () => ({ canReplyMsg: (msg) => msg.canReply() }));
__d('WAWebMsgDataFromModel', () => ({ msgDataFromMsgModel: (msg) => msg.serialize() }));
__d('WAWebGetEphemeralFieldsMsgActionsUtils', () => ({ getEphemeralFields: () => ({}) }));
// Loaded when a person opens the dialog to forward.
__lazy('WAWebMediaForwardMediaMsg', 'WAWebChatForwardMessage', () => ({
  async forwardMessages({ chat, msgs }) {
    for (const msg of msgs) {
      const { author, quotedMsg, quotedStanzaID, quotedParticipant, ...content } = msg.serialize();
      const forwarded = { ...content, isForwarded: true, forwardingScore: (msg.forwardingScore ?? 0) + 1 };
      await addAndSendMsgToChat(chat, await compose(chat, forwarded))[1];
    }
  },
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
