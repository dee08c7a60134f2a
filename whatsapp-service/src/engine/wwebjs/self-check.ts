import { operationIds, type OperationId, type SelfCheck } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import { callPage, runInPage } from './bridge.js';
import { sleep } from './deadline.js';
import { readListeners } from './listener-reports.js';
import { need } from './operations/context.js';
import type { OperationPart } from './operations/context.js';
import { needsOf, partsOf } from './operations/index.js';
import type { Need, PageCore } from './page/world.js';

/** The functions of the page without which no session works, by purpose. */
export const essentials: Readonly<Record<'ids' | 'sending' | 'messages' | 'acks' | 'chats', readonly Need[]>> = {
  // Nearly every operation uses these modules, so operations do not declare them.
  ids: [need('WAWebCollections'), need('WAWebWidFactory', 'createWid'), need('WAWebUserPrefsMeUser')],
  sending: [
    need('WAWebMsgKey', 'newId'),
    need('WAWebFindChatAction', 'findOrCreateLatestChat'),
    need('WAWebSendMsgChatAction', 'addAndSendMsgToChat'),
  ],
  messages: [need('WAWebCollections', 'Msg.on', 'Msg.get', 'Msg.getMessagesById')],
  acks: [need('WAWebCollections', 'Msg.on')],
  chats: [need('WAWebCollections', 'Chat.get', 'Chat.on', 'Chat.getModelsArray')],
};

/** How long one check of all operations may take. Operations that are not reached in time are reported as unchecked. */
const checkMs = 20_000;
/** Modules register one after another while the page loads, so a function counts as missing only after repeated checks. */
const checksOfMissing = 3;
const betweenChecksMs = 2_000;
const listenersMs = 5_000;
/** The maximum number of names that are reported for one operation. */
const maxNames = 20;
const maxNameLength = 120;

type MissingPart = NonNullable<SelfCheck['partial']>[string][number];
type Found = Pick<SelfCheck, 'missing' | 'unchecked'> & { partial: Record<string, MissingPart[]> };

interface SelfCheckOptions {
  page: () => Page;
  isOver: () => boolean;
  onChecked: (check: SelfCheck) => void;
  onFailure: (error: unknown) => void;
}

/**
 * Returns a function that checks whether the page has the functions of every operation. It runs after each `ready`, which does not wait for it.
 * It never rejects: a check that cannot be made is reported to `onFailure`, and the previous result stays. A later run replaces earlier ones.
 */
export function createSelfCheck(options: SelfCheckOptions): (whatsappWebVersion: string | null) => Promise<void> {
  let newest = 0;
  return async (whatsappWebVersion) => {
    const own = (newest += 1);
    const isOutdated = (): boolean => own !== newest || options.isOver();
    try {
      const found = await check(options.page, isOutdated);
      if (!isOutdated()) options.onChecked({ checkedAt: new Date().toISOString(), whatsappWebVersion, ...found });
    } catch (error) {
      if (!isOutdated()) options.onFailure(error);
    }
  };
}

async function check(page: () => Page, isOutdated: () => boolean): Promise<Omit<SelfCheck, 'checkedAt' | 'whatsappWebVersion'>> {
  const essential = await missingEssentials(page, isOutdated);
  const found = await missingFunctions(page, isOutdated);
  const listeners = readListeners(await callPage<unknown>(page(), 'listeners', {}, listenersMs));
  const broken = listeners.flatMap(({ name, state }) => (state === 'failed' || state === 'gone' ? [name] : []));
  return { ...found, essential, listeners: broken };
}

/** The functions that the page does not have, by operation, after repeated checks. */
async function missingFunctions(page: () => Page, isOutdated: () => boolean) {
  for (let checks = 1; ; checks += 1) {
    const found = readFound(await runInPage(page(), checkAll, [allRows(), checkMs], checkMs + 5_000));
    const isWhole = Object.keys(found.missing).length === 0 && Object.keys(found.partial).length === 0;
    if (isWhole || checks === checksOfMissing || isOutdated()) return found;
    await sleep(betweenChecksMs);
  }
}

