import { z } from 'zod';
import { defineMessageType } from './define.js';
import { id, listOf, maxText, someText, textOr } from './observed-fields.js';

/** A notice that WhatsApp itself writes into a chat: members who join and leave, encryption, calls. It has no sender. */
export const notice = defineMessageType({
  observed: z.object({
    type: z.literal('notice'),
    whatsappType: textOr(64, 'unknown'),
    subtype: someText(64),
    message: someText(maxText),
    participants: listOf(id(80), 1_024),
  }),
  textOf: ({ message }) => message,
});
