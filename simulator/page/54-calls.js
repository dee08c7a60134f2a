// Incoming calls and their rejection. The library watches the map.
const calls = new Map();
line.on('call', (call) =>
  calls.set(call.id, {
    id: call.id,
    peerJid: createWid(call.from),
    offerTime: call.offerTime,
    isVideo: call.isVideo,
    isGroup: false,
    canHandleLocally: true,
    outgoing: false,
    webClientShouldHandle: false,
    participants: {},
  }),
);
line.on('call_state', ({ id }) => calls.delete(id));
__d('WAWebCallCollection', () => Object.assign(new Emitter(), { _calls: calls }));
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
// A failure is an empty link.
__d('WAWebGenerateEventCallLink', () => ({
  createEventCallLink: (time, type) => line.request('call_link', { type }).catch(() => ''),
}));
