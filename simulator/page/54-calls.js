// Incoming calls and their rejection. The library watches a map of the collection. In 2026-09b there is none: the page has one active call.
const callStates = { ringing: 'INCOMING_RING', rejected: 'REJECTED', ended: 'ENDED' };
class CallModel extends Model {
  getState() {
    return this.state;
  }
}
class Calls extends Collection {
  activeCall = null;
  setActiveCall(call) {
    this.activeCall = call;
    if (call) this.add(call);
  }
}
// Without its `models`, because the library takes any map of the collection for the one of the calls.
const CallCollection = new Calls(CallModel);
const callModels = CallCollection.models;
Object.defineProperty(CallCollection, 'models', { value: callModels, enumerable: false });
if (!lazy) CallCollection._calls = new Map();
line.on('call', (call) => {
  const model = new CallModel({
    id: call.id,
    peerJid: createWid(call.from),
    offerTime: lazy ? 0 : call.offerTime,
    isVideo: call.isVideo,
    isGroup: false,
    canHandleLocally: true,
    outgoing: false,
    webClientShouldHandle: false,
    participants: {},
    state: lazy ? undefined : callStates.ringing,
  });
  CallCollection.setActiveCall(model);
  // The state follows one moment later.
  if (lazy) setTimeout(() => model.set({ state: callStates.ringing }), 0);
  CallCollection._calls?.set(call.id, model);
});
line.on('call_state', ({ id, state }) => {
  CallCollection.get(id)?.set({ state: callStates[state] });
  if (CallCollection.activeCall?.id === id) CallCollection.setActiveCall(null);
  CallCollection._calls?.delete(id);
});
// In 2026-09b the module comes some time after the page.
if (lazy) setTimeout(() => __d('WAWebCallCollection', () => CallCollection), 1_000);
else __d('WAWebCallCollection', () => CallCollection);
// Since 2026-09 calls belong to a backend that is loaded when it is needed. It acts on the active call and takes no id.
if (newest)
  __d('WAWebVoipBackendLoadable', () => ({
    async requireVoipJsBackend() {
      await new Promise((done) => setTimeout(done, 25));
      if (!factories.has('WAWebVoipStackInterface'))
        __d('WAWebVoipStackInterface', () => ({
          getVoipStackInterface: async () => ({
            rejectCall: async () => {
              const { activeCall } = CallCollection;
              if (activeCall) await line.request('call_reject', { id: activeCall.id });
            },
          }),
        }));
      return { initialize: async () => {} };
    },
  }));
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
__d('WAWebGenerateEventCallLink', () => ({
  // A failure is an empty link, and there is none for a start in the past.
  createEventCallLink: async (time, type) =>
    time * 1000 < Date.now() - 60_000 ? '' : line.request('call_link', { type }).catch(() => ''),
}));
