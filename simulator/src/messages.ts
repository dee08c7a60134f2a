import { createHash, randomBytes } from 'node:crypto';
import { chatProps, lidId, phoneId, pushTo, receiptOf, remember, type Account, type Device, type Received } from './accounts.js';
import type { Clock } from './clock.js';
import type { Groups } from './groups.js';
import type { Journal } from './journal.js';
import type { Media } from './media.js';
import type { Phones } from './phones.js';
import { Refusal } from './refusal.js';
import { noMarks, type WireMessage } from './wire.js';

export interface SendRequest {
  key: string;
  to: string;
  type: string;
  data: Record<string, unknown>;
  t: number;
}

export interface PhoneContent {
  type: string;
  data: Record<string, unknown>;
  asLid?: boolean | undefined;
  /** The page first gets it as ciphertext: it can be asked for again, or is lost. */
  sealed?: 'recoverable' | 'lost' | undefined;
  key?: string | undefined;
  t?: number | undefined;
}

export const isGroup = (id: string): boolean => id.endsWith('@g.us');
export const newKey = (prefix: '3EB0' | '3A'): string => `${prefix}${randomBytes(9).toString('hex').toUpperCase()}`;
const status = 'status@broadcast';

/** Messages on their way: taken from pages and phones, copied to who is to have them, and acknowledged. */
export function createMessages(parts: {
  phones: Phones;
  groups: Groups;
  media: Media;
  clock: Clock;
  journal: Journal;
  settings: { chainAcks: boolean };
}) {
  const { phones, groups, media, clock, journal, settings } = parts;

  /** Takes a message from a page: stored, written to the journal, delivered. Gives the server's ack, or −1 when it is refused. */
  function send(account: Account, device: Device | null, request: SendRequest): { ack: number; t: number; reason?: string } {
    const t = clock.seconds();
    const before = account.history.get(request.key);
    const refused = before ? null : refusal(account, request.to);
    const from = self(account, request.to);
    journal.add({
      account: account.phone,
      device: device?.id ?? null,
      key: request.key,
      chat: request.to,
      from,
      type: request.type,
      body: JSON.stringify(request.data['body'] ?? request.data),
      repeat: before !== undefined,
      refused: refused !== null,
    });
    if (before) return { ack: Math.max(1, before.ack), t: before.t };
    if (refused) return { ack: -1, t, reason: refused };
    const own = ownCopy(account, { ...request, t });
    pushTo(account, { ev: 'msg', d: own }, device);
    hand(account, own);
    return { ack: 1, t };
  }

  function refusal(account: Account, to: string): string | null {
    if (to === status) return null;
    if (isGroup(to)) return groups.mayWrite(to, account) ? null : 'not-authorized';
    const target = phones.find(to);
    if (!target) return 'not-on-whatsapp';
    if (!account.reachOutLocked) return null;
    return account.byChat.has(phoneId(target)) || account.byChat.has(lidId(target)) ? null : 'reach-out-locked';
  }

  /** How an account signs in a chat. */
  const self = (account: Account, chat: string): string =>
    isGroup(chat) && groups.groups.has(chat)
      ? groups.memberId(chat, account)
      : chat.endsWith('@lid')
        ? lidId(account)
        : phoneId(account);

  function ownCopy(account: Account, content: Omit<SendRequest, 't'> & { t: number }): WireMessage {
    const from = self(account, content.to);
    const own: WireMessage = {
      key: content.key,
      fromMe: true,
      chat: content.to,
      from,
      to: content.to,
      author: isGroup(content.to) || content.to === status ? from : null,
      t: content.t,
      type: content.type,
      data: content.data,
      ack: 1,
      marks: noMarks(),
    };
    remember(account, own);
    return own;
  }

  function recipients(sender: Account, to: string): Account[] {
    if (isGroup(to)) return groups.members(to).filter((account) => account !== sender);
    if (to === status)
      return [...phones.accounts.values()].filter((account) => account !== sender && account.chats.has(phoneId(sender)));
    const target = phones.find(to);
    return target && target !== sender ? [target] : [];
  }

  function hand(sender: Account, own: WireMessage, options: Pick<PhoneContent, 'asLid' | 'sealed'> = {}): Account[] {
    const targets = recipients(sender, own.to);
    for (const target of targets) {
      // A blocked sender is not informed: one grey tick for ever.
      if (!isGroup(own.to) && target.blocked.has(lidId(sender))) continue;
      receiptOf(own, phoneId(target));
      deliver(target, sender, own, options);
      if (target.offline) target.waiting.push({ sender: sender.phone, key: own.key });
      else arrive(target, sender, own);
    }
    return targets;
  }

  /** The copy of a message that the other side gets. From a LID when the sender hides the number. */
  function deliver(
    target: Account,
    sender: Account,
    own: WireMessage,
    { asLid, sealed }: Pick<PhoneContent, 'asLid' | 'sealed'>,
  ): void {
    const shared = isGroup(own.to) || own.to === status;
    const writer =
      asLid || own.to.endsWith('@lid') ? lidId(sender) : isGroup(own.to) ? groups.memberId(own.to, sender) : phoneId(sender);
    const copy: WireMessage = {
      ...own,
      fromMe: false,
      ack: 0,
      chat: shared ? own.to : writer,
      from: shared ? own.to : writer,
      to: asLid || own.to.endsWith('@lid') ? lidId(target) : phoneId(target),
      author: shared ? writer : null,
      marks: noMarks(),
    };
    if (sealed) {
      if (sealed === 'recoverable') target.sealed.set(copy.key, { type: copy.type, data: copy.data });
      Object.assign(copy, { type: 'ciphertext', data: {} });
    }
    remember(target, copy);
    const props = chatProps(target, copy.chat);
    if (own.to !== status) props.unread = Math.max(0, props.unread) + 1;
    pushTo(target, { ev: 'msg', d: { ...copy, unread: props.unread } });
  }

  /** It is on the phone now: shown there, and acknowledged. */
  function arrive(target: Account, sender: Account, own: WireMessage): void {
    const copy = target.history.get(own.key);
    if (copy && copy.type !== 'ciphertext') target.received.push(receivedOf(copy, media));
    else if (copy) target.received.push(receivedOf({ ...copy, ...(target.sealed.get(own.key) ?? {}) }, media));
    const steps: (2 | 3)[] = target.autoRead ? [2, 3] : [2];
    // Acks of one message climb one after the other, because 3 before 2 is WhatsApp's fault to make, not ours by accident.
    if (!settings.chainAcks) steps.reverse();
    const next = (index: number): void => {
      const step = steps[index];
      if (step === undefined) return;
      setTimeout(() => {
        if (sender.history.has(own.key)) ack(sender, own.key, step, target);
        next(index + 1);
      }, target.ackDelayMs).unref();
    };
    next(0);
  }

  /** The phone is on again and gets what waited for it. */
  function phoneOn(target: Account): void {
    for (const { sender, key } of target.waiting.splice(0)) {
      const from = phones.accounts.get(sender);
      const own = from?.history.get(key);
      if (from && own) arrive(target, from, own);
    }
  }

  /** A recipient acknowledges: 2 delivered, 3 read, 4 played. In a group the message climbs when all of them have. */
  function ack(sender: Account, key: string, level: number, by: Account): void {
    const message = sender.history.get(key);
    if (!message) throw new Refusal(404, 'no such message');
    const receipt = receiptOf(message, phoneId(by));
    const t = clock.seconds();
    receipt.delivered ??= t;
    if (level >= 3) receipt.read ??= t;
    if (level >= 4) receipt.played ??= t;
    const levels = Object.values(message.marks.receipts).map((one) => (one.played ? 4 : one.read ? 3 : one.delivered ? 2 : 1));
    const reached = Math.min(...levels);
    message.ack = Math.max(message.ack, reached);
    const reported = settings.chainAcks ? { ack: message.ack } : { ack: level, overtaking: true };
    pushTo(sender, { ev: 'ack', d: { key, chat: message.chat, fromMe: true, participant: self(by, message.chat), ...reported } });
  }

  /** The account has seen the chat: its writers get their ticks, its other devices lose their counter. */
  function read(account: Account, chat: string, but: Device | null = null): void {
    const props = chatProps(account, chat);
    const fresh = props.unread;
    props.unread = 0;
    if (fresh === 0) return;
    pushTo(account, { ev: 'chat', d: { id: chat, unreadCount: 0 } }, but);
    for (const message of (account.byChat.get(chat) ?? []).slice(-Math.max(fresh, 1))) {
      if (message.fromMe) continue;
      const writer = phones.find(message.author ?? message.from);
      if (writer?.history.has(message.key)) ack(writer, message.key, 3, account);
    }
  }

  /** Sends a message without an author (a group's notice) to all of the given accounts. */
  function notify(accounts: Account[], message: Omit<WireMessage, 'marks'>): void {
    for (const account of accounts) {
      const copy = { ...message, marks: noMarks() };
      remember(account, copy);
      pushTo(account, { ev: 'msg', d: { ...copy, unread: chatProps(account, copy.chat).unread } });
    }
  }

  /** A message that a phone writes, of any type. Gives its key. */
  function fromPhone(sender: Account, to: string, content: PhoneContent): string {
    const key = content.key ?? newKey('3A');
    if (isGroup(to) && !groups.mayWrite(to, sender)) throw new Refusal(403, `${sender.phone} may not write to this group.`);
    if (recipients(sender, to).length === 0 && to !== status && !isGroup(to))
      throw new Refusal(404, `No account has the address ${to}.`);
    const own = ownCopy(sender, { key, to, type: content.type, data: content.data, t: content.t ?? clock.seconds() });
    pushTo(sender, { ev: 'msg', d: own });
    hand(sender, own, content);
    return key;
  }

  /** What a page could not decipher is sent to it again, if it is not lost. */
  function resend(account: Account, keys: string[]): void {
    for (const key of keys) {
      const message = account.history.get(key);
      const content = account.sealed.get(key);
      if (!message || !content) continue;
      account.sealed.delete(key);
      Object.assign(message, content);
      pushTo(account, { ev: 'deciphered', d: message });
    }
  }

  return { send, fromPhone, ack, read, notify, resend, phoneOn, self };
}
export type Messages = ReturnType<typeof createMessages>;

function receivedOf(message: WireMessage, media: Media): Received {
  const { data } = message;
  const text = (name: string): string | null => (typeof data[name] === 'string' ? data[name] : null);
  const path = text('directPath');
  const bytes = path ? media.get(path) : undefined;
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
