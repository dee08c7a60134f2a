import { z } from 'zod';
import { defineMessageType } from './define.js';
import { offer } from './observed-fields.js';

export const template = defineMessageType({
  observed: z.object({ type: z.literal('template'), ...offer }),
  textOf: ({ message, title }) => message ?? title,
});
