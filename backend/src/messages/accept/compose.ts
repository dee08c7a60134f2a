import {
  allows,
  AppError,
  deliveryWarnings,
  fileSpecOf,
  forwardedContent,
  isMediaType,
  mediaOf,
  ownOrigins,
  requestOf,
  validationError,
  type MediaRef,
  type MessageContent,
  type RequestType,
  type StoredContent,
  type Warning,
} from '@chasqui/shared';
import type { Response } from 'express';
import type { Caller } from '../../accounts/caller.js';
import { uploadOf } from '../../lib/uploads.js';
import { sourceOf, type Media, type StoredFile } from '../../media/media.js';
import type { Session } from '../../sessions/session.entity.js';
import type { CommonFields, MediaBody, StoryBody, TypedBody } from '../contract.js';
import type { Message } from '../message.entity.js';
import type { Messages } from '../messages.js';
import { checkChannel, checkFileOptions } from './file-options.js';

/** The recipient of stories. */
export const storyChat = 'status@broadcast';

/** The content of a new message. Its file is checked and on disk before the message is accepted. */
export interface Composed {
  content: MessageContent;
  file: StoredFile | null;
  warnings?: Warning[];
  /** See `SendOptions.forward`. */
  forward?: { whatsappId: string | null };
  /** The template that it was filled from. */
  templateId?: string;
}

export interface ComposeContext {
  messages: Pick<Messages, 'recipient' | 'countryOf' | 'interactiveMode' | 'storageOf' | 'contentOf' | 'known'>;
  media: Pick<Media, 'receive' | 'discard'>;
}

/** Composes a message without a file. `recipient`: that of the body, if it was parsed already. Throws `VALIDATION_FAILED`. */
export async function composeTyped(
  { messages }: ComposeContext,
  session: Session,
  type: RequestType,
  body: TypedBody,
  recipient = messages.recipient(body.recipient, session),
): Promise<Composed> {
  checkChannel(recipient, type, { viewOnce: false, ...askedOf(body) });
  const request = requestOf(type);
  if (request.isRenderedAsText && messages.interactiveMode(session) === 'reject') throw new AppError('INTERACTIVE_REJECTED');
  const people = await messages.known(session, request.contactIds?.(body) ?? []);
  const content = request.toContent(body, { countryCode: messages.countryOf(session), people });
  return { content, file: null, warnings: deliveryWarnings(type, body) };
}

/** What a request asks for that not every chat can have. */
const askedOf = ({ quotedMessageId, groupMentions }: Pick<CommonFields, 'quotedMessageId' | 'groupMentions'>) => ({
  quotes: quotedMessageId !== undefined,
  mentionsGroups: (groupMentions ?? []).length > 0,
});

/** Composes a message with a file: reads the file from its source, checks and stores it. Throws the errors of `Media.receive` and `VALIDATION_FAILED`. */
export async function composeMedia(
  { messages, media }: ComposeContext,
  session: Session,
  body: MediaBody,
  caller: Caller,
  res: Response,
): Promise<Composed> {
  const recipient = messages.recipient(body.recipient, session);
  checkChannel(recipient, body.type, { viewOnce: body.viewOnce === true, ...askedOf(body) });
  checkFileOptions(body.type ?? (body.gif ? 'video' : null), body);
  // Only a film can be shown as a GIF, and a GIF becomes one.
  const type = body.asDocument ? 'document' : (body.type ?? (body.gif ? 'video' : undefined));
  const { mimetype, filename } = body;
  const isSealed = (await messages.storageOf(session)) === 'metadata';
  const owner = { ...caller, mayRead: allows(caller.permissions, 'messages.receive') };
  const file = await media.receive(owner, sourceOf(body, uploadOf(res)), { mimetype, filename, type, isSealed });
  try {
    // The bytes may show a type that cannot have one of the options.
    if (type === undefined) checkFileOptions(file.kind, body);
    return { content: fileSpecOf(type ?? file.kind).toContent(mediaRefOf(file), body), file };
  } catch (error) {
    await media.discard(file);
    throw error;
  }
}

