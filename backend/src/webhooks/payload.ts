import { AppError, newId, type Contact } from '@chasqui/shared';
import { phoneIdOf } from '../contacts/people.js';
import { cursorText } from '../events/events.js';
import type { Webhook, WebhookFilter, WebhookTransform } from './webhook.entity.js';

/** An event from which a body is built. */
export interface OutgoingEvent {
  id: string;
  cursor: number;
  type: string;
  session: { id: string; name: string } | null;
  /** The message that it is about. */
  messageId: string | null;
  data: Record<string, unknown>;
  occurredAt: Date;
}

/** A test event without consequences, for testing an endpoint. */
export const testEvent = (
  at: Date,
  { type = 'test', session = null }: Partial<Pick<OutgoingEvent, 'type' | 'session'>> = {},
): OutgoingEvent => ({
  id: newId(at.getTime()),
  cursor: 0,
  type,
  session,
  messageId: null,
  data: { test: true, sentAt: at.toISOString() },
  occurredAt: at,
});

type Shape = Pick<Webhook, 'types' | 'includeContent' | 'transform'>;

const words = ['text', 'previousText', 'content', 'media'] as const;

/** The data without message content, for endpoints that must not receive it. */
const withoutContent = (data: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(data).map(([name, value]) => [name, (words as readonly string[]).includes(name) ? null : value]),
  );

/** The name under which an endpoint receives a type. */
export const nameFor = (type: string, { types, transform }: Pick<Webhook, 'types' | 'transform'>): string =>
  transform?.rename?.[type] ?? (types as Record<string, string>)[type] ?? type;

/** The most bytes that the values of one event may add to a transformed body. */
export const maxFilledBytes = 1_048_576;

/**
 * Returns the body of one event for one endpoint: always the same for the same event and the same form. Throws `TRANSFORM_INVALID` when a
 * transformation would make it larger than `maxFilledBytes`.
 */
export function bodyOf(outgoing: OutgoingEvent, webhook: Shape): { event: string; body: string } {
  const event = nameFor(outgoing.type, webhook);
  const whole = {
    id: outgoing.id,
    event,
    type: outgoing.type,
    session: outgoing.session,
    instance: outgoing.session,
    data: webhook.includeContent ? outgoing.data : withoutContent(outgoing.data),
    timestamp: outgoing.occurredAt.toISOString(),
    cursor: cursorText(outgoing.cursor),
  };
  const { template, fields } = webhook.transform ?? {};
  if (!fields && template === undefined) return { event, body: JSON.stringify(whole) };
  const valueAt = boundedReader(whole);
  const made = fields
    ? Object.fromEntries(Object.entries(fields).map(([name, path]) => [name, valueAt(path).value]))
    : filled(template, valueAt);
  return { event, body: JSON.stringify(made) };
}

interface Value {
  value: unknown;
  /** The form of the value inside a longer text. */
  text: string;
}
type ReadValue = (path: string) => Value;

/**
 * Reads values of the event for a template and counts the bytes that they add. Each path is read and measured once, so that the work as a
 * whole is bounded by the limit, however many placeholders there are. Throws `TRANSFORM_INVALID` at the limit, before anything is copied.
 */
function boundedReader(from: object): ReadValue {
  const known = new Map<string, Value & { bytes: number }>();
  let left = maxFilledBytes;
  return (path) => {
    let found = known.get(path);
    if (!found) {
      const value = at(from, path);
      const json = JSON.stringify(value);
      const text = value === null ? '' : typeof value === 'object' ? json : String(value);
      // Inside a text an object's quotes are escaped once more.
      const bytes = Math.max(Buffer.byteLength(json), Buffer.byteLength(JSON.stringify(text)));
      known.set(path, (found = { value, text, bytes }));
    }
    left -= found.bytes;
    if (left < 0)
      throw new AppError(
        'TRANSFORM_INVALID',
        { limit: maxFilledBytes },
        `The transformed body would be larger than ${maxFilledBytes} bytes. Use fewer placeholders, or paths to smaller values.`,
      );
    return found;
  };
}

