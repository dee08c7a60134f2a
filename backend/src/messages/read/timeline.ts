import { readable } from '../../db/unreadable.js';
import type { EventRow } from '../../events/event.entity.js';
import { cursorText } from '../../events/events.js';
import { reasonOf } from './present.js';

const statusOfEvent: Record<string, string> = {
  'message.scheduled': 'scheduled',
  'message.queued': 'queued',
  'message.sending': 'sending',
  'message.sent': 'sent',
  'message.failed': 'failed',
  'message.uncertain': 'uncertain',
  'message.cancelled': 'cancelled',
  'message.received': 'delivered',
};

/** Converts an event of a message to an entry of its timeline. Returns an empty list for events that do not change its status. */
export function timelineEntry(row: EventRow) {
  const data = readable(row.data, {}) as {
    status?: string;
    change?: string;
    reason?: { code: string; message: string } | null;
    attempt?: number;
    attempts?: number;
    previousText?: string | null;
  };
  const status =
    row.type === 'message.ack' ? data.status : row.type === 'message.updated' ? data.change : statusOfEvent[row.type];
  if (!status) return [];
  const reason =
    data.reason && typeof data.reason === 'object'
      ? reasonOf({ reasonCode: data.reason.code, reasonText: data.reason.message })
      : null;
  return [
    {
      status,
      at: row.occurredAt.toISOString(),
      reason,
      attempt: data.attempt ?? data.attempts ?? null,
      previousText: status === 'edited' ? (data.previousText ?? null) : null,
      cursor: cursorText(row.cursor),
    },
  ];
}
