import { z } from 'zod';
import { defineMessageType } from './define.js';
import { maxText, price, someId, someText } from './observed-fields.js';

export const payment = defineMessageType({
  observed: z.object({
    type: z.literal('payment'),
    message: someText(maxText),
    ...price,
    status: someText(64),
    recipientId: someId(80),
  }),
  textOf: ({ message }) => message,
});
