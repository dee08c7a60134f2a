import {
  commaList,
  decimal,
  defineRoute,
  mediaTypes,
  message,
  messageOrigins,
  messageStatuses,
  messageTypes,
  paging,
  quota as quotaResource,
  timelineEntry,
  withAliases,
  type ErrorCode,
  type InputOf,
} from '@chasqui/shared';
import { z } from 'zod';
import { sessionAliases, sessionRef } from '../sessions/contract.js';

const send: readonly ErrorCode[] = [
  'SESSION_NOT_FOUND',
  'SESSION_REQUIRED',
  'SESSION_NOT_CONNECTED',
  'SESSION_SUSPENDED',
  'INVALID_RECIPIENT',
  'RECIPIENT_NOT_SUPPORTED',
  'MESSAGE_NOT_FOUND',
  'QUEUE_FULL',
  'QUOTA_EXCEEDED',
  'SEND_FAILED',
  'IDEMPOTENCY_IN_PROGRESS',
  'IDEMPOTENCY_KEY_REUSED',
];
const file: readonly ErrorCode[] = [
  'FILE_TOO_LARGE',
  'FILE_TYPE_NOT_ALLOWED',
  'FILE_TYPE_MISMATCH',
  'URL_NOT_ALLOWED',
  'MEDIA_URL_FAILED',
  'MEDIA_NOT_FOUND',
  'MEDIA_EXPIRED',
];

/** What every send takes besides its own fields. */
const common = {
  sessionId: sessionRef.optional(),
  recipient: z.string().min(1).max(80),
  quotedMessageId: z.string().min(1).max(160).optional(),
  ignoreQuoteErrors: z.boolean().optional(),
  mentions: z.array(z.string().max(80)).max(256).optional(),
  expiresAt: z.iso.datetime({ offset: true }).optional(),
  async: z.boolean().optional(),
  queueIfOffline: z.boolean().optional(),
};
const aliases = { ...sessionAliases, to: 'recipient' };

const text = { message: z.string().min(1).max(65_536), linkPreview: z.boolean().optional() };
const location = {
  latitude: decimal(-90, 90),
  longitude: decimal(-180, 180),
  name: z.string().max(256).optional(),
  address: z.string().max(512).optional(),
};
const contacts = {
  contacts: z
    .array(
      z.union([
        z.strictObject({ name: z.string().min(1).max(128), phone: z.string().min(1).max(80) }),
        z.strictObject({ vcard: z.string().min(1).max(20_000) }),
      ]),
    )
    .min(1)
    .max(20),
};
const poll = {
  question: z.string().min(1).max(255),
  /** WhatsApp counts the votes of an option by its text. */
  options: z
    .array(z.string().min(1).max(100))
    .min(2)
    .max(12)
    .refine((options) => new Set(options).size === options.length, 'Two options have the same text.'),
  multiple: z.boolean().optional(),
};
const media = {
  type: z.enum(mediaTypes).optional(),
  mediaUrl: z.string().max(4096).optional(),
  mediaBase64: z.string().optional(),
  mediaId: z.string().max(64).optional(),
  mimetype: z.string().max(127).optional(),
  filename: z.string().max(255).optional(),
  caption: z.string().max(4096).optional(),
  viewOnce: z.boolean().optional(),
  hd: z.boolean().optional(),
  gif: z.boolean().optional(),
  asDocument: z.boolean().optional(),
  stickerName: z.string().max(128).optional(),
  stickerAuthor: z.string().max(128).optional(),
};

const sendBody = {
  text: { ...common, ...text },
  location: { ...common, ...location },
  contact: { ...common, ...contacts },
  poll: { ...common, ...poll },
};
const { type: _, ...mediaFields } = media;

const sending = <B extends z.ZodType>(id: string, path: string, summary: string, body: B, more: { upload?: boolean } = {}) =>
  defineRoute({
    id,
    method: 'post',
    path,
    summary,
    auth: 'key',
    permission: 'messages.send',
    idempotency: 'by_route',
    headers: ['Prefer', 'X-Session-Id'],
    query: withAliases(z.strictObject({ sessionId: sessionRef.optional() }), sessionAliases),
    body,
    consumes: more.upload ? 'upload' : 'json',
    status: [200, 202],
    reply: message,
    errors: more.upload ? [...send, ...file] : send,
  });

export const sendText = sending(
  'messages.sendText',
  '/messages/send-text',
  'Send a text',
  withAliases(z.strictObject(sendBody.text), { ...aliases, text: 'message', body: 'message' }),
);
export const sendMedia = sending(
  'messages.sendMedia',
  '/messages/send-media',
  'Send a file: multipart, URL, base64 or an uploaded one',
  withAliases(z.strictObject({ ...common, ...media }), aliases),
  { upload: true },
);
export const sendLocation = sending(
  'messages.sendLocation',
  '/messages/send-location',
  'Send a location',
  withAliases(z.strictObject(sendBody.location), aliases),
);
export const sendContact = sending(
  'messages.sendContact',
  '/messages/send-contact',
  'Send contact cards',
  withAliases(z.strictObject(sendBody.contact), aliases),
);
export const sendPoll = sending(
  'messages.sendPoll',
  '/messages/send-poll',
  'Send a poll',
  withAliases(z.strictObject(sendBody.poll), aliases),
);

