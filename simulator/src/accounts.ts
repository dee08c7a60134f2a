import { createHash } from 'node:crypto';
import type { Push, WireContact, WireMessage } from './wire.js';

/** One linked page. Pushes wait in `queue` while no page is on the line, as WhatsApp's do for an offline device. */
export interface Device {
  id: string;
  token: string;
  send: ((push: Push) => void) | null;
  close: (() => void) | null;
  queue: Push[];
}

/** What one chat looks like to its account. */
export interface ChatProps {
  unread: number;
  archive: boolean;
  pin: number;
  mute: number;
  t: number;
}

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

/** A phone with its number, its LID, and everything that WhatsApp keeps for it. */
export interface Account {
  phone: string;
  lid: string;
  name: string;
  about: string;
  picture: string | null;
  isBusiness: boolean;
  /** The phone is off: nothing is delivered to it, acks stay at 1. */
  offline: boolean;
  autoRead: boolean;
  ackDelayMs: number;
  /** WhatsApp lets it write to known chats only. */
  reachOutLocked: boolean;
  devices: Map<string, Device>;
  history: Map<string, WireMessage>;
  chats: Map<string, ChatProps>;
  received: Received[];
  blocked: Set<string>;
  privacyIds: Set<string>;
}

export interface AccountOptions {
  phone: string;
  name?: string;
  about?: string;
  isBusiness?: boolean;
  offline?: boolean;
  autoRead?: boolean;
  ackDelayMs?: number;
}

export function newAccount(options: AccountOptions): Account {
  return {
    phone: options.phone,
    lid: lidOf(options.phone),
    name: options.name ?? `Phone ${options.phone.slice(-4)}`,
    about: options.about ?? 'Hey there! I am simulated.',
    picture: null,
    isBusiness: options.isBusiness ?? false,
    offline: options.offline ?? false,
    autoRead: options.autoRead ?? false,
    ackDelayMs: options.ackDelayMs ?? 5,
    reachOutLocked: false,
    devices: new Map(),
    history: new Map(),
    chats: new Map(),
    received: [],
    blocked: new Set(),
    privacyIds: new Set(),
  };
}

/** A LID says nothing of the number: it is made from a hash of it, so that the same phone always has the same one. */
const lidOf = (phone: string): string =>
  `1${(BigInt(`0x${createHash('sha256').update(phone).digest('hex').slice(0, 12)}`) % 10n ** 13n).toString().padStart(13, '0')}`;

export const phoneId = (account: Account): string => `${account.phone}@c.us`;
export const lidId = (account: Account): string => `${account.lid}@lid`;

export const contactOf = (account: Account, known: boolean): WireContact => ({
  id: phoneId(account),
  lid: lidId(account),
  phone: phoneId(account),
  name: known ? account.name : null,
  pushname: account.name,
  about: account.about,
  picture: account.picture,
  isBusiness: account.isBusiness,
});

/** Hands a push to every page of the account, now or when it is back; `but` is the page that it came from. */
export function pushTo(account: Account, push: Push, but?: Device): void {
  for (const device of account.devices.values()) {
    if (device === but) continue;
    if (device.send) device.send(push);
    else device.queue.push(push);
  }
}

export function chatProps(account: Account, chat: string): ChatProps {
  let props = account.chats.get(chat);
  if (!props) account.chats.set(chat, (props = { unread: 0, archive: false, pin: 0, mute: 0, t: 0 }));
  return props;
}
