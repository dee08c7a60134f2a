import { AppError, messageReasons, parseAddress, reservedIdKinds, retryableReasons, type MessageReason } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import type { EngineSend, EngineSession } from '../engine.js';
import type { AccountLimits } from './account.js';
import { callPage } from './bridge.js';
import { DeadlineError, sleep, within } from './deadline.js';
import { CodecUnavailable, compose, dropPageFile, FileUnreadable } from './outgoing.js';
import type { PageFailure, PageSend, PageSendResult } from './page/send-types.js';

type Outcome = Awaited<ReturnType<EngineSession['send']>>;

export const failed = (reason: MessageReason, detail: string | null = null): Outcome => ({
  outcome: 'failed',
  reason,
  message: detail ? `${messageReasons[reason]} (${detail})` : messageReasons[reason],
  retryable: retryableReasons.has(reason),
});
const uncertain = (reason: MessageReason, error?: unknown): Outcome => ({
  outcome: 'uncertain',
  reason,
  message: error instanceof Error ? `${messageReasons[reason]} (${error.message.slice(0, 200)})` : messageReasons[reason],
});
const sent = (whatsappId: string, ack: number): Outcome => ({ outcome: 'sent', whatsappId, ack, at: new Date().toISOString() });

/** The reason for a status with which WhatsApp's server refused a message. 463: this account may not start new chats. */
function refusalOf(status: number | null | undefined, recipient: string): MessageReason {
  const isGroup = parseAddress(recipient)?.kind === 'group';
  if (status === 463) return 'REACH_OUT_LOCKED';
  if (status === 429) return 'RATE_REFUSED_BY_WHATSAPP';
  if (isGroup && (status === 401 || status === 403)) return 'GROUP_ADMIN_REQUIRED';
  return isGroup && status === 404 ? 'CHAT_NOT_FOUND' : 'WHATSAPP_REFUSED';
}

/** The page gets this much more time than the message, so that the page itself can report the state of a late message. */
const graceMs = 2000;
/** The chat of stories. Typing is not shown there. */
const statusId = 'status@broadcast';
/** The maximum number of cached addresses. */
const maxResolved = 20_000;

/** Sends the messages of one session. Each number is resolved once; each send is one call into the page. */
export interface Sending {
  /**
   * Sends one message and returns its outcome. `onHandover` is called right before the page; it returns until when the message may be handed over.
   * Before that call the message cannot have been sent. After it, only a message that the page proves absent was not sent.
   */
  send(send: EngineSend, onHandover: () => Promise<number>): Promise<Outcome>;
  /** Returns the address that WhatsApp uses for a recipient; null if the number is not registered. Throws if the page does not answer. */
  resolve(recipient: string, deadlineMs: number): Promise<string | null>;
  /** Whether a send of this key runs. Its message, when the page shows it, is not reported as observed. */
  isInFlight(key: string): boolean;
  /** Empties the cache of addresses. */
  forget(): void;
}

interface Context {
  page: () => Page;
  limits: AccountLimits;
  /** The cached addresses, by recipient. */
  resolved: Map<string, string>;
  /** The reserved ids of the sends that run. */
  inFlight: Set<string>;
}

export function createSending(page: () => Page, limits: AccountLimits): Sending {
  const context: Context = { page, limits, resolved: new Map(), inFlight: new Set() };
  return {
    async send(send, onHandover) {
      context.inFlight.add(send.reservedId);
      try {
        const outcome = await attempt(context, send, onHandover);
        if (outcome.outcome === 'failed' && outcome.reason === 'REACH_OUT_LOCKED') limits.refused();
        return outcome;
      } finally {
        if (send.file) freePageFile(context, send.reservedId);
        context.inFlight.delete(send.reservedId);
      }
    },
    resolve: (recipient, deadlineMs) => resolve(context, recipient, deadlineMs),
    isInFlight: (key) => context.inFlight.has(key),
    forget: () => context.resolved.clear(),
  };
}

/** Failures are ignored: either the page is gone, and the file with it, or it discards the file after a while. */
function freePageFile({ page }: Context, token: string): void {
  Promise.resolve()
    .then(() => dropPageFile(page(), token))
    .catch(() => undefined);
}

async function resolve({ page, resolved }: Context, recipient: string, deadlineMs: number): Promise<string | null> {
  const kind = parseAddress(recipient)?.kind;
  if (kind !== 'phone' && kind !== 'lid') return recipient;
  const known = resolved.get(recipient);
  if (known) return known;
  const [answer] = await callPage<{ wid: string | null }[]>(page(), 'exists', { ids: [recipient] }, deadlineMs);
  if (resolved.size >= maxResolved) resolved.clear();
  if (answer?.wid) resolved.set(recipient, answer.wid);
  return answer?.wid ?? null;
}

