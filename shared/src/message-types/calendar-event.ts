import { z } from 'zod';
import { defineMessageType } from './define.js';
import { maxText, plannedTime, someText, textOr } from './observed-fields.js';

export const calendarEvent = defineMessageType({
  observed: z.object({
    type: z.literal('calendar_event'),
    name: textOr(1_024, ''),
    description: someText(maxText),
    startsAt: plannedTime,
    endsAt: plannedTime,
    location: someText(1_024),
    joinUrl: someText(2_048),
    isCancelled: z.boolean().catch(false),
  }),
  textOf: ({ name, description }) => name || description,
});
