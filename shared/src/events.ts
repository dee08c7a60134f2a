import { z } from 'zod';
import { bulkJob } from './bulk.js';
import type { Permission } from './permissions.js';
import { chatRef, contact, message, reason, session } from './resources.js';
import { restrictionKinds } from './session-health.js';
import { messageStatuses, sessionStatuses } from './states.js';
import { whatsappAccount } from './whatsapp-account.js';

/**
 * The catalogue of public events, one row for each type: the permission that reading it needs besides `events.read`, its description and its payload.
 * `docs/reference/events.md` and the `webhooks` of the OpenAPI document are generated from it.
 */

const time = z.iso.datetime();
const nullableTime = time.nullable();

const aboutMessage = { messageId: z.string().nullable(), whatsappId: z.string(), chat: chatRef, at: time };

const webhookSwitch = {
  webhookId: z.string(),
  url: z.string(),
  reason: z.string().nullable(),
  since: nullableTime,
};

/** Whether deliveries to an endpoint have waited for more than a minute (`isBehind`). `waiting` is the number of unsettled deliveries. */
const webhookBacklog = {
  webhookId: z.string(),
  url: z.string(),
  isBehind: z.boolean(),
  waiting: z.number().int(),
  oldestAt: nullableTime,
};

const optOutChange = z.object({
  contact,
  source: z.enum(['api', 'keyword', 'panel']),
  keyword: z.string().nullable(),
  replyMessageId: z.string().nullable(),
});

const row = <T extends z.ZodType>(permission: Permission, doc: string, data: T) => ({ permission, doc, data });

