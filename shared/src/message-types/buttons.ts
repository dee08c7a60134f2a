import { z } from 'zod';
import { defineMessageType } from './define.js';
import { isEachDistinct } from './list.js';
import { offer } from './observed-fields.js';
import { offerText } from './options-text.js';

const content = z.object({
  type: z.literal('buttons'),
  message: z.string(),
  title: z.string().nullable(),
  footer: z.string().nullable(),
  buttons: z.array(z.object({ id: z.string(), text: z.string() })),
});

export const buttons = defineMessageType({
  content,
  observed: z.object({ type: z.literal('buttons'), ...offer }),
  request: {
    summary: 'Send buttons, as a text with numbered options',
    fields: {
      message: z.string().trim().min(1).max(4_096),
      title: z.string().trim().max(255).optional(),
      footer: z.string().trim().max(255).optional(),
      buttons: z
        .array(z.strictObject({ id: z.string().min(1).max(256), text: z.string().trim().min(1).max(100) }))
        .min(1)
        .max(10)
        .refine(
          (all) => isEachDistinct(all.map(({ id, text }) => ({ id, title: text }))),
          'Two buttons have the same id or the same text.',
        ),
    },
    isRefusedByChannels: true,
    isRenderedAsText: true,
    toContent: ({ message, title, footer, buttons: all }) => ({
      type: 'buttons' as const,
      message,
      title: title || null,
      footer: footer || null,
      buttons: all,
    }),
    example: {
      message: 'Shall we deliver today?',
      buttons: [
        { id: 'yes', text: 'Yes' },
        { id: 'no', text: 'No' },
      ],
    },
  },
  textOf: (content) => ('buttons' in content ? offerText(offerOf(content)) : (content.message ?? content.title)),
});

const offerOf = (one: z.output<typeof content>) => ({
  ...one,
  prompt: null,
  groups: [{ title: null, options: one.buttons.map(({ id, text }) => ({ id, title: text })) }],
});
