/* eslint-disable max-lines -- a table, one entry for each route of messages */
import {
  commaList,
  defineRoute,
  exampleIds,
  fileOptionFields,
  fileSourceFields,
  instant,
  listCursor,
  mediaTypes,
  message,
  messageOrigins,
  messageStatuses,
  messageTypes,
  paging,
  quota as quotaResource,
  requestOf,
  requestTypes,
  timelineEntry,
  timezoneName,
  withAliases,
  fileErrors,
  type ErrorCode,
  type InputOf,
  type RequestType,
} from '@chasqui/shared';
import { z } from 'zod';
import { sessionAliases, sessionRef } from '../sessions/contract.js';
import { variables } from '../templates/contract.js';

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
  'SCHEDULE_IN_PAST',
  'IDEMPOTENCY_IN_PROGRESS',
  'IDEMPOTENCY_KEY_REUSED',
];

const scheduledTime = z.iso.datetime({ offset: true, local: true }).meta({
  description:
    'When it is sent: an instant, or a wall time without an offset in `timezone`. The reply is 202 with the status `scheduled`.',
  examples: ['2026-12-24T18:00'],
});
/** When a message is sent. */
const timing = {
  scheduledAt: scheduledTime.optional(),
  timezone: timezoneName
    .optional()
    .describe('The time zone of a `scheduledAt` without an offset. Absent: that of the session, or of its account.'),
  urgent: z.boolean().optional().describe('Passes the quiet hours of the session.'),
};

/** Fields of every send. Their order is part of the stored hashes of requests: append, do not reorder. */
const common = {
  sessionId: sessionRef.optional(),
  recipient: z.string().min(1).max(80).describe('A phone number with its country code, or the id of a chat.'),
  quotedMessageId: z.string().min(1).max(160).optional(),
  ignoreQuoteErrors: z.boolean().optional(),
  mentions: z.array(z.string().max(80)).max(256).optional(),
  expiresAt: instant.optional(),
  async: z.boolean().optional(),
  queueIfOffline: z.boolean().optional(),
  ...timing,
  groupMentions: z
    .array(z.strictObject({ id: z.string().min(1).max(80), name: z.string().trim().min(1).max(100) }))
    .max(50)
    .optional()
    .describe('Groups that the text or the caption mentions as `@` and their id (…@g.us); phones show `name` in its place.'),
};
export type CommonFields = z.output<z.ZodObject<typeof common>>;
const aliases = { ...sessionAliases, to: 'recipient' };

const mediaFields = { ...fileSourceFields, ...fileOptionFields };

/** What the statuses of a send mean. */
const sendReplies = {
  200: 'WhatsApp’s server has the message.',
  202: 'The message is stored; `status` tells what holds now. `queued`, `scheduled`, `sending`: it will be sent. `uncertain`: it may have left. Read it again, or wait for its events.',
};

const sending = <B extends z.ZodType>(
  id: string,
  path: string,
  summary: string,
  body: B,
  more: { upload?: boolean; errors?: readonly ErrorCode[]; examples?: Record<string, z.input<B>> } = {},
) =>
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
    replies: sendReplies,
    ...(more.examples ? { examples: more.examples } : {}),
    errors: [...send, ...(more.upload ? fileErrors : []), ...(more.errors ?? [])],
  });

/** The body of a type's own route. The fields that are specific to the type are read by the function of its row only. */
export type TypedBody = CommonFields & Record<string, unknown>;

/** `group_invite` → `GroupInvite`. */
const pascal = (type: string): string => type.replace(/(?:^|_)(\w)/g, (_, first: string) => first.toUpperCase());

function typedRoute(type: RequestType) {
  const { summary, fields, aliases: more, example, moreExamples, isRenderedAsText } = requestOf(type);
  const recipient = '+5511999990001';
  const examples = Object.fromEntries(
    Object.entries({ [summary]: example, ...moreExamples }).map(([words, body]) => [words, { recipient, ...body } as TypedBody]),
  );
  const schema: z.ZodType<TypedBody> = withAliases(z.strictObject({ ...common, ...fields }), { ...aliases, ...more });
  return sending(`messages.send${pascal(type)}`, `/messages/send-${type.replaceAll('_', '-')}`, summary, schema, {
    examples,
    errors: isRenderedAsText ? ['INTERACTIVE_REJECTED'] : [],
  });
}

