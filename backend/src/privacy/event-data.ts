import { erased } from '@chasqui/shared';
import type { Traces } from './traces.js';

type EventData = Record<string, unknown>;

/** Returns the stored data of an event. A text that is no JSON holds nothing that could be kept. */
export function parsed(text: string): EventData {
  try {
    return JSON.parse(text) as EventData;
  } catch {
    return {};
  }
}

/**
 * Whether an event is about what the person wrote, sent, received, or did in a chat: a message, a reaction, a vote, a change of a group. Rows of messages
 * may be deleted before their events, so only the data is compared. An id that an earlier erasure has redacted counts too: versions before this one
 * left the content of such events.
 */
export function isWithPerson(traces: Traces, data: EventData): boolean {
  const { chat, from, to, contact, by } = data;
  const people = [idOf(chat), from, to, idOf(contact), idOf(by)];
  return (
    people.some((id) => id === erased || (typeof id === 'string' && traces.has(id))) && words.some((name) => hasValue(data[name]))
  );
}

/** Returns the data without the person. `isTheirs`: also without the content. */
export function withoutPerson(traces: Traces, data: EventData, isTheirs: boolean): EventData {
  const without = traces.removeFrom(data) as EventData;
  // The text of contact cards consists of their names.
  if (without['type'] === 'contact') without['text'] = null;
  if (!isTheirs) return without;
  return Object.fromEntries(Object.entries(without).map(([name, value]) => [name, gone.has(name) ? null : value]));
}

/** Fields that contain what somebody wrote, sent or chose. `value`: of a changed group. */
const words = ['content', 'text', 'previousText', 'media', 'selectedOption', 'emoji', 'options', 'value'];
const gone = new Set([...words, 'quotedMessageId', 'whatsappId', 'contact']);

const idOf = (one: unknown): unknown => (one as { id?: unknown } | null | undefined)?.id;
const hasValue = (value: unknown): boolean => value !== null && value !== undefined;
