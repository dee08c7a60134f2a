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
  /** The page first gets it as ciphertext. `recoverable`: the content is sent when the page requests it. `lost`: it is never sent. */
  sealed?: 'recoverable' | 'lost' | undefined;
  key?: string | undefined;
  t?: number | undefined;
}

export const isGroup = (id: string): boolean => id.endsWith('@g.us');
export const newKey = (prefix: '3EB0' | '3A'): string => `${prefix}${randomBytes(9).toString('hex').toUpperCase()}`;
const status = 'status@broadcast';

/** WhatsApp's server for messages: accepts them from pages and phones, delivers copies to the recipients, and passes acknowledgements back. */
export interface Messages {
  /** Accepts a message from a page: stores it, adds it to the journal, delivers it. Returns the server's ack, or −1 with a reason if it is refused. */
  send(account: Account, device: Device | null, request: SendRequest): ServerAnswer;
  /** Accepts a message of any type from a phone. Returns its key. Throws when the phone may not write there, or the address has no account. */
  fromPhone(sender: Account, to: string, content: PhoneContent): string;
  /** A recipient acknowledges: 2 delivered, 3 read, 4 played. In a group the message reaches a level when all members have. */
  ack(sender: Account, key: string, level: number, by: Account): void;
  /** The account has seen the chat: the writers get their ticks, its other devices reset their counter. `but` is the device that it was seen on. */
  read(account: Account, chat: string, but?: Device | null): void;
  /** Sends a message without an author (a group's notice) to the accounts. */
  notify(accounts: Account[], message: Omit<WireMessage, 'marks'>): void;
  /** Sends the contents of messages that a page could not decrypt, unless they are lost. */
  resend(account: Account, keys: string[]): void;
  /** The phone is online again and receives what waited for it. */
  phoneOn(target: Account): void;
  /** The address with which an account signs in a chat. */
  self(account: Account, chat: string): string;
}

export interface ServerAnswer {
  ack: number;
  /** Seconds. */
  t: number;
  reason?: string;
}

interface MessagesContext {
  phones: Phones;
  groups: Groups;
  media: Media;
  clock: Clock;
  journal: Journal;
  /** `chainAcks` off: the acks of one message overtake each other. */
  settings: { chainAcks: boolean };
}

export function createMessages(context: MessagesContext): Messages {
  return {
    send: (account, device, request) => send(context, account, device, request),
    fromPhone: (sender, to, content) => fromPhone(context, sender, to, content),
    ack: (sender, key, level, by) => acknowledge(context, sender, key, level, by),
    read: (account, chat, but = null) => read(context, account, chat, but),
    notify,
    resend,
    phoneOn: (target) => phoneOn(context, target),
    self: (account, chat) => addressIn(context, account, chat),
  };
}

function send(context: MessagesContext, account: Account, device: Device | null, request: SendRequest): ServerAnswer {
  const { clock, journal } = context;
  const t = clock.seconds();
  const before = account.history.get(request.key);
  const refused = before ? null : refusalOf(context, account, request.to);
  journal.add({
    account: account.phone,
    device: device?.id ?? null,
    key: request.key,
    chat: request.to,
    from: addressIn(context, account, request.to),
    type: request.type,
    body: JSON.stringify(request.data['body'] ?? request.data),
    repeat: before !== undefined,
    refused: refused !== null,
  });
  if (before) return { ack: Math.max(1, before.ack), t: before.t };
  if (refused) return { ack: -1, t, reason: refused };
  const own = storeOwn(context, account, { ...request, t });
  pushTo(account, { ev: 'msg', d: own }, device);
  deliverToAll(context, account, own);
  return { ack: 1, t };
}

function fromPhone(context: MessagesContext, sender: Account, to: string, content: PhoneContent): string {
  const { groups, clock } = context;
  const key = content.key ?? newKey('3A');
  if (isGroup(to) && !groups.mayWrite(to, sender)) throw new Refusal(403, `${sender.phone} may not write to this group.`);
  if (recipientsOf(context, sender, to).length === 0 && to !== status && !isGroup(to))
    throw new Refusal(404, `No account has the address ${to}.`);
  const message = { key, to, type: content.type, data: content.data, t: content.t ?? clock.seconds() };
  const own = storeOwn(context, sender, message);
  pushTo(sender, { ev: 'msg', d: own });
  deliverToAll(context, sender, own, content);
  return key;
}

/** Why the server refuses a message to this address. Null: it accepts it. */
function refusalOf({ groups, phones }: MessagesContext, account: Account, to: string): string | null {
  if (to === status) return null;
  if (isGroup(to)) return groups.mayWrite(to, account) ? null : 'not-authorized';
  const target = phones.find(to);
  if (!target) return 'not-on-whatsapp';
  if (!account.reachOutLocked) return null;
  return account.byChat.has(phoneId(target)) || account.byChat.has(lidId(target)) ? null : 'reach-out-locked';
}

function addressIn({ groups }: MessagesContext, account: Account, chat: string): string {
  if (isGroup(chat) && groups.groups.has(chat)) return groups.memberId(chat, account);
  return chat.endsWith('@lid') ? lidId(account) : phoneId(account);
}

