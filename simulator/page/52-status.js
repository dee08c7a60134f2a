// Status posts: messages to `status@broadcast`, grouped by author. Builds of August 2026 and later know authors by LID.
class Posts extends Collection {
  /** Those that were taken back are gone. */
  getModelsArray() {
    return super.getModelsArray().filter((msg) => msg.type !== 'revoked');
  }
}
class StatusModel extends Model {
  msgs = new Posts(MsgModel);
  take(msg) {
    this.msgs.add(msg);
    this.set({ t: msg.t, totalCount: this.msgs.length, unreadCount: this.unreadCount + (msg.id.fromMe ? 0 : 1) });
  }
  serialize() {
    return { ...super.serialize(), msgs: this.msgs.getModelsArray().map((msg) => msg.serialize()) };
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
  const [, sent] = addAndSendMsgToChat(chat, { ...(await compose(chat, content)), author: me.pn });
  return settled(sent);
}
/** Waiting for an own post under the phone number never ends on builds that know it by LID. */
const settled = (sent) => (lazy ? new Promise(() => {}) : sent);
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
    return settled(addAndSendMsgToChat(chat, msg)[1]);
  },
}));
__d('WAWebRevokeStatusAction', () => ({
  async sendStatusRevokeMsgAction(status, msg) {
    if (!msg.id.fromMe || status !== Status.getMyStatus()) throw 'Can only revoke the own status';
    await hang('revoke', msg, null);
  },
}));