/**
 * Whether an event matches an endpoint. An event without a property that the filter names does not match. `chatIds` are the ids of the event's
 * chat: a private chat has every id that its person is known under, see `chatIdsOf`.
 */
export function matches(
  outgoing: Pick<OutgoingEvent, 'type' | 'data'> & { sessionId: string | null },
  webhook: Pick<Webhook, 'sessionId' | 'types' | 'filter'>,
  chatIds: readonly string[] = idsOfChat(outgoing.data),
): boolean {
  if (!Object.hasOwn(webhook.types, outgoing.type)) return false;
  if (webhook.sessionId !== null && webhook.sessionId !== outgoing.sessionId) return false;
  return webhook.filter === null || passes(outgoing.data, webhook.filter, chatIds);
}

/** The ids of an event's chat that the event itself contains: in a private chat also those of its contact. */
export function idsOfChat(data: Record<string, unknown>): string[] {
  const chat = data['chat'] as { id?: unknown; type?: unknown } | null | undefined;
  if (typeof chat?.id !== 'string') return [];
  const contact = chat.type === 'private' ? (data['contact'] as Partial<Contact> | null | undefined) : null;
  const ids = [chat.id, contact?.id, contact?.lid, phoneIdOf(contact?.phone)];
  return [...new Set(ids.filter((id) => typeof id === 'string'))];
}

function passes(data: Record<string, unknown>, { chats, directions, types }: WebhookFilter, chatIds: readonly string[]): boolean {
  if (chats && !chats.some((chat) => chatIds.includes(chat))) return false;
  if (directions && !(directions as string[]).includes(String(data['direction']))) return false;
  return !types || types.includes(String(data['type']));
}

const placeholder = /\{\{\s*([A-Za-z0-9_.[\]-]{1,200})\s*\}\}/g;

/** A template with its placeholders filled in. A placeholder that is the whole text becomes the value itself, also a list or a number. */
function filled(template: unknown, valueAt: ReadValue): unknown {
  if (typeof template === 'string') {
    const [whole] = [...template.matchAll(placeholder)];
    if (whole?.[0] === template) return valueAt(whole[1]!).value;
    return template.replace(placeholder, (_, path: string) => valueAt(path).text);
  }
  if (Array.isArray(template)) return template.map((item) => filled(item, valueAt));
  if (typeof template !== 'object' || template === null) return template;
  return Object.fromEntries(Object.entries(template).map(([name, value]) => [name, filled(value, valueAt)]));
}

/** `data.contacts[0].name`; null when the path has no value. */
function at(from: object, path: string): unknown {
  let value: unknown = from;
  for (const step of path.replace(/\[(\d+)\]/g, '.$1').split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return null;
    value = (value as Record<string, unknown>)[step];
  }
  return value ?? null;
}

const maxTransformBytes = 32_768;
/** Names of events become the value of a header. */
const headerText = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/;

/** Throws `TRANSFORM_INVALID` with the reason when the transformation is not valid. */
export function requireTransform(transform: WebhookTransform | null | undefined): void {
  if (!transform) return;
  const refuse = (part: keyof WebhookTransform, message: string): never => {
    throw new AppError('TRANSFORM_INVALID', { field: `transform.${part}` }, message);
  };
  if (transform.template !== undefined && transform.fields) refuse('template', 'Give a template or fields, not both.');
  const largest = transform.template === undefined ? (transform.fields ? 'fields' : 'rename') : 'template';
  if (Buffer.byteLength(JSON.stringify(transform)) > maxTransformBytes)
    refuse(largest, `A transformation has at most ${maxTransformBytes} bytes.`);
  const open = JSON.stringify(transform.template ?? '').replace(placeholder, '');
  if (open.includes('{{') || open.includes('}}'))
    refuse('template', 'A placeholder is a path in double braces, such as {{data.text}}.');
  const bad = Object.entries(transform.rename ?? {}).find(([, name]) => !headerText.test(name));
  if (bad)
    refuse(
      'rename',
      `The new name of ${bad[0]} is sent in the header X-Webhook-Event, so it may contain only printable ASCII characters, and no blank at either end.`,
    );
}
