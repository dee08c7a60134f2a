import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { AppError, messageReasons, parseAddress, reservedIdKinds, retryableReasons, type MessageReason } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import type { EngineSend, EngineSession } from '../engine.js';
import { callPage } from './bridge.js';
import { DeadlineError, sleep, within } from './deadline.js';
import { libraryUtil, type LibraryMedia } from './library.js';
import type { PageFailure, PageSend, PageSendResult } from './page/send.js';

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
/** The maximum number of cached addresses. */
const maxResolved = 20_000;

/** Sends of one session: numbers are resolved once, then each send is one call into the page. */
export function createSending(page: () => Page) {
  const resolved = new Map<string, string>();
  const inFlight = new Set<string>();

  /** The address that WhatsApp uses for a recipient; null when the number is not registered. Throws when the page does not answer. */
  async function resolve(recipient: string, deadlineMs: number): Promise<string | null> {
    const kind = parseAddress(recipient)?.kind;
    if (kind !== 'phone' && kind !== 'lid') return recipient;
    const known = resolved.get(recipient);
    if (known) return known;
    const [answer] = await callPage<{ wid: string | null }[]>(page(), 'exists', { ids: [recipient] }, deadlineMs);
    if (resolved.size >= maxResolved) resolved.clear();
    if (answer?.wid) resolved.set(recipient, answer.wid);
    return answer?.wid ?? null;
  }

  /** Before `onHandover` the message cannot have been sent; after it, only a message that the page proves absent was not sent. */
  async function send(send: EngineSend, onHandover: () => Promise<number>): Promise<Outcome> {
    inFlight.add(send.reservedId);
    try {
      return await attempt(send, onHandover);
    } finally {
      inFlight.delete(send.reservedId);
    }
  }

  async function attempt(send: EngineSend, onHandover: () => Promise<number>): Promise<Outcome> {
    const endsAt = performance.now() + send.deadlineMs;
    const remaining = (): number => Math.max(100, endsAt - performance.now());
    let input: PageSend;
    const kind = parseAddress(send.recipient)?.kind;
    if (!kind || !reservedIdKinds.has(kind))
      return failed('NOT_SUPPORTED_BY_WHATSAPP', 'Messages to this kind of recipient cannot use the reserved id.');
    try {
      const chatId = await resolve(send.recipient, remaining());
      if (!chatId) return failed('RECIPIENT_NOT_ON_WHATSAPP');
      if (send.typingMs > 0) await type(chatId, Math.min(send.typingMs, remaining() / 2));
      input = {
        chatId,
        ...(await within(compose(send, page()), remaining(), 'Preparing the message')),
        reservedId: send.reservedId,
        quotedMessageId: send.quotedMessageId,
        ignoreQuoteErrors: send.ignoreQuoteErrors,
        isFirst: send.isFirst,
        deadlineMs: remaining(),
        handOverMs: 0,
        calledAt: 0,
      };
      const handOverUntil = await onHandover();
      const calledAt = Date.now();
      const remainingMs = endsAt - performance.now();
      if (remainingMs <= 0) return failed('CONNECTION_LOST', 'Its deadline passed before it could be handed over.');
      Object.assign(input, { handOverMs: Math.min(remainingMs, handOverUntil - calledAt), calledAt });
    } catch (error) {
      if (error instanceof AppError) throw error;
      return failed(
        error instanceof FileUnreadable ? 'MEDIA_UPLOAD_FAILED' : 'CONNECTION_LOST',
        error instanceof Error ? error.message : null,
      );
    }
    try {
      return outcomeOf(await callPage<PageSendResult>(page(), 'send', input, input.deadlineMs + graceMs), send);
    } catch (error) {
      return error instanceof DeadlineError ? uncertain('TIMEOUT_AFTER_HANDOVER') : afterCrash(send.reservedId, input.chatId);
    }
  }

  /** The call ended with a reload or a crash of the page. If a page is back it may know the message; not finding it proves nothing. */
  async function afterCrash(key: string, chatId: string): Promise<Outcome> {
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

  async function type(chatId: string, ms: number): Promise<void> {
    await callPage(page(), 'typing', { chatId, state: 'typing' }, 5000);
    await sleep(ms);
    await callPage(page(), 'typing', { chatId, state: 'stop' }, 5000);
  }

  return {
    send,
    resolve,
    /** An own message that the page shows while its send still runs is not reported. */
    isInFlight: (key: string): boolean => inFlight.has(key),
    forget: (): void => resolved.clear(),
  };
}

/** Converts the page's result to the outcome of the send. */
function outcomeOf(result: PageSendResult, send: EngineSend): Outcome {
  switch (result.stage) {
    case 'acked':
      return sent(result.whatsappId, result.ack);
    case 'refused':
      return failed(refusalOf(result.failure?.status, send.recipient), wordsOf(result.failure));
    case 'pending':
      return uncertain('TIMEOUT_AFTER_HANDOVER');
    case 'absent':
      return failed(
        send.file && !isReferenceError(result.failure) ? 'MEDIA_UPLOAD_FAILED' : 'CONNECTION_LOST',
        wordsOf(result.failure),
      );
    case 'not_handed':
      return notHanded(result, send);
  }
}

function notHanded(result: Extract<PageSendResult, { stage: 'not_handed' }>, send: EngineSend): Outcome {
  if (result.why === 'chat') return failed('CHAT_NOT_FOUND');
  if (result.why === 'admin') return failed('GROUP_ADMIN_REQUIRED');
  if (result.why === 'quote') return failed('QUOTED_MESSAGE_NOT_FOUND');
  if (result.why === 'deadline' || !result.online) return failed('CONNECTION_LOST', wordsOf(result.failure));
  return failed(send.file ? 'MEDIA_UPLOAD_FAILED' : 'NOT_SUPPORTED_BY_WHATSAPP', wordsOf(result.failure));
}

const wordsOf = (failure: PageFailure | null): string | null =>
  failure ? `${failure.name}: ${failure.message}`.slice(0, 200) : null;
const isReferenceError = (failure: PageFailure | null): boolean => failure?.name === 'ReferenceError';

class FileUnreadable extends Error {}

async function mediaOf(send: EngineSend): Promise<LibraryMedia> {
  if (!send.file) throw new FileUnreadable('The file of the message is missing.');
  const { path, mimetype, filename } = send.file;
  const bytes = await readFile(path).catch((error: Error) => {
    throw new FileUnreadable(error.message);
  });
  // Phones need the codec to play a voice note.
  const type = send.content.type === 'voice' && mimetype === 'audio/ogg' ? 'audio/ogg; codecs=opus' : mimetype;
  return { mimetype: type, data: bytes.toString('base64'), filename: filename ?? basename(path) };
}

/** Builds the body and options for the library's own `WWebJS.sendMessage`, by type. */
async function compose(send: EngineSend, page: Page): Promise<Pick<PageSend, 'body' | 'options' | 'extra'>> {
  const { content, mentions } = send;
  const base = {
    linkPreview: content.type === 'text' && content.linkPreview !== false ? true : undefined,
    mentionedJidList: [...mentions],
  };
  const withMedia = async (extraOptions: Record<string, unknown>) => ({
    body: '',
    options: { ...base, media: await mediaOf(send), ...extraOptions },
    extra: {},
  });
  switch (content.type) {
    case 'text':
      return { body: content.message, options: base, extra: {} };
    case 'image':
      return withMedia({ caption: content.caption ?? undefined, isViewOnce: content.viewOnce, sendMediaAsHd: content.hd });
    case 'video':
      return withMedia({
        caption: content.caption ?? undefined,
        isViewOnce: content.viewOnce,
        sendVideoAsGif: content.gif,
        sendMediaAsHd: content.hd,
      });
    case 'document':
      return withMedia({ caption: content.caption ?? undefined, sendMediaAsDocument: true });
    case 'audio':
      return withMedia({});
    case 'voice':
      return withMedia({ sendAudioAsVoice: true });
    case 'sticker': {
      const { stickerName: name, stickerAuthor: author } = content;
      const sticker = await libraryUtil().formatToWebpSticker(await mediaOf(send), { name, author }, page);
      return { body: '', options: { ...base, media: sticker, sendMediaAsSticker: true }, extra: {} };
    }
    case 'location':
      return {
        body: '',
        options: {
          ...base,
          location: {
            latitude: content.latitude,
            longitude: content.longitude,
            description: [content.name, content.address].filter(Boolean).join('\n') || undefined,
          },
        },
        extra: {},
      };
    case 'contact':
      return content.contacts.length === 1
        ? {
            body: content.contacts[0]!.vcard,
            options: { ...base, parseVCards: true },
            // The library sends a card that it cannot parse as text. With the type set here it stays a card.
            extra: { type: 'vcard', vcardFormattedName: content.contacts[0]!.name },
          }
        : {
            body: '',
            options: base,
            extra: {
              type: 'multi_vcard',
              body: null,
              vcardList: content.contacts.map(({ name, vcard }) => ({ displayName: name, vcard })),
            },
          };
    case 'poll':
      return {
        body: '',
        options: {
          ...base,
          poll: {
            pollName: content.question,
            pollOptions: content.options.map((name, localId) => ({ name, localId })),
            options: { allowMultipleAnswers: content.multiple },
          },
        },
        extra: {},
      };
    case 'group_invite':
    case 'unknown':
      throw new Error(`A message of type ${content.type} cannot be sent.`);
  }
}
