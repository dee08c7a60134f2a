import type { EventRow } from '../../events/event.entity.js';

/** Events as a person reads them: who did what. Made of the data of the event alone, so that it stays true when its objects change or go. */

type Data = Record<string, unknown>;

const textOf = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
const partOf = (value: unknown): Data =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Data) : {};

/** What a chat or a person is called: the name, otherwise the number, otherwise the id of WhatsApp. */
function nameOf(value: unknown): string | null {
  const { name, savedName, pushName, phone, id } = partOf(value);
  return textOf(name) ?? textOf(savedName) ?? textOf(pushName) ?? textOf(phone) ?? textOf(id);
}

const partner = ({ chat, contact, to, from }: Data): string =>
  nameOf(contact) ?? nameOf(chat) ?? textOf(to) ?? textOf(from) ?? 'a chat';

const excerptLength = 90;
/** The text of a message, shortened; its type when it has none. */
function excerpt(data: Data): string {
  const content = partOf(data['content']);
  const text = textOf(data['text']) ?? textOf(content['message']) ?? textOf(content['caption']);
  if (text === null) return `(${textOf(data['type']) ?? 'no text'})`;
  return text.length > excerptLength ? `${text.slice(0, excerptLength)}…` : text;
}

const reasonOf = (data: Data): string => {
  const code = textOf(partOf(data['reason'])['code']) ?? textOf(data['reason']);
  return code ? ` (${code})` : '';
};

/** A sentence for each type that says more than its name. `session` is the name of the session. */
const sentences: Record<string, (data: Data, session: string) => string> = {
  'message.received': (data, session) => `${partner(data)} → ${session}: ${excerpt(data)}`,
  'message.ack': (data, session) => `${session} → ${partner(data)}: ${textOf(data['status']) ?? 'acknowledged'}`,
  'message.reaction': (data, session) =>
    `${partner(data)} → ${session}: ${textOf(data['emoji']) ? `reacted ${textOf(data['emoji'])}` : 'took a reaction back'}`,
  'message.updated': (data, session) => `${session}: a message was ${textOf(data['change']) ?? 'changed'}`,
  'session.status': (data, session) =>
    `${session}: ${textOf(data['previous']) ?? '?'} → ${textOf(data['status']) ?? '?'}${reasonOf(data)}`,
  'session.qr': (_data, session) => `${session}: a new QR code`,
  'session.created': (data, session) => `${textOf(data['name']) ?? session}: created`,
  'session.deleted': (data, session) => `${textOf(data['name']) ?? session}: deleted`,
  'webhook.disabled': (data) => `${textOf(data['url']) ?? 'a webhook'}: switched off${reasonOf(data)}`,
  'webhook.enabled': (data) => `${textOf(data['url']) ?? 'a webhook'}: switched on`,
  'webhook.backlog': (data) =>
    `${textOf(data['url']) ?? 'a webhook'}: ${data['isBehind'] === true ? `${Number(data['waiting'])} deliveries wait` : 'has caught up'}`,
  'call.received': (data, session) => `${partner(data)} → ${session}: a call`,
  'contact.opted_out': (data) => `${partner(data)} opted out`,
  'contact.opted_in': (data) => `${partner(data)} opted in`,
};

/** Returns the sentence of an event. */
export function eventWords(type: string, data: Data, session: string | null): string {
  const name = session ?? 'the account';
  const sentence = sentences[type];
  if (sentence) return sentence(data, name);
  const verb = type.slice(type.indexOf('.') + 1).replaceAll('_', ' ');
  const hasPartner = nameOf(data['contact']) ?? nameOf(data['chat']) ?? textOf(data['to']);
  if (type.startsWith('message.') && !hasPartner) return `${name}: message ${verb}${reasonOf(data)}`;
  if (type.startsWith('message.'))
    return `${name} → ${partner(data)}: ${verb}${reasonOf(data)}${textOf(data['text']) ? `, ${excerpt(data)}` : ''}`;
  return `${name}: ${type.slice(0, type.indexOf('.'))} ${verb}${reasonOf(data)}`;
}

/** The page of the object that an event is about: a path below the panel. */
export function objectOf({
  type,
  messageId,
  sessionId,
  data,
}: Pick<EventRow, 'type' | 'messageId' | 'sessionId' | 'data'>): string | null {
  const webhookId = textOf(data['webhookId']);
  if (type.startsWith('webhook.') && webhookId) return `/resources/webhooks/records/${webhookId}/show`;
  if (messageId) return `/resources/messages/records/${messageId}/show`;
  return sessionId ? `/resources/sessions/records/${sessionId}/show` : null;
}
