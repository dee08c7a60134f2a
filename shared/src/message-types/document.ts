import { z } from 'zod';
import { defineFileType } from './define.js';
import { caption, mediaRef, observedFile } from './file-fields.js';
import { maxText, someText } from './observed-fields.js';

export const document = defineFileType({
  content: z.object({ type: z.literal('document'), media: mediaRef, caption }),
  observed: z.object({ type: z.literal('document'), media: observedFile, caption: someText(maxText).optional() }),
  file: {
    options: ['caption', 'asDocument'],
    toContent: (media, { caption = null }) => ({ type: 'document' as const, media, caption }),
  },
  textOf: (content) => content.caption ?? null,
});
