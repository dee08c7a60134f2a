import {
  fileOptionNames,
  fileSpecOf,
  isMediaType,
  mediaTypes,
  requestOf,
  validationError,
  type Address,
  type FieldError,
  type FileOption,
  type FileOptionValues,
  type MediaType,
  type SentType,
} from '@chasqui/shared';

/**
 * The types that can have each option of a message with a file. An option that the type cannot have is refused with 422 and sent nowhere. An option
 * that asks for nothing (`false`, an empty caption) is accepted with every type.
 */
export const fileOptions = Object.fromEntries(
  fileOptionNames.map((option) => [option, mediaTypes.filter((type) => fileSpecOf(type).options.includes(option))]),
) as Record<FileOption, MediaType[]>;

const isAsked = (value: string | boolean | undefined): boolean => value !== undefined && value !== false && value !== '';

/**
 * Refuses options that the message cannot have. `type`: what the file is; with `asDocument` it is sent as a document. Null while that is unknown;
 * then only options that no type allows are refused. Throws `VALIDATION_FAILED` that names every such option.
 */
export function checkFileOptions(type: MediaType | null, options: FileOptionValues): void {
  const asDocument = isAsked(options.asDocument);
  const fields = fileOptionNames.flatMap((option): FieldError[] => {
    if (!isAsked(options[option])) return [];
    const sentAs = asDocument && option !== 'asDocument' ? 'document' : type;
    if (sentAs === null || fileOptions[option].includes(sentAs)) return [];
    return [{ path: option, code: 'NOT_FOR_TYPE', message: sentence(option, sentAs) }];
  });
  if (fields.length > 0) throw validationError(fields);
}

/**
 * Refuses what a channel cannot have. whatsapp-web.js 1.34 posts everything but texts and files to a channel as a poll. A post in a channel cannot be
 * viewed once and cannot quote. `type` is undefined for a file of unknown type. Throws `VALIDATION_FAILED`.
 */
export function checkChannel(
  recipient: Address,
  type: SentType | undefined,
  asked: { viewOnce: boolean; quotes: boolean; mentionsGroups: boolean },
): void {
  if (recipient.kind !== 'channel') return;
  const refuse = (path: string, what: string): FieldError => ({
    path,
    code: 'NOT_FOR_CHANNEL',
    message: `A channel cannot have ${what}. Send it to a person or a group.`,
  });
  const isRefused = type !== undefined && !isMediaType(type) && requestOf(type).isRefusedByChannels;
  const fields = [
    ...(isRefused ? [refuse('recipient', `a message of type ${type}`)] : []),
    ...(asked.viewOnce ? [refuse('viewOnce', 'a message that is seen once')] : []),
    ...(asked.quotes ? [refuse('quotedMessageId', 'an answer to a message')] : []),
    ...(asked.mentionsGroups ? [refuse('groupMentions', 'mentions of groups')] : []),
  ];
  if (fields.length > 0) throw validationError(fields);
}

function sentence(option: FileOption, type: MediaType): string {
  const types = fileOptions[option].join(', ');
  return `A message of type ${type} cannot have ${option}. Types that can: ${types}. Remove the field, or send another type.`;
}
