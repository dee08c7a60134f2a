import { z } from 'zod';
import { defineFileType } from './define.js';
import { mediaRef, observedFile } from './file-fields.js';
import { flag } from './observed-fields.js';

/** A voice note. */
export const voice = defineFileType({
  content: z.object({ type: z.literal('voice'), media: mediaRef }),
  observed: z.object({ type: z.literal('voice'), media: observedFile, viewOnce: flag }),
  file: {
    options: [],
    mimetypes: /^(audio|video)\//,
    toContent: (media) => ({ type: 'voice' as const, media }),
  },
  textOf: () => null,
});
