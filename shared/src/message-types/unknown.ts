import { z } from 'zod';
import { defineMessageType } from './define.js';
import { observedMedia } from './file-fields.js';
import { maxText, someText, textOr } from './observed-fields.js';

/**
 * Why a message has no content yet. `undecrypted`: WhatsApp could not decrypt it here so far. `view_once`: only the phone can open it. When the
 * content arrives after all, the same message is completed.
 */
export const placeholders = ['undecrypted', 'view_once'] as const;

/** A message of WhatsApp's for which there is no type here. It is recorded with WhatsApp's own name of the type, never dropped. */
export const unknown = defineMessageType({
  observed: z.object({
    type: z.literal('unknown'),
    /** WhatsApp's own name of the type. */
    whatsappType: textOr(64, 'unknown'),
    message: someText(maxText),
    placeholder: z.enum(placeholders).optional().catch(undefined),
    media: observedMedia.optional().catch(undefined),
  }),
  textOf: ({ message }) => message,
});
