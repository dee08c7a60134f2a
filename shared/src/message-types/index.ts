import { z } from 'zod';
import { album } from './album.js';
import { audio } from './audio.js';
import { buttons } from './buttons.js';
import { calendarEvent } from './calendar-event.js';
import { contact } from './contact.js';
import type { FileSpec, RequestContext, RequestSpec } from './define.js';
import { document } from './document.js';
import type { FileOptionValues, MediaRef } from './file-fields.js';
import { groupInvite } from './group-invite.js';
import { image } from './image.js';
import { list } from './list.js';
import { location } from './location.js';
import { notice } from './notice.js';
import type { Option } from './options-text.js';
import { order } from './order.js';
import { payment } from './payment.js';
import { poll } from './poll.js';
import { product } from './product.js';
import { sticker } from './sticker.js';
import { template } from './template.js';
import { text, type SelectedOption } from './text.js';
import { unknown } from './unknown.js';
import { video } from './video.js';
import { voice } from './voice.js';

export { cardsOf, type Card, type CardInput } from './contact-cards.js';
export type { KnownPerson, RequestContext } from './define.js';
export {
  fileOptionFields,
  fileOptionNames,
  fileSourceFields,
  mediaRef,
  observedMedia,
  type FileOption,
  type FileOptionValues,
  type MediaRef,
} from './file-fields.js';
export { chosenOption } from './options-text.js';
export { selectedOption, type LinkPreview, type SelectedOption } from './text.js';
export { placeholders } from './unknown.js';

/**
 * Every type of message, incoming and outgoing. Schemas, routes, filters, the multipart reader and the worker's engine loop over this table. The
 * names are public: they are stored, and requests and events contain them.
 */
export const messageTypeTable = {
  text,
  image,
  video,
  audio,
  voice,
  document,
  sticker,
  location,
  contact,
  poll,
  calendar_event: calendarEvent,
  list,
  buttons,
  template,
  product,
  order,
  payment,
  album,
  group_invite: groupInvite,
  notice,
  unknown,
};
type Table = typeof messageTypeTable;
export type MessageType = keyof Table;
export const messageTypes = Object.keys(messageTypeTable) as [MessageType, ...MessageType[]];

/** The schema under a key of each row that has one. */
type SchemaOf<Key extends 'content' | 'observed'> = {
  [T in MessageType]: NonNullable<Table[T][Key]>;
}[MessageType];
type NonEmpty<Item> = [Item, ...Item[]];

/** The content of a message that is sent. */
export const messageContent = z.discriminatedUnion(
  'type',
  Object.values(messageTypeTable).flatMap(({ content }) => content ?? []) as NonEmpty<SchemaOf<'content'>>,
);
export type MessageContent = z.infer<typeof messageContent>;
/** The types that can be sent. */
export type SentType = MessageContent['type'];

/** The content of a message that was observed. What cannot be read becomes `unknown`. */
export const observedContent = z
  .discriminatedUnion(
    'type',
    Object.values(messageTypeTable).flatMap(({ observed }) => observed ?? []) as NonEmpty<SchemaOf<'observed'>>,
  )
  .catch({ type: 'unknown', whatsappType: 'unreadable', message: null });
export type ObservedContent = z.infer<typeof observedContent>;

/** The content of any stored message, sent or observed. */
export type StoredContent = MessageContent | ObservedContent;

/** The types whose messages consist of a file. They share `POST /messages/send-media`. */
export type MediaType = { [T in MessageType]: Table[T] extends { file: object } ? T : never }[MessageType];
/** The other types that can be sent. Each has a route of its own. */
export type RequestType = Exclude<SentType, MediaType>;
/** The fields of a request for a message of this type. */
export type RequestFields<T extends RequestType> = NonNullable<Table[T]['request']>['fields'];

/** A row, whatever its type. Its functions receive only values that the schemas of the same row have parsed. */
interface AnyRow {
  readonly request?: AnyRequest;
  readonly file?: AnyFile;
  textOf(content: StoredContent): string | null;
}
interface AnyRequest extends Omit<RequestSpec<z.ZodRawShape, z.ZodObject>, 'contactIds' | 'toContent' | 'example'> {
  contactIds?(fields: Record<string, unknown>): { path: string; id: string }[];
  toContent(fields: Record<string, unknown>, context: RequestContext): MessageContent;
  readonly example: Record<string, unknown>;
}
interface AnyFile extends Omit<FileSpec<z.ZodObject>, 'toContent'> {
  toContent(media: MediaRef, options: FileOptionValues): MessageContent;
}
const rows: Record<MessageType, AnyRow> = messageTypeTable;

export const mediaTypes = messageTypes.filter((type) => rows[type].file) as NonEmpty<MediaType>;
export const isMediaType = (type: string): type is MediaType => (mediaTypes as readonly string[]).includes(type);
export const requestTypes = messageTypes.filter((type) => rows[type].request) as NonEmpty<RequestType>;

export const requestOf = (type: RequestType): AnyRequest => rows[type].request!;
export const fileSpecOf = (type: MediaType): AnyFile => rows[type].file!;

/** The file of a message, if it has one. */
export function mediaOf(content: StoredContent): MediaRef | null {
  return 'media' in content ? (content.media ?? null) : null;
}

/** Returns what a person reads of a message: the body, the caption, the question. Null if there is nothing to read. */
export const textOf = (content: StoredContent): string | null =>
  // Contents that earlier versions stored may lack a field.
  rows[content.type].textOf(content) ?? null;

/** The options of a message that was sent as text, in the order of their numbers; empty for every other message. */
export function optionsOf(content: StoredContent | null): Option[] {
  if (content?.type === 'list' && 'sections' in content) return content.sections.flatMap(({ rows: options }) => options);
  if (content?.type === 'buttons' && 'buttons' in content) return content.buttons.map(({ id, text: title }) => ({ id, title }));
  return [];
}

/** The types that are sent as text: see `isRenderedAsText`. */
export const renderedTypes = requestTypes.filter((type) => requestOf(type).isRenderedAsText);

/** The option that an answer to buttons, a list or a template chose; null for every other message. */
export const selectedOptionOf = (content: StoredContent | null): SelectedOption | null =>
  content?.type === 'text' && 'selectedOption' in content ? (content.selectedOption ?? null) : null;
