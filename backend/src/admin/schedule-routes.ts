import { timezoneName } from '@chasqui/shared';
import { z } from 'zod';
import { scheduleFields } from '../messages/recurring/contract.js';
import { change, type PanelRoute } from './route.js';
import type { PanelVerbs } from './verbs.js';

const empty = z.strictObject({});

/** The changes of recurring schedules. */
export function scheduleChanges(schedules: PanelVerbs['schedules']): PanelRoute[] {
  const { name, cron } = scheduleFields;
  const maxOccurrences = z.number().int().min(1).max(1_000_000).nullable().default(null);
  const newSchedule = z.strictObject({
    sessionId: z.string().min(1).max(64),
    recipient: z.string().trim().min(1).max(128),
    message: z.string().min(1, 'Enter a message.').max(65_536),
    name,
    cron,
    timezone: timezoneName,
    maxOccurrences,
  });
  return [
    change('staff', '/live/schedules', newSchedule, ({ visitor, body }) => schedules.create(visitor.caller, body)),
    change('staff', '/live/schedule-preview', z.strictObject({ cron, timezone: timezoneName }), ({ body }) =>
      Promise.resolve({ next: schedules.next(body).map((at) => at.getTime()), timezone: body.timezone }),
    ),
    change('staff', '/live/schedules/:id/times', z.strictObject({ name, cron, timezone: timezoneName }), (input) =>
      schedules.change(input.visitor.caller, input.id, input.body),
    ),
    ...(['pause', 'resume', 'delete'] as const).map((verb) =>
      change('staff', `/live/schedules/:id/${verb}`, empty, (input) => schedules[verb](input.visitor.caller, input.id)),
    ),
  ];
}
