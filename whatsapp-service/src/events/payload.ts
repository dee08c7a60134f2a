import { isWorkerEventType, withoutContent, type WorkerEventPayload } from '@chasqui/shared';
import type { WorkerEvent } from './worker-event.js';

/** Removes the content from a stored payload, for a session with storage mode `metadata`. */
export const barePayload = (type: string, payload: string): string =>
  isWorkerEventType(type)
    ? JSON.stringify(withoutContent(type, JSON.parse(payload) as WorkerEventPayload<typeof type>))
    : payload;

/** Removes the content from an event, for a session with storage mode `metadata`. */
export const bareEvent = ({ event, payload }: WorkerEvent, keywords: ReadonlySet<string>): WorkerEvent =>
  ({ event, payload: withoutContent(event, payload, keywords) }) as WorkerEvent;

/** Characters of JSON. The largest regular event, a message of 65,536 non-Latin characters, has about a third of it. */
export const maxPayload = 1_048_576;
const steps = [100_000, 20_000, 4_000, 500, 50] as const;

/**
 * Serializes a payload. If it is larger than any regular event, its texts and lists are shortened step by step until it fits; ids and types
 * are not affected. Throws what JSON.stringify throws.
 */
export function serialize(payload: unknown): { json: string; shortened: boolean } {
  let json = JSON.stringify(payload);
  if (json.length <= maxPayload) return { json, shortened: false };
  for (const limit of steps) {
    json = JSON.stringify(payload, (_key, value: unknown) =>
      typeof value === 'string' && value.length > limit
        ? value.slice(0, limit)
        : Array.isArray(value) && value.length > limit
          ? value.slice(0, limit)
          : value,
    );
    if (json.length <= maxPayload) return { json, shortened: true };
  }
  throw new RangeError('The payload has too many fields.');
}
