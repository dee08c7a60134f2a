import { z } from 'zod';
import { defineMessageType } from './define.js';
import { offer, someText } from './observed-fields.js';
import { offerText, type OptionGroup } from './options-text.js';

const row = { id: z.string(), title: z.string(), description: z.string().nullable() };
const content = z.object({
  type: z.literal('list'),
  message: z.string(),
  title: z.string().nullable(),
  footer: z.string().nullable(),
  buttonText: z.string(),
  sections: z.array(z.object({ title: z.string().nullable(), rows: z.array(z.object(row)) })),
});

const label = z.string().trim().min(1).max(100);
const optional = (max: number) => z.string().trim().max(max).optional();

export const list = defineMessageType({
  content,
  observed: z.object({ type: z.literal('list'), ...offer, buttonText: someText(1_024) }),
  request: {
    summary: 'Send a list of options, as a text with numbered options',
    fields: {
      message: z.string().trim().min(1).max(4_096),
      title: optional(255),
      footer: optional(255),
      buttonText: label,
      sections: z
        .array(
          z.strictObject({
            title: optional(100),
            rows: z
              .array(z.strictObject({ id: z.string().min(1).max(256), title: label, description: optional(255) }))
              .min(1)
              .max(50),
          }),
        )
        .min(1)
        .max(10)
        // An answer chooses an option by its title, so the titles must differ.
        .refine(
          (sections) => isEachDistinct(sections.flatMap(({ rows }) => rows)),
          'Two options have the same id or the same title.',
        )
        .refine((sections) => sections.flatMap(({ rows }) => rows).length <= 100, 'A list has at most 100 options.'),
    },
    isRefusedByChannels: true,
    isRenderedAsText: true,
    toContent: ({ message, title, footer, buttonText, sections }) => ({
      type: 'list' as const,
      message,
      title: title || null,
      footer: footer || null,
      buttonText,
      sections: sections.map((section) => ({
        title: section.title || null,
        rows: section.rows.map(({ id, title: name, description }) => ({ id, title: name, description: description || null })),
      })),
    }),
    example: {
      message: 'What shall we bring?',
      buttonText: 'Choose a dish',
      sections: [
        {
          title: 'Warm',
          rows: [
            { id: 'soup', title: 'Soup' },
            { id: 'rice', title: 'Rice' },
          ],
        },
      ],
    },
  },
  textOf: (content) => ('sections' in content ? offerText(offerOf(content)) : (content.message ?? content.title)),
});

/** Whether all ids differ and all titles differ. Titles are compared as answers are: without regard to case, spaces and Unicode form. */
export function isEachDistinct(options: readonly { id: string; title: string }[]): boolean {
  const ids = new Set(options.map(({ id }) => id));
  const titles = new Set(options.map(({ title }) => title.normalize('NFKC').replaceAll(/\s+/g, ' ').toLowerCase()));
  return ids.size === options.length && titles.size === options.length;
}

const groupsOf = ({ sections }: z.output<typeof content>): OptionGroup[] =>
  sections.map(({ title, rows }) => ({ title, options: rows }));

const offerOf = (one: z.output<typeof content>) => ({ ...one, prompt: one.buttonText, groups: groupsOf(one) });