async function attempt(context: Context, send: EngineSend, onHandover: () => Promise<number>): Promise<Outcome> {
  const endsAt = performance.now() + send.deadlineMs;
  const kind = parseAddress(send.recipient)?.kind;
  if (!kind || !reservedIdKinds.has(kind))
    return failed('NOT_SUPPORTED_BY_WHATSAPP', 'Messages to this kind of recipient cannot use the reserved id.');
  let input: PageSend;
  try {
    const prepared = await prepare(context, send, endsAt);
    if ('outcome' in prepared) return prepared;
    const handOverUntil = await onHandover();
    const calledAt = Date.now();
    const remainingMs = endsAt - performance.now();
    if (remainingMs <= 0) return failed('CONNECTION_LOST', 'Its deadline passed before it could be handed over.');
    input = { ...prepared, handOverMs: Math.min(remainingMs, handOverUntil - calledAt), calledAt };
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (error instanceof CodecUnavailable) return failed('CODEC_UNAVAILABLE', error.message);
    return failed(
      error instanceof FileUnreadable ? 'MEDIA_UPLOAD_FAILED' : 'CONNECTION_LOST',
      error instanceof Error ? error.message : null,
    );
  }
  try {
    return outcomeOf(await callPage<PageSendResult>(context.page(), 'send', input, input.deadlineMs + graceMs), send);
  } catch (error) {
    return error instanceof DeadlineError
      ? uncertain('TIMEOUT_AFTER_HANDOVER')
      : afterCrash(context, send.reservedId, input.chatId);
  }
}

/** Resolves the recipient, shows that the account types, and composes the message. Nothing has been handed over yet. */
async function prepare(
  context: Context,
  send: EngineSend,
  endsAt: number,
): Promise<Omit<PageSend, 'handOverMs' | 'calledAt'> | Outcome> {
  const remaining = (): number => Math.max(100, endsAt - performance.now());
  const chatId = await resolve(context, send.recipient, remaining());
  if (!chatId) return failed('RECIPIENT_NOT_ON_WHATSAPP');
  const isPerson = /@(c\.us|lid)$/.test(chatId);
  if (isPerson && (await context.limits.isNewChatLocked(chatId))) return failed('REACH_OUT_LOCKED');
  if (send.typingMs > 0 && chatId !== statusId) await type(context, chatId, Math.min(send.typingMs, remaining() / 2));
  return {
    chatId,
    ...(await within(compose(send, context.page(), untilEnd(endsAt)), remaining(), 'Preparing the message')),
    reservedId: send.reservedId,
    quotedMessageId: send.quotedMessageId,
    ignoreQuoteErrors: send.ignoreQuoteErrors,
    forward: send.forward,
    isFirst: send.isFirst,
    deadlineMs: remaining(),
  };
}

/** The time until `endsAt`, of which the page's steps of a long preparation may each use what is left. */
const untilEnd = (endsAt: number) => (): number => {
  const ms = endsAt - performance.now();
  if (ms <= 0) throw new DeadlineError('Preparing the message', 0);
  return ms;
};

/** The call ended with a reload or a crash of the page. If a page is back, it may know the message. Not finding it proves nothing. */
async function afterCrash({ page }: Context, key: string, chatId: string): Promise<Outcome> {
  try {
    const input = { key, chatIds: [chatId], pages: 1, since: null, readingMs: 2000 };
    const found = await callPage<{ found: boolean; whatsappId: string; ack: number }>(page(), 'lookup', input, 3000);
    if (found.found && found.ack >= 1) return sent(found.whatsappId, found.ack);
    if (found.found && found.ack < 0) return failed('WHATSAPP_REFUSED');
  } catch (error) {
    return uncertain('CRASHED_DURING_SEND', error);
  }
  return uncertain('CRASHED_DURING_SEND');
}

async function type({ page }: Context, chatId: string, ms: number): Promise<void> {
  await callPage(page(), 'typing', { chatId, state: 'typing' }, 5000);
  await sleep(ms);
  await callPage(page(), 'typing', { chatId, state: 'stop' }, 5000);
}

/** Converts the page's result to the outcome of the send. */
function outcomeOf(result: PageSendResult, send: EngineSend): Outcome {
  switch (result.stage) {
    case 'acked':
      return sent(result.whatsappId, result.ack);
    case 'refused':
      return failed(refusalOf(result.failure?.status, send.recipient), failureText(result.failure));
    case 'pending':
      return uncertain('TIMEOUT_AFTER_HANDOVER');
    case 'absent':
      return failed(
        send.file && !isReferenceError(result.failure) ? 'MEDIA_UPLOAD_FAILED' : 'CONNECTION_LOST',
        failureText(result.failure),
      );
    case 'not_handed':
      return notHanded(result, send);
  }
}

function notHanded(result: Extract<PageSendResult, { stage: 'not_handed' }>, send: EngineSend): Outcome {
  if (result.why === 'chat') return failed('CHAT_NOT_FOUND');
  if (result.why === 'admin') return failed('GROUP_ADMIN_REQUIRED');
  if (result.why === 'mention') return failed('CHAT_NOT_FOUND', result.failure?.message ?? null);
  if (result.why === 'module') return failed('NOT_SUPPORTED_BY_WHATSAPP', result.failure?.message ?? null);
  if (result.why === 'quote') return failed('QUOTED_MESSAGE_NOT_FOUND');
  if (result.why === 'deadline' || !result.online) return failed('CONNECTION_LOST', failureText(result.failure));
  return failed(send.file ? 'MEDIA_UPLOAD_FAILED' : 'NOT_SUPPORTED_BY_WHATSAPP', failureText(result.failure));
}

const failureText = (failure: PageFailure | null): string | null =>
  failure ? `${failure.name}: ${failure.message}`.slice(0, 200) : null;
const isReferenceError = (failure: PageFailure | null): boolean => failure?.name === 'ReferenceError';