/** The default background of a story of text. */
const storyColor = '#7acca5';

/**
 * Composes a story: a text, or an image or a video with a caption. Throws `NOT_SUPPORTED_BY_WHATSAPP` for other files, and
 * `VALIDATION_FAILED` for a text and a file at once, or for neither.
 */
export async function composeStory(
  context: ComposeContext,
  session: Session,
  body: StoryBody,
  caller: Caller,
  res: Response,
): Promise<Composed> {
  const { message, backgroundColor = storyColor, font = 0, caption, ...source } = body;
  const hasFile = uploadOf(res) !== null || Boolean(source.mediaUrl ?? source.mediaBase64 ?? source.mediaId);
  if (message !== undefined && (hasFile || caption !== undefined)) {
    const words = 'A story is a text or a file. Send the text for a file as its caption.';
    throw validationError([{ path: 'message', code: 'AMBIGUOUS', message: words }]);
  }
  if (message !== undefined) return { content: { type: 'text', message, backgroundColor, font }, file: null };
  if (body.backgroundColor !== undefined || body.font !== undefined)
    throw validationError([
      { path: 'backgroundColor', code: 'NOT_FOR_TYPE', message: 'Only a story of text has a color and a font.' },
    ]);
  const composed = await composeMedia(context, session, { ...source, caption, recipient: storyChat }, caller, res);
  const { type } = composed.content;
  if (type === 'image' || type === 'video') return composed;
  if (composed.file) await context.media.discard(composed.file);
  throw new AppError('NOT_SUPPORTED_BY_WHATSAPP', { reason: `WhatsApp Web cannot post a file of type ${type} as a story.` });
}

/**
 * Composes the forward of a message: its content as a new message, with a copy of its file. Throws `CONTENT_WIPED` if the content is gone,
 * `MEDIA_EXPIRED` or `MEDIA_NOT_FOUND` if the file is not here, `NOT_SUPPORTED_BY_WHATSAPP` for a content that cannot be forwarded, and
 * `PERMISSION_DENIED` if the caller may not read the message.
 */
export async function composeForward(
  { messages, media }: ComposeContext,
  session: Session,
  original: Message,
  to: string,
  caller: Caller,
): Promise<Composed> {
  const isOwn = (ownOrigins as readonly string[]).includes(original.origin);
  if (!isOwn && !allows(caller.permissions, 'messages.receive'))
    throw new AppError('PERMISSION_DENIED', { permission: 'messages.receive' });
  const opened = messages.contentOf(original);
  if (!opened) throw new AppError('CONTENT_WIPED');
  const content = forwardedContent(opened);
  if (!content) {
    const reason = `A message of type ${original.type} cannot be forwarded${isViewedOnce(opened) ? ' when it is seen once' : ''}.`;
    throw new AppError('NOT_SUPPORTED_BY_WHATSAPP', { reason });
  }
  checkChannel(messages.recipient(to, session), content.type, { viewOnce: false, quotes: false, mentionsGroups: false });
  const forward = { whatsappId: original.whatsappId };
  if (!isMediaType(content.type)) return { content, file: null, forward };
  if (!original.mediaId) throw new AppError('MEDIA_NOT_FOUND');
  const isSealed = (await messages.storageOf(session)) === 'metadata';
  const owner = { accountId: caller.accountId, sessionId: original.sessionId, mayRead: true };
  const filename = mediaOf(content)?.filename ?? undefined;
  const hints = { type: content.type, filename, isSealed };
  const file = await media.receive(owner, { mediaId: original.mediaId }, hints);
  return { content: { ...content, media: mediaRefOf(file) } as MessageContent, file, forward };
}

const isViewedOnce = (content: StoredContent): boolean => 'viewOnce' in content && content.viewOnce === true;

const mediaRefOf = ({ id, mimetype, size, filename, sha256 }: StoredFile): MediaRef => ({
  id,
  mimetype,
  size,
  filename,
  sha256,
});
