/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { Need, PageCore, PageOperating, PageWindow } from './world.js';

/**
 * Adds the functions that operations share to `window.chasqui`: they load modules and find the objects that an operation is about. `PageOperating`
 * in world.ts describes them.
 */
function installOperating(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || (core as Partial<PageCore>).load) return;
  const operating: PageOperating = {
    load: (needs) => load(core, needs),
    refuse,
    otherIdOf: (wid) => otherIdOf(core, wid),
    isSame: (a, b) => isSame(core, a, b),
    requireChat: (id) => findChat(core, id) ?? refuse('CHAT_NOT_FOUND', { chatId: id }),
    openChat: (id) => openChat(core, id),
    requireMessage: async (id) => (await core.findMessage(id)) ?? refuse('MESSAGE_NOT_FOUND', { whatsappId: id }),
    keysOf: (message) => keysOf(core, message),
    votesOf: (poll) => votesOf(core, poll),
    requireGroup: (id, rights = 'member') => requireGroup(core, id, rights),
    requireChannel: (id) =>
      core.collections().WAWebNewsletterCollection?.get(core.widOf(id)) ?? refuse('CHANNEL_NOT_FOUND', { channelId: id }),
    me: () => ownWids(core),
  };
  Object.assign(core, operating);
}

function refuse(code: string, details: Record<string, unknown> = {}): never {
  throw Object.assign(new Error(code), { chasquiRefusal: { code, details } });
}

async function load(core: PageCore, needs: readonly Need[]): Promise<string[]> {
  const missing: string[] = [];
  for (const need of needs) {
    const names = await missingOf(core, need);
    const isServed = names.length > 0 && need.otherwise && (await load(core, need.otherwise)).length === 0;
    if (!isServed) missing.push(...names);
  }
  return missing;
}

async function missingOf(core: PageCore, need: Need): Promise<string[]> {
  const module = core.moduleIfAny(need.module) ?? (await loadLazily(core, need));
  if (!module) return [need.module];
  const isThere = (path: string): boolean =>
    typeof path.split('.').reduce((value: any, name) => value?.[name], module) === 'function';
  return need.functions.filter((path) => !isThere(path)).map((path) => `${need.module}.${path}`);
}

/** Loads a module that the first bundle does not have. Each component has three seconds to load it. Null if none does. */
async function loadLazily(core: PageCore, { module, components = [] }: Need): Promise<any> {
  const loader = components.length > 0 ? core.moduleIfAny('Bootloader') : null;
  if (typeof loader?.loadModules !== 'function') return null;
  for (const component of components) {
    const loaded = new Promise<void>((resolve) => {
      try {
        loader.loadModules([component], () => resolve());
      } catch {
        // This build does not have the component; the next one may.
        resolve();
      }
    });
    await Promise.race([loaded, new Promise((resolve) => setTimeout(resolve, 3_000))]);
    const found = core.moduleIfAny(module);
    if (found) return found;
  }
  return null;
}

function otherIdOf(core: PageCore, wid: any): any {
  const api = core.moduleIfAny('WAWebApiContact');
  if (wid?.isLid?.()) return api?.getPhoneNumber?.(wid) ?? null;
  return /@c\.us$/.test(core.serialized(wid)) ? (api?.getCurrentLid?.(wid) ?? null) : null;
}

function isSame(core: PageCore, a: any, b: any): boolean {
  const [left, right] = [core.serialized(a), core.serialized(b)];
  if (left === right) return left !== '';
  const other = core.otherIdOf(core.widOf(left));
  return other !== null && core.serialized(other) === right;
}

function keysOf(core: PageCore, { id }: any): string[] {
  const mine = ownWids(core).map(core.serialized);
  const namesOf = (wid: any): string[] => {
    const name = core.serialized(wid);
    if (mine.includes(name)) return mine;
    const other = core.otherIdOf(core.widOf(name));
    return other === null ? [name] : [name, core.serialized(other)];
  };
  const authors = id.participant ? namesOf(id.participant).map((name) => `_${name}`) : [''];
  const chats = namesOf(id.remote);
  const keys = chats.flatMap((chat) => authors.map((author) => `${id.fromMe === true}_${chat}_${id.id}${author}`));
  return [...new Set([core.serialized(id), ...keys])];
}

async function votesOf(core: PageCore, poll: any): Promise<any[]> {
  const table = core.module('WAWebPollsVotesSchema').getTable();
  const newest: any[] = [];
  for (const key of keysOf(core, poll))
    for (const row of await table.equals(['parentMsgKey'], key)) {
      const at = newest.findIndex((other) => isSame(core, other.sender, row.sender));
      if (at < 0) newest.push(row);
      else if (Number(row.senderTimestampMs) >= Number(newest[at].senderTimestampMs)) newest[at] = row;
    }
  return newest;
}

function findChat(core: PageCore, id: string): any {
  const wid = core.widOf(id);
  const { Chat, WAWebNewsletterCollection } = core.collections();
  if (/@newsletter$/.test(id)) return WAWebNewsletterCollection?.get(wid) ?? null;
  const other = core.otherIdOf(wid);
  return Chat.get(wid) ?? (other && Chat.get(other)) ?? null;
}

async function openChat(core: PageCore, id: string): Promise<any> {
  const known = findChat(core, id);
  if (known) return known;
  if (!/@(c\.us|lid)$/.test(id)) core.refuse('CHAT_NOT_FOUND', { chatId: id });
  const wid = core.widOf(id);
  const registered = (await core.module('WAWebQueryExistsJob').queryWidExists(wid))?.wid;
  if (!registered && !wid.isLid?.()) core.refuse('CHAT_NOT_FOUND', { chatId: id });
  // Only this origin may create a chat with a LID.
  const { chat } = await core.module('WAWebFindChatAction').findOrCreateLatestChat(registered ?? wid, 'createChat');
  return chat ?? core.refuse('CHAT_NOT_FOUND', { chatId: id });
}

async function requireGroup(core: PageCore, id: string, rights: 'member' | 'admin'): Promise<any> {
  const { Chat } = core.collections();
  const wid = core.widOf(id);
  const chat = Chat.get(wid);
  if (!chat) core.refuse('GROUP_NOT_FOUND', { groupId: id });
  try {
    await core.module('WAWebGroupQueryJob').queryAndUpdateGroupMetadataById({ id: wid });
  } catch (error: any) {
    if (error?.status === 404) core.refuse('GROUP_NOT_FOUND', { groupId: id });
    throw error;
  }
  const mine = ownWids(core);
  const members: any[] = chat.groupMetadata?.participants?.getModelsArray?.() ?? [];
  const self = members.find((one) => mine.some((own) => core.serialized(own) === core.serialized(one.id)));
  if (!self) core.refuse('GROUP_NOT_FOUND', { groupId: id });
  if (rights === 'admin' && !self.isAdmin && !self.isSuperAdmin) core.refuse('GROUP_ADMIN_REQUIRED', { groupId: id });
  return chat;
}

function ownWids(core: PageCore): any[] {
  const me = core.module('WAWebUserPrefsMeUser');
  return [me.getMaybeMePnUser?.(), me.getMaybeMeLidUser?.()].filter(Boolean);
}

export const operateScript = pageScript(installOperating, [
  refuse,
  load,
  missingOf,
  loadLazily,
  otherIdOf,
  isSame,
  keysOf,
  votesOf,
  findChat,
  openChat,
  requireGroup,
  ownWids,
]);
