import { z } from 'zod';
import { defineFileType } from './define.js';
import { caption, mediaRef, observedFile } from './file-fields.js';
import { flag, maxText, someText } from './observed-fields.js';

export const video = defineFileType({
  content: z.object({
    type: z.literal('video'),
    media: mediaRef,
    caption,
    gif: z.boolean().optional(),
    viewOnce: z.boolean().optional(),
    hd: z.boolean().optional(),
  }),
  observed: z.object({
    type: z.literal('video'),
    media: observedFile,
    caption: someText(maxText).optional(),
    viewOnce: flag,
    gif: flag,
    /** A round video that was recorded in the chat. */
    videoNote: flag,
  }),
  file: {
    options: ['caption', 'viewOnce', 'gif', 'asDocument'],
    // A GIF is sent as a film: WhatsApp shows a GIF as a still picture.
    mimetypes: /^(video\/|image\/gif$)/,
    toContent: (media, { caption = null, viewOnce, hd, gif }) => ({ type: 'video' as const, media, caption, viewOnce, hd, gif }),
  },
  textOf: (content) => content.caption ?? null,
});
