import { z } from 'zod';
import { messageTypes } from '../message-types/index.js';
import { chatRef, contact } from '../resources.js';

/** A message as WhatsApp Web has it, whether or not this gateway has recorded it. Posts of channels and stories are listed in this form. */
export const seenMessage = z
  .object({
    whatsappId: z.string(),
    fromMe: z.boolean(),
    chat: chatRef,
    contact: contact.nullable(),
    type: z.enum(messageTypes),
    text: z.string().nullable(),
    content: z.record(z.string(), z.unknown()),
    timestamp: z.iso.datetime().nullable(),
  })
  .meta({ id: 'SeenMessage' });
export type SeenMessage = z.infer<typeof seenMessage>;
