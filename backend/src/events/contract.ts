import { defineRoute, event } from '@chasqui/shared';
import { z } from 'zod';

export const listEvents = defineRoute({
  id: 'events.list',
  method: 'get',
  path: '/events',
  summary: 'The event log from a cursor on, oldest first; `meta.nextCursor` is the next `after`',
  auth: 'key',
  permission: 'events.read',
  query: z.object({
    after: z
      .string()
      .regex(/^\d{0,18}$/)
      .optional(),
    types: z.string().max(2000).optional(),
    sessionId: z.string().max(64).optional(),
    limit: z.coerce.number().int().min(1).max(200).default(50),
  }),
  reply: z.array(event),
  errors: ['SESSION_NOT_FOUND'],
});
