import { randomBytes } from 'node:crypto';
import type { WebSocket } from 'ws';
import { chatProps, contactOf, phoneId, lidId, type Account, type Device } from './accounts.js';
import type { Linking, Waiting } from './linking.js';
import type { WireChat } from './wire.js';
import { Refusal, type World } from './world.js';

/**
 * The line of one page. Requests `{i, op, d}` are answered `{i, ok}` or `{i, err}`; pushes are `{ev, d}`. One table of operations;
 * what is not in it is refused by name, never answered as if it had worked.
 */
export function serveLine(
  socket: WebSocket,
  { world, linking, report }: { world: World; linking: Linking; report: (module: string) => void },
): void {
  let account: Account | null = null;
  let device: Device | null = null;
  let page: Waiting | null = null;
  let stopShowing = (): void => undefined;

  const push = (ev: string, d: unknown): void => {
    if (socket.readyState === socket.OPEN) socket.send(JSON.stringify({ ev, d }));
  };
  const me = (): Account => {
    if (!account || !device) throw new Refusal(401, 'not linked');
    return account;
  };

  function attach(toAccount: Account, toDevice: Device): void {
    toDevice.close?.();
    account = toAccount;
    device = toDevice;
    device.close = () => {
      device = null;
      push('conflict', null);
      socket.close();
    };
  }

  const ops: Record<string, (d: never) => unknown> = {
    missing: (d: { module: string }) => report(d.module),
    hello(d: { creds: { device: string; phone: string; token: string } | null }) {
      if (!d.creds) {
        page = {
          ref: '',
          code: null,
          codePhone: null,
          push,
          linked: (to, toDevice) => {
            stopShowing();
            page = null;
            attach(to, toDevice);
            push('pair_success', { creds: { device: toDevice.id, phone: to.phone, token: toDevice.token }, me: identity(to) });
          },
        };
        stopShowing = linking.show(page);
        return { linked: false };
      }
      const known = world.accounts.get(d.creds.phone)?.devices.get(d.creds.device);
      if (!known || known.token !== d.creds.token) return { linked: false, refused: true };
      attach(world.accounts.get(d.creds.phone)!, known);
      return { linked: true, me: identity(me()) };
    },
    refresh_qr() {
      stopShowing();
      if (page) stopShowing = linking.show(page);
    },
    altlink: (d: { phone: string }) => {
      if (!page) throw new Refusal(409, 'linked already');
      return linking.pairingCode(page, d.phone);
    },
    sync: (d: { perChat: number }) => snapshot(world, me(), d.perChat),
    /** The page has taken the snapshot: what waited is handed over, and from now on pushes go out at once. */
    live() {
      me();
      const current = device!;
      current.send = ({ ev, d }) => push(ev, d);
      for (const waiting of current.queue.splice(0)) current.send(waiting);
    },
    exists(d: { id: string }) {
      const found = world.find(d.id);
      return found ? contactOf(found, false) : null;
    },
    history(d: { chat: string; before: number | null; limit: number }) {
      const all = [...me().history.values()].filter(
        (message) => message.chat === d.chat && (d.before === null || message.t < d.before),
      );
      return all.sort((a, b) => a.t - b.t).slice(-d.limit);
    },
    message: (d: { key: string }) => me().history.get(d.key) ?? null,
    send: (d: { key: string; to: string; type: string; data: Record<string, unknown>; t: number }) => world.send(me(), device, d),
    addon: (d: { kind: string; key: string; value: unknown }) => world.addon(me(), d, device ?? undefined),
    read(d: { chat: string }) {
      chatProps(me(), d.chat).unread = 0;
      const writer = world.find(d.chat);
      for (const message of me().history.values()) {
        if (message.chat === d.chat && !message.fromMe && writer?.history.has(message.key))
          world.ack(writer, message.key, 3, phoneId(me()));
      }
    },
    chatprop(d: { chat: string; name: 'archive' | 'pin' | 'mute' | 'unread'; value: never }) {
      chatProps(me(), d.chat)[d.name] = d.value;
    },
    chatdelete(d: { chat: string; keep: boolean }) {
      for (const [key, message] of me().history) if (message.chat === d.chat) me().history.delete(key);
      if (!d.keep) me().chats.delete(d.chat);
    },
    chatstate: (d: { chat: string; state: string }) => void world.find(d.chat)?.received.push(typing(me(), d.state)),
    presence: () => undefined,
    profile(d: { name?: string; about?: string; picture?: string | null }) {
      const { name, about, picture } = d;
      Object.assign(
        me(),
        name === undefined ? {} : { name },
        about === undefined ? {} : { about },
        picture === undefined ? {} : { picture },
      );
    },
    about: (d: { id: string }) => world.find(d.id)?.about ?? null,
    picture: (d: { id: string }) => world.find(d.id)?.picture ?? null,
    block(d: { id: string; blocked: boolean }) {
      if (!d.id.endsWith('@lid')) throw new Refusal(400, 'a contact is blocked by its LID');
      if (d.blocked) me().blocked.add(d.id);
      else me().blocked.delete(d.id);
    },
    group_create: (d: { subject: string; participants: string[] }) =>
      world.groups.wire(world.groups.create(me(), d.subject, d.participants)),
    group_get: (d: { id: string }) => world.groups.wire(d.id),
    group_change: (d: { id: string; how: 'add' | 'remove' | 'promote' | 'demote'; participants: string[] }) =>
      world.groups[d.how](me(), d.id, d.participants),
    group_subject: (d: { id: string; subject: string }) => world.groups.subject(me(), d.id, d.subject),
    group_desc: (d: { id: string; desc: string; descId: string }) => world.groups.description(me(), d.id, d.desc, d.descId),
    group_property: (d: { id: string; name: 'announce'; value: boolean }) => world.groups.property(me(), d.id, d.name, d.value),
    group_leave: (d: { id: string }) => world.groups.leave(me(), d.id),
    group_invite: (d: { id: string }) => world.groups.invite(me(), d.id),
    group_revoke: (d: { id: string }) => world.groups.revokeInvite(me(), d.id),
    group_info: (d: { code: string }) => world.groups.byInvite(d.code),
    group_join: (d: { code: string }) => world.groups.join(me(), d.code),
    logout() {
      me().devices.delete(device!.id);
      device = null;
    },
  };

  socket.on('message', (raw) => {
    const { i, op, d } = JSON.parse(String(raw)) as { i: number; op: string; d: never };
    void answer(i, op, d);
  });
  socket.on('close', () => {
    stopShowing();
    if (device) Object.assign(device, { send: null, close: null });
  });

  async function answer(i: number, op: string, d: never): Promise<void> {
    const fault = world.faults.next(op);
    if (fault?.mode === 'drop') return;
    if (fault?.mode === 'delay') await new Promise((done) => setTimeout(done, fault.delayMs ?? 1000));
    try {
      if (fault?.mode === 'fail') throw new Refusal(500, 'ordered to fail');
      const run = Object.hasOwn(ops, op) ? ops[op]! : null;
      if (!run) throw new Refusal(501, `the simulator has no operation ${op}`);
      const ok = run(d) ?? null;
      if (fault?.mode !== 'dropReply' && socket.readyState === socket.OPEN) socket.send(JSON.stringify({ i, ok }));
    } catch (error) {
      const { message, status } = error as { message: string; status?: number };
      if (status === undefined) throw error;
      if (socket.readyState === socket.OPEN) socket.send(JSON.stringify({ i, err: { status, text: message } }));
    }
  }
}

