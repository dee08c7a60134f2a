/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

/** The state of a person in a chat, as the page shows it. */
export interface PresenceReport {
  chat: string;
  person: string;
  state: 'available' | 'unavailable' | 'typing' | 'recording';
  /** Seconds. Null: hidden or not known. */
  lastSeen: number | null;
}

/** The last reported state of each person, by chat and person. */
type Reported = Map<string, string>;

interface Following {
  reported: Reported;
  followed: ReadonlySet<string>;
  presences: any;
}

/** What the page shows others of the account. */
interface OwnPresence {
  /** What `presence.set` has chosen since the page was loaded. Null: nothing yet, so the page's own state counts. */
  chosen: boolean | null;
  /** Whether the account was shown as available before chats are being marked as seen. */
  wasAvailable: boolean;
  /** How many chats are being marked as seen. */
  seeing: number;
}

/** Subscribes to the presence in chats, and reports its changes. WhatsApp's collection of presences contains only subscribed chats. */
function installPresence(): void {
  const core = (window as unknown as PageWindow).chasqui;
  if (!core || core.calls['subscribePresence']) return;
  const reported: Reported = new Map();
  /** The chats whose presence is reported, as the page names them. */
  const followed = new Set<string>();
  let watched: any = null;
  core.calls['subscribePresence'] = async ({ chatId }: { chatId: string }) => {
    const presences = presencesOf(core);
    if (watched !== presences) {
      watched = presences;
      const onChange = (changed: any): void => reportPresence(core, { reported, followed, presences }, changed);
      presences.on('add change:isOnline change:chatstate.type change:chatstate.t', onChange);
    }
    const { id } = core.requireChat(chatId);
    // The chat is added first, because WhatsApp's answer may arrive before the call resolves.
    followed.add(core.serialized(id));
    await subscribe(core, reported, id);
  };
  // WhatsApp ends a subscription only with the connection, so only our reports end here.
  core.calls['unfollowPresence'] = ({ chatId }: { chatId: string }) =>
    followed.delete(core.serialized(core.requireChat(chatId).id));
  core.calls['followsPresence'] = ({ chatId }: { chatId: string }) => followed.has(core.serialized(core.requireChat(chatId).id));
  const own: OwnPresence = { chosen: null, wasAvailable: false, seeing: 0 };
  core.calls['setPresence'] = ({ isAvailable }: { isAvailable: boolean }) => setPresence(core, own, isAvailable);
  core.calls['markSeen'] = ({ chatId }: { chatId: string }) => markSeen(core, own, chatId);
  core.calls['hasPresence'] = ({ chatId }: { chatId: string }) => Boolean(presencesOf(core).get(core.requireChat(chatId).id));
}

async function setPresence(core: PageCore, own: OwnPresence, isAvailable: boolean): Promise<void> {
  const action = core.module('WAWebPresenceChatAction');
  await (isAvailable ? action.sendPresenceAvailable() : action.sendPresenceUnavailable());
  own.chosen = isAvailable;
  own.wasAvailable = isAvailable;
}

/** Marks a chat as seen. WhatsApp sends read receipts only while the account is shown as available; what was shown before is shown again. */
async function markSeen(core: PageCore, own: OwnPresence, chatId: string): Promise<void> {
  const chat = core.requireChat(chatId);
  const { Stream } = core.module('WAWebStreamModel');
  if (own.seeing === 0) own.wasAvailable = own.chosen ?? Stream.available === true;
  own.seeing += 1;
  // Not when it is shown already: the mark would then have to be removed, which others would see.
  if (!own.wasAvailable) Stream.markAvailable();
  try {
    await core.module('WAWebUpdateUnreadChatAction').sendSeen({ chat, threadId: undefined });
  } finally {
    own.seeing -= 1;
    if (own.seeing === 0 && !own.wasAvailable) Stream.markUnavailable();
  }
}

function presencesOf(core: PageCore): any {
  const module = core.module('WAWebPresenceCollection');
  return module.PresenceCollection ?? module.default;
}

async function subscribe(core: PageCore, reported: Reported, id: any): Promise<void> {
  const bridge = core.module('WAWebContactPresenceBridge');
  const isGroup = /@g\.us$/.test(core.serialized(id));
  await (isGroup ? bridge.subscribeGroupPresence(id) : bridge.subscribeUserPresence(id));
  // After a subscription the next state of each person is reported, even if it has not changed.
  for (const key of [...reported.keys()]) if (key.startsWith(`${core.serialized(id)} `)) reported.delete(key);
}

/** Reports the states that changed. `changed` is a presence, or one of the chat states in it. */
function reportPresence(core: PageCore, { reported, followed, presences }: Following, changed: any): void {
  const contains = (one: any): boolean => one === changed || one.chatstate === changed || statesOf(one).includes(changed);
  const presence = presences.getModelsArray().find(contains);
  if (!presence?.id) return;
  const chat = core.serialized(presence.id);
  if (!followed.has(chat)) return;
  const isGroup = /@g\.us$/.test(chat);
  const rows = isGroup
    ? statesOf(presence).map((one: any) => ({ person: core.serialized(one.id), state: stateOf(one, false), lastSeen: null }))
    : [{ person: chat, state: stateOf(presence.chatstate, presence.isOnline === true), lastSeen: seenAt(presence.chatstate) }];
  for (const row of rows) {
    if (row.state === null || row.person === '') continue;
    const key = `${chat} ${row.person}`;
    const text = `${row.state} ${row.lastSeen ?? ''}`;
    if (reported.get(key) === text) continue;
    reported.set(key, text);
    core.notify('presence', { chat, ...row });
  }
}

function statesOf(presence: any): any[] {
  return presence?.chatstates?.getModelsArray?.() ?? [];
}

/** Null: nothing is known, which is not the same as unavailable. */
function stateOf(chatstate: any, isOnline: boolean): PresenceReport['state'] | null {
  const type = String(chatstate?.type ?? '');
  if (/^(composing|typing)/.test(type)) return 'typing';
  if (/^record/.test(type)) return 'recording';
  if (type === 'available' || type === 'paused' || isOnline) return 'available';
  return type === 'unavailable' ? 'unavailable' : null;
}

/** Returns the time at which a person was last seen. WhatsApp reports it only for someone who is unavailable and does not hide it. */
function seenAt(chatstate: any): number | null {
  const isShown = chatstate?.type === 'unavailable' && chatstate.deny !== true;
  return isShown && Number.isInteger(chatstate.t) && chatstate.t > 0 ? chatstate.t : null;
}

export const presenceScript = pageScript(installPresence, [
  setPresence,
  markSeen,
  presencesOf,
  subscribe,
  reportPresence,
  statesOf,
  stateOf,
  seenAt,
]);
