import { z } from 'zod';
import { defineMessageType } from './define.js';
import { maxText, price, someId, someText } from './observed-fields.js';

export const product = defineMessageType({
  observed: z.object({
    type: z.literal('product'),
    productId: someText(256),
    title: someText(1_024),
    description: someText(maxText),
    message: someText(maxText),
    ...price,
    url: someText(2_048),
    sellerId: someId(80),
  }),
  textOf: ({ title, message }) => title ?? message,
});
