/** What crosses between the simulated page and the server. Ids are WhatsApp's; `t` is in seconds, as WhatsApp writes it. */

/** A message as one account sees it. `data` is opaque here: the page writes and reads it, so a new message type needs no server work. */
export interface WireMessage {
  key: string;
  fromMe: boolean;
  chat: string;
  from: string;
  to: string;
  author: string | null;
  t: number;
  type: string;
  data: Record<string, unknown>;
  ack: number;
  marks: Marks;
}

/** What hangs on a message. People are written as this account sees them: by number, by LID, or `me`. */
export interface Marks {
  reactions: Record<string, { emoji: string; t: number }>;
  votes: Record<string, { options: string[]; t: number }>;
  responses: Record<string, { response: number; t: number }>;
  /** Own messages only: how far each recipient has come. */
  receipts: Record<string, Receipt>;
  star: boolean;
  pin: { by: string; t: number; seconds: number } | null;
}

export interface Receipt {
  delivered: number | null;
  read: number | null;
  played: number | null;
}

export const noMarks = (): Marks => ({ reactions: {}, votes: {}, responses: {}, receipts: {}, star: false, pin: null });

export interface WireContact {
  id: string;
  lid: string | null;
  phone: string | null;
  name: string | null;
  pushname: string | null;
  about: string | null;
  picture: string | null;
  isBusiness: boolean;
}

export interface WireGroup {
  id: string;
  subject: string;
  desc: string | null;
  descId: string | null;
  owner: string;
  creation: number;
  announce: boolean;
  restrict: boolean;
  memberAddMode: 'all_member_add' | 'admin_add';
  approval: boolean;
  /** Members are listed and write under their LIDs. */
  lidAddressing: boolean;
  picture: string | null;
  requests: { id: string; t: number }[];
  participants: { id: string; isAdmin: boolean; isSuperAdmin: boolean }[];
}

export interface WireChannel {
  id: string;
  name: string;
  description: string | null;
  picture: string | null;
  invite: string;
  creation: number;
  verified: boolean;
  reactionCodes: number;
  subscribers: number;
  role: 'owner' | 'admin' | 'subscriber' | 'guest';
  muted: boolean;
}

export interface WireLabel {
  id: string;
  name: string;
  color: string;
  chats: string[];
}

export interface WireChat {
  id: string;
  t: number;
  unreadCount: number;
  archive: boolean;
  pin: number;
  mute: number;
}

export interface Push {
  ev: string;
  d: unknown;
  /** Counted by each device; it is handed over again until the page has said that it got it. */
  n?: number;
}

/** What a page is told to be: the build's quirks and the switches of the control API. */
export interface PageOptions {
  build: BuildName;
  version: string;
  ballastMb: number;
  /** The sync is over before the library listens for its end, and nothing tells it. */
  syncRace: boolean;
  /** What waited for the device comes before the library listens, as some users meet it. */
  offlineRace: boolean;
  /** Operations that current builds are reported to refuse work all the same. */
  groupsWork: boolean;
}

export const builds = {
  classic: '2.3000.1040000000',
  '2026-07': '2.3000.1043000000',
  '2026-09': '2.3000.1047700000',
} as const;
export type BuildName = keyof typeof builds;
