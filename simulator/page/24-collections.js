// One module contains all collections, under the names that the library uses.
__d('WAWebCollections', () => ({
  Msg,
  Chat,
  Contact,
  GroupMetadata,
  WAWebGroupMetadataCollection: GroupMetadata,
  Blocklist,
  ProfilePicThumb,
  Label,
  Status,
  BusinessProfile,
  Reactions,
  WAWebNewsletterCollection: Newsletters,
  NewsletterMetadataCollection: NewsletterMetadata,
  WAWebNewsletterMetadataCollection: NewsletterMetadata,
}));

/** Applies the snapshot, reports the end of the sync, then receives the messages that waited for this device. */
async function sync() {
  const snapshot = await line.request('sync', { perChat: 20 });
  for (const contact of snapshot.contacts) Contact.add(contactFrom(contact, contact.id));
  Contact.add({ id: me.pn, name: snapshot.me.name, pushname: snapshot.me.name, isMe: true, type: 'in' });
  for (const group of snapshot.groups) applyGroup(group);
  for (const label of snapshot.labels) applyLabel(label);
  for (const channel of snapshot.channels) applyChannel(channel);
  for (const { id, mute, ...props } of snapshot.chats) ensureChat(id, { ...props, muteExpiration: mute });
  for (const id of snapshot.blocked) Blocklist.add({ id: createWid(id) });
  for (const message of snapshot.messages) take(message, false);
  if (options.offlineRace) await line.request('live');
  await announceSync();
  if (options.offlineRace) return;
  await until(() => Msg.hears('add'), 3000);
  await line.request('live');
}

async function announceSync() {
  // Real pages finish long after the library has started to listen. The race that some users report is a switch.
  // In this race the library receives no event: hasSynced is already true when it starts to listen.
  if (options.syncRace && !Socket.hears('change:hasSynced')) return void (Socket.hasSynced = true);
  await until(() => Socket.hears('change:hasSynced'), 15_000);
  Socket.hasSynced = false;
  Socket.set({ hasSynced: true });
}

async function until(test, ms) {
  for (let waited = 0; !test() && waited < ms; waited += 10) await new Promise((done) => setTimeout(done, 10));
}
