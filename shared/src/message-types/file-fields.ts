import { z } from 'zod';
import { someCount, someNumber, someText } from './observed-fields.js';

/**
 * A file that belongs to a message. `id` is ours, and null until the file is stored. `size` is in bytes, `width` and `height` are in pixels, and
 * `seconds` is the duration of audio or video.
 */
export const mediaRef = z.object({
  id: z.string().nullable(),
  mimetype: z.string(),
  size: z.number().int().nullable(),
  filename: z.string().nullable(),
  sha256: z.string().nullable(),
  width: z.number().nullable().optional(),
  height: z.number().nullable().optional(),
  seconds: z.number().nullable().optional(),
  url: z.string().nullable().optional(),
  /** Where the thumbnail is. Null or absent: there is none. */
  thumbnailUrl: z.string().nullable().optional(),
});
export type MediaRef = z.infer<typeof mediaRef>;

/** The caption of a message that is sent. */
export const caption = z.string().max(4096).nullable().optional();

export const observedMedia = z.object({
  id: z.null().catch(null),
  mimetype: z
    .string()
    .regex(/^[a-z0-9][\w!#$&^.+-]*\/[\w!#$&^.+-]+$/i)
    .max(127)
    .catch('application/octet-stream'),
  size: someCount(Number.MAX_SAFE_INTEGER),
  filename: someText(255),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable()
    .catch(null),
  width: someCount(1_000_000).optional(),
  height: someCount(1_000_000).optional(),
  seconds: someNumber(0, 10_000_000).optional(),
});

/** The file of an observed message that must have one. */
export const observedFile = observedMedia.catch({
  id: null,
  mimetype: 'application/octet-stream',
  size: null,
  filename: null,
  sha256: null,
});

/** The fields in which a request names and describes its file. The file itself can also arrive as a multipart part. */
export const fileSourceFields = {
  mediaUrl: z.string().max(4096).optional(),
  mediaBase64: z.string().optional(),
  mediaId: z.string().max(64).optional(),
  mimetype: z.string().max(127).optional(),
  filename: z.string().max(255).optional(),
};

/**
 * The options that a request may combine with its file. Each type names those that it accepts. Their order is part of the stored hashes of
 * requests: append, do not reorder.
 */
export const fileOptionFields = {
  caption: z.string().max(4096).optional(),
  viewOnce: z.boolean().optional(),
  hd: z.boolean().optional(),
  gif: z.boolean().optional(),
  /** Sends the file as a document. */
  asDocument: z.boolean().optional(),
  stickerName: z.string().max(128).optional(),
  stickerAuthor: z.string().max(128).optional(),
};
export type FileOption = keyof typeof fileOptionFields;
export type FileOptionValues = z.output<z.ZodObject<typeof fileOptionFields>>;
export const fileOptionNames = Object.keys(fileOptionFields) as [FileOption, ...FileOption[]];
