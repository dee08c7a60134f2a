/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import type { PageCore } from '../page/world.js';
import { happenedAt } from '../time.js';
import type { RawMessage } from '../translate.js';
import { need, read, type OperationContext, type OperationHandlers } from './context.js';
import { observeAll } from './observed.js';

type Reads = 'messages.get' | 'messages.search' | 'messages.reactions' | 'messages.receipts';

/** Reads what WhatsApp Web knows about messages: one message, a search, reactions and receipts. */
export const messageReads: Pick<OperationHandlers<'messages'>, Reads> = {
  'messages.get': read('messages.get', {
    needs: [need('WAWebCollections', 'Msg.get', 'Msg.getMessagesById')],
    async run({ whatsappId }, context) {
      return (await observeAll([await context.inPage(modelOf, { whatsappId })], context))[0]!;
    },
  }),
  'messages.search': read('messages.search', {
    needs: [need('WAWebCollections', 'Msg.search')],
    run: async ({ query, chatId, page, limit }, context) =>
      observeAll(await context.inPage(search, { query, chatId: chatId ?? null, page, limit }), context),
  }),
  'messages.reactions': read('messages.reactions', {
    needs: [need('WAWebCollections', 'Reactions.find')],
    async run({ whatsappId }, context) {
      const found = await context.inPage(reactionsTo, { whatsappId });
      return withContacts(context, found, ({ emoji }) => ({ emoji }));
    },
  }),
  'messages.receipts': read('messages.receipts', {
    needs: [need('WAWebApiMessageInfoStore', 'queryMsgInfo')],
    async run({ whatsappId }, context) {
      const { delivered, read: seen, played, remaining } = await context.inPage(receiptsOf, { whatsappId });
      const listed = (found: Dated[]) => withContacts(context, found, () => ({}));
      return { delivered: await listed(delivered), read: await listed(seen), played: await listed(played), remaining };
    },
  }),
};

/** What one person did, and when. */
export interface Dated {
  id: string;
  /** In the page's unit, which `happenedAt` recognises; null if the page does not report it. */
  t: number | null;
}

/** Converts a list of what people did: ids become contacts, times become ISO times. `more` returns the other fields. */
export async function withContacts<Found extends Dated, More>(
  { identities }: OperationContext,
  found: readonly Found[],
  more: (one: Found) => More,
) {
  await identities.learn(found.map(({ id }) => id));
  return found.map((one) => ({
    contact: identities.contact(one.id),
    at: one.t === null ? null : happenedAt(one.t),
    ...more(one),
  }));
}

interface OfMessage {
  whatsappId: string;
}

/** Runs in the page. */
async function modelOf(core: PageCore, { whatsappId }: OfMessage): Promise<RawMessage> {
  return core.modelOf(await core.requireMessage(whatsappId));
}

/** Runs in the page. */
async function search(
  core: PageCore,
  { query, chatId, page, limit }: { query: string; chatId: string | null; page: number; limit: number },
): Promise<RawMessage[]> {
  const chat = chatId === null ? undefined : core.serialized(core.requireChat(chatId).id);
  const found = await core.collections().Msg.search(query, page, limit, chat);
  const models: any[] = found?.messages ?? [];
  return models.slice(0, limit).map((message) => core.modelOf(message));
}

/** Runs in the page. */
async function reactionsTo(core: PageCore, { whatsappId }: OfMessage): Promise<(Dated & { emoji: string })[]> {
  const message = await core.requireMessage(whatsappId);
  if (message.hasReaction === false) return [];
  const found = await core.collections().Reactions.find(core.serialized(message.id));
  const groups: any[] = found?.reactions?.getModelsArray?.() ?? found?.reactions ?? [];
  return groups
    .flatMap((group) => group.senders ?? [])
    .filter((one: any) => one?.reactionText)
    .slice(0, 2_000)
    .map((one: any) => ({ id: core.serialized(one.senderUserJid), emoji: String(one.reactionText), t: one.timestamp ?? null }));
}

interface Receipts {
  delivered: Dated[];
  read: Dated[];
  played: Dated[];
  remaining: { delivered: number; read: number; played: number };
}

/** Runs in the page. WhatsApp has receipts only for messages that the account sent, and has them about a second after the message. */
async function receiptsOf(core: PageCore, { whatsappId }: OfMessage): Promise<Receipts> {
  const message = await core.requireMessage(whatsappId);
  if (!message.id.fromMe)
    core.refuse('VALIDATION_FAILED', {
      fields: [{ path: 'messageId', code: 'NOT_OWN', message: 'Only messages of the linked account have receipts.' }],
    });
  const isNew = Date.now() - message.t * 1_000 < 1_250;
  if (isNew) await new Promise((resolve) => setTimeout(resolve, 1_200));
  const info = await core.module('WAWebApiMessageInfoStore').queryMsgInfo(message.id);
  const list = (rows: any): Dated[] =>
    (Array.isArray(rows) ? rows : []).slice(0, 2_000).map((row: any) => ({ id: core.serialized(row.id), t: row.t ?? null }));
  const count = (value: any): number => Math.max(0, Math.trunc(Number(value) || 0));
  return {
    delivered: list(info?.delivery),
    read: list(info?.read),
    played: list(info?.played),
    remaining: {
      delivered: count(info?.deliveryRemaining),
      read: count(info?.readRemaining),
      played: count(info?.playedRemaining),
    },
  };
}
