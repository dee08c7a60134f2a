import { z } from 'zod';
import type { Permission } from './permissions.js';
import { chatRef, contact, message, reason, session } from './resources.js';
import { messageStatuses, sessionStatuses } from './states.js';
import { whatsappAccount } from './whatsapp-account.js';

/** The event catalogue: type → payload and the permission that reading it needs besides `events.read`. One row each. */

const time = z.iso.datetime();
const nullableTime = time.nullable();

const aboutMessage = { messageId: z.string().nullable(), whatsappId: z.string(), chat: chatRef, at: time };

const webhookSwitch = {
  webhookId: z.string(),
  url: z.string(),
  reason: z.string().nullable(),
  since: nullableTime,
};

/** Deliveries to an endpoint have waited for more than a minute (`isBehind`), or do not any more. `waiting` counts what is not settled. */
const webhookBacklog = {
  webhookId: z.string(),
  url: z.string(),
  isBehind: z.boolean(),
  waiting: z.number().int(),
  oldestAt: nullableTime,
};

const row = <T extends z.ZodType>(permission: Permission, data: T) => ({ permission, data });

export const eventCatalogue = {
  'session.created': row('instance.info', session),
  'session.deleted': row('instance.info', session),
  'session.status': row(
    'instance.info',
    z.object({
      status: z.enum(sessionStatuses),
      previous: z.enum(sessionStatuses),
      desired: z.enum(['running', 'stopped']),
      isConnected: z.boolean(),
      reason: reason.nullable(),
      phoneNumber: z.string().nullable(),
      pushName: z.string().nullable(),
      platform: z.string().nullable(),
      attempt: z.number().int(),
      workerId: z.string().nullable(),
    }),
  ),
  'session.qr': row(
    'session.control',
    z.object({
      qrId: z.string(),
      qrCode: z.string().nullable(),
      qrText: z.string().nullable(),
      expiresAt: time,
      replaces: z.string().nullable(),
    }),
  ),
  'session.pairing_code': row(
    'session.control',
    z.object({ code: z.string().nullable(), phoneNumber: z.string(), expiresAt: time }),
  ),
  'session.heal': row(
    'instance.info',
    z.object({ step: z.enum(['probe', 'reload', 'restart']), reason: z.string(), ok: z.boolean() }),
  ),
  /**
   * Another WhatsApp account was linked. Messages accepted for the earlier one wait for a decision (`POST /sessions/:sessionId/held-messages`);
   * each of them gets an event with the reason SESSION_IDENTITY_CHANGED.
   */
  'session.identity_changed': row(
    'instance.info',
    z.object({ previous: whatsappAccount.nullable(), current: whatsappAccount.nullable() }),
  ),
  'session.restriction': row(
    'instance.info',
    z.object({
      kind: z.enum(['terms_block', 'proxy_block']),
      message: z.string().nullable(),
    }),
  ),
  'session.recycled': row('instance.info', z.object({ reason: z.string(), memoryMb: z.number().int() })),
  'session.backfill': row(
    'instance.info',
    z.object({
      chats: z.number().int(),
      messages: z.number().int(),
      from: nullableTime,
      to: nullableTime,
      truncated: z.boolean(),
    }),
  ),
  'message.queued': row('messages.send', message),
  'message.sending': row('messages.send', z.object({ id: z.string(), attempt: z.number().int(), reservedId: z.string() })),
  'message.sent': row('messages.receive', message),
  'message.ack': row(
    'messages.receive',
    z.object({
      id: z.string(),
      whatsappId: z.string().nullable(),
      status: z.enum(messageStatuses),
      ack: z.number().int(),
      contact: contact.nullable(),
      at: time,
      chat: chatRef,
    }),
  ),
  'message.failed': row('messages.send', message.extend({ retryable: z.boolean(), willRetryAt: nullableTime })),
  'message.uncertain': row('messages.send', message),
  'message.cancelled': row('messages.send', message),
  'message.received': row('messages.receive', message),
  'message.updated': row(
    'messages.receive',
    message.extend({ change: z.enum(['edited', 'revoked', 'completed']), previousText: z.string().nullable() }),
  ),
  'message.media': row(
    'messages.receive',
    z.object({ id: z.string(), media: z.record(z.string(), z.unknown()).nullable(), reason: z.string().nullable() }),
  ),
  'message.reaction': row(
    'messages.receive',
    z.object({ ...aboutMessage, contact: contact.nullable(), emoji: z.string().nullable() }),
  ),
  'poll.vote': row('messages.receive', z.object({ ...aboutMessage, contact: contact.nullable(), options: z.array(z.string()) })),
  'chat.updated': row('chats.read', z.object({ chat: chatRef, change: z.string(), unreadCount: z.number().int().nullable() })),
  'contact.updated': row('contacts.read', z.object({ contact, previous: contact.nullable() })),
  'contact.erased': row('privacy.manage', z.object({ contact: z.string() })),
  'group.participants': row(
    'groups.read',
    z.object({ group: chatRef, action: z.string(), participants: z.array(contact), by: contact.nullable(), at: time }),
  ),
  'group.updated': row(
    'groups.read',
    z.object({ group: chatRef, change: z.string(), value: z.string().nullable(), by: contact.nullable(), at: time }),
  ),
  'group.membership_request': row('groups.read', z.object({ group: chatRef, contact, at: time })),
  'call.received': row(
    'messages.receive',
    z.object({
      callId: z.string(),
      contact: contact.nullable(),
      isVideo: z.boolean(),
      isGroup: z.boolean(),
      at: time,
    }),
  ),
  'quota.exhausted': row('instance.stats', z.object({ scope: z.string(), limit: z.number().int(), resetAt: time })),
  'key.expiring': row(
    'keys.manage',
    z.object({ keyId: z.string(), name: z.string(), expiresAt: time, successorId: z.string().nullable() }),
  ),
  'webhook.disabled': row('webhook.configure', z.object(webhookSwitch)),
  'webhook.enabled': row('webhook.configure', z.object(webhookSwitch)),
  'webhook.backlog': row('webhook.configure', z.object(webhookBacklog)),
  'export.ready': row('privacy.manage', z.object({ exportId: z.string(), expiresAt: time })),
} as const satisfies Record<string, { permission: Permission; data: z.ZodType }>;

