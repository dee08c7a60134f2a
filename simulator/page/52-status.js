// Status posts: messages to `status@broadcast`, grouped by author.
class StatusModel extends Model {
  #posts = [];
  take(msg) {
    this.#posts.push(msg);
    this.set({ t: msg.t, totalCount: this.#posts.length, unreadCount: this.unreadCount + (msg.id.fromMe ? 0 : 1) });
  }
  get msgs() {
    return { getModelsArray: () => this.#posts.filter((msg) => msg.type !== 'revoked') };
  }
  serialize() {
    return { ...super.serialize(), msgs: this.#posts.filter((msg) => msg.type !== 'revoked').map((msg) => msg.serialize()) };
  }
}
const Status = new Collection(StatusModel);
// The own stories are stored under the phone number, and in 2026-09b under the LID.
const ownStatusId = () => (lazy ? me.lid : me.pn);
Status.getMyStatus = () => Status.get(ownStatusId());
function posted(msg) {
  const id = msg.id.fromMe ? ownStatusId() : msg.author;
  (Status.get(id) ?? Status.add(new StatusModel({ id, t: msg.t, totalCount: 0, unreadCount: 0 }))).take(msg);
}

async function postStatus(content) {
  const chat = ensureChat('status@broadcast');
  const composed = await compose(chat, content);
  const [added, sent] = addAndSendMsgToChat(chat, { ...composed, author: me.pn });
  posted(await added);
  return sent;
}
// The gate was removed by 2026-04-30. Since then the function for files has one object as its argument.
__d('WAWebStatusGatingUtils', () => (newest ? {} : { canCheckStatusRankingPosterGating: () => false }));
__d('WAWebMediaUpdateMsg', () => (msg, media) => {
  const { id: _, __x_id: __, ...changes } = media.toJSON ? media.toJSON() : media;
  return msg.set(changes);
});
__d('WAWebSendStatusMsgAction', () => ({
  sendStatusTextMsgAction: ({ text, color, font }) => postStatus({ type: 'chat', body: text, backgroundColor: color, font }),
  async sendStatusMediaMsgAction(...given) {
    if (newest && !given[0]?.msg) throw new TypeError("Cannot read properties of undefined (reading 'id')");
    const [msg, mediaUpdate] = newest ? [given[0].msg, given[0].mediaUpdate] : given;
    mediaUpdate(msg);
    const chat = ensureChat('status@broadcast');
    const [added, sent] = addAndSendMsgToChat(chat, msg);
    posted(await added);
    return sent;
  },
}));
__d('WAWebRevokeStatusAction', () => ({
  async sendStatusRevokeMsgAction(status, msg) {
    if (!msg.id.fromMe || status !== Status.getMyStatus()) throw 'Can only revoke the own status';
    await hang('revoke', msg, null);
  },
}));
