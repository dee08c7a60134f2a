import { z } from 'zod';
import type { FieldError } from '../errors.js';
import { whole } from '../input.js';
import { calendarChangeFields } from '../message-types/calendar-event.js';
import { observedMessage, observedPerson } from '../observed.js';
import { contact, foundMessage, message } from '../resources.js';
import { defineOperation } from './operation.js';

const emoji = z
  .string()
  .min(1)
  .max(64)
  .describe('One emoji.')
  .meta({ examples: ['👍'] });
const nothing = z.object({});
/** The message as the page shows it after the change; null if only our own log changed. */
const changed = z.object({ message: observedMessage.nullable() });
const at = z.iso.datetime().nullable();
const days = [86_400, 604_800, 2_592_000] as const;
const receipt = z.object({ contact: observedPerson, at });
const receiptResource = z.object({ contact, at });

/** An edit is of a text or of a calendar event. */
function checkEdit(body: Readonly<Record<string, unknown>>): FieldError | null {
  const ofEvent = Object.keys(calendarChangeFields).filter((name) => body[name] !== undefined);
  if (body['message'] === undefined && ofEvent.length === 0)
    return { path: 'message', code: 'REQUIRED', message: 'Send message, or at least one field of a calendar event.' };
  if (body['message'] !== undefined && ofEvent.length > 0)
    return { path: ofEvent[0]!, code: 'AMBIGUOUS', message: 'Send message, or fields of a calendar event, not both.' };
  const { startsAt, endsAt } = body;
  if (typeof startsAt === 'string' && typeof endsAt === 'string' && Date.parse(endsAt) <= Date.parse(startsAt))
    return { path: 'endsAt', code: 'BEFORE_START', message: 'The event ends before it starts. Give an endsAt after startsAt.' };
  return null;
}

/** A change that replies with the message. */
const messageChange = {
  scope: 'message',
  permission: 'messages.manage',
  output: nothing,
  reply: message,
  effect: 'write',
} as const;
/** A change that is a part of ordinary messaging, such as a reaction. It has no audit entry. */
const unauditedChange = { ...messageChange, isAudited: false } as const;
/** A read of what others did to a message, as WhatsApp Web knows it. */
const messageRead = { method: 'get', scope: 'message', permission: 'messages.receive', effect: 'read' } as const;