export type EventType = keyof typeof eventCatalogue;
export type EventData<T extends EventType> = z.input<(typeof eventCatalogue)[T]['data']>;

export const eventTypes = Object.keys(eventCatalogue) as EventType[];
export const isEventType = (type: string): type is EventType => Object.hasOwn(eventCatalogue, type);

/** Names that other gateways use, accepted wherever event types are named. */
export const alternativeNames: Readonly<Record<string, EventType>> = {
  message: 'message.received',
  'messages.upsert': 'message.received',
  'send.message': 'message.sent',
  'messages.update': 'message.ack',
  'instance.status': 'session.status',
  'connection.update': 'session.status',
  'qrcode.updated': 'session.qr',
  'groups.upsert': 'group.updated',
  call: 'call.received',
};

/**
 * The types that a name stands for: a type, one of its alternative names, `message.*` for a family, `*` for all. Null: no such name,
 * which differs from a name that matches no type.
 */
export function typesNamed(name: string): readonly EventType[] | null {
  if (name === '*') return eventTypes;
  if (isEventType(name)) return [name];
  if (Object.hasOwn(alternativeNames, name)) return [alternativeNames[name]!];
  const family = name.endsWith('.*') ? eventTypes.filter((type) => type.startsWith(name.slice(0, -1))) : [];
  return family.length > 0 ? family : null;
}

/** One row of the event log as it leaves the API. `cursor` is opaque and grows over the log; `sequence` counts without gaps within a session. */
export const event = z
  .object({
    cursor: z.string(),
    id: z.string(),
    type: z.string(),
    session: z.object({ id: z.string(), name: z.string() }).nullable(),
    sequence: z.number().int().nullable(),
    occurredAt: time,
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'Event' });
export type EventResource = z.infer<typeof event>;
