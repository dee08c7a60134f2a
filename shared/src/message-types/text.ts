import { z } from 'zod';
import { defineMessageType } from './define.js';
import { maxText, someText, textOr } from './observed-fields.js';

/** The option that an answer to buttons, a list or a template chose. */
export const selectedOption = z.object({ id: someText(1_024), title: someText(1_024) });
export type SelectedOption = z.infer<typeof selectedOption>;

export const text = defineMessageType({
  content: z.object({
    type: z.literal('text'),
    message: z.string(),
    linkPreview: z.boolean().optional(),
    /** For stories only: the colour as `#rrggbb`, and WhatsApp's number of the font. */
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
    fields: { message: z.string().min(1).max(65_536), linkPreview: z.boolean().optional() },
    aliases: { text: 'message', body: 'message' },
    toContent: ({ message, linkPreview }) => ({
      type: 'text' as const,
      message,
      ...(linkPreview === false ? { linkPreview: false } : {}),
    }),
    example: { message: 'Hello' },
  },
  textOf: ({ message }) => message,
});
