// The presence of others. The page knows it only of chats to which it has subscribed, and asks again after each connection.
class ChatstateModel extends Model {}
class PresenceModel extends Model {
  #chatstate = new ChatstateModel({ id: undefined, type: undefined, t: undefined, deny: undefined });
  #chatstates = new Collection(ChatstateModel);
  get chatstate() {
    return this.#chatstate;
  }
  get chatstates() {
    return this.#chatstates;
  }
}
const PresenceCollection = new Collection(PresenceModel);

function presenceOf(chat) {
  const known = PresenceCollection.get(chat);
  if (known) return known;
  const made = new PresenceModel({ id: createWid(chat), isOnline: undefined, isSubscribed: true });
  // The collection passes on what changes in its models, as WhatsApp's does.
  const passOn = (state) => PresenceCollection.trigger('change:chatstate.type', state, state.type);
  made.chatstate.on('change:type', passOn);
  made.chatstate.on('change:t', (state) => PresenceCollection.trigger('change:chatstate.t', state, state.t));
  made.chatstates.on('change:type', passOn);
  return PresenceCollection.add(made);
}
line.on('presence', ({ chat, from, type, t, deny }) => {
  const presence = presenceOf(chat);
  if (type === null) return;
  const state = presence.id.isGroup()
    ? (presence.chatstates.get(from) ?? presence.chatstates.add({ id: createWid(from), type: undefined }))
    : presence.chatstate;
  if (!presence.id.isGroup()) presence.set({ isOnline: type !== 'unavailable' });
  state.set({ t: t ?? undefined, deny: deny || undefined, type });
});
const subscribeTo = (wid) => line.request('presence_subscribe', { chat: String(wid) });
__d('WAWebPresenceCollection', () => ({ PresenceCollection }));
__d('WAWebContactPresenceBridge', () => ({ subscribeUserPresence: subscribeTo, subscribeGroupPresence: subscribeTo }));