/** The route of each type that needs no file: `text` has `messages.sendText`, `POST /messages/send-text`. */
export const sendTyped = Object.fromEntries(requestTypes.map((type) => [type, typedRoute(type)])) as Record<
  RequestType,
  ReturnType<typeof typedRoute>
>;

export const sendMedia = sending(
  'messages.sendMedia',
  '/messages/send-media',
  'Send a file: multipart, URL, base64 or an uploaded one',
  withAliases(z.strictObject({ ...common, type: z.enum(mediaTypes).optional(), ...mediaFields }), aliases),
  {
    upload: true,
    examples: {
      'A file by URL': { recipient: '+5511999990001', mediaUrl: 'https://example.com/invoice.pdf', caption: 'Your invoice' },
      'A file as base64': { recipient: '+5511999990001', mediaBase64: 'R0lGODlhAQABAAAAACw=', filename: 'logo.gif' },
      'An uploaded file': { recipient: '+5511999990001', mediaId: exampleIds.mediaId, type: 'document' },
    },
  },
);
export type MediaBody = InputOf<typeof sendMedia>['body'];

const forwardBody = z.strictObject({
  recipient: common.recipient,
  expiresAt: common.expiresAt,
  async: common.async,
  queueIfOffline: common.queueIfOffline,
  ...timing,
});
export const forward = defineRoute({
  id: 'messages.forward',
  method: 'post',
  path: '/messages/:messageId/forward',
  summary: 'Send the content of a message to another chat, marked as forwarded',
  auth: 'key',
  permission: 'messages.send',
  idempotency: 'by_route',
  headers: ['Prefer', 'X-Session-Id'],
  params: z.object({ messageId: z.string().min(1).max(160) }),
  body: withAliases(forwardBody, { to: 'recipient' }),
  examples: { 'To another chat': { recipient: '+5511999990001' } },
  replies: sendReplies,
  status: [200, 202],
  reply: message,
  errors: [...send, 'CONTENT_WIPED', 'MEDIA_EXPIRED', 'MEDIA_NOT_FOUND', 'FILE_TOO_LARGE', 'NOT_SUPPORTED_BY_WHATSAPP'],
});

const typedBodies = requestTypes.map((type) => z.strictObject({ type: z.literal(type), ...common, ...requestOf(type).fields }));
const mediaBody = z.strictObject({ type: z.enum(mediaTypes), ...common, ...mediaFields });
/** Fills a template with variables and sends it as a message of its type. */
const templateBody = z.strictObject({
  type: z.literal('template'),
  ...common,
  templateId: z.string().min(1).max(64),
  variables: variables.default({}),
});
export type TemplateBody = z.output<typeof templateBody>;
type AnySchema = (typeof typedBodies)[number] | typeof mediaBody | typeof templateBody;
const [firstBody, ...moreBodies] = typedBodies;
const bodies: [AnySchema, ...AnySchema[]] = [firstBody!, ...moreBodies, mediaBody, templateBody];
const anyErrors: readonly ErrorCode[] = ['INTERACTIVE_REJECTED', 'TEMPLATE_NOT_FOUND', 'MISSING_VARIABLE'];
const typedAliases = Object.assign({}, ...requestTypes.map((type) => requestOf(type).aliases)) as Record<string, string>;

/** Sends any type by one route; the fields are those of the type's own route. */
export const sendAny = sending(
  'messages.send',
  '/messages/send',
  'Send a message of any type, or a filled template',
  withAliases(z.discriminatedUnion('type', bodies), { ...aliases, ...typedAliases }),
  {
    upload: true,
    errors: anyErrors,
    examples: {
      'A text': { type: 'text', recipient: '+5511999990001', message: 'Hello Ana' },
      'A file by URL': {
        type: 'document',
        recipient: '+5511999990001',
        mediaUrl: 'https://example.com/invoice.pdf',
        caption: 'Your invoice',
      },
      'A template': {
        type: 'template',
        recipient: '+5511999990001',
        templateId: exampleIds.templateId,
        variables: { name: 'Ana' },
      },
    },
  },
);
export type AnyBody = InputOf<typeof sendAny>['body'];

