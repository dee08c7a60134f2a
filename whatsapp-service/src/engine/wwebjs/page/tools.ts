/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageTools, PageWindow } from './world.js';

/** Adds the rules and lookups that the other scripts share to `window.chasqui`. `PageTools` in world.ts describes them. */
function installTools(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || (core as Partial<PageCore>).plain) return;
  const tools: PageTools = {
    plain,
    build: () => Number(/^2\.3000\.(\d+)/.exec(win.Debug?.VERSION ?? '')?.[1] ?? 0),
    serialized,
    idOf: (id) => (id ? serialized(id) : null),
    ownIds: (chatId, key) => ownIds(core, chatId, key),
    isNamedBy,
    collections: () => core.module('WAWebCollections'),
    widOf: (id) => core.module('WAWebWidFactory').createWid(id),
    chatOf: (id) => core.collections().Chat.get(core.widOf(id)) ?? null,
    nameOf: (model) => model?.name || model?.formattedTitle || model?.pushname || null,
    modelOf: (msg) => plain(win.WWebJS.getMessageModel(msg)),
    findMessage: (whatsappId) => findMessage(core, whatsappId),
  };
  Object.assign(core, tools);
}

function serialized(id: any): string {
  return typeof id === 'string' ? id : (id?._serialized ?? id?.toString() ?? '');
}

function ownIds(core: PageCore, chatId: string, key: string): string[] {
  const bare = `true_${chatId}_${key}`;
  if (!/@(g\.us|broadcast)$/.test(chatId)) return [bare];
  const me = core.moduleIfAny('WAWebUserPrefsMeUser');
  const mine = [me?.getMaybeMePnUser?.(), me?.getMaybeMeLidUser?.()].filter(Boolean);
  return [bare, ...mine.map((id) => `${bare}_${serialized(id)}`)];
}

function isNamedBy(whatsappId: string, msg: any): boolean {
  const [fromMe, chatId, key] = whatsappId.split('_');
  if (!msg?.id || msg.id.id !== key || String(msg.id.fromMe === true) !== fromMe) return false;
  const remote = serialized(msg.id.remote);
  const isPerson = (id: string | undefined): boolean => /@(c\.us|lid)$/.test(id ?? '');
  return remote === chatId || (isPerson(remote) && isPerson(chatId));
}

async function findMessage(core: PageCore, whatsappId: string): Promise<any> {
  const { Msg } = core.collections();
  const direct = Msg.get(whatsappId) ?? (await Msg.getMessagesById([whatsappId]))?.messages?.[0];
  // The stored id may contain the phone number of the chat where the page uses the LID.
  const named = direct ?? Msg.getModelsArray().find((msg: any) => isNamedBy(whatsappId, msg));
  if (named) return named;
  // Some builds have the account's stories only in the store of stories.
  const [fromMe, chatId, key] = whatsappId.split('_');
  return fromMe === 'true' && chatId === 'status@broadcast' ? core.ownStory(key ?? '') : null;
}

function plain(value: unknown): unknown {
  const maxJson = 4_194_304;
  try {
    const json = JSON.stringify(value);
    if (json === undefined || json.length <= maxJson) return value;
  } catch {
    // A value that has no JSON form is copied as far as it can be read.
  }
  return copied(value, [], { left: maxJson });
}

/** Copies a value field by field. Leaves out fields that throw, contain themselves or have no JSON form; shortens what is too long. */
function copied(value: any, above: unknown[], budget: { left: number }): unknown {
  const max = { text: 100_000, items: 2_048, depth: 12 };
  budget.left -= typeof value === 'string' ? Math.min(value.length, max.text) : 8;
  if (budget.left < 0) return undefined;
  if (typeof value === 'string') return value.slice(0, max.text);
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'object' || value === null) return typeof value === 'function' ? undefined : value;
  if (above.length >= max.depth || above.includes(value) || ArrayBuffer.isView(value)) return undefined;
  const path = [...above, value];
  if (Array.isArray(value)) return value.slice(0, max.items).map((item) => copied(item, path, budget) ?? null);
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(value).slice(0, max.items)) {
    try {
      copy[name] = copied(value[name], path, budget);
    } catch {
      // This field cannot be read; the others are copied.
    }
  }
  return copy;
}

export const toolsScript = pageScript(installTools, [serialized, ownIds, isNamedBy, findMessage, plain, copied]);
