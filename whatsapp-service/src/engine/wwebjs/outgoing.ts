import { open, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { textOf, type LinkPreview, type MessageContent, type SentType } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import type { EngineFile, EngineSend } from '../engine.js';
import { callPage } from './bridge.js';
import { libraryUtil, type LibraryMedia } from './library.js';
import type { PageSend } from './page/send-types.js';

/** Converts each type of message to the arguments of the library's `WWebJS.sendMessage`. A type of the contract without a row does not compile. */

/** The arguments of `sendMessage`. `extra` is merged into the message that the library builds. */
type PageContent = Pick<PageSend, 'body' | 'options' | 'extra'>;
type ContentOf<T extends SentType> = Extract<MessageContent, { type: T }>;
type Compose<T extends SentType> = (
  content: ContentOf<T>,
  send: EngineSend,
  context: ComposeContext,
) => Partial<PageContent> | Promise<Partial<PageContent>>;

interface ComposeContext {
  page: Page;
  /** Milliseconds until the message has to be composed. Throws once there are none. */
  left: () => number;
}

/** The file of a message cannot be read. */
export class FileUnreadable extends Error {}

/** The browser cannot decode a video, which WhatsApp Web does before it sends one. */
export class CodecUnavailable extends Error {}

const outgoing: { readonly [T in SentType]: Compose<T> } = {
  text: ({ message, linkPreview = true, backgroundColor, font }) => ({
    body: message,
    options: { linkPreview: linkPreview === true ? true : undefined },
    extra: {
      ...(backgroundColor === undefined ? {} : { backgroundColor: argbOf(backgroundColor), font: font ?? 0 }),
      ...(typeof linkPreview === 'object' ? previewOf(linkPreview) : {}),
    },
  }),
  image: ({ caption, viewOnce, hd }, send, context) =>
    withMedia(send, context, { caption: caption ?? undefined, isViewOnce: viewOnce, sendMediaAsHd: hd }),
  video: async ({ caption, viewOnce, gif, hd }, send, context) => {
    await requireCodec(typeOf(send), context);
    const options = { caption: caption ?? undefined, isViewOnce: viewOnce, sendVideoAsGif: gif, sendMediaAsHd: hd };
    return withMedia(send, context, options);
  },
  document: ({ caption }, send, context) =>
    withMedia(send, context, { caption: caption ?? undefined, sendMediaAsDocument: true }),
  audio: (_, send, context) => withMedia(send, context),
  voice: (_, send, context) => withMedia(send, context, { sendAudioAsVoice: true }),
  sticker: async ({ stickerName: name, stickerAuthor: author }, send, { page }) => ({
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
  calendar_event: ({ name, description, startsAt, endsAt, location, callType, joinUrl, isCancelled = false }) => ({
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
          isEventCanceled: isCancelled,
        },
      },
    },
    // WhatsApp Web sets these fields, and the library does not.
    extra: { kind: 'eventCreation', viewMode: 'VISIBLE', ...linkOf(callType, joinUrl) },
  }),
  list: (content) => ({ body: textOf(content) ?? '' }),
  buttons: (content) => ({ body: textOf(content) ?? '' }),
};

/** The fields that WhatsApp's own preview adds to a message. */
const previewOf = ({ title, description, thumbnail, url }: LinkPreview): Record<string, unknown> => ({
  title,
  description: description ?? '',
  matchedText: url,
  canonicalUrl: url,
  preview: true,
  subtype: 'url',
  ...(thumbnail === undefined ? {} : { thumbnail }),
});

/** WhatsApp writes colors as 0xAARRGGBB. */
const argbOf = (color: string): number => 0xff000000 + parseInt(color.slice(1), 16);

function linkOf(callType: string, joinUrl: string | null | undefined): Record<string, unknown> {
  if (joinUrl) return { eventJoinLink: joinUrl };
  return callType === 'none' ? {} : { chasquiRequires: ['eventJoinLink'] };
}
const secondsOf = (time: string): number => Math.floor(Date.parse(time) / 1_000);

