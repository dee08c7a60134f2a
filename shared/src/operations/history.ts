import { z } from 'zod';
import { whole } from '../input.js';
import { queryFlag } from '../paging.js';
import { observedMessage } from '../observed.js';
import { foundMessage } from '../resources.js';
import { defineOperation } from './operation.js';

const ofChat = { params: { chatId: z.string().max(64) }, addresses: { chatId: 'chat' } } as const;

/** The messages of a chat as WhatsApp has them. The log of this gateway is `GET /messages`. */
export const history = {
  'history.messages': defineOperation({
    id: 'history.messages',
    method: 'get',
    path: '/chats/:chatId/messages',
    summary: 'Messages of a chat as WhatsApp Web has them, newest first',
    permission: 'chats.read',
    ...ofChat,
    query: {
      limit: whole(1, 200).default(50),
      before: z
        .string()
        .max(160)
        .optional()
        .describe(
          'WhatsApp’s id of a message (`whatsappId`): only messages before it. For the next page, pass the id of the last message of this page.',
        ),
      fromMe: queryFlag.optional().describe('Only messages of the linked account, or only those of others.'),
    },
    output: z.array(observedMessage),
    reply: z.array(foundMessage),
    errors: ['CHAT_NOT_FOUND', 'MESSAGE_NOT_FOUND'],
    effect: 'read',
  }),
  'history.request': defineOperation({
    id: 'history.request',
    method: 'post',
    path: '/chats/:chatId/history',
    summary: 'Ask the phone for older messages of a chat; they arrive with origin backfill while it is online',
    permission: 'chats.manage',
    ...ofChat,
    output: z.object({ requested: z.literal(true) }),
    status: 202,
    errors: ['CHAT_NOT_FOUND'],
    effect: 'write',
    isAudited: false,
    support: 'degraded',
    supportReason: 'The phone answers later, and only while it is online: success means that WhatsApp Web has sent the request.',
  }),
};