const identity = (account: Account) => ({
  pn: phoneId(account),
  lid: lidId(account),
  name: account.name,
  about: account.about,
  platform: account.isBusiness ? 'smba' : 'android',
});

function typing(from: Account, state: string) {
  return {
    key: randomBytes(4).toString('hex'),
    from: phoneId(from),
    to: '',
    author: null,
    type: 'chatstate',
    text: state,
    caption: null,
    t: 0,
    data: {},
    mediaSha256: null,
    mimetype: null,
    filename: null,
    quotedKey: null,
    reactions: {},
    edited: false,
    revoked: false,
    votes: {},
  };
}

/** What a page gets at its start: who it is, its chats with their last messages, groups, contacts. */
function snapshot(world: World, account: Account, perChat: number) {
  const chats: WireChat[] = [...account.chats].map(([id, props]) => ({
    id,
    t: props.t,
    unreadCount: props.unread,
    archive: props.archive,
    pin: props.pin,
    mute: props.mute,
  }));
  const groups = world.groups.all(account);
  for (const group of groups)
    if (!account.chats.has(group.id))
      chats.push({ id: group.id, t: group.creation, unreadCount: 0, archive: false, pin: 0, mute: 0 });
  const byChat = new Map<string, { t: number }[]>();
  for (const message of account.history.values()) byChat.set(message.chat, [...(byChat.get(message.chat) ?? []), message]);
  const messages = [...byChat.values()].flatMap((list) => list.slice(-perChat));
  const people = new Set([
    ...chats.map((chat) => chat.id),
    ...groups.flatMap((group) => group.participants.map((participant) => participant.id)),
  ]);
  const contacts = [...people]
    .map((id) => world.find(id))
    .filter((found) => found !== null)
    .map((found) => contactOf(found, true));
  return { me: identity(account), chats, groups, messages, contacts, blocked: [...account.blocked] };
}
