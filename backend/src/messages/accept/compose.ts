import { allows, fileSpecOf, requestOf, type MediaRef, type MessageContent, type RequestType } from '@chasqui/shared';
import type { Response } from 'express';
import type { Caller } from '../../accounts/caller.js';
import { uploadOf } from '../../lib/uploads.js';
import { sourceOf, type Media, type StoredFile } from '../../media/media.js';
import type { Session } from '../../sessions/session.entity.js';
import type { MediaBody, TypedBody } from '../contract.js';
import type { Messages } from '../messages.js';
import { checkChannel, checkFileOptions } from './file-options.js';

/** The content of a new message. Its file is checked and on disk before the message is accepted. */
export interface Composed {
  content: MessageContent;
  file: StoredFile | null;
}

interface Context {
  messages: Pick<Messages, 'recipient' | 'countryOf' | 'storageOf'>;
  media: Pick<Media, 'receive' | 'discard'>;
}

/** Composes a message without a file. Throws `VALIDATION_FAILED`. */
export function composeTyped({ messages }: Context, session: Session, type: RequestType, body: TypedBody): Composed {
  const recipient = messages.recipient(body.recipient, session);
  checkChannel(recipient, type, { viewOnce: false, quotes: body.quotedMessageId !== undefined });
  return { content: requestOf(type).toContent(body, { countryCode: messages.countryOf(session) }), file: null };
}

/** Composes a message with a file: reads the file from its source, checks and stores it. Throws the errors of `Media.receive` and `VALIDATION_FAILED`. */
export async function composeMedia(
  { messages, media }: Context,
  session: Session,
  body: MediaBody,
  caller: Caller,
  res: Response,
): Promise<Composed> {
  const recipient = messages.recipient(body.recipient, session);
  checkChannel(recipient, body.type, { viewOnce: body.viewOnce === true, quotes: body.quotedMessageId !== undefined });
  checkFileOptions(body.type ?? null, body);
  const type = body.asDocument ? 'document' : body.type;
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

const mediaRefOf = ({ id, mimetype, size, filename, sha256 }: StoredFile): MediaRef => ({
  id,
  mimetype,
  size,
  filename,
  sha256,
});