function storeOwn(context: MessagesContext, account: Account, content: SendRequest): WireMessage {
  const from = addressIn(context, account, content.to);
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

function recipientsOf({ groups, phones }: MessagesContext, sender: Account, to: string): Account[] {
  if (isGroup(to)) return groups.members(to).filter((account) => account !== sender);
  if (to === status)
    return [...phones.accounts.values()].filter((account) => account !== sender && account.chats.has(phoneId(sender)));
  const target = phones.find(to);
  return target && target !== sender ? [target] : [];
}

type DeliveryOptions = Pick<PhoneContent, 'asLid' | 'sealed'>;

function deliverToAll(context: MessagesContext, sender: Account, own: WireMessage, options: DeliveryOptions = {}): void {
  for (const target of recipientsOf(context, sender, own.to)) {
    // A blocked sender is not informed: one grey tick for ever.
    if (!isGroup(own.to) && target.blocked.has(lidId(sender))) continue;
    receiptOf(own, phoneId(target));
    deliver(context, target, sender, own, options);
    if (target.offline) target.waiting.push({ sender: sender.phone, key: own.key });
    else arrive(context, target, sender, own);
  }
}

/** The copy of a message that a recipient gets. From a LID when the sender hides the number. */
function deliver(
  { groups }: MessagesContext,
  target: Account,
  sender: Account,
  own: WireMessage,
  { asLid, sealed }: DeliveryOptions,
): void {
  const isShared = isGroup(own.to) || own.to === status;
  const writer =
    asLid || own.to.endsWith('@lid') ? lidId(sender) : isGroup(own.to) ? groups.memberId(own.to, sender) : phoneId(sender);
  const copy: WireMessage = {
    ...own,
    fromMe: false,
    ack: 0,
    chat: isShared ? own.to : writer,
    from: isShared ? own.to : writer,
    to: asLid || own.to.endsWith('@lid') ? lidId(target) : phoneId(target),
    author: isShared ? writer : null,
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

/** The message is on the phone: it is shown there and acknowledged. */
function arrive(context: MessagesContext, target: Account, sender: Account, own: WireMessage): void {
  const { media, settings } = context;
  const copy = target.history.get(own.key);
  if (copy && copy.type !== 'ciphertext') target.received.push(receivedOf(copy, media));
  else if (copy) target.received.push(receivedOf({ ...copy, ...(target.sealed.get(own.key) ?? {}) }, media));
  const steps: (2 | 3)[] = target.autoRead ? [2, 3] : [2];
  // The acks of one message follow each other, unless a test wants them to overtake.
  if (!settings.chainAcks) steps.reverse();
  const next = (index: number): void => {
    const step = steps[index];
    if (step === undefined) return;
    setTimeout(() => {
      if (sender.history.has(own.key)) acknowledge(context, sender, own.key, step, target);
      next(index + 1);
    }, target.ackDelayMs).unref();
  };
  next(0);
}

function phoneOn(context: MessagesContext, target: Account): void {
  for (const { sender, key } of target.waiting.splice(0)) {
    const from = context.phones.accounts.get(sender);
    const own = from?.history.get(key);
    if (from && own) arrive(context, target, from, own);
  }
}

function acknowledge(context: MessagesContext, sender: Account, key: string, level: number, by: Account): void {
  const message = sender.history.get(key);
  if (!message) throw new Refusal(404, 'no such message');
  const receipt = receiptOf(message, phoneId(by));
  const t = context.clock.seconds();
  receipt.delivered ??= t;
  if (level >= 3) receipt.read ??= t;
  if (level >= 4) receipt.played ??= t;
  const levels = Object.values(message.marks.receipts).map((one) => (one.played ? 4 : one.read ? 3 : one.delivered ? 2 : 1));
  const reached = Math.min(...levels);
  message.ack = Math.max(message.ack, reached);
  const reported = context.settings.chainAcks ? { ack: message.ack } : { ack: level, overtaking: true };
  const participant = addressIn(context, by, message.chat);
  pushTo(sender, { ev: 'ack', d: { key, chat: message.chat, fromMe: true, participant, ...reported } });
}

function read(context: MessagesContext, account: Account, chat: string, but: Device | null): void {
  const props = chatProps(account, chat);
  const unread = props.unread;
  props.unread = 0;
  if (unread === 0) return;
  pushTo(account, { ev: 'chat', d: { id: chat, unreadCount: 0 } }, but);
  for (const message of (account.byChat.get(chat) ?? []).slice(-Math.max(unread, 1))) {
    if (message.fromMe) continue;
    const writer = context.phones.find(message.author ?? message.from);
    if (writer?.history.has(message.key)) acknowledge(context, writer, message.key, 3, account);
  }
}

function notify(accounts: Account[], message: Omit<WireMessage, 'marks'>): void {
  for (const account of accounts) {
    const copy = { ...message, marks: noMarks() };
    remember(account, copy);
    pushTo(account, { ev: 'msg', d: { ...copy, unread: chatProps(account, copy.chat).unread } });
  }
}

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
