import { type ScheduleResource } from '@chasqui/shared';
import { readable } from '../../db/unreadable.js';
import { iso } from '../../lib/iso.js';
import type { ScheduleView } from './reads.js';

/** Returns a schedule in the form of the API. */
export function presentSchedule({ schedule, next }: ScheduleView): ScheduleResource {
  const message = readable(schedule.message, null);
  const { type: _, ...content } = message?.content ?? { type: null };
  const template = message?.template;
  const { reasonCode, reasonText } = schedule;
  return {
    id: schedule.id,
    sessionId: schedule.sessionId,
    name: schedule.name,
    status: schedule.status,
    reason: reasonCode ? { code: reasonCode, message: reasonText ?? reasonCode } : null,
    cron: schedule.cron,
    timezone: schedule.timezone,
    endsAt: iso(schedule.endsAt),
    maxOccurrences: schedule.maxOccurrences,
    occurrences: schedule.occurrences,
    missed: schedule.missed,
    lastAt: iso(schedule.lastAt),
    next: next.map((at) => at.toISOString()),
    recipient: schedule.recipient,
    type: schedule.type,
    content: schedule.message ? content : null,
    template: template ? { id: template.id, version: template.version } : null,
    isUrgent: schedule.isUrgent,
    createdAt: schedule.createdAt.toISOString(),
    updatedAt: schedule.updatedAt.toISOString(),
  };
}
