import type { Passkey, PasskeyRequest } from './passkeys.js';
import { createHash } from 'node:crypto';
import type { Push, Receipt, WireContact, WireLabel, WireMessage } from './wire.js';

/** The connection of a page. */
export interface DeviceLine {
  /** The page has received the snapshot: pushes are sent at once. Until then they wait. */
  live: boolean;
  send: (push: Push) => void;
  /** Another page has connected as this device. */
  replace: () => void;
}

/** One linked page. Its pushes stay in `queue` until it confirms them, as WhatsApp's do for an offline device. */
export interface Device {
  id: string;
  token: string;
  line: DeviceLine | null;
  queue: Push[];
  pushes: number;
}

/** The state of one chat for its account. */
export interface ChatProps {
  unread: number;
  archive: boolean;
  pin: number;
  mute: number;
  t: number;
}

/** A message as the phone shows it. */
export interface Received {
  key: string;
  from: string;
  to: string;
  author: string | null;
  type: string;
  text: string | null;
  caption: string | null;
  t: number;
  data: Record<string, unknown>;
  mediaSha256: string | null;
  mimetype: string | null;
  filename: string | null;
  quotedKey: string | null;
  reactions: Record<string, string>;
  edited: boolean;
  revoked: boolean;
  votes: Record<string, string[]>;
}

export interface Call {
  id: string;
  from: string;
  isVideo: boolean;
  state: 'ringing' | 'rejected' | 'ended';
}

/** What WhatsApp wants of an account to prove that its owner is there. */
export type Challenge =
  | { type: 'PASSKEY'; request: PasskeyRequest; prf: boolean }
  /** Today's pages show nothing for it. */
  | { type: 'CAPTCHA' };

/** A phone with its number, its LID, and everything that WhatsApp keeps for it. */
export interface Account {
  phone: string;
  lid: string;
  /** The phone was created or linked. Other accounts are numbers that were looked up or written to. */
  made: boolean;
  name: string;
  about: string;
  picture: string | null;
  isBusiness: boolean;
  /** The phone is off: nothing is delivered to it, and acks stay at 1 until it is on again. */
  offline: boolean;
  autoRead: boolean;
  ackDelayMs: number;
  /** WhatsApp only allows it to write to known chats. */
  reachOutLocked: boolean;
  /** When that ends, in milliseconds. Null: it is not said. */
  reachOutUntil: number | null;
  /** WhatsApp wants its pages to prove that the owner is there. Null: it does not. */
  challenge: Challenge | null;
  /** WhatsApp keeps its pages out until this time, in milliseconds. Null: it does not. */
  bannedUntil: number | null;
  /** Required when a device is linked. */
  passkey: Passkey | null;
  /** It can join groups only by a private invitation. */
  groupsByInvite: boolean;
  /** The number is not on WhatsApp. */
  gone: boolean;
  /** Other spellings of the number, digits only. WhatsApp answers a lookup of one of them with `phone`. */
  spellings: string[];
  /** Others see only the LID. */
  hidesNumber: boolean;
  presence: 'available' | 'unavailable' | null;
  /** Seconds. Null: the account shows it to no one. */
  lastSeen: number | null;
  devices: Map<string, Device>;
  history: Map<string, WireMessage>;
  /** The messages of each chat in the order in which they came; the same objects as in `history`. */
  byChat: Map<string, WireMessage[]>;
  /** The contents of ciphertext messages, until the page requests them. */
  sealed: Map<string, { type: string; data: Record<string, unknown> }>;
  chats: Map<string, ChatProps>;
  received: Received[];
  /** Messages that wait until the phone is on. */
  waiting: { sender: string; key: string }[];
  typing: { from: string; state: string }[];
  /** The chats whose older messages pages have asked the phone for. */
  historyRequests: string[];
  /** The keys of undecrypted messages that pages have asked for again, in order. */
  resendRequests: string[];
  /** The chats whose history pages have read from the server, in order. */
  historyReads: string[];
  blocked: Set<string>;
  /** Names in the phone's address book, by number. Null: removed. A contact that is not in it has the name of its account. */
  contacts: Map<string, string | null>;
  labels: WireLabel[];
  notes: Map<string, { text: string; t: number }>;
  mutedChannels: Set<string>;
  calls: Call[];
}

export interface AccountOptions {
  phone: string;
  made?: boolean | undefined;
  name?: string | undefined;
  about?: string | undefined;
  isBusiness?: boolean | undefined;
  offline?: boolean | undefined;
  autoRead?: boolean | undefined;
  ackDelayMs?: number | undefined;
  groupsByInvite?: boolean | undefined;
  gone?: boolean | undefined;
  spellings?: string[] | undefined;
  hidesNumber?: boolean | undefined;
  passkey?: Passkey | null | undefined;
}

