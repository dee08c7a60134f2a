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
}

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
  memberAddMode: string;
  participants: { id: string; isAdmin: boolean; isSuperAdmin: boolean }[];
}

export interface WireChat {
  id: string;
  t: number;
  unreadCount: number;
  archive: boolean;
  pin: number;
  mute: number;
}

export type Push = { ev: string; d: unknown };

/** What a page is told to be: the build's quirks and the switches of the control API. */
export interface PageOptions {
  build: BuildName;
  version: string;
  ballastMb: number;
  syncRace: boolean;
  groupsWork: boolean;
}

export const builds = {
  classic: '2.3000.1040000000',
  '2026-07': '2.3000.1043000000',
  '2026-09': '2.3000.1047700000',
} as const;
export type BuildName = keyof typeof builds;