/** Returns the arguments of `sendMessage` for a message. A file is in the page then; `dropPageFile` frees it. Throws `FileUnreadable` and `CodecUnavailable`. */
export async function compose(send: EngineSend, page: Page, left: () => number): Promise<PageContent> {
  const { content, mentions, groupMentions = [] } = send;
  const { body = '', options, extra = {} } = await composeContent(content.type, content, send, { page, left });
  const groups = groupMentions.map(({ id, name }) => ({ id, subject: name }));
  const mentioned = { mentionedJidList: [...mentions], ...(groups.length > 0 ? { groupMentions: groups } : {}) };
  return { body, options: { ...mentioned, ...options }, extra };
}

const composeContent = <T extends SentType>(type: T, content: ContentOf<T>, send: EngineSend, context: ComposeContext) =>
  outgoing[type](content, send, context);

const withMedia = async (
  send: EngineSend,
  context: ComposeContext,
  options: Record<string, unknown> = {},
): Promise<Partial<PageContent>> => ({ options: { media: await pageFile(send, context), ...options } });

/** The codecs of most videos. Free builds of Chromium lack them, and play MP4 with other codecs: so the type alone proves nothing. */
const usualCodecs = 'video/mp4; codecs="avc1.42E01E, mp4a.40.2"';

async function requireCodec(mimetype: string, { page, left }: ComposeContext): Promise<void> {
  const type = mimetype === 'video/webm' ? mimetype : usualCodecs;
  if (!(await callPage<boolean>(page, 'canPlay', { type }, left())))
    throw new CodecUnavailable(`The browser cannot play ${type}.`);
}

/** A file that the page has under a token; `page/files.ts` returns it to the library. */
interface PageMedia {
  chasquiFile: string;
  size: number;
  mimetype: string;
  filename: string;
}

/** Bytes of one piece. A multiple of three, so that its base64 has no padding; small, so that probes of the page run in between. */
const pieceBytes = 393_216;

/** Passes the file to the page in pieces, so that neither this process nor the page has it in memory as a whole. */
async function pageFile(send: EngineSend, { page, left }: ComposeContext): Promise<PageMedia> {
  const { path, filename } = fileOf(send);
  const token = send.reservedId;
  await dropPageFile(page, token);
  const handle = await open(path).catch(unreadable);
  let size = 0;
  try {
    const room = Buffer.allocUnsafeSlow(pieceBytes);
    for (;;) {
      const { bytesRead } = await handle.read(room, 0, pieceBytes, size).catch(unreadable);
      if (bytesRead === 0) break;
      size += bytesRead;
      await callPage(page, 'filePiece', { token, data: room.toString('base64', 0, bytesRead) }, left());
    }
  } finally {
    await handle.close();
  }
  return { chasquiFile: token, size, mimetype: typeOf(send), filename: filename ?? basename(path) };
}

/** Frees a file in the page. The caller awaits no answer where the page may be gone. */
export const dropPageFile = (page: Page, token: string): Promise<unknown> => callPage(page, 'fileDrop', { token }, 5_000);

async function readMedia(send: EngineSend): Promise<LibraryMedia> {
  const { path, filename } = fileOf(send);
  const bytes = await readFile(path).catch(unreadable);
  return { mimetype: typeOf(send), data: bytes.toString('base64'), filename: filename ?? basename(path) };
}

function fileOf({ file }: EngineSend): EngineFile {
  if (!file) throw new FileUnreadable('The file of the message is missing.');
  return file;
}

const unreadable = (error: Error): never => {
  throw new FileUnreadable(error.message);
};

/** Phones need the codec to play a voice note. */
function typeOf({ content, file }: EngineSend): string {
  const mimetype = file?.mimetype ?? '';
  return content.type === 'voice' && mimetype === 'audio/ogg' ? 'audio/ogg; codecs=opus' : mimetype;
}
