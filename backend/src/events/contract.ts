import { decimal, defineRoute, event, eventTypes, paging, typesNamed, withAliases, type EventType } from '@chasqui/shared';
import { z } from 'zod';
import { sessionAliases, sessionRef } from '../sessions/contract.js';

export const cursor = z.string().regex(/^\d{0,18}$/, 'A cursor as in an event or in meta.nextCursor.');

/** Names of event types: a list, or one text with commas. The output is the list of types that the names include; null means all. */
export const typeNames = z
  .union([z.string().max(2000), z.array(z.string().max(40)).max(100)])
  .transform((names, context): EventType[] | null => {
    const requested = (Array.isArray(names) ? names : names.split(',')).map((name) => name.trim()).filter(Boolean);
    const found = new Set<EventType>();
    for (const name of requested) {
      const types = typesNamed(name);
      if (!types)
        context.addIssue({
          code: 'custom',
          params: { code: 'UNKNOWN_EVENT_TYPE' },
          message: `There is no event type ${name}. The types are ${eventTypes.join(', ')}.`,
        });
      for (const type of types ?? []) found.add(type);
    }
    return requested.length === 0 ? null : [...found];
  });

const filters = { types: typeNames.optional(), sessionId: sessionRef.optional() };
const page = {
  after: cursor.optional(),
  types: typeNames.optional(),
  limit: paging.limit,
  wait: decimal(0, 30).default(0).describe('Seconds to wait for an event when there is none yet'),
};
const common = { auth: 'key', permission: 'events.read' } as const;

export const listEvents = defineRoute({
  ...common,
  id: 'events.list',
  method: 'get',
  path: '/events',
  summary: 'The event log from a cursor on, oldest first; `meta.nextCursor` is the next `after`',
  query: withAliases(z.strictObject({ ...page, sessionId: sessionRef.optional() }), sessionAliases),
  reply: z.array(event),
  errors: ['SESSION_NOT_FOUND', 'CURSOR_EXPIRED'],
});
export const listSessionEvents = defineRoute({
  ...common,
  id: 'events.ofSession',
  method: 'get',
  path: '/sessions/:sessionId/events',
  summary: 'The event log of one session',
  params: z.object({ sessionId: sessionRef }),
  query: z.strictObject(page),
  reply: z.array(event),
  errors: ['SESSION_NOT_FOUND', 'CURSOR_EXPIRED'],
});
export const countEvents = defineRoute({
  ...common,
  id: 'events.count',
  method: 'get',
  path: '/events/count',
  summary:
    'How many events there are after a cursor, of each type; up to 5,000. `isExact` is false when there are more: they are after `nextCursor`',
  query: withAliases(
    z.strictObject({
      after: cursor.min(1).meta({ examples: ['0'] }),
      types: typeNames.optional(),
      sessionId: sessionRef.optional(),
    }),
    sessionAliases,
  ),
  reply: z.object({
    total: z.number().int(),
    byType: z.record(z.string(), z.number().int()),
    isExact: z.boolean(),
    nextCursor: z.string(),
  }),
  errors: ['SESSION_NOT_FOUND', 'CURSOR_EXPIRED'],
});
export const listEventTypes = defineRoute({
  ...common,
  id: 'events.catalogue',
  method: 'get',
  path: '/events/catalogue',
  summary: 'Every type of event: what it reports, the permission that it needs, its other names, and a sample',
  reply: z.array(
    z.object({
      type: z.string(),
      description: z.string(),
      permission: z.string(),
      isReadable: z.boolean().describe('Whether the caller has that permission.'),
      otherNames: z.array(z.string()).describe('Names that are accepted in its place.'),
      sample: event,
    }),
  ),
});
export const readEvent = defineRoute({
  ...common,
  id: 'events.read',
  method: 'get',
  path: '/events/:eventId',
  summary: 'One event',
  params: z.object({ eventId: z.string().max(64) }),
  reply: event,
  errors: ['EVENT_NOT_FOUND'],
});
export const streamEvents = defineRoute({
  ...common,
  id: 'events.stream',
  method: 'get',
  path: '/events/stream',
  summary: 'The event log as Server-Sent Events, from `Last-Event-ID` or `after` on, or from now on',
  query: withAliases(
    z.strictObject({ ...filters, after: cursor.optional(), ticket: z.string().max(100).optional() }),
    sessionAliases,
  ),
  headers: ['Last-Event-ID'],
  envelope: false,
  files: ['text/event-stream'],
  errors: ['SESSION_NOT_FOUND', 'CURSOR_EXPIRED'],
});
export const makeTicket = defineRoute({
  ...common,
  id: 'events.ticket',
  examples: { 'For messages and acks': { types: ['message.received', 'message.sent', 'message.ack'] }, 'For everything': {} },
  method: 'post',
  path: '/ws/ticket',
  summary:
    'A ticket for one WebSocket or stream, for browsers, which cannot send the key in a header; valid once and for 30 seconds',
  idempotency: { without: 'A ticket is valid once: create another one.' },
  body: withAliases(z.strictObject(filters), sessionAliases),
  reply: z.object({ ticket: z.string(), expiresAt: z.iso.datetime() }),
  errors: ['SESSION_NOT_FOUND'],
});
/** Not mounted: it describes what authentication requires to open the WebSocket. */
export const socket = defineRoute({
  ...common,
  id: 'events.socket',
  method: 'get',
  path: '/ws',
  summary: 'The event log as WebSocket',
});

/** A frame that a client of a WebSocket sends. */
export const socketFrame = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('subscribe'), ...filters, after: cursor.nullish() }),
  z.strictObject({ type: z.literal('unsubscribe') }),
  z.strictObject({ type: z.literal('ping') }),
]);
export type SocketFrame = z.output<typeof socketFrame>;
