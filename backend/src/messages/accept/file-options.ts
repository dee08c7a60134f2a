import { mediaTypes, validationError, type Address, type FieldError, type MediaType, type MessageType } from '@chasqui/shared';

/**
 * Options of messages with a file, by the types that can have them. One rule for all: an option that its type cannot have is refused with 422
 * and sent nowhere. An option that asks for nothing (`false`, an empty caption) is accepted with every type.
 */
export const fileOptions = {
  caption: ['image', 'video', 'document'],
  viewOnce: ['image', 'video'],
  /** whatsapp-web.js 1.34 prepares images alone in HD and ignores the wish for videos (`processMediaData` in Utils.js). */
  hd: ['image'],
  gif: ['video'],
  /** Sends a file of these types as a document. */
  asDocument: ['image', 'video', 'audio', 'document'],
  stickerName: ['sticker'],
  stickerAuthor: ['sticker'],
} as const satisfies Record<string, readonly MediaType[]>;
export type FileOption = keyof typeof fileOptions;

/** What a caller may ask for besides the file. */
export type FileOptions = { [O in FileOption]?: string | boolean | undefined };

const canHave = (type: MediaType, option: FileOption): boolean => (fileOptions[option] as readonly MediaType[]).includes(type);
const isAsked = (value: string | boolean | undefined): boolean => value !== undefined && value !== false && value !== '';

/**
 * Refuses options that the message cannot have. `type`: what the file is; with `asDocument` it leaves as a document. Null while that is
 * not known; then only what no type allows is refused. Throws `VALIDATION_FAILED` that names every such option.
 */
export function checkFileOptions(type: MediaType | null, given: FileOptions): void {
  const asDocument = isAsked(given.asDocument);
  const fields = (Object.keys(fileOptions) as FileOption[]).flatMap((option): FieldError[] => {
    if (!isAsked(given[option])) return [];
    const sentAs = asDocument && option !== 'asDocument' ? 'document' : type;
    if (sentAs === null || canHave(sentAs, option)) return [];
    return [{ path: option, code: 'NOT_FOR_TYPE', message: sentence(option, sentAs) }];
  });
  if (fields.length > 0) throw validationError(fields);
}

/**
 * Refuses what a channel cannot have. whatsapp-web.js 1.34 posts everything but text and files to a channel as a poll, and a post there is
 * never seen once and never an answer. Throws `VALIDATION_FAILED`.
 */
export function checkChannel(recipient: Address, type: MessageType, asked: { viewOnce: boolean; quotes: boolean }): void {
  if (recipient.kind !== 'channel') return;
  const refuse = (path: string, what: string): FieldError => ({
    path,
    code: 'NOT_FOR_CHANNEL',
    message: `A channel cannot have ${what}. Send it to a person or a group.`,
  });
  const fields = [
    ...(type === 'contact' || type === 'location' ? [refuse('recipient', `a message of type ${type}`)] : []),
    ...(asked.viewOnce ? [refuse('viewOnce', 'a message that is seen once')] : []),
    ...(asked.quotes ? [refuse('quotedMessageId', 'an answer to a message')] : []),
  ];
  if (fields.length > 0) throw validationError(fields);
}

function sentence(option: FileOption, type: MediaType): string {
  const types = mediaTypes.filter((candidate) => canHave(candidate, option)).join(', ');
  return `A message of type ${type} cannot have ${option}. Types that can: ${types}. Remove the field, or send another type.`;
}
