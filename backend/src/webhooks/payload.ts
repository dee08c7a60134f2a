import { AppError, newId } from '@chasqui/shared';
import { cursorText } from '../events/events.js';
import type { Webhook, WebhookFilter, WebhookTransform } from './webhook.entity.js';

/** An event as a body is made of it. */
export interface Told {
  id: string;
  cursor: number;
  type: string;
  session: { id: string; name: string } | null;
  data: Record<string, unknown>;
  occurredAt: Date;
}

/** An event of no consequence: for who tries an endpoint. */
export const testEvent = (at: Date, { type = 'test', session = null }: Partial<Pick<Told, 'type' | 'session'>> = {}): Told => ({
  id: newId(at.getTime()),
  cursor: 0,
  type,
  session,
  data: { test: true, sentAt: at.toISOString() },
  occurredAt: at,
});

type Shape = Pick<Webhook, 'types' | 'includeContent' | 'transform'>;

const words = ['text', 'previousText', 'content', 'media'] as const;

/** The event without what was said: for endpoints that are not to have it. */
const withoutContent = (data: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(data).map(([name, value]) => [name, (words as readonly string[]).includes(name) ? null : value]),
  );

/** The name under which an endpoint hears of a type. */
export const nameFor = (type: string, { types, transform }: Pick<Webhook, 'types' | 'transform'>): string =>
  transform?.rename?.[type] ?? (types as Record<string, string>)[type] ?? type;

/** The body of one event for one endpoint: always the same for the same event and the same form. */
export function bodyOf(told: Told, webhook: Shape): { event: string; body: string } {
  const event = nameFor(told.type, webhook);
  const whole = {
    id: told.id,
    event,
    type: told.type,
    session: told.session,
    instance: told.session,
    data: webhook.includeContent ? told.data : withoutContent(told.data),
    timestamp: told.occurredAt.toISOString(),
    cursor: cursorText(told.cursor),
  };
  const { template, fields } = webhook.transform ?? {};
  if (fields)
    return {
      event,
      body: JSON.stringify(Object.fromEntries(Object.entries(fields).map(([name, path]) => [name, at(whole, path)]))),
    };
  return { event, body: JSON.stringify(template === undefined ? whole : filled(template, whole)) };
}

/** Whether an endpoint wants this event. What a filter asks for and the event does not have, it does not match. */
export function matches(
  told: Pick<Told, 'type' | 'data'> & { sessionId: string | null },
  webhook: Pick<Webhook, 'sessionId' | 'types' | 'filter'>,
): boolean {
  if (!Object.hasOwn(webhook.types, told.type)) return false;
  if (webhook.sessionId !== null && webhook.sessionId !== told.sessionId) return false;
  return webhook.filter === null || passes(told.data, webhook.filter);
}

function passes(data: Record<string, unknown>, { chats, direction, messageTypes }: WebhookFilter): boolean {
  const chat = (data['chat'] as { id?: unknown } | null | undefined)?.id;
  if (chats && !chats.includes(String(chat))) return false;
  if (direction && data['direction'] !== direction) return false;
  return !messageTypes || messageTypes.includes(String(data['type']));
}

const placeholder = /\{\{\s*([A-Za-z0-9_.[\]-]{1,200})\s*\}\}/g;

/** A template with its placeholders filled in. One that is a whole text gives the value as it is, a list or a number too. */
function filled(template: unknown, from: object): unknown {
  if (typeof template === 'string') {
    const [whole] = [...template.matchAll(placeholder)];
    if (whole?.[0] === template) return at(from, whole[1]!);
    return template.replace(placeholder, (_, path: string) => {
      const value = at(from, path);
      return value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
    });
  }
  if (Array.isArray(template)) return template.map((item) => filled(item, from));
  if (typeof template !== 'object' || template === null) return template;
  return Object.fromEntries(Object.entries(template).map(([name, value]) => [name, filled(value, from)]));
}

/** `data.contacts[0].name`; null where there is nothing. */
function at(from: object, path: string): unknown {
  let value: unknown = from;
  for (const step of path.replace(/\[(\d+)\]/g, '.$1').split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return null;
    value = (value as Record<string, unknown>)[step];
  }
  return value ?? null;
}

const mostBytes = 32_768;

/** Throws `TRANSFORM_INVALID`, saying what is wrong with it. */
export function requireTransform(transform: WebhookTransform | null | undefined): void {
  if (!transform) return;
  const refuse = (message: string): never => {
    throw new AppError('TRANSFORM_INVALID', {}, message);
  };
  if (transform.template !== undefined && transform.fields) refuse('Give a template or fields, not both.');
  if (JSON.stringify(transform).length > mostBytes) refuse(`A transformation has at most ${mostBytes} bytes.`);
  const open = JSON.stringify(transform.template ?? '').replace(placeholder, '');
  if (open.includes('{{') || open.includes('}}')) refuse('A placeholder is a path in double braces, such as {{data.text}}.');
}