export const eventCatalogue = {
  'session.created': row('instance.info', 'A session was created. Carries the session.', session),
  'session.deleted': row('instance.info', 'A session was deleted, with its last state.', session),
  'session.status': row(
    'instance.info',
    'The status or the reason of a session changed. Carries both statuses and whether the session is connected.',
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
    'A new QR code can be scanned until `expiresAt`; it replaces the code named in `replaces`.',
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
    'A pairing code was made for a phone number. It is entered on that phone before `expiresAt`.',
    z.object({ code: z.string().nullable(), phoneNumber: z.string(), expiresAt: time }),
  ),
  'session.heal': row(
    'instance.info',
    'A session failed a probe, or the worker reloaded its page, restarted its browser or restored the copy of its login to repair it (`step`). `ok` says whether that helped.',
    z.object({ step: z.enum(['probe', 'reload', 'restart', 'restore']), reason: z.string(), ok: z.boolean() }),
  ),
  'session.identity_changed': row(
    'instance.info',
    'Another WhatsApp account was linked. Messages accepted for the previous one wait for a decision (`POST /sessions/:sessionId/held-messages`), and each publishes an event with the reason `SESSION_IDENTITY_CHANGED`.',
    z.object({ previous: whatsappAccount.nullable(), current: whatsappAccount.nullable() }),
  ),
  'session.restriction': row(
    'instance.info',
    'WhatsApp restricts the account or blocks the network of a session, until `until` if it says so; or it has lifted a restriction (`kind` is `lifted`, and `lifted` names it).',
    z.object({
      kind: z.enum([...restrictionKinds, 'lifted']),
      message: z.string().nullable(),
      until: nullableTime,
      lifted: z.enum(restrictionKinds).nullable(),
    }),
  ),
  'session.throttled': row(
    'instance.info',
    'A session sends more slowly after a restriction, or after many failed messages to new chats (`FAILED_FIRST_CONTACTS`): at `factor` of its pace at first, until `until`. Or a person has lifted that (`factor` 1).',
    z.object({ factor: z.number(), reason: z.string(), until: nullableTime }),
  ),
  'session.device_linked': row(
    'instance.info',
    'The number of devices that are linked to the WhatsApp account of a session has grown.',
    z.object({ count: z.number().int(), previousCount: z.number().int() }),
  ),
  'session.recycled': row(
    'instance.info',
    'The browser of a session was restarted because it used too much memory; no message was lost by it.',
    z.object({ reason: z.string(), memoryMb: z.number().int() }),
  ),
  'session.backfill': row(
    'instance.info',
    'A scan for missed messages ended. `truncated` says that older ones may be missing.',
    z.object({
      chats: z.number().int(),
      messages: z.number().int(),
      from: nullableTime,
      to: nullableTime,
      truncated: z.boolean(),
    }),
  ),
  'message.scheduled': row('messages.send', 'A message was accepted for a later time, or moved to another time.', message),
  'message.queued': row('messages.send', 'An outgoing message was accepted and committed; it waits to be sent.', message),
  'message.sending': row(
    'messages.send',
    'An attempt to send a message began, under the WhatsApp id that was reserved for it.',
    z.object({ id: z.string(), attempt: z.number().int(), reservedId: z.string() }),
  ),
  'message.sent': row(
    'messages.receive',
    'WhatsApp’s server has the message; or a message was sent from the phone or from another linked device.',
    message,
  ),
  'message.ack': row(
    'messages.receive',
    'A message was delivered, read or played. In a group there is one event for each status, not one for each member.',
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
  'message.failed': row(
    'messages.send',
    'A message was certainly not sent. `retryable` says whether a retry may help, `willRetryAt` when the next attempt is made.',
    message.extend({ retryable: z.boolean(), willRetryAt: nullableTime }),
  ),
  'message.uncertain': row(
    'messages.send',
    'It is not known whether a message was sent. It is settled later by a lookup under its reserved WhatsApp id, or by hand.',
    message,
  ),
  'message.cancelled': row('messages.send', 'A message was cancelled before it was sent.', message),
  'message.received': row(
    'messages.receive',
    'A message from somebody else was recorded. Messages that were missed while the session was away follow with `origin: backfill`.',
    message,
  ),
  'message.updated': row(
    'messages.receive',
    'A message was edited, deleted for everyone, pinned or unpinned in its chat, or its content became readable (`change`). A pin that ends by itself causes no event.',
    message.extend({
      change: z.enum(['edited', 'revoked', 'completed', 'pinned', 'unpinned']),
      previousText: z.string().nullable(),
    }),
  ),
  'message.media': row(
    'messages.receive',
    'The file of a received message was stored, or could not be; then `media` is null and `reason` says why.',
    z.object({ id: z.string(), media: z.record(z.string(), z.unknown()).nullable(), reason: z.string().nullable() }),
  ),
  'message.reaction': row(
    'messages.receive',
    'Somebody set, changed or removed a reaction to a message. `emoji` is null when it was removed.',
    z.object({ ...aboutMessage, contact: contact.nullable(), emoji: z.string().nullable() }),
  ),
  'poll.vote': row(
    'messages.receive',
    'Somebody voted in a poll. `options` has all options that this person has chosen now.',
    z.object({ ...aboutMessage, contact: contact.nullable(), options: z.array(z.string()) }),
  ),
  'chat.updated': row(
    'chats.read',
    'A chat was archived, unarchived, removed, or marked as unread (`change`).',
    z.object({ chat: chatRef, change: z.string(), unreadCount: z.number().int().nullable() }),
  ),
  'presence.changed': row(
    'presence.manage',
    'A person in a chat whose presence is followed became available or unavailable, or is typing or recording (`state`).',
    z.object({
      chat: chatRef,
      contact: contact.nullable(),
      state: z.enum(['available', 'unavailable', 'typing', 'recording']),
      lastSeen: nullableTime,
      at: time,
    }),
  ),
  'contact.updated': row(
    'contacts.read',
    'A contact was renamed or saved on the phone, or its number became known.',
    z.object({ contact, previous: contact.nullable() }),
  ),
  'contact.opted_out': row(
    'optouts.read',
    'A person opted out, by a keyword or by a call (`source`). `replyMessageId` names the answer that was accepted with it.',
    optOutChange,
  ),
  'contact.opted_in': row(
    'optouts.read',
    'A person who had opted out opted in again, or was removed from the list.',
    optOutChange,
  ),
  'contact.erased': row('privacy.manage', 'The erasure of a person’s data was completed.', z.object({ contact: z.string() })),
  'group.participants': row(
    'groups.read',
    'Members joined, left, were added or removed, or became or ceased to be admins (`action`).',
    z.object({ group: chatRef, action: z.string(), participants: z.array(contact), by: contact.nullable(), at: time }),
  ),
  'group.updated': row(
    'groups.read',
    'The subject, description or another property of a group changed (`change`).',
    z.object({ group: chatRef, change: z.string(), value: z.string().nullable(), by: contact.nullable(), at: time }),
  ),
  'group.membership_request': row(
    'groups.read',
    'Somebody asked to join a group.',
    z.object({ group: chatRef, contact, at: time }),
  ),
  'call.received': row(
    'messages.receive',
    'Somebody is calling the linked phone. A session with `rejectCalls` has tried to reject the call by then: `autoReject` says whether the page shows it as rejected (`confirmed`), and which message answers it.',
    z.object({
      callId: z.string(),
      contact: contact.nullable(),
      isVideo: z.boolean(),
      isGroup: z.boolean(),
      at: time,
      autoReject: z.object({ attempted: z.boolean(), confirmed: z.boolean(), messageId: z.string().nullable() }),
    }),
  ),
  'bulk.status': row(
    'messages.send',
    'A bulk job changed its state or the reason of it, or five more percent of its recipients have their outcome. Carries the job.',
    bulkJob,
  ),
  'quota.exhausted': row(
    'instance.stats',
    'A quota was used up: further messages are refused with `QUOTA_EXCEEDED` until `resetAt`.',
    z.object({ scope: z.string(), limit: z.number().int(), resetAt: time }),
  ),
  'key.expiring': row(
    'keys.manage',
    'An API key expires soon. `successorId` names the key that replaces it, if one was made.',
    z.object({ keyId: z.string(), name: z.string(), expiresAt: time, successorId: z.string().nullable() }),
  ),
  'webhook.disabled': row(
    'webhook.configure',
    'An endpoint was switched off: its receiver answered 410 (`GONE`), or every delivery failed for days (`FAILING`).',
    z.object(webhookSwitch),
  ),
  'webhook.enabled': row('webhook.configure', 'An endpoint was switched on again.', z.object(webhookSwitch)),
  'webhook.backlog': row(
    'webhook.configure',
    'An endpoint fell more than a minute behind (`isBehind`), or has caught up. `waiting` counts unsettled deliveries.',
    z.object(webhookBacklog),
  ),
  'export.ready': row(
    'privacy.manage',
    'The archive of a privacy export can be downloaded until `expiresAt`.',
    z.object({ exportId: z.string(), expiresAt: time }),
  ),
} as const satisfies Record<string, { permission: Permission; doc: string; data: z.ZodType }>;

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

/** One row of the event log in the API's form. `cursor` is opaque and grows over the log; `sequence` counts without gaps within a session. */
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
