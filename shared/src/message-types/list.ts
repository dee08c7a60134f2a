import { z } from 'zod';
import { defineMessageType } from './define.js';
import { offer, someText } from './observed-fields.js';

export const list = defineMessageType({
  observed: z.object({ type: z.literal('list'), ...offer, buttonText: someText(1_024) }),
  textOf: ({ message, title }) => message ?? title,
});