export const messages = {
  'messages.get': defineOperation({
    id: 'messages.get',
    method: 'get',
    scope: 'chatMessage',
    path: '',
    summary: 'One message of a chat as WhatsApp Web has it, by WhatsApp’s id or ours',
    permission: 'chats.read',
    output: observedMessage,
    reply: foundMessage,
    effect: 'read',
  }),
  'messages.search': defineOperation({
    id: 'messages.search',
    method: 'get',
    path: '/messages/search',
    summary: 'Search with WhatsApp’s own search: only what it has synchronised',
    permission: 'messages.receive',
    query: {
      query: z
        .string()
        .min(1)
        .max(200)
        .meta({ examples: ['invoice'] }),
      chatId: z.string().max(64).optional(),
      page: whole(1, 10_000).default(1),
      limit: whole(1, 200).default(50),
    },
    addresses: { chatId: 'chat' },
    output: z.array(observedMessage),
    reply: z.array(foundMessage),
    errors: ['CHAT_NOT_FOUND'],
    effect: 'read',
  }),
  'messages.edit': defineOperation({
    id: 'messages.edit',
    method: 'patch',
    scope: 'message',
    path: '',
    inChat: { id: 'messages.editInChat', reply: foundMessage },
    summary: 'Edit an own message: its text or caption, which WhatsApp allows for 15 minutes, or the fields of a calendar event',
    permission: 'messages.manage',
    body: {
      message: z
        .string()
        .min(1)
        .max(65_536)
        .optional()
        .describe('The new text, or the new caption of a file. Not together with the fields of a calendar event.'),
      ...calendarChangeFields,
    },
    bodyCheck: { check: checkEdit, example: { message: 'Good morning' } },
    output: changed,
    reply: message,
    errors: ['MESSAGE_NOT_EDITABLE'],
    effect: 'write',
  }),
  'messages.delete': defineOperation({
    id: 'messages.delete',
    method: 'delete',
    scope: 'message',
    path: '',
    inChat: {
      id: 'messages.deleteInChat',
      query: z.strictObject({ scope: z.enum(['me', 'everyone']).default('me') }),
      reply: foundMessage,
    },
    summary: 'Delete a message: from the log alone, for the linked account, or for everyone',
    permission: 'messages.manage',
    query: {
      scope: z
        .enum(['log', 'me', 'everyone'])
        .default('log')
        .describe(
          'log: only here; WhatsApp keeps the message. me: on all devices of the linked account. everyone: for all recipients too; 409 when WhatsApp no longer allows it.',
        ),
    },
    output: changed,
    reply: message,
    errors: ['MESSAGE_NOT_EDITABLE'],
    effect: 'write',
  }),
  'messages.react': defineOperation({
    ...unauditedChange,
    id: 'messages.react',
    method: 'put',
    path: '/reaction',
    summary: 'React to a message; a second reaction replaces the first',
    body: { emoji },
  }),
  'messages.unreact': defineOperation({
    ...unauditedChange,
    id: 'messages.unreact',
    method: 'delete',
    path: '/reaction',
    summary: 'Remove the linked account’s reaction',
  }),
  'messages.reactions': defineOperation({
    ...messageRead,
    id: 'messages.reactions',
    path: '/reactions',
    summary: 'Who reacted to a message, and with what',
    output: z.array(z.object({ contact: observedPerson, emoji: z.string(), at })),
    reply: z.array(z.object({ contact, emoji: z.string(), at })),
  }),
  'messages.star': defineOperation({
    ...unauditedChange,
    id: 'messages.star',
    method: 'put',
    path: '/star',
    summary: 'Star a message; only the linked account sees the star',
    errors: ['MESSAGE_NOT_EDITABLE'],
  }),
  'messages.unstar': defineOperation({
    ...unauditedChange,
    id: 'messages.unstar',
    method: 'delete',
    path: '/star',
    summary: 'Remove the star of a message',
    errors: ['MESSAGE_NOT_EDITABLE'],
  }),
  'messages.pin': defineOperation({
    ...messageChange,
    id: 'messages.pin',
    method: 'put',
    path: '/pin',
    summary: 'Pin a message in its chat, for all members',
    body: { seconds: z.union(days.map((one) => z.literal(one))).describe('A day, a week or 30 days.') },
    errors: ['GROUP_ADMIN_REQUIRED', 'GROUP_NOT_FOUND'],
  }),
  'messages.unpin': defineOperation({
    ...messageChange,
    id: 'messages.unpin',
    method: 'delete',
    path: '/pin',
    summary: 'Unpin a message',
    errors: ['GROUP_ADMIN_REQUIRED', 'GROUP_NOT_FOUND'],
  }),
  'messages.seen': defineOperation({
    ...unauditedChange,
    id: 'messages.seen',
    method: 'post',
    path: '/seen',
    summary: 'Mark the chat of a message as seen; WhatsApp marks whole chats',
    errors: ['CHAT_NOT_FOUND'],
  }),
  'messages.votes': defineOperation({
    ...messageRead,
    id: 'messages.votes',
    path: '/votes',
    summary: 'Who voted in a poll, and for which options',
    output: z.array(z.object({ contact: observedPerson, options: z.array(z.string()), at })),
    reply: z.array(z.object({ contact, options: z.array(z.string()), at })),
  }),
  'messages.vote': defineOperation({
    ...unauditedChange,
    id: 'messages.vote',
    examples: { 'One option': { options: ['Today'] } },
    method: 'post',
    path: '/votes',
    summary: 'Vote in a poll; a second vote replaces the first, and an empty one removes it',
    body: {
      options: z.array(z.string().min(1).max(1_024)).max(100).describe('The names of options, exactly as the poll has them.'),
    },
    output: z.object({ options: z.array(z.string()) }),
    reply: z.object({ options: z.array(z.string()) }),
  }),
  'messages.receipts': defineOperation({
    ...messageRead,
    id: 'messages.receipts',
    path: '/receipts',
    summary: 'Who received, read and played a message that the account sent, and how many have not',
    output: z.object({
      delivered: z.array(receipt),
      read: z.array(receipt),
      played: z.array(receipt),
      remaining: z.object({ delivered: z.number().int(), read: z.number().int(), played: z.number().int() }),
    }),
    reply: z.object({
      delivered: z.array(receiptResource),
      read: z.array(receiptResource),
      played: z.array(receiptResource),
      remaining: z
        .object({ delivered: z.number().int(), read: z.number().int(), played: z.number().int() })
        .describe('The number of recipients who have not, as WhatsApp counts them.'),
    }),
  }),
  'messages.calendarResponse': defineOperation({
    ...unauditedChange,
    id: 'messages.calendarResponse',
    method: 'put',
    path: '/calendar-response',
    summary: 'Answer a calendar event',
    body: { response: z.enum(['going', 'maybe', 'not_going']) },
    output: z.object({ response: z.enum(['going', 'maybe', 'not_going']) }),
    reply: z.object({ response: z.enum(['going', 'maybe', 'not_going']) }),
    support: 'degraded',
    supportReason: 'WhatsApp Web does not show the account’s answer: success means that WhatsApp’s server has accepted it.',
  }),
};
