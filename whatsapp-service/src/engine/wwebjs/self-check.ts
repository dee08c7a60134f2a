import { operationIds, type SelfCheck } from '@chasqui/shared';
import { runInPage } from './bridge.js';
import { isOver, pageOf, type SessionContext } from './context.js';
import { sleep } from './deadline.js';
import { wordsOf } from './launch-error.js';
import { need } from './operations/context.js';
import { needsOf } from './operations/index.js';
import type { Need, PageCore } from './page/world.js';

/** What no session works without, by what it is for. */
export const essentials: Readonly<Record<'sending' | 'messages' | 'acks' | 'chats', readonly Need[]>> = {
  sending: [
    need('WAWebMsgKey', 'newId'),
    need('WAWebFindChatAction', 'findOrCreateLatestChat'),
    need('WAWebSendMsgChatAction', 'addAndSendMsgToChat'),
  ],
  messages: [need('WAWebCollections', 'Msg.on', 'Msg.get', 'Msg.getMessagesById')],
  acks: [need('WAWebCollections', 'Msg.on')],
  chats: [need('WAWebCollections', 'Chat.get', 'Chat.on', 'Chat.getModelsArray')],
};

/** The time that the page has for one check; what is not checked by then is reported as unchecked. */
const checkMs = 20_000;
/** Modules register one after the other while the page loads, so an essential one must be missing repeatedly. */
const essentialChecks = 3;
const betweenChecksMs = 2_000;

/**
 * Asks the page for the functions of every operation and emits `checked`. Runs after `ready`, which does not wait for it. Never rejects: a check that
 * cannot be made is logged and leaves the result of the one before. A page that was loaded again meanwhile has a check of its own.
 */
export async function checkPage(context: SessionContext, whatsappWebVersion: string | null): Promise<void> {
  const { state, options, config } = context;
  const { loads } = state;
  try {
    const essential = await missingEssentials(context, loads);
    const { missing, unchecked } = await runInPage(pageOf(context), checkAll, [allNeeds(), checkMs], checkMs + 5_000);
    if (isOver(context) || loads !== state.loads) return;
    const check = { checkedAt: new Date().toISOString(), whatsappWebVersion, missing, unchecked, essential };
    options.onSignal({ type: 'checked', check });
  } catch (error) {
    if (isOver(context) || loads !== state.loads) return;
    config.onWarning?.('The functions of WhatsApp Web could not be checked.', { error: wordsOf(error) });
  }
}

/** The essential functions that the page does not have, after repeated checks. */
async function missingEssentials(context: SessionContext, loads: number): Promise<string[]> {
  const needs = Object.values(essentials).flat();
  for (let checks = 1; ; checks += 1) {
    const missing = await runInPage(pageOf(context), loadAll, [needs], checkMs);
    if (missing.length === 0 || checks === essentialChecks || loads !== context.state.loads) return [...new Set(missing)];
    await sleep(betweenChecksMs);
  }
}

const allNeeds = (): [string, readonly Need[]][] => operationIds.map((id) => [id, needsOf(id)]);

/** Runs in the page. */
function loadAll(core: PageCore, needs: readonly Need[]): Promise<string[]> {
  return core.load(needs);
}

/** Runs in the page. One operation after the other; each function is looked for once. */
async function checkAll(
  core: PageCore,
  rows: [string, readonly Need[]][],
  budgetMs: number,
): Promise<Pick<SelfCheck, 'missing' | 'unchecked'>> {
  const endsAt = Date.now() + budgetMs;
  const known = new Map<string, string[]>();
  const missing: Record<string, string[]> = {};
  const unchecked: string[] = [];
  for (const [id, needs] of rows) {
    if (Date.now() >= endsAt) {
      unchecked.push(id);
      continue;
    }
    const found: string[] = [];
    for (const one of needs) {
      const key = JSON.stringify(one);
      if (!known.has(key)) known.set(key, await core.load([one]));
      found.push(...known.get(key)!);
    }
    if (found.length > 0) missing[id] = found;
  }
  return { missing, unchecked };
}