export function newAccount(options: AccountOptions): Account {
  return {
    phone: options.phone,
    lid: lidOf(options.phone),
    made: options.made ?? false,
    name: options.name ?? `Phone ${options.phone.slice(-4)}`,
    about: options.about ?? 'Hey there! I am simulated.',
    picture: null,
    isBusiness: options.isBusiness ?? false,
    offline: options.offline ?? false,
    autoRead: options.autoRead ?? false,
    ackDelayMs: options.ackDelayMs ?? 5,
    reachOutLocked: false,
    reachOutUntil: null,
    challenge: null,
    bannedUntil: null,
    passkey: options.passkey ?? null,
    groupsByInvite: options.groupsByInvite ?? false,
    gone: options.gone ?? false,
    spellings: options.spellings ?? [],
    hidesNumber: options.hidesNumber ?? false,
    presence: null,
    lastSeen: null,
    devices: new Map(),
    history: new Map(),
    byChat: new Map(),
    sealed: new Map(),
    chats: new Map(),
    received: [],
    waiting: [],
    typing: [],
    historyRequests: [],
    resendRequests: [],
    historyReads: [],
    blocked: new Set(),
    contacts: new Map(),
    labels: [],
    notes: new Map(),
    mutedChannels: new Set(),
    calls: [],
  };
}

/** A LID does not reveal the number. It is derived from a hash, so that a phone always has the same one. */
const lidOf = (phone: string): string =>
  `1${(BigInt(`0x${createHash('sha256').update(phone).digest('hex').slice(0, 12)}`) % 10n ** 13n).toString().padStart(13, '0')}`;

export const phoneId = (account: Account): string => `${account.phone}@c.us`;
export const lidId = (account: Account): string => `${account.lid}@lid`;

/** `of` as `viewer` sees it: with the name from the viewer's address book. */
export function contactOf(of: Account, viewer: Account): WireContact {
  const saved = viewer.contacts.get(of.phone);
  const phone = of.hidesNumber && of !== viewer ? null : phoneId(of);
  return {
    id: phone ?? lidId(of),
    lid: lidId(of),
    phone,
    name: saved === undefined ? of.name : saved,
    pushname: of.name,
    about: of.about,
    picture: of.picture,
    isBusiness: of.isBusiness,
  };
}

/** Sends a push to every page of the account, now or when it connects again, except to `but`, the page that caused it. */
export function pushTo(account: Account, push: Push, but?: Device | null): void {
  for (const device of account.devices.values()) {
    if (device === but) continue;
    const counted = { ...push, n: (device.pushes += 1) };
    device.queue.push(counted);
    if (device.line?.live) device.line.send(counted);
  }
}

/** Sends a push only to connected pages. Typing and calls do not wait. */
export function pushNow(account: Account, push: Push): void {
  for (const device of account.devices.values()) if (device.line?.live) device.line.send(push);
}

/** Tells a page that its account is banned for a time, with the seconds that are left. Returns whether it is. */
export function tellBan(account: Account, send: (push: Push) => void): boolean {
  const seconds = Math.ceil(((account.bannedUntil ?? 0) - Date.now()) / 1_000);
  if (seconds <= 0) return false;
  send({ ev: 'temporary_ban', d: { code: 101, expire: seconds } });
  return true;
}

export function chatProps(account: Account, chat: string): ChatProps {
  let props = account.chats.get(chat);
  if (!props) account.chats.set(chat, (props = { unread: 0, archive: false, pin: 0, mute: 0, t: 0 }));
  return props;
}

export function remember(account: Account, message: WireMessage): void {
  if (account.history.has(message.key)) return;
  account.history.set(message.key, message);
  const inChat = account.byChat.get(message.chat);
  if (inChat) inChat.push(message);
  else account.byChat.set(message.chat, [message]);
  chatProps(account, message.chat).t = message.t;
}

export function forget(account: Account, keys: Iterable<string>): void {
  const gone = new Set(keys);
  for (const key of gone) {
    const message = account.history.get(key);
    if (!message) continue;
    account.history.delete(key);
    const left = (account.byChat.get(message.chat) ?? []).filter((other) => !gone.has(other.key));
    account.byChat.set(message.chat, left);
  }
}

export const receiptOf = (message: WireMessage, id: string): Receipt =>
  (message.marks.receipts[id] ??= { delivered: null, read: null, played: null });

/** What a page receives about its own account. */
export const identity = (account: Account) => ({
  pn: phoneId(account),
  lid: lidId(account),
  name: account.name,
  about: account.about,
  platform: account.isBusiness ? 'smba' : 'android',
});
