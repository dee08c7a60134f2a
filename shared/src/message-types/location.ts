import { z } from 'zod';
import { decimal } from '../input.js';
import { defineMessageType } from './define.js';
import { flag, maxText, someNumber, someText } from './observed-fields.js';

export const location = defineMessageType({
  content: z.object({
    type: z.literal('location'),
    latitude: z.number().min(-90).max(90),
    longitude: z.number().min(-180).max(180),
    name: z.string().max(256).nullable().optional(),
    address: z.string().max(512).nullable().optional(),
  }),
  observed: z.object({
    type: z.literal('location'),
    latitude: someNumber(-90, 90),
    longitude: someNumber(-180, 180),
    name: someText(256),
    address: someText(512),
    /** A live location. The coordinates are those at its start. */
    live: flag,
    comment: someText(maxText).optional(),
  }),
  request: {
    summary: 'Send a location',
    fields: {
      latitude: decimal(-90, 90),
      longitude: decimal(-180, 180),
      name: z.string().max(256).optional(),
      address: z.string().max(512).optional(),
    },
    isRefusedByChannels: true,
    toContent: ({ latitude, longitude, name = null, address = null }) => ({
      type: 'location' as const,
      latitude,
      longitude,
      name,
      address,
    }),
    example: { latitude: -23.5505, longitude: -46.6333 },
  },
  textOf: (content) => ('comment' in content ? content.comment : null) ?? content.name ?? content.address ?? null,
});
