/** What the simulated page and the server exchange. Ids have WhatsApp's form; `t` is in seconds, as in WhatsApp. */

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

/** Reactions, votes and other additions to a message. People are written as this account sees them: by number, by LID, or `me`. */
export interface Marks {
  reactions: Record<string, { emoji: string; t: number }>;
  votes: Record<string, { options: string[]; t: number }>;
  responses: Record<string, { response: number; t: number }>;
  /** Own messages only: the receipts of each recipient. */
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
  /** Members are listed with their LIDs and write under them. */
  lidAddressing: boolean;
  /** Seconds after which messages disappear. 0: never. */
  ephemeral: number;
  picture: string | null;
  /** A community: other groups name it as their parent. */
  isCommunity: boolean;
  /** The community of the group. */
  parent: string | null;
  /** The group of announcements of its community. */
  isAnnouncements: boolean;
  /** It ended with its community: members see its messages, and no member can write. */
  terminated: boolean;
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
  colorIndex: number;
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
  /** A number per device. The push is sent again until the page has confirmed it. */
  n?: number;
}

/** How pages behave: the quirks of the build and the switches of the control API. */
export interface PageOptions {
  build: BuildName;
  version: string;
  ballastMb: number;
  /** The sync ends before the library listens for its end, and nothing informs the library. */
  syncRace: boolean;
  /** Messages that waited for the device arrive before the library listens, as some users report. */
  offlineRace: boolean;
  /** Operations that current builds refuse, according to reports, work. */
  groupsWork: boolean;
  /** A newly linked page of the newest build shows a dialog, and is logged out after this time unless it is answered. 0: no dialog. */
  newsMs: number;
  /** Modules that pages do not have. */
  without: string[];
  /** Functions that resolve and do nothing: by module, their paths in its exports. */
  hollow: Record<string, string[]>;
}

export const builds = {
  classic: '2.3000.1040000000',
  '2026-07': '2.3000.1043000000',
  '2026-09': '2.3000.1047700000',
  '2026-09b': '2.3000.1048000000',
} as const;
export type BuildName = keyof typeof builds;
