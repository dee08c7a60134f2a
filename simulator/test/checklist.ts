/* eslint-disable max-lines -- a table, one row for each feature of the library */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import library from 'whatsapp-web.js';
import type WAWebJS from 'whatsapp-web.js';
import { ana, bruno, eventOf, me, png, toAna, until, type Stage } from './stock.js';

/** What the released library can do, one line each. Each throws when it does not work. */
export interface Feature {
  name: string;
  run: (stage: Stage) => Promise<void>;
}

const { Location, MessageMedia, Poll, ScheduledEvent } = library;
const got = async ({ simulator }: Stage, phone: string, key: string) =>
  (await simulator.client.received({ phone })).find((message) => message.key === key);

/** Sends to Ana and gives what her phone got. */
async function toPhone(stage: Stage, content: unknown, options: Record<string, unknown> = {}, phone = ana, chat = toAna) {
  const sent = await stage.client.sendMessage(chat, content as string, { sendSeen: false, ...options });
  assert.ok(sent, 'nothing was sent');
  return { sent, message: await until('the message on the phone', () => got(stage, phone, sent.id.id)) };
}
async function fromAna(stage: Stage, delivery: Record<string, unknown> = {}) {
  const { key } = await stage.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'hello', ...delivery });
  const [message] = await eventOf(stage, 'message', (one) => one.id.id === key);
  return { key, message };
}
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

const sendFile = (name: string, mimetype: string, type: string, options: Record<string, unknown> = {}): Feature => ({
  name: `send ${name}`,
  run: async (stage) => {
    const bytes = type === 'image' ? png : Buffer.from(`the bytes of ${name}`);
    const file = new MessageMedia(mimetype, bytes.toString('base64'), 'a.file');
    const { message } = await toPhone(stage, file, options);
    assert.deepEqual([message.type, message.mediaSha256, message.mimetype], [type, sha256(bytes), mimetype]);
    if (options['caption']) assert.equal(message.caption, options['caption']);
  },
});
async function group(stage: Stage, more: Record<string, unknown> = {}) {
  const { id } = await stage.simulator.client.createGroup({ by: ana, subject: 'Team', participants: [me], ...more });
  await eventOf(stage, 'group_update', (notice) => notice.chatId === id);
  return id;
}
async function asAdmin(stage: Stage, more: Record<string, unknown> = {}) {
  const id = await group(stage, more);
  await stage.simulator.client.changeGroup({ by: ana, id, how: 'promote', participants: [me] });
  await eventOf(stage, 'group_admin_changed', (notice) => notice.chatId === id);
  // The library's types do not say which kind of chat an id gives.
  return { id, chat: (await stage.client.getChatById(id)) as WAWebJS.GroupChat };
}

/** The library gives what it has made, or the text of an error. */
function made<T extends object>(result: T | string): T {
  assert.equal(typeof result, 'object', String(result));
  return result as T;
}
async function channel(stage: Stage, name: string, options?: WAWebJS.CreateChannelOptions): Promise<string> {
  const { nid } = made(await stage.client.createChannel(name, options));
  return nid._serialized;
}

/** An event tomorrow. The library makes a secret of its own for an event without one, although its types ask for it. */
const eventNamed = (name: string, callType: string) =>
  new ScheduledEvent(name, new Date(Date.now() + 86_400_000), { callType, messageSecret: undefined });

