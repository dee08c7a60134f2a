import { z } from 'zod';
import { defineFileType } from './define.js';
import { caption, mediaRef, observedFile } from './file-fields.js';
import { flag, maxText, someText } from './observed-fields.js';

export const image = defineFileType({
  content: z.object({
    type: z.literal('image'),
    media: mediaRef,
    caption,
    viewOnce: z.boolean().optional(),
    hd: z.boolean().optional(),
  }),
  observed: z.object({
    type: z.literal('image'),
    media: observedFile,
    caption: someText(maxText).optional(),
    viewOnce: flag,
  }),
  file: {
    // whatsapp-web.js 1.34 prepares only images in HD and ignores the option for videos (`processMediaData` in Utils.js).
    options: ['caption', 'viewOnce', 'hd', 'asDocument'],
    // WhatsApp shows no SVG as an image.
    mimetypes: /^image\/(?!svg\+xml$)/,
    toContent: (media, { caption = null, viewOnce, hd }) => ({ type: 'image' as const, media, caption, viewOnce, hd }),
  },
  textOf: (content) => content.caption ?? null,
});
