import { z } from 'zod';
import { defineMessageType } from './define.js';
import { someCount } from './observed-fields.js';

/** The frame that WhatsApp shows around several images and videos. Each image and video is a message of its own. */
export const album = defineMessageType({
  observed: z.object({ type: z.literal('album'), images: someCount(10_000), videos: someCount(10_000) }),
  textOf: () => null,
});
