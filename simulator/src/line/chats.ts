import { chatProps, contactOf, forget, identity, lidId, phoneId, pushTo, type Account, type Device } from '../accounts.js';
import type { SendRequest } from '../messages.js';
import { Refusal } from '../refusal.js';
import type { WireChat, WireMessage } from '../wire.js';
import type { World } from '../world.js';
import type { OnLine, Ops } from './ops.js';

/** Messages and chats. */
export function chatOps({ world, me, device }: OnLine): Ops {
  return {
    sync: (d: { perChat: number }) => snapshot(world, me(), device(), d.perChat),
    /** The messages before the oldest one of the page. It names a message, because times in seconds are too coarse. */
    history(d: { chat: string; before: string | null; limit: number }) {
      me().historyReads.push(d.chat);
      const all = me().byChat.get(d.chat) ?? [];
      const end = d.before === null ? all.length : all.findIndex((message) => message.key === d.before);
      return end < 0 ? [] : all.slice(Math.max(0, end - d.limit), end);
    },
    message: (d: { key: string }) => me().history.get(d.key) ?? null,
    search: (d: { text: string; chat: string | null; limit: number; page: number }) =>
      [...me().history.values()]
        .filter((message) => (d.chat === null || message.chat === d.chat) && textOf(message).includes(d.text.toLowerCase()))
        .reverse()
        .slice((d.page - 1) * d.limit, d.page * d.limit),
    send: (d: SendRequest) => world.messages.send(me(), device(), d),
    resend(d: { keys: string[] }) {
      me().resendRequests.push(...d.keys);
      world.messages.resend(me(), d.keys);
    },
    addon: (d: { kind: string; key: string; value: unknown }) => world.addon(me(), d, device()),
    /** Deletes messages only for this account. */
    delete: (d: { keys: string[] }) => {
      forget(me(), d.keys);
      pushTo(me(), { ev: 'deleted', d }, device());
    },
    read: (d: { chat: string }) => world.messages.read(me(), d.chat, device()),
    played(d: { key: string }) {
      const message = me().history.get(d.key);
      const writer = message ? world.phones.find(message.author ?? message.from) : null;
      if (writer?.history.has(d.key)) world.messages.ack(writer, d.key, 4, me());
    },
    chatprop(d: { chat: string; name: 'archive' | 'pin' | 'mute' | 'unread'; value: never }) {
      chatProps(me(), d.chat)[d.name] = d.value;
      pushTo(me(), { ev: 'chat', d: wireChat(me(), d.chat) }, device());
    },
    chatdelete(d: { chat: string; keep: boolean }) {
      forget(
        me(),
        (me().byChat.get(d.chat) ?? []).map((message) => message.key),
      );
      if (!d.keep) me().chats.delete(d.chat);
    },
    chatstate(d: { chat: string; state: string }) {
      const targets = d.chat.endsWith('@g.us') ? world.groups.members(d.chat) : [world.phones.find(d.chat)];
      for (const target of targets) if (target && target !== me()) target.typing.push({ from: phoneId(me()), state: d.state });
    },
    /** Sends the older messages of a chat, as the phone does. One that is off does not answer. */
    history_request(d: { chat: string }) {
      me().historyRequests.push(d.chat);
      if (!me().offline) pushTo(me(), { ev: 'history', d: { messages: me().byChat.get(d.chat) ?? [] } });
    },
  };
}

const textOf = ({ data }: WireMessage): string => `${String(data['body'] ?? '')} ${String(data['caption'] ?? '')}`.toLowerCase();

export function wireChat(account: Account, id: string): WireChat {
  const props = chatProps(account, id);
  return { id, t: props.t, unreadCount: props.unread, archive: props.archive, pin: props.pin, mute: props.mute };
}

/**
 * What a page receives at its start: its account, its chats with their last messages, groups, channels and contacts. Messages that wait
 * for the device are left out: they follow as new messages.
 */
function snapshot(world: World, account: Account, device: Device, perChat: number) {
  const waiting = new Set(device.queue.filter((push) => push.ev === 'msg').map((push) => (push.d as WireMessage).key));
  const groups = world.groups.all(account);
  for (const group of groups) chatProps(account, group.id).t ||= group.creation;
  const chats = [...account.chats.keys()].map((id) => wireChat(account, id));
  const messages = [...account.byChat.values()].flatMap((inChat) =>
    inChat.slice(-perChat - waiting.size).filter((message) => !waiting.has(message.key)),
  );
  const people = new Set([
    ...chats.map((chat) => chat.id).filter((id) => !id.includes('broadcast') && !id.endsWith('@g.us')),
    ...groups.flatMap((group) => group.participants.map((participant) => participant.id)),
    ...[...account.contacts].filter(([, name]) => name !== null).map(([phone]) => `${phone}@c.us`),
  ]);
  people.delete(phoneId(account));
  people.delete(lidId(account));
  const contacts = [...people].flatMap((id) => {
    const found = world.phones.find(id);
    return found ? [{ ...contactOf(found, account), id }] : [];
  });
  return {
    me: identity(account),
    chats,
    groups,
    channels: world.channels.mine(account),
    messages,
    contacts,
    blocked: [...account.blocked],
    labels: account.isBusiness ? account.labels : [],
  };
}

export function setChat(
  account: Account,
  id: string,
  changes: { archive?: boolean | undefined; pin?: number | undefined; mute?: number | undefined; unread?: number | undefined },
): void {
  if (!account.chats.has(id)) throw new Refusal(404, `There is no chat ${id}.`);
  Object.assign(chatProps(account, id), Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined)));
  pushTo(account, { ev: 'chat', d: wireChat(account, id) });
}