/** The fields of a message that is made later and several times: what it is, and to whom. */
const laterFields = {
  recipient: common.recipient,
  quotedMessageId: common.quotedMessageId,
  ignoreQuoteErrors: common.ignoreQuoteErrors,
  mentions: common.mentions,
  urgent: timing.urgent,
};
const laterTyped = requestTypes.map((type) =>
  z.strictObject({ type: z.literal(type), ...laterFields, ...requestOf(type).fields }),
);
const laterMedia = z.strictObject({ type: z.enum(mediaTypes), ...laterFields, ...mediaFields });
const laterTemplate = z.strictObject({
  type: z.literal('template'),
  ...laterFields,
  templateId: z.string().min(1).max(64),
  variables: variables.default({}),
});
type LaterSchema = (typeof laterTyped)[number] | typeof laterMedia | typeof laterTemplate;
const laterBodies = [...laterTyped, laterMedia, laterTemplate] as unknown as [LaterSchema];
/** A message of any type, or a template with its variables, as the body of `POST /messages/send` without the fields that say when and through which session it is sent. */
export const laterMessage = withAliases(z.discriminatedUnion('type', laterBodies), { to: 'recipient', ...typedAliases });
export type LaterMessage = z.output<typeof laterMessage>;

const textByDefault = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && !('type' in value) ? { ...value, type: 'text' } : value;

/** The same to a group alone: `groupId` is another name of the recipient, and the type is `text` if absent. */
export const sendGroup = sending(
  'messages.sendGroup',
  '/messages/send-group',
  'Send a message of any type to the group `groupId`; a text if `type` is absent',
  withAliases(z.preprocess(textByDefault, z.discriminatedUnion('type', bodies)), {
    ...aliases,
    ...typedAliases,
    groupId: 'recipient',
  }),
  {
    upload: true,
    errors: anyErrors,
    examples: { 'A text': { groupId: '120363041234567890@g.us', message: 'Good morning' } },
  },
);

