import { z } from 'zod';
import { defineFileType } from './define.js';
import { mediaRef, observedFile } from './file-fields.js';

export const sticker = defineFileType({
  content: z.object({
    type: z.literal('sticker'),
    media: mediaRef,
    stickerName: z.string().optional(),
    stickerAuthor: z.string().optional(),
  }),
  observed: z.object({ type: z.literal('sticker'), media: observedFile }),
  file: {
    options: ['stickerName', 'stickerAuthor'],
    mimetypes: /^(image\/(?!svg\+xml$)|video\/)/,
    toContent: (media, { stickerName, stickerAuthor }) => ({ type: 'sticker' as const, media, stickerName, stickerAuthor }),
  },
  textOf: () => null,
});