/** Any type by one route; the fields are those of that type's own. */
export const sendAny = sending(
  'messages.send',
  '/messages/send',
  'Send a message of any type',
  withAliases(
    z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('text'), ...sendBody.text }),
      z.strictObject({ type: z.literal('location'), ...sendBody.location }),
      z.strictObject({ type: z.literal('contact'), ...sendBody.contact }),
      z.strictObject({ type: z.literal('poll'), ...sendBody.poll }),
      z.strictObject({ type: z.enum(mediaTypes), ...common, ...mediaFields }),
    ]),
    { ...aliases, text: 'message', body: 'message' },
  ),
  { upload: true },
);
export type SendAny = InputOf<typeof sendAny>['body'];

const listQuery = z.strictObject({
  sessionId: sessionRef.optional(),
  direction: z.enum(['inbound', 'outbound']).optional(),
  type: commaList(messageTypes),
  status: commaList(messageStatuses, { pending: ['queued', 'sending'] }),
  origin: commaList(messageOrigins),
  chatId: z.string().max(80).optional(),
  contact: z.string().max(80).optional(),
  from: z.iso.datetime({ offset: true }).optional(),
  to: z.iso.datetime({ offset: true }).optional(),
  search: z.string().min(1).max(200).optional(),
  order: z.enum(['asc', 'desc']).default('desc'),
  ...paging,
  cursor: z.string().max(200).optional(),
});
export type ListQuery = z.output<typeof listQuery>;
const listing = (id: string, path: string) =>
  defineRoute({
    id,
    method: 'get',
    path,
    summary: 'Messages, newest first',
    auth: 'key',
    permission: 'messages.receive',
    query: withAliases(listQuery, sessionAliases),
    reply: z.array(message),
    errors: ['SESSION_NOT_FOUND', 'INVALID_RECIPIENT'],
  });

const params = z.object({ messageId: z.string().min(1).max(160) });
export const listMessages = listing('messages.list', '/messages/list');
export const listAll = listing('messages.listAll', '/messages');
export const quota = defineRoute({
  id: 'messages.quota',
  headers: ['X-Session-Id'],
  method: 'get',
  path: '/messages/quota',
  summary: 'How much of each quota is left',
  auth: 'key',
  permission: 'instance.stats',
  query: withAliases(z.strictObject({ sessionId: sessionRef.optional() }), sessionAliases),
  reply: quotaResource,
  errors: ['SESSION_NOT_FOUND', 'SESSION_REQUIRED'],
});
/** A message that is named by WhatsApp's id, in the session that X-Session-Id names. */
const named: readonly ErrorCode[] = ['MESSAGE_NOT_FOUND', 'SESSION_NOT_FOUND', 'SESSION_REQUIRED'];
export const read = defineRoute({
  id: 'messages.read',
  headers: ['X-Session-Id'],
  method: 'get',
  path: '/messages/:messageId',
  summary: 'One message, by our id or WhatsApp’s',
  auth: 'key',
  permission: 'messages.receive',
  params,
  reply: message,
  errors: named,
});
export const timeline = defineRoute({
  id: 'messages.timeline',
  headers: ['X-Session-Id'],
  method: 'get',
  path: '/messages/:messageId/timeline',
  summary: 'Every change of its state',
  auth: 'key',
  permission: 'messages.receive',
  params,
  reply: z.array(timelineEntry),
  errors: named,
});
export const mediaFile = defineRoute({
  id: 'messages.media',
  headers: ['X-Session-Id', 'Range'],
  method: 'get',
  path: '/messages/:messageId/media',
  summary: 'Its file',
  auth: 'key',
  permission: 'messages.receive',
  params,
  status: [200, 206],
  files: ['application/octet-stream'],
  envelope: false,
  errors: [...named, 'MEDIA_NOT_FOUND', 'MEDIA_EXPIRED', 'RANGE_NOT_SATISFIABLE'],
});
export const retry = defineRoute({
  id: 'messages.retry',
  headers: ['X-Session-Id'],
  method: 'post',
  path: '/messages/:messageId/retry',
  summary: 'Send a failed message again, under the same WhatsApp id',
  auth: 'key',
  permission: 'messages.send',
  params,
  body: z.strictObject({}),
  status: [200, 202],
  reply: message,
  errors: [...named, 'MESSAGE_NOT_RETRYABLE', 'CONTENT_WIPED', 'SEND_FAILED'],
});
export const cancel = defineRoute({
  id: 'messages.cancel',
  headers: ['X-Session-Id'],
  method: 'post',
  path: '/messages/:messageId/cancel',
  summary: 'Cancel a message that still waits',
  auth: 'key',
  permission: 'messages.send',
  params,
  body: z.strictObject({}),
  reply: message,
  errors: [...named, 'MESSAGE_NOT_CANCELLABLE'],
});
export const decideHeld = defineRoute({
  id: 'messages.decideHeld',
  method: 'post',
  path: '/sessions/:sessionId/held-messages',
  summary:
    'Decide on the messages that were accepted for the WhatsApp account before the present one: send them as the present one, or cancel them',
  auth: 'key',
  permission: 'messages.send',
  params: z.object({ sessionId: sessionRef }),
  body: z.strictObject({ decision: z.enum(['send', 'cancel']) }),
  /** `messages`: how many the decision was carried out on. `uncertain`: how many may have left already and are to be settled one by one. */
  reply: z.object({ messages: z.number().int(), uncertain: z.number().int() }),
  errors: ['SESSION_NOT_FOUND'],
});
export const resolve = defineRoute({
  id: 'messages.resolve',
  headers: ['X-Session-Id'],
  method: 'post',
  path: '/messages/:messageId/resolve',
  summary: 'Settle an uncertain message by hand',
  auth: 'key',
  permission: 'messages.send',
  params,
  body: z.strictObject({ as: z.enum(['sent', 'failed', 'retry']) }),
  reply: message,
  errors: [...named, 'MESSAGE_NOT_UNCERTAIN'],
});