export const features: Feature[] = [
  {
    name: 'send text',
    run: async (stage) => assert.equal((await toPhone(stage, 'hello')).message.text, 'hello'),
  },
  {
    name: 'send a link',
    run: async (stage) =>
      assert.equal((await toPhone(stage, 'see https://example.com/a')).message.text, 'see https://example.com/a'),
  },
  sendFile('an image', 'image/png', 'image', { caption: 'a caption' }),
  sendFile('a video', 'video/mp4', 'video'),
  sendFile('audio', 'audio/mpeg', 'audio'),
  sendFile('a voice note', 'audio/ogg', 'ptt', { sendAudioAsVoice: true }),
  sendFile('a document', 'application/pdf', 'document', { sendMediaAsDocument: true }),
  {
    name: 'send a sticker',
    run: async (stage) => {
      const file = new MessageMedia('image/webp', Buffer.from('webp').toString('base64'), 'a.webp');
      assert.equal((await toPhone(stage, file, { sendMediaAsSticker: true })).message.type, 'sticker');
    },
  },
  {
    name: 'send a location',
    run: async (stage) => {
      const { message } = await toPhone(stage, new Location(1.5, -2.5, { name: 'Here', address: 'Street' }));
      assert.deepEqual([message.type, message.data['lat'], message.data['lng']], ['location', 1.5, -2.5]);
    },
  },
  {
    name: 'send contact cards',
    run: async (stage) => {
      const contact = await stage.client.getContactById(`${bruno}@c.us`);
      assert.equal((await toPhone(stage, contact)).message.type, 'vcard');
      const { message } = await toPhone(stage, [contact, contact]);
      assert.deepEqual([message.type, (message.data['vcardList'] as unknown[]).length], ['multi_vcard', 2]);
    },
  },
  {
    name: 'send a poll, hear and read the votes',
    run: async (stage) => {
      const { sent } = await toPhone(stage, new Poll('When?', ['Today', 'Tomorrow']));
      await stage.simulator.client.vote({ phone: ana, key: sent.id.id, options: ['Tomorrow'] });
      const [vote] = await eventOf(stage, 'vote_update', (one) => one.parentMessage.id.id === sent.id.id);
      assert.equal(vote.selectedOptions[0]?.name, 'Tomorrow');
      const votes = await stage.client.getPollVotes(sent.id._serialized);
      assert.deepEqual(
        votes.map((one) => one.selectedOptions[0]!.name),
        ['Tomorrow'],
      );
    },
  },
  {
    name: 'vote in a poll',
    run: async (stage) => {
      const { message, key } = await fromAna(stage, { type: 'poll', question: 'Where?', options: ['Here', 'There'] });
      await message.vote(['There']);
      const history = await stage.simulator.client.history({ phone: ana });
      assert.deepEqual(Object.values(history.find((one) => one.key === key)!.marks.votes)[0]?.options.join(), 'There');
    },
  },
  {
    name: 'send, edit and cancel an event',
    run: async (stage) => {
      const { sent, message } = await toPhone(stage, eventNamed('Lunch', 'video'));
      assert.equal(message.data['eventName'], 'Lunch');
      assert.match(String(message.data['eventJoinLink']), /^https:\/\/call/);
      // Its types name the browser's Event here.
      await sent.editScheduledEvent(eventNamed('Dinner', 'none') as unknown as Event);
      const history = await stage.simulator.client.history({ phone: ana });
      assert.equal(history.find((one) => one.key === sent.id.id)!.data['eventName'], 'Dinner');
    },
  },
  {
    name: 'acks climb to played',
    run: async (stage) => {
      const { sent } = await toPhone(stage, 'ack me');
      const acks = () =>
        stage.events
          .filter((one) => one.name === 'message_ack' && (one.args[0] as WAWebJS.Message).id.id === sent.id.id)
          .map((one) => one.args[1]);
      await until('ack 2', () => acks().includes(2));
      for (const ack of [3, 4]) {
        await stage.simulator.client.ack({ phone: ana, key: sent.id.id, ack });
        await until(`ack ${ack}`, () => acks().includes(ack));
      }
      assert.deepEqual(acks(), [1, 2, 3, 4]);
      const info = (await sent.getInfo())!;
      assert.deepEqual([info.delivery.length, info.read.length, info.readRemaining], [1, 1, 0]);
    },
  },
  {
    name: 'receive text, quote it, find the quoted',
    run: async (stage) => {
      const { key, message } = await fromAna(stage, { text: 'a question' });
      assert.deepEqual([message.body, message.from, message.fromMe], ['a question', toAna, false]);
      const answer = await message.reply('an answer');
      assert.equal((await until('the answer', () => got(stage, ana, answer.id.id)))!.quotedKey, key);
      assert.equal((await answer.getQuotedMessage()).body, 'a question');
    },
  },
  {
    name: 'receive from a LID and know the number',
    run: async (stage) => {
      const { message } = await fromAna(stage, { asLid: true });
      assert.match(message.from, /@lid$/);
      const [known] = await stage.client.getContactLidAndPhone([message.from]);
      assert.equal(known!.pn, toAna);
    },
  },
  {
    name: 'receive and download a file',
    run: async (stage) => {
      const { message } = await fromAna(stage, {
        type: 'image',
        base64: png.toString('base64'),
        mimetype: 'image/png',
        caption: 'look',
      });
      assert.deepEqual([message.hasMedia, message.body], [true, 'look']);
      assert.equal((await message.downloadMedia()).data, png.toString('base64'));
    },
  },
  {
    name: 'a ciphertext is asked for again',
    run: async (stage) => {
      const { key } = await stage.simulator.client.deliver({
        from: ana,
        to: me,
        type: 'text',
        text: 'clear at last',
        sealed: 'recoverable',
      });
      await eventOf(stage, 'message_ciphertext', (one) => one.id.id === key);
      const [message] = await eventOf(stage, 'message', (one) => one.id.id === key);
      assert.equal(message.body, 'clear at last');
    },
  },
  {
    name: 'hear edits, reactions, revokes',
    run: async (stage) => {
      const { key } = await fromAna(stage, { text: 'frist' });
      const { client } = stage.simulator;
      await client.edit({ phone: ana, key, text: 'first' });
      const [, body] = await eventOf(stage, 'message_edit', (one) => one.id.id === key);
      assert.equal(body, 'first');
      await client.react({ phone: ana, key, emoji: '👍' });
      const [reaction] = await eventOf(stage, 'message_reaction', (one) => one.msgId.id === key);
      assert.deepEqual([reaction.reaction, reaction.senderId], ['👍', toAna]);
      await client.revoke({ phone: ana, key });
      await eventOf(stage, 'message_revoke_everyone', (one) => one.id.id === key);
    },
  },
  {
    name: 'edit, react, star, pin, delete for everyone and for oneself',
    run: async (stage) => {
      const { sent } = await toPhone(stage, 'tpyo');
      await sent.edit('typo');
      assert.deepEqual([(await got(stage, ana, sent.id.id))!.text, (await got(stage, ana, sent.id.id))!.edited], ['typo', true]);
      await sent.react('🎉');
      assert.equal((await got(stage, ana, sent.id.id))!.reactions[me], '🎉');
      await sent.reload();
      assert.equal((await sent.getReactions())[0]!.aggregateEmoji, '🎉');
      await sent.star();
      assert.equal((await stage.client.getMessageById(sent.id._serialized)).isStarred, true);
      assert.equal(await sent.pin(86_400), true);
      const chat = await stage.client.getChatById(toAna);
      assert.deepEqual(
        (await chat.getPinnedMessages()).map((one) => one.id.id),
        [sent.id.id],
      );
      await sent.delete(true);
      assert.equal((await got(stage, ana, sent.id.id))!.revoked, true);
      const second = await toPhone(stage, 'for my eyes');
      await second.sent.delete(false);
      await eventOf(stage, 'message_revoke_me', (one) => one.id.id === second.sent.id.id);
      assert.equal((await got(stage, ana, second.sent.id.id))!.revoked, false);
    },
  },
  {
    name: 'forward',
    run: async (stage) => {
      const { message } = await fromAna(stage, { text: 'pass it on' });
      await message.forward(`${bruno}@c.us`);
      const passed = await until('the forwarded', async () =>
        (await stage.simulator.client.received({ phone: bruno })).find((one) => one.text === 'pass it on'),
      );
      assert.equal(passed.data['isForwarded'], true);
    },
  },
  {
    name: 'typing and seen',
    run: async (stage) => {
      const { key } = await fromAna(stage);
      const chat = await stage.client.getChatById(toAna);
      await chat.sendStateTyping();
      await chat.sendStateRecording();
      await chat.clearState();
      await until('typing', async () => (await stage.simulator.client.typingSeen({ phone: ana })).length >= 3);
      assert.equal(await chat.sendSeen(), true);
      const history = await stage.simulator.client.history({ phone: ana });
      assert.equal(history.find((one) => one.key === key)!.ack, 3);
    },
  },
  {
    name: 'chats: list, archive, pin, mute, unread, clear, delete',
    run: async (stage) => {
      await fromAna(stage);
      const chats = await stage.client.getChats();
      const mine = chats.find((chat) => chat.id._serialized === toAna)!;
      assert.deepEqual([mine.name, mine.lastMessage !== undefined], ['Ana', true]);
      await mine.archive();
      await eventOf(stage, 'chat_archived');
      await mine.unarchive();
      assert.equal(await mine.pin(), true);
      assert.equal((await mine.mute()).isMuted, true);
      assert.equal((await mine.unmute()).isMuted, false);
      await mine.markUnread();
      const [shown] = (await stage.simulator.client.chats({ phone: me })).filter((chat) => chat.id === toAna);
      assert.deepEqual([shown!.archive, shown!.unreadCount, shown!.pin > 0, shown!.mute], [false, -1, true, 0]);
      await mine.unpin();
      await toPhone(stage, 'soon gone', {}, bruno, `${bruno}@c.us`);
      const other = await stage.client.getChatById(`${bruno}@c.us`);
      assert.equal(await other.clearMessages(), true);
      assert.equal((await other.fetchMessages({ limit: 10 })).length, 0);
      assert.equal(await other.delete(), true);
      await eventOf(stage, 'chat_removed');
    },
  },
  {
    name: 'history beyond what the page has, and search',
    run: async (stage) => {
      await stage.simulator.client.createAccount({ phone: '5511999990003' });
      for (let n = 0; n < 70; n++)
        await stage.simulator.client.deliver({ from: '5511999990003', to: me, type: 'text', text: `line ${n}` });
      const chat = await stage.client.getChatById('5511999990003@c.us');
      const messages = await chat.fetchMessages({ limit: 70 });
      assert.deepEqual(new Set(messages.map((one) => one.body)).size, 70);
      const found = await stage.client.searchMessages('line 42');
      assert.deepEqual(
        found.map((one) => one.body),
        ['line 42'],
      );
    },
  },
  {
    name: 'contacts: who exists, names, words, picture, common groups, devices',
    run: async (stage) => {
      assert.equal((await stage.client.getNumberId(ana))!._serialized, toAna);
      assert.equal(await stage.client.getNumberId('99912345678'), null);
      const contact = await stage.client.getContactById(toAna);
      assert.deepEqual([contact.name, contact.pushname, contact.isMyContact, contact.isBlocked], ['Ana', 'Ana', true, false]);
      assert.equal(await contact.getAbout(), 'Hey there! I am simulated.');
      assert.equal(await contact.getProfilePicUrl(), undefined);
      const id = await group(stage);
      assert.ok((await contact.getCommonGroups()).some((one) => one._serialized === id));
      assert.equal(await stage.client.getContactDeviceCount(`${me}@c.us`), 2);
      assert.equal(await stage.client.getFormattedNumber(ana), '+55 11 99999-0001');
      assert.equal(await stage.client.getCountryCode(ana), '55');
      await stage.client.saveOrEditAddressbookContact(ana, 'Ana', 'Souza');
      assert.equal((await stage.client.getContactById(toAna)).name, 'Ana Souza');
      await stage.client.saveOrEditAddressbookContact(ana, 'Ana', '');
    },
  },
  {
    name: 'block and unblock',
    run: async (stage) => {
      const contact = await stage.client.getContactById(toAna);
      await contact.block();
      await until('the block', async () => (await stage.simulator.client.blocked({ phone: me })).length === 1);
      assert.equal((await stage.client.getContactById(toAna)).isBlocked, true);
      await contact.unblock();
      await until('the unblock', async () => (await stage.simulator.client.blocked({ phone: me })).length === 0);
    },
  },
  {
    name: 'own profile: name, words, picture',
    run: async (stage) => {
      await stage.client.setDisplayName('Shop 2');
      await stage.client.setStatus('open');
      assert.equal(await stage.client.setProfilePicture(new MessageMedia('image/png', png.toString('base64'), 'me.png')), true);
      const [mine] = (await stage.simulator.client.accounts({})).filter((one) => one.phone === me);
      assert.deepEqual([mine!.name, mine!.about], ['Shop 2', 'open']);
      assert.match(String(await stage.client.getProfilePicUrl(`${me}@c.us`)), /^https:\/\/pps/);
      assert.equal(await stage.client.deleteProfilePicture(), true);
      await stage.client.setDisplayName('Shop');
    },
  },
  {
    name: 'groups: send, receive, mention',
    run: async (stage) => {
      const id = await group(stage);
      const { message } = await toPhone(stage, 'hello all', { mentions: [toAna] }, ana, id);
      assert.deepEqual([message.text, message.author], ['hello all', `${me}@c.us`]);
      const { key } = await stage.simulator.client.deliver({ from: ana, to: id, type: 'text', text: 'hello you' });
      const [got] = await eventOf(stage, 'message', (one) => one.id.id === key);
      assert.deepEqual([got.from, got.author], [id, toAna]);
    },
  },
  {
    name: 'groups under LIDs',
    run: async (stage) => {
      const id = await group(stage, { lidAddressing: true });
      const { message } = await toPhone(stage, 'hello all', {}, ana, id);
      assert.match(String(message.author), /@lid$/);
      const { key } = await stage.simulator.client.deliver({ from: ana, to: id, type: 'text', text: 'hello you' });
      const [got] = await eventOf(stage, 'message', (one) => one.id.id === key);
      assert.match(String(got.author), /@lid$/);
    },
  },
  {
    name: 'groups: participants',
    run: async (stage) => {
      const { id, chat } = await asAdmin(stage);
      const added = made(await chat.addParticipants([`${bruno}@c.us`]));
      assert.equal(added[`${bruno}@c.us`]!.code, 200);
      await chat.promoteParticipants([`${bruno}@c.us`]);
      const admins = async () =>
        (await stage.simulator.client.group({ id })).participants.filter((one) => one.isAdmin).map((one) => one.id);
      assert.ok((await admins()).includes(`${bruno}@c.us`));
      await chat.demoteParticipants([`${bruno}@c.us`]);
      assert.ok(!(await admins()).includes(`${bruno}@c.us`));
      await chat.removeParticipants([`${bruno}@c.us`]);
      assert.equal((await stage.simulator.client.group({ id })).participants.length, 2);
      await stage.simulator.client.createAccount({ phone: '5511999990009', groupsByInvite: true });
      const invited = made(await chat.addParticipants(['5511999990009@c.us']));
      assert.deepEqual([invited['5511999990009@c.us']!.code, invited['5511999990009@c.us']!.isInviteV4Sent], [403, true]);
    },
  },
  {
    name: 'groups: subject, settings, picture, invite, leave',
    run: async (stage) => {
      const { id, chat } = await asAdmin(stage);
      assert.equal(await chat.setSubject('Crew'), true);
      assert.equal(await chat.setMessagesAdminsOnly(true), true);
      assert.equal(await chat.setInfoAdminsOnly(true), true);
      assert.equal(await chat.setAddMembersAdminsOnly(true), true);
      assert.equal(await chat.setPicture(new MessageMedia('image/png', png.toString('base64'), 'g.png')), true);
      const shown = await stage.simulator.client.group({ id });
      assert.deepEqual([shown.subject, shown.announce, shown.restrict, shown.memberAddMode], ['Crew', true, true, 'admin_add']);
      const code = await chat.getInviteCode();
      assert.equal(code, shown.invite);
      assert.equal(((await stage.client.getInviteInfo(code)) as { subject: string }).subject, 'Crew');
      assert.notEqual(await chat.revokeInvite(), code);
      await chat.leave();
      assert.equal((await stage.simulator.client.group({ id })).participants.length, 1);
      await stage.client.getChats();
    },
  },
  {
    name: 'groups: description',
    run: async (stage) => {
      const { id, chat } = await asAdmin(stage);
      assert.equal(await chat.setDescription('who we are'), true);
      assert.equal((await stage.simulator.client.group({ id })).desc, 'who we are');
    },
  },
  {
    name: 'groups: join by invite, ask to join, be let in',
    run: async (stage) => {
      const { client } = stage.simulator;
      const { id } = await client.createGroup({ by: ana, subject: 'Open', participants: [] });
      const { invite } = await client.group({ id });
      assert.equal(await stage.client.acceptInvite(invite), id);
      const { chat, id: closed } = await asAdmin(stage, { approval: true });
      await client.createAccount({ phone: bruno, name: 'Bruno' });
      await client.joinGroup({ phone: bruno, code: (await client.group({ id: closed })).invite });
      await eventOf(stage, 'group_membership_request', (one) => one.chatId === closed);
      const requests = await chat.getGroupMembershipRequests();
      assert.equal((requests[0]!.id as WAWebJS.ContactId)._serialized, `${bruno}@c.us`);
      const results = await chat.approveGroupMembershipRequests({ requesterIds: [`${bruno}@c.us`], sleep: null });
      assert.match(results[0]!.message, /Approved/);
      assert.equal((await client.group({ id: closed })).participants.length, 3);
    },
  },
  {
    name: 'create a group',
    run: async (stage) => {
      await stage.simulator.client.createAccount({ phone: '5511999990009', groupsByInvite: true });
      const people = [toAna, '99912345678@c.us', '5511999990009@c.us'];
      const { participants, gid } = made(await stage.client.createGroup('New', people));
      const [added, unregistered, invited] = people.map((id) => participants[id]!);
      assert.deepEqual([added!.statusCode, unregistered!.statusCode, invited!.isInviteV4Sent], [200, 404, true]);
      assert.equal((await stage.simulator.client.group({ id: gid._serialized })).participants.length, 2);
    },
  },
  {
    name: 'channels: make, post, follow, search',
    run: async (stage) => {
      const id = await channel(stage, 'News', { description: 'of us' });
      const sent = await stage.client.sendMessage(id, 'first post', { sendSeen: false });
      const seen = await stage.simulator.client.channel({ id, phone: ana });
      assert.equal(seen.posts.map((post) => `${post.key} ${String(post.data['body'])}`).join(), `${sent.id.id} first post`);
      const other = await stage.simulator.client.createChannel({ by: ana, name: 'Elsewhere' });
      const [found] = await stage.client.searchChannels({ searchText: 'else' });
      assert.equal(found!.id._serialized, other.id);
      assert.equal(await stage.client.subscribeToChannel(other.id), true);
      await stage.simulator.client.postInChannel({ by: ana, id: other.id, text: 'hear me' });
      await eventOf(stage, 'message', (one) => one.body === 'hear me');
      const byCode = await stage.client.getChannelByInviteCode(other.invite);
      assert.equal(byCode.name, 'Elsewhere');
      assert.equal(await byCode.mute(), true);
      assert.equal(await stage.client.unsubscribeFromChannel(other.id), true);
      const mine = (await stage.client.getChatById(id)) as unknown as WAWebJS.Channel;
      assert.equal(await mine.setSubject('Newer'), true);
      assert.equal((await mine.getSubscribers(10)).length, 1);
      assert.equal(await stage.client.deleteChannel(id), true);
    },
  },
  {
    name: 'channels: files',
    run: async (stage) => {
      const id = await channel(stage, 'Pictures');
      await stage.client.sendMessage(id, new MessageMedia('image/png', png.toString('base64'), 'a.png'), {
        sendSeen: false,
      });
      const seen = await stage.simulator.client.channel({ id, phone: ana });
      assert.equal(seen.posts[0]!.type, 'image');
    },
  },
  {
    name: 'channels: admins and owner',
    run: async (stage) => {
      const id = await channel(stage, 'Shared');
      assert.equal(await stage.client.sendChannelAdminInvite(toAna, id, { comment: 'join' }), true);
      assert.equal(await stage.client.revokeChannelAdminInvite(id, toAna), true);
      const other = await stage.simulator.client.createChannel({ by: ana, name: 'Hers' });
      await stage.simulator.client.inviteChannelAdmin({ by: ana, id: other.id, contact: me });
      await stage.client.getChatById(other.id);
      assert.equal(await stage.client.acceptChannelAdminInvite(other.id), true);
      assert.equal((await stage.simulator.client.channel({ id: other.id, phone: me })).role, 'admin');
    },
  },
  {
    name: 'channels: transfer',
    run: async (stage) => {
      const id = await channel(stage, 'Gift');
      assert.equal(await stage.client.transferChannelOwnership(id, toAna), true);
      assert.equal((await stage.simulator.client.channel({ id, phone: ana })).role, 'owner');
    },
  },
  {
    name: 'status: post text, read and revoke',
    run: async (stage) => {
      await toPhone(stage, 'so that Ana knows me');
      await stage.client.sendMessage('status@broadcast', 'open today', { sendSeen: false });
      const seen = await until('the status', async () =>
        (await stage.simulator.client.received({ phone: ana })).find((one) => one.text === 'open today'),
      );
      assert.equal(seen.from, 'status@broadcast');
      const [mine] = await stage.client.getBroadcasts();
      const [post] = mine!.msgs;
      assert.equal(post!.body, 'open today');
      await stage.client.revokeStatusMessage(post!.id._serialized);
      await until('the revoke', async () => (await got(stage, ana, seen.key))!.revoked);
    },
  },
  {
    name: 'status: post a picture',
    run: async (stage) => {
      await toPhone(stage, 'so that Ana knows me');
      await stage.client.sendMessage('status@broadcast', new MessageMedia('image/png', png.toString('base64'), 'a.png'), {
        sendSeen: false,
      });
      await until('the status', async () =>
        (await stage.simulator.client.received({ phone: ana })).find(
          (one) => one.from === 'status@broadcast' && one.type === 'image',
        ),
      );
    },
  },
  {
    name: 'calls: eventOf',
    run: async (stage) => {
      const { id } = await stage.simulator.client.call({ from: ana, to: me, isVideo: true });
      const [call] = await eventOf(stage, 'call', (one) => one.id === id);
      assert.equal(call.isVideo, true);
    },
  },
  {
    name: 'calls: rejected',
    run: async (stage) => {
      const { id } = await stage.simulator.client.call({ from: ana, to: me });
      const [call] = await eventOf(stage, 'call', (one) => one.id === id);
      await call.reject();
      assert.equal((await stage.simulator.client.calls({ phone: me })).find((one) => one.id === id)!.state, 'rejected');
      assert.match(String(await stage.client.createCallLink(new Date(), 'video')), /^https:\/\/call/);
    },
  },
  {
    name: 'settings of the page',
    run: async (stage) => {
      await stage.client.setAutoDownloadPhotos(false);
      await stage.client.setBackgroundSync(false);
      await stage.client.sendPresenceAvailable();
      const [mine] = (await stage.simulator.client.accounts({})).filter((one) => one.phone === me);
      assert.equal(mine!.presence, 'available');
    },
  },
];