const whole = 'WhatsApp Web posts a story to everyone in the account’s privacy settings and ignores a list of recipients.';
const storyBody = z.strictObject({
  message: z.string().min(1).max(700).optional(),
  backgroundColor: z
    .string()
    .regex(/^#[0-9a-f]{6}$/i, 'Write the color as #rrggbb.')
    .optional(),
  font: z.number().int().min(0).max(7).optional(),
  type: z.enum(['image', 'video']).optional(),
  ...fileSourceFields,
  caption: fileOptionFields.caption,
  recipients: z.undefined(whole).optional().describe(`Refused. ${whole}`),
  expiresAt: common.expiresAt,
  async: common.async,
  queueIfOffline: common.queueIfOffline,
  ...timing,
});
export const postStory = defineRoute({
  id: 'stories.post',
  method: 'post',
  path: '/sessions/:sessionId/stories',
  summary: 'Post a story: a text, an image or a video, to everyone in the account’s privacy settings',
  auth: 'key',
  permission: 'stories.manage',
  idempotency: 'by_route',
  headers: ['Prefer'],
  params: z.object({ sessionId: sessionRef }),
  body: storyBody,
  examples: { 'A text': { message: 'Open until nine', backgroundColor: '#7acca5' } },
  replies: sendReplies,
  consumes: 'upload',
  status: [200, 202],
  reply: message,
  errors: [...send, ...fileErrors, 'NOT_SUPPORTED_BY_WHATSAPP'],
});
export type StoryBody = InputOf<typeof postStory>['body'];

const listQuery = z.strictObject({
  sessionId: sessionRef.optional(),
  direction: z.enum(['inbound', 'outbound']).optional(),
  type: commaList(messageTypes),
  status: commaList(messageStatuses, { pending: ['queued', 'sending'] }),
  origin: commaList(messageOrigins),
  chatId: z.string().max(80).optional(),
  contact: z.string().max(80).optional(),
  bulkJobId: z.string().max(36).optional(),
  from: instant.optional(),
  to: instant.optional(),
  search: z.string().min(1).max(200).optional(),
  order: z.enum(['asc', 'desc']).default('desc'),
  ...paging,
  cursor: listCursor.optional(),
});
export type ListQuery = z.output<typeof listQuery>;
const listErrors: readonly ErrorCode[] = ['SESSION_NOT_FOUND', 'INVALID_RECIPIENT'];
const listing = (id: string, path: string) =>
  defineRoute({
    id,
    method: 'get',
    path,
    summary:
      'Messages, newest first. `search`: a part of a text, of the name of a person or group as it is now, or of a number of at least 7 digits in any form; or our id or WhatsApp’s',
    auth: 'key',
    permission: 'messages.receive',
    query: withAliases(listQuery, sessionAliases),
    reply: z.array(message),
    errors: listErrors,
  });

const params = z.object({ messageId: z.string().min(1).max(160) });
export const listMessages = listing('messages.list', '/messages/list');
export const listAll = listing('messages.listAll', '/messages');
export const listOfSession = defineRoute({
  id: 'sessions.logs',
  method: 'get',
  path: '/sessions/:sessionId/logs',
  summary: 'The messages of one session, newest first, with the filters of `GET /messages/list`',
  auth: 'key',
  permission: 'messages.receive',
  params: z.object({ sessionId: sessionRef }),
  query: listQuery.omit({ sessionId: true }),
  reply: z.array(message),
  errors: listErrors,
});
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
/** The errors of routes that name a message. WhatsApp's id of a message is searched in the session of X-Session-Id. */
const messageErrors: readonly ErrorCode[] = ['MESSAGE_NOT_FOUND', 'SESSION_NOT_FOUND', 'SESSION_REQUIRED'];
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
  errors: messageErrors,
});
export const timeline = defineRoute({
  id: 'messages.timeline',
  headers: ['X-Session-Id'],
  method: 'get',
  path: '/messages/:messageId/timeline',
  summary: 'Every change of a message’s state',
  auth: 'key',
  permission: 'messages.receive',
  params,
  reply: z.array(timelineEntry),
  errors: messageErrors,
});
export const mediaFile = defineRoute({
  id: 'messages.media',
  headers: ['X-Session-Id', 'Range'],
  method: 'get',
  path: '/messages/:messageId/media',
  summary: 'The file of a message',
  auth: 'key',
  permission: 'messages.receive',
  params,
  status: [200, 206],
  files: ['application/octet-stream'],
  envelope: false,
  errors: [...messageErrors, 'MEDIA_NOT_FOUND', 'MEDIA_EXPIRED', 'RANGE_NOT_SATISFIABLE'],
});
export const thumbnail = defineRoute({
  id: 'messages.thumbnail',
  headers: ['X-Session-Id'],
  method: 'get',
  path: '/messages/:messageId/thumbnail',
  summary:
    'The thumbnail of a message’s file, a small JPEG or PNG, as WhatsApp delivered it. `thumbnailUrl` of the file says whether there is one',
  auth: 'key',
  permission: 'messages.receive',
  params,
  status: [200],
  files: ['image/jpeg', 'image/png'],
  envelope: false,
  errors: [...messageErrors, 'MEDIA_NOT_FOUND', 'MEDIA_EXPIRED'],
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
  errors: [...messageErrors, 'MESSAGE_NOT_RETRYABLE', 'CONTENT_WIPED', 'SEND_FAILED'],
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
  errors: [...messageErrors, 'MESSAGE_NOT_CANCELLABLE'],
});
export const reschedule = defineRoute({
  id: 'messages.reschedule',
  examples: { 'A wall time': { scheduledAt: '{{soon}}T18:00', timezone: 'America/Sao_Paulo' } },
  headers: ['X-Session-Id'],
  method: 'put',
  path: '/messages/:messageId/schedule',
  summary: 'Move a scheduled message to another time',
  auth: 'key',
  permission: 'messages.send',
  params,
  body: z.strictObject({ scheduledAt: scheduledTime, timezone: timing.timezone }),
  reply: message,
  errors: [...messageErrors, 'MESSAGE_NOT_SCHEDULED', 'SCHEDULE_IN_PAST'],
});
export const decideHeld = defineRoute({
  id: 'messages.decideHeld',
  method: 'post',
  path: '/sessions/:sessionId/held-messages',
  summary:
    'Decide on the messages that were accepted for the previous WhatsApp account: send them as the current account, or cancel them',
  auth: 'key',
  permission: 'messages.send',
  params: z.object({ sessionId: sessionRef }),
  body: z.strictObject({ decision: z.enum(['send', 'cancel']) }),
  /** `messages`: the number of messages that were changed. `uncertain`: the number that may have been sent already; each is settled on its own. */
  reply: z.object({ messages: z.number().int(), uncertain: z.number().int() }),
  errors: ['SESSION_NOT_FOUND'],
});
export const resolve = defineRoute({
  id: 'messages.resolve',
  headers: ['X-Session-Id'],
  method: 'post',
  path: '/messages/:messageId/resolve',
  summary: 'Resolve an uncertain message by hand',
  auth: 'key',
  permission: 'messages.send',
  params,
  body: z.strictObject({ as: z.enum(['sent', 'failed', 'retry']) }),
  reply: message,
  errors: [...messageErrors, 'MESSAGE_NOT_UNCERTAIN'],
});
