import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { textOf, type MessageContent, type SentType } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import type { EngineSend } from '../engine.js';
import { libraryUtil, type LibraryMedia } from './library.js';
import type { PageSend } from './page/send-types.js';

/** Converts each type of message to the arguments of the library's `WWebJS.sendMessage`. A type of the contract without a row does not compile. */

/** The arguments of `sendMessage`. `extra` is merged into the message that the library builds. */
type PageContent = Pick<PageSend, 'body' | 'options' | 'extra'>;
type ContentOf<T extends SentType> = Extract<MessageContent, { type: T }>;
type Compose<T extends SentType> = (
  content: ContentOf<T>,
  send: EngineSend,
  page: Page,
) => Partial<PageContent> | Promise<Partial<PageContent>>;

/** Thrown when the file of a message cannot be read. */
export class FileUnreadable extends Error {}

const outgoing: { readonly [T in SentType]: Compose<T> } = {
  text: ({ message, linkPreview, backgroundColor, font }) => ({
    body: message,
    options: { linkPreview: linkPreview !== false ? true : undefined },
    extra: backgroundColor === undefined ? {} : { backgroundColor: argbOf(backgroundColor), font: font ?? 0 },
  }),
  image: ({ caption, viewOnce, hd }, send) =>
    withMedia(send, { caption: caption ?? undefined, isViewOnce: viewOnce, sendMediaAsHd: hd }),
  video: ({ caption, viewOnce, gif, hd }, send) =>
    withMedia(send, { caption: caption ?? undefined, isViewOnce: viewOnce, sendVideoAsGif: gif, sendMediaAsHd: hd }),
  document: ({ caption }, send) => withMedia(send, { caption: caption ?? undefined, sendMediaAsDocument: true }),
  audio: (_, send) => withMedia(send),
  voice: (_, send) => withMedia(send, { sendAudioAsVoice: true }),
  sticker: async ({ stickerName: name, stickerAuthor: author }, send, page) => ({
    options: {
      media: await libraryUtil().formatToWebpSticker(await readMedia(send), { name, author }, page),
      sendMediaAsSticker: true,
    },
  }),
  location: ({ latitude, longitude, name, address }) => ({
    options: {
      location: { latitude, longitude, description: [name, address].filter(Boolean).join('\n') || undefined },
    },
  }),
  contact: ({ contacts }) => {
    const [card] = contacts;
    if (card && contacts.length === 1)
      return {
        body: card.vcard,
        options: { parseVCards: true },
        // The library sends a card that it cannot parse as text. With the type set here it stays a card.
        extra: { type: 'vcard', vcardFormattedName: card.name },
      };
    const vcardList = contacts.map(({ name, vcard }) => ({ displayName: name, vcard }));
    return { extra: { type: 'multi_vcard', body: null, vcardList } };
  },
  poll: ({ question, options, multiple }) => ({
    options: {
      poll: {
        pollName: question,
        pollOptions: options.map((name, localId) => ({ name, localId })),
        options: { allowMultipleAnswers: multiple },
      },
    },
  }),
  calendar_event: ({ name, description, startsAt, endsAt, location, callType, joinUrl }) => ({
    options: {
      event: {
        name,
        startTimeTs: secondsOf(startsAt),
        eventSendOptions: {
          description: description ?? undefined,
          endTimeTs: endsAt === null ? undefined : secondsOf(endsAt),
          location: location ?? undefined,
          // A forwarded event keeps its link.
          callType: joinUrl ? 'none' : callType,
          isEventCanceled: false,
        },
      },
    },
    // WhatsApp Web sets these fields, and the library does not.
    extra: { kind: 'eventCreation', viewMode: 'VISIBLE', ...linkOf(callType, joinUrl) },
  }),
  list: (content) => ({ body: textOf(content) ?? '' }),
  buttons: (content) => ({ body: textOf(content) ?? '' }),
};

/** WhatsApp writes colors as 0xAARRGGBB. */
const argbOf = (color: string): number => 0xff000000 + parseInt(color.slice(1), 16);

function linkOf(callType: string, joinUrl: string | null | undefined): Record<string, unknown> {
  if (joinUrl) return { eventJoinLink: joinUrl };
  return callType === 'none' ? {} : { chasquiRequires: ['eventJoinLink'] };
}
const secondsOf = (time: string): number => Math.floor(Date.parse(time) / 1_000);

/** Returns the arguments of `sendMessage` for a message. Throws `FileUnreadable`. */
export async function compose(send: EngineSend, page: Page): Promise<PageContent> {
  const { content, mentions } = send;
  const { body = '', options, extra = {} } = await composeContent(content.type, content, send, page);
  return { body, options: { mentionedJidList: [...mentions], ...options }, extra };
}

const composeContent = <T extends SentType>(type: T, content: ContentOf<T>, send: EngineSend, page: Page) =>
  outgoing[type](content, send, page);

const withMedia = async (send: EngineSend, options: Record<string, unknown> = {}): Promise<Partial<PageContent>> => ({
  options: { media: await readMedia(send), ...options },
});

async function readMedia(send: EngineSend): Promise<LibraryMedia> {
  if (!send.file) throw new FileUnreadable('The file of the message is missing.');
  const { path, mimetype, filename } = send.file;
  const bytes = await readFile(path).catch((error: Error) => {
    throw new FileUnreadable(error.message);
  });
  // Phones need the codec to play a voice note.
  const type = send.content.type === 'voice' && mimetype === 'audio/ogg' ? 'audio/ogg; codecs=opus' : mimetype;
  return { mimetype: type, data: bytes.toString('base64'), filename: filename ?? basename(path) };
}
