import { z } from 'zod';
import { defineMessageType } from './define.js';
import { offer } from './observed-fields.js';

export const buttons = defineMessageType({
  observed: z.object({ type: z.literal('buttons'), ...offer }),
  textOf: ({ message, title }) => message ?? title,
});
