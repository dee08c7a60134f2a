import { z } from 'zod';
import { defineFileType } from './define.js';
import { mediaRef, observedFile } from './file-fields.js';
import { flag } from './observed-fields.js';

export const audio = defineFileType({
  content: z.object({ type: z.literal('audio'), media: mediaRef }),
  observed: z.object({ type: z.literal('audio'), media: observedFile, viewOnce: flag }),
  file: {
    options: ['asDocument'],
    mimetypes: /^(audio|video)\//,
    toContent: (media) => ({ type: 'audio' as const, media }),
  },
  textOf: () => null,
});
