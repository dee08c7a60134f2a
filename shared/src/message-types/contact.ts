import { z } from 'zod';
import { cardsOf } from './contact-cards.js';
import { defineMessageType } from './define.js';
import { listOf, maxText, someText, textOr } from './observed-fields.js';

/** One or more contact cards. */
export const contact = defineMessageType({
  content: z.object({
    type: z.literal('contact'),
    contacts: z
      .array(z.object({ name: z.string(), phone: z.string().nullable().optional(), vcard: z.string() }))
      .min(1)
      .max(20),
  }),
  observed: z.object({
    type: z.literal('contact'),
    contacts: listOf(z.object({ name: textOr(256, ''), phone: someText(64), vcard: textOr(maxText, '') }), 20),
  }),
  request: {
    summary: 'Send contact cards',
    fields: {
      contacts: z
        .array(
          z.union([
            z.strictObject({ name: z.string().min(1).max(128), phone: z.string().min(1).max(80) }),
            z.strictObject({ vcard: z.string().min(1).max(20_000) }),
            z.strictObject({ contactId: z.string().min(1).max(80) }),
          ]),
        )
        .min(1)
        .max(20),
    },
    isRefusedByChannels: true,
    contactIds: ({ contacts }) =>
      contacts.flatMap((one, index) => ('contactId' in one ? [{ path: `contacts.${index}.contactId`, id: one.contactId }] : [])),
    toContent: ({ contacts }, context) => ({ type: 'contact' as const, contacts: cardsOf(contacts, context) }),
    example: { contacts: [{ name: 'Ana', phone: '+51999888777' }] },
  },
  textOf: ({ contacts }) => contacts.map(({ name }) => name).join(', '),
});
