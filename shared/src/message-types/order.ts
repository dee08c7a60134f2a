import { z } from 'zod';
import { defineMessageType } from './define.js';
import { maxText, price, someCount, someId, someText } from './observed-fields.js';

export const order = defineMessageType({
  observed: z.object({
    type: z.literal('order'),
    orderId: someText(256),
    title: someText(1_024),
    message: someText(maxText),
    itemCount: someCount(1_000_000),
    ...price,
    sellerId: someId(80),
  }),
  textOf: ({ title, message }) => title ?? message,
});
