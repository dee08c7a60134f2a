import { z } from 'zod';
import { messageTypes } from '../message-types/index.js';
import { chatRef, contact } from '../resources.js';

/** A message as WhatsApp has it, whether or not it is stored here. Posts of channels and stories are listed as such. */
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
