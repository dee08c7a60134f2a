import type { z } from 'zod';
import type { FileOption, FileOptionValues, MediaRef } from './file-fields.js';

/** One type of message: everything that is specific to it, except how WhatsApp Web sends and reports it, which the worker's engine knows. */
export interface MessageTypeRow<
  Content extends z.ZodObject = z.ZodObject,
  Observed extends z.ZodObject = z.ZodObject,
  Fields extends z.ZodRawShape = z.ZodRawShape,
> {
  /** The content of a message that is sent. Absent: such messages can only arrive. */
  readonly content?: Content;
  /**
   * The content of a message that was observed. Its sender decides what arrives, so the schema never refuses a value. Absent: such messages are
   * not recognized.
   */
  readonly observed?: Observed;
  /** How a request names the content, in the type's own route and in `POST /messages/send`. */
  readonly request?: RequestSpec<Fields, Content>;
  readonly file?: FileSpec<Content>;
  /** Returns what a person reads: the body, the caption, the question. Null if there is nothing to read. */
  textOf(content: z.output<Content> | z.output<Observed>): string | null;
}

export interface RequestSpec<Fields extends z.ZodRawShape, Content extends z.ZodType> {
  /** The summary of the type's route. */
  readonly summary: string;
  /** Fields in addition to those of every send. Their order is part of the stored hashes of requests: append, do not reorder. */
  readonly fields: Fields;
  /** Other names of fields. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** WhatsApp Web cannot post this type to channels. */
  readonly isRefusedByChannels?: true;
  /** WhatsApp Web cannot send this type: it is sent as text, with a warning, or refused where `INTERACTIVE_MODE` says so. */
  readonly isRenderedAsText?: true;
  /** The people whose name and number the content needs, as the request writes them. They are looked up before `toContent`. */
  contactIds?(fields: z.output<z.ZodObject<Fields>>): { path: string; id: string }[];
  /** Returns the content of parsed fields. Throws `VALIDATION_FAILED` for what a schema cannot check. */
  toContent(fields: z.output<z.ZodObject<Fields>>, context: RequestContext): z.output<Content>;
  /** Valid fields: the first example of the route. */
  readonly example: z.input<z.ZodObject<Fields>>;
  /** More examples, by a few words of what they do. They may have fields of every send. */
  readonly moreExamples?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

export interface RequestContext {
  /** The calling code, without `+`, for numbers that begin with 0. Null or absent: such numbers are refused. */
  countryCode: string | null | undefined;
  /** The people of `contactIds` that the session knows. */
  people?: ReadonlyMap<string, KnownPerson>;
}

/** What a session knows of a person. */
export interface KnownPerson {
  name: string | null;
  /** In international form with `+`; null if the person hides it. */
  phone: string | null;
}

export interface FileSpec<Content extends z.ZodType> {
  /** The options that a request may combine with a file of this type. */
  readonly options: readonly FileOption[];
  /** Media types of files that WhatsApp accepts for this type. Absent: all. */
  readonly mimetypes?: RegExp;
  /** Returns the content of a stored file and the options of the request. */
  toContent(media: MediaRef, options: FileOptionValues): z.output<Content>;
}

/** A type whose messages consist of a file. */
export interface FileTypeRow<Content extends z.ZodObject, Observed extends z.ZodObject> extends MessageTypeRow<
  Content,
  Observed,
  never
> {
  /** How a file becomes a message of this type, in `POST /messages/send-media` and `POST /messages/send`. */
  readonly file: FileSpec<Content>;
}

/** Defines a type without a file. The types of its functions follow from its schemas. */
export function defineMessageType<
  Content extends z.ZodObject = never,
  Observed extends z.ZodObject = never,
  Fields extends z.ZodRawShape = never,
>(row: MessageTypeRow<Content, Observed, Fields>): MessageTypeRow<Content, Observed, Fields> {
  return row;
}

/** Defines a type whose messages consist of a file. */
export function defineFileType<Content extends z.ZodObject, Observed extends z.ZodObject>(
  row: FileTypeRow<Content, Observed>,
): FileTypeRow<Content, Observed> {
  return row;
}
