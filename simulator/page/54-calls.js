// Incoming calls and their rejection. The library watches the map. In 2026-09b there is none, and the module comes some time after the page.
const calls = new Map();
const CallCollection = Object.assign(new Emitter(), {
  activeCall: null,
  setActiveCall(call) {
    this.activeCall = call;
  },
  ...(lazy ? {} : { _calls: calls }),
});
line.on('call', (call) => {
  const offered = {
    id: call.id,
    peerJid: createWid(call.from),
    offerTime: call.offerTime,
    isVideo: call.isVideo,
    isGroup: false,
    canHandleLocally: true,
    outgoing: false,
    webClientShouldHandle: false,
    participants: {},
    state: lazy ? undefined : 'INCOMING_RING',
    getState() {
      return this.state;
    },
  };
  CallCollection.setActiveCall(offered);
  // The state follows one moment later.
  if (lazy) setTimeout(() => (offered.state = 'INCOMING_RING'), 0);
  calls.set(call.id, offered);
});
line.on('call_state', ({ id }) => {
  calls.delete(id);
  if (CallCollection.activeCall?.id === id) CallCollection.setActiveCall(null);
});
if (lazy) setTimeout(() => __d('WAWebCallCollection', () => CallCollection), 1_000);
else __d('WAWebCallCollection', () => CallCollection);
__d('WAWap', () => ({
  wap: (tag, attrs, content) => ({ tag, attrs, content }),
  generateId: () => crypto.randomUUID(),
}));
__d('WADeprecatedSendIq', () => ({
  async deprecatedCastStanza({ tag, content }) {
    const reject = (content ?? []).find((child) => child.tag === 'reject');
    if (tag !== 'call' || !reject) throw new r(`no such stanza: ${tag}`, 400);
    // As current builds do according to reports: it resolves, and the phone continues to ring.
    if (refusedByBuild()) return;
    await line.request('call_reject', { id: reject.attrs['call-id'] });
  },
}));
__d('WAWebGenerateEventCallLink', () => ({ createEventCallLink: (time, type) => line.request('call_link', { type }) }));
