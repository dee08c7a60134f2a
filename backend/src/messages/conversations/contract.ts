import { chatRef, contact, defineRoute, listCursor, message, paging, withAliases } from '@chasqui/shared';
import { z } from 'zod';
import { sessionAliases, sessionRef } from '../../sessions/contract.js';

const { id, whatsappId, direction, origin, type, status, reason, from, text, timestamp, createdAt, editedAt, revokedAt } =
  message.shape;

/** How many characters of the last message a conversation shows. */
export const maxPreview = 200;

export const conversation = z
  .object({
    sessionId: z.string(),
    /** Pass `id` as `chatId` to `GET /messages/list`, and as `recipient` to a send. */
    chat: chatRef,
    /** The other person of a private chat, as they are known now. */
    contact: contact.nullable(),
    /** Received messages that were neither marked as seen (`POST /messages/:messageId/seen`) nor read on the phone. */
    unreadCount: z.number().int(),
    lastMessage: z.object({
      id,
      whatsappId,
      direction,
      origin,
      type,
      status,
      reason,
      from,
      text: text.describe(`The first ${maxPreview} characters.`),
      timestamp,
      createdAt,
      editedAt,
      revokedAt,
    }),
  })
  .meta({ id: 'Conversation' });
export type ConversationResource = z.infer<typeof conversation>;

const query = z.strictObject({
  sessionId: sessionRef.optional(),
  unread: z.enum(['true', 'false']).optional().describe('`true`: only with unread messages. `false`: only without.'),
  search: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .optional()
    .describe('A part of the name of the person or the group, or of the number with or without spaces and signs.'),
  limit: paging.limit,
  cursor: listCursor.optional(),
});
export type ConversationQuery = z.output<typeof query>;

export const listConversations = defineRoute({
  id: 'conversations.list',
  method: 'get',
  path: '/conversations',
  summary:
    'The chats with messages, the newest first, from the database: also while sessions are offline. A person whom WhatsApp addresses by number and by a hidden id is one conversation',
  auth: 'key',
  permission: 'messages.receive',
  query: withAliases(query, sessionAliases),
  reply: z.array(conversation),
  errors: ['SESSION_NOT_FOUND'],
});
