import { z } from 'zod';
import { validationError } from '../errors.js';
import { instant } from '../input.js';
import { defineMessageType } from './define.js';
import { maxText, plannedTime, someText, textOr } from './observed-fields.js';

/** The kind of call that an event offers a link to. WhatsApp creates the link when the event is sent. */
const callType = z.enum(['none', 'voice', 'video']);

const fields = {
  name: z.string().trim().min(1).max(255),
  description: z.string().trim().max(2_048),
  startsAt: instant,
  endsAt: instant,
  location: z.string().trim().max(512),
};

/** The fields of an event that its author can change later. Null removes a description, an end or a place. */
export const calendarChangeFields = {
  name: fields.name.optional(),
  description: fields.description.nullable().optional(),
  startsAt: fields.startsAt.optional(),
  endsAt: fields.endsAt.nullable().optional(),
  location: fields.location.nullable().optional(),
  callType: callType.optional(),
  cancelled: z.literal(true).optional().describe('Cancels the event. WhatsApp does not undo this.'),
};

export const calendarEvent = defineMessageType({
  content: z.object({
    type: z.literal('calendar_event'),
    name: z.string(),
    description: z.string().nullable(),
    startsAt: z.iso.datetime(),
    endsAt: z.iso.datetime().nullable(),
    location: z.string().nullable(),
    callType,
    /** The link of a forwarded event. It leads to the same call. */
    joinUrl: z.string().nullable().optional(),
    isCancelled: z.boolean().optional(),
  }),
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
  request: {
    summary: 'Send a calendar event',
    fields: {
      ...fields,
      description: fields.description.optional(),
      endsAt: fields.endsAt.optional(),
      location: fields.location.optional(),
      callType: callType.optional(),
    },
    isRefusedByChannels: true,
    toContent: ({ name, description, startsAt, endsAt, location, callType: call = 'none' }) => {
      if (endsAt !== undefined && Date.parse(endsAt) <= Date.parse(startsAt)) {
        const message = 'The event ends before it starts. Give an endsAt after startsAt, or leave it out.';
        throw validationError([{ path: 'endsAt', code: 'BEFORE_START', message }]);
      }
      return {
        type: 'calendar_event' as const,
        name,
        description: description || null,
        startsAt: utc(startsAt),
        endsAt: endsAt === undefined ? null : utc(endsAt),
        location: location || null,
        callType: call,
      };
    },
    example: { name: 'Delivery', startsAt: '2099-01-15T14:00:00Z', endsAt: '2099-01-15T15:00:00Z', location: 'Main street 1' },
  },
  textOf: ({ name, description }) => name || description,
});

const utc = (time: string): string => new Date(time).toISOString();
