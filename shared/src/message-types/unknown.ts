import { z } from 'zod';
import { defineMessageType } from './define.js';
import { observedMedia } from './file-fields.js';
import { maxText, someText, textOr } from './observed-fields.js';

/**
 * Why a message has no content yet. `undecrypted`: WhatsApp Web has not been able to decrypt it. `view_once`: only the phone can open it. If the
 * content arrives later, it is added to the same message.
 */
export const placeholders = ['undecrypted', 'view_once'] as const;

/** A message of a kind that this gateway does not know. It is recorded with WhatsApp's name of the kind, never dropped. */
export const unknown = defineMessageType({
  observed: z.object({
    type: z.literal('unknown'),
    /** WhatsApp's name of the kind. */
    whatsappType: textOr(64, 'unknown'),
    message: someText(maxText),
    placeholder: z.enum(placeholders).optional().catch(undefined),
    media: observedMedia.optional().catch(undefined),
  }),
  textOf: ({ message }) => message,
});