/** The essential functions that the page does not have, after repeated checks. */
async function missingEssentials(page: () => Page, isOutdated: () => boolean): Promise<string[]> {
  const needs = Object.values(essentials).flat();
  for (let checks = 1; ; checks += 1) {
    const missing = namesIn(await runInPage(page(), loadAll, [needs], checkMs));
    if (missing.length === 0 || checks === checksOfMissing || isOutdated()) return [...new Set(missing)];
    await sleep(betweenChecksMs);
  }
}

const namesIn = (value: unknown): string[] =>
  Array.isArray(value) ? value.slice(0, maxNames).map((name) => String(name).slice(0, maxNameLength)) : [];

/** Reads the page's answer. Any code in the page can forge it, and it is sent with every heartbeat of the worker, so it is checked and cut. */
export function readFound(answer: unknown): Found {
  const { missing, partial, unchecked } = Object(answer) as Record<string, unknown>;
  const lists = Object(missing) as Record<string, unknown>;
  const known = operationIds.filter((id) => Object.hasOwn(lists, id) && namesIn(lists[id]).length > 0);
  const parts = Object(partial) as Record<string, unknown>;
  const partly = operationIds.flatMap((id): [string, MissingPart[]][] => {
    const found = known.includes(id) || !Object.hasOwn(parts, id) ? [] : missingPartsOf(id, parts[id]);
    return found.length > 0 ? [[id, found]] : [];
  });
  return {
    missing: Object.fromEntries(known.map((id) => [id, namesIn(lists[id])])),
    partial: Object.fromEntries(partly),
    unchecked: operationIds.filter((id) => Array.isArray(unchecked) && unchecked.includes(id)),
  };
}

/** The parts of this operation that lack functions. A part that the operation does not have is ignored. */
function missingPartsOf(id: OperationId, answer: unknown): MissingPart[] {
  const given = Object(answer) as Record<string, unknown>;
  return partsOf(id).flatMap(({ part }) => {
    const missing = Object.hasOwn(given, part) ? namesIn(given[part]) : [];
    return missing.length > 0 ? [{ part, missing }] : [];
  });
}

type CheckRow = [string, readonly Need[], readonly OperationPart[]];
const allRows = (): CheckRow[] => operationIds.map((id) => [id, needsOf(id), partsOf(id)]);

/** Runs in the page. */
function loadAll(core: PageCore, needs: readonly Need[]): Promise<string[]> {
  return core.load(needs);
}

/** Runs in the page. Checks one operation after another, and each function once. */
async function checkAll(
  core: PageCore,
  rows: CheckRow[],
  budgetMs: number,
): Promise<{ missing: Record<string, string[]>; partial: Record<string, Record<string, string[]>>; unchecked: string[] }> {
  const endsAt = Date.now() + budgetMs;
  const known = new Map<string, string[]>();
  const missing: Record<string, string[]> = {};
  const partial: Record<string, Record<string, string[]>> = {};
  const unchecked: string[] = [];
  const missingOf = async (needs: readonly Need[]): Promise<string[]> => {
    const found: string[] = [];
    for (const one of needs) {
      const key = JSON.stringify(one);
      if (!known.has(key)) known.set(key, await core.load([one]));
      found.push(...known.get(key)!);
    }
    return found;
  };
  for (const [id, needs, parts] of rows) {
    if (Date.now() >= endsAt) {
      unchecked.push(id);
      continue;
    }
    const found = await missingOf(needs);
    if (found.length === 0) continue;
    const broken: Record<string, string[]> = {};
    for (const { part, needs: ofPart } of parts) {
      const names = await missingOf(ofPart);
      if (names.length > 0) broken[part] = names;
    }
    // Without parts, and when no part works, the operation does not work.
    if (Object.keys(broken).length < parts.length) partial[id] = broken;
    else missing[id] = [...new Set(found)];
  }
  return { missing, partial, unchecked };
}
