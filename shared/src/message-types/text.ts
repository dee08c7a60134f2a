import { z } from 'zod';
import { validationError, type FieldError } from '../errors.js';
import { defineMessageType } from './define.js';
import { maxText, someText, textOr } from './observed-fields.js';

/** The option that an answer to buttons, a list or a template chose. */
export const selectedOption = z.object({ id: someText(1_024), title: someText(1_024) });
export type SelectedOption = z.infer<typeof selectedOption>;

/** 24 KB as base64: WhatsApp's own thumbnails are smaller. */
const maxThumbnail = 32_768;
const preview = {
  title: z.string().trim().min(1).max(300),
  description: z.string().trim().max(1_000).optional(),
  /** A JPEG in base64. */
  thumbnail: z.string().max(maxThumbnail).optional(),
  url: z.url({ protocol: /^https?$/ }).max(2_048),
};

/** The preview that a caller gives for a link in the text, in place of WhatsApp's own. */
const linkPreview = z.object(preview);
export type LinkPreview = z.infer<typeof linkPreview>;

export const text = defineMessageType({
  content: z.object({
    type: z.literal('text'),
    message: z.string(),
    linkPreview: z.union([z.boolean(), linkPreview]).optional(),
    /** Of a story: `#rrggbb`, and the number of WhatsApp's font. */
    backgroundColor: z.string().optional(),
    font: z.number().int().optional(),
  }),
  observed: z.object({
    type: z.literal('text'),
    message: textOr(maxText, ''),
    /** Set for an answer to buttons, a list or a template. */
    selectedOption: selectedOption.optional().catch(undefined),
  }),
  request: {
    summary: 'Send a text',
    fields: {
      message: z.string().min(1).max(65_536),
      linkPreview: z
        .union([z.boolean(), z.strictObject(preview)])
        .optional()
        .describe(
          'false: none. An object: this preview for the link `url`, which is part of the text; `thumbnail` is a JPEG in base64.',
        ),
    },
    aliases: { text: 'message', body: 'message' },
    toContent: ({ message, linkPreview }) => ({
      type: 'text' as const,
      message,
      ...(typeof linkPreview === 'object' ? { linkPreview: checkedPreview(message, linkPreview) } : {}),
      ...(linkPreview === false ? { linkPreview: false } : {}),
    }),
    example: { message: 'Hello Ana' },
    moreExamples: {
      'Send it later': { message: 'Good morning', scheduledAt: '{{soon}}T08:00', timezone: 'America/Sao_Paulo' },
      'Send it even if the session is offline': { message: 'Hello Ana', queueIfOffline: true },
    },
  },
  textOf: ({ message }) => message,
});

/** Throws `VALIDATION_FAILED` for a link that the text does not contain, and for a thumbnail that is no JPEG. */
function checkedPreview(message: string, given: LinkPreview): LinkPreview {
  const problems: FieldError[] = [];
  if (!message.includes(given.url)) {
    const words = 'The text does not contain this link. WhatsApp shows a preview only for a link in the text.';
    problems.push({ path: 'linkPreview.url', code: 'NOT_IN_TEXT', message: words });
  }
  // The base64 of FF D8 FF, with which every JPEG begins.
  if (given.thumbnail !== undefined && !/^\/9j\/[A-Za-z0-9+/]+={0,2}$/.test(given.thumbnail)) {
    const words = 'The thumbnail is not a JPEG in base64. Send base64 without a prefix and without line breaks.';
    problems.push({ path: 'linkPreview.thumbnail', code: 'INVALID_FORMAT', message: words });
  }
  if (problems.length > 0) throw validationError(problems);
  return given;
}
