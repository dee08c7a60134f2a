import { createHash, randomBytes } from 'node:crypto';
import {
  chatProps,
  contactOf,
  lidId,
  newAccount,
  phoneId,
  pushTo,
  type Account,
  type AccountOptions,
  type Device,
  type Received,
} from './accounts.js';
import type { Faults } from './faults.js';
import { createGroups } from './groups.js';
import type { Journal } from './journal.js';
import type { WireMessage } from './wire.js';

/** A refusal as WhatsApp's server words it; the page throws it in a class of its own. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export interface SendRequest {
  key: string;
  to: string;
  type: string;
  data: Record<string, unknown>;
  t: number;
}

export type World = ReturnType<typeof createWorld>;

/**
 * Everything behind the page: phones, chats, groups, and what travels between them. Numbers that nobody made are phones too, silent
 * ones that take what they get; only those that begin with 999 are not on WhatsApp.
 */
export function createWorld({ journal, now, faults }: { journal: Journal; now: () => Date; faults: Faults }) {
  const accounts = new Map<string, Account>();
  const byLid = new Map<string, Account>();
  const media = new Map<string, Buffer>();
  const settings = { chainAcks: true };

  function create(options: AccountOptions): Account {
    const known = accounts.get(options.phone);
    if (known)
      return Object.assign(known, Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)));
    const account = newAccount(options);
    accounts.set(account.phone, account);
    byLid.set(account.lid, account);
    return account;
  }

  /** The account behind an id in either form; null when the number is not on WhatsApp. */
  function find(id: string): Account | null {
    const [user, server] = id.split('@') as [string, string | undefined];
    if (server === 'lid') return byLid.get(user) ?? null;
    const known = accounts.get(user);
    if (known) return known;
    return /^[1-9]\d{6,14}$/.test(user) && !user.startsWith('999') ? create({ phone: user }) : null;
  }

  const groups = createGroups({ find, now, announce: (group, message, but) => spread(group, message, but) });

  /** Takes a message from a page: stored, written to the journal, delivered. Gives the server's ack, or −1 when it is refused. */
  function send(account: Account, device: Device | null, request: SendRequest): { ack: number; t: number } {
    const t = Math.floor(now().getTime() / 1000);
    const before = account.history.get(request.key);
    const refused = !before && refusal(account, request.to);
    journal.add({
      account: account.phone,
      key: request.key,
      chat: request.to,
      type: request.type,
      body: JSON.stringify(request.data['body'] ?? request.data),
      repeat: before !== undefined,
      refused: Boolean(refused),
    });
    if (before) return { ack: Math.max(1, before.ack), t: before.t };
    if (refused) return { ack: -1, t };
    const isGroup = request.to.endsWith('@g.us');
    const own: WireMessage = {
      key: request.key,
      fromMe: true,
      chat: request.to,
      from: phoneId(account),
      to: request.to,
      author: isGroup ? phoneId(account) : null,
      t,
      type: request.type,
      data: request.data,
      ack: 1,
    };
    remember(account, own);
    pushTo(account, { ev: 'msg', d: own }, device ?? undefined);
    const targets = isGroup
      ? groups.others(request.to, account)
      : [find(request.to)].filter((target): target is Account => target !== null);
    for (const target of targets) deliver(target, account, own);
    progress(account, own, targets);
    return { ack: 1, t };
  }

  function refusal(account: Account, to: string): string | null {
    if (to.endsWith('@g.us')) return groups.mayWrite(to, account) ? null : 'not-authorized';
    const target = find(to);
    if (!target) return 'not-on-whatsapp';
    const known = [...account.history.values()].some((message) => find(message.chat) === target);
    return account.reachOutLocked && !known ? 'reach-out-locked' : null;
  }

  /** The copy of a message that the other side gets. From a LID when the sender hides the number. */
  function deliver(target: Account, sender: Account, own: WireMessage, options: { asLid?: boolean } = {}): void {
    if (target === sender) return;
    const isGroup = own.to.endsWith('@g.us');
    const writer = options.asLid ? lidId(sender) : phoneId(sender);
    const copy: WireMessage = {
      ...own,
      fromMe: false,
      ack: 0,
      chat: isGroup ? own.to : writer,
      from: isGroup ? own.to : writer,
      to: phoneId(target),
      author: isGroup ? writer : null,
    };
    if (target.received.every((message) => message.key !== copy.key)) target.received.push(receivedOf(copy));
    remember(target, copy);
    chatProps(target, copy.chat).unread += 1;
    pushTo(target, { ev: 'msg', d: copy });
  }

  function remember(account: Account, message: WireMessage): void {
    account.history.set(message.key, message);
    chatProps(account, message.chat).t = message.t;
  }

  /** Acks of one message climb one after the other, because 3 before 2 is WhatsApp's fault to make, not ours by accident. */
  function progress(sender: Account, own: WireMessage, targets: Account[]): void {
    const [target] = targets;
    if (!target || target.offline) return;
    const steps = target.autoRead ? [2, 3] : [2];
    const order = settings.chainAcks ? steps : [...steps].reverse();
    const next = (index: number): void => {
      const step = order[index];
      if (step === undefined) return;
      setTimeout(() => {
        ack(sender, own.key, step, phoneId(target));
        next(index + 1);
      }, target.ackDelayMs).unref();
    };
    next(0);
  }

  function ack(sender: Account, key: string, level: number, participant: string | null): void {
    const message = sender.history.get(key);
    if (!message) throw new Refusal(404, 'no such message');
    message.ack = Math.max(message.ack, level);
    pushTo(sender, { ev: 'ack', d: { key, chat: message.chat, fromMe: message.fromMe, ack: level, participant } });
  }

  function spread(group: string, message: WireMessage, but: Account | null): void {
    for (const account of groups.members(group)) {
      if (account === but) continue;
      remember(account, message);
      pushTo(account, { ev: 'msg', d: message });
    }
  }

  /** A message from one phone to a linked account, any type. `asLid` hides the number; `group` writes there. */
  function fromPhone(
    sender: Account,
    to: string,
    content: { type: string; data: Record<string, unknown>; asLid?: boolean; key?: string; t?: number },
  ): string {
    const key = content.key ?? `3A${randomBytes(9).toString('hex').toUpperCase()}`;
    const t = content.t ?? Math.floor(now().getTime() / 1000);
    const own: WireMessage = {
      key,
      fromMe: true,
      chat: to,
      from: phoneId(sender),
      to,
      author: null,
      t,
      type: content.type,
      data: content.data,
      ack: 1,
    };
    remember(sender, own);
    const targets = to.endsWith('@g.us')
      ? groups.others(to, sender)
      : [find(to)].filter((target): target is Account => target !== null);
    if (targets.length === 0) throw new Refusal(404, 'nobody there');
    for (const target of targets) deliver(target, sender, own, content.asLid ? { asLid: true } : {});
    pushTo(sender, { ev: 'msg', d: own });
    return key;
  }

  /** Edits, revokes, reactions, votes: things that hang on a message. Told to everybody who has it. */
  function addon(by: Account, request: { kind: string; key: string; value: unknown }, but?: Device): void {
    const t = Math.floor(now().getTime() / 1000);
    let found = false;
    for (const account of accounts.values()) {
      const message = account.history.get(request.key);
      if (!message) continue;
      found = true;
      if (request.kind === 'edit')
        message.data = {
          ...message.data,
          ...(typeof message.data['caption'] === 'string' ? { caption: request.value } : { body: request.value }),
          latestEditSenderTimestampMs: t * 1000,
        };
      if (request.kind === 'revoke') Object.assign(message, { type: 'revoked', data: {} });
      mark(account, by, request);
      const writer = account === by ? phoneId(account) : message.chat.endsWith('@lid') ? lidId(by) : phoneId(by);
      pushTo(
        account,
        {
          ev: 'addon',
          d: {
            ...request,
            chat: message.chat,
            fromMe: message.fromMe,
            author: message.author,
            by: writer,
            byMe: account === by,
            t,
          },
        },
        but,
      );
    }
    if (!found) throw new Refusal(404, 'no such message');
  }

  function mark(account: Account, by: Account, request: { kind: string; key: string; value: unknown }): void {
    const received = account.received.find((message) => message.key === request.key);
    if (!received) return;
    if (request.kind === 'edit') Object.assign(received, { text: request.value, edited: true });
    if (request.kind === 'revoke') received.revoked = true;
    if (request.kind === 'reaction') received.reactions[by.phone] = String(request.value ?? '');
    if (request.kind === 'vote') received.votes[by.phone] = request.value as string[];
  }

  function receivedOf(message: WireMessage): Received {
    const { data } = message;
    const text = (name: string): string | null => (typeof data[name] === 'string' ? (data[name] as string) : null);
    const bytes = text('directPath') ? media.get(text('directPath')!) : undefined;
    return {
      key: message.key,
      from: message.from,
      to: message.to,
      author: message.author,
      type: message.type,
      text: message.type === 'chat' ? text('body') : null,
      caption: text('caption'),
      t: message.t,
      data,
      mediaSha256: bytes ? createHash('sha256').update(bytes).digest('hex') : null,
      mimetype: text('mimetype'),
      filename: text('filename'),
      quotedKey: text('quotedStanzaID'),
      reactions: {},
      edited: false,
      revoked: false,
      votes: {},
    };
  }

  return { accounts, media, settings, groups, faults, journal, now, create, find, send, fromPhone, addon, ack, contactOf };
}
