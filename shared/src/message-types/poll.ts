import { z } from 'zod';
import { defineMessageType } from './define.js';
import { listOf, maxText, text, textOr } from './observed-fields.js';

export const poll = defineMessageType({
  content: z.object({
    type: z.literal('poll'),
    question: z.string(),
    options: z.array(z.string()),
    multiple: z.boolean(),
  }),
  observed: z.object({
    type: z.literal('poll'),
    question: textOr(maxText, ''),
    options: listOf(text(1_024), 100),
    multiple: z.boolean().catch(false),
  }),
  request: {
    summary: 'Send a poll',
    fields: {
      question: z.string().min(1).max(255),
      /** Must differ, because WhatsApp counts votes by the text of an option. */
      options: z
        .array(z.string().min(1).max(100))
        .min(2)
        .max(12)
        .refine((options) => new Set(options).size === options.length, 'Two options have the same text.'),
      multiple: z.boolean().optional(),
    },
    toContent: ({ question, options, multiple = false }) => ({ type: 'poll' as const, question, options, multiple }),
    example: { question: 'When?', options: ['Today', 'Tomorrow'] },
  },
  textOf: ({ question }) => question,
});
