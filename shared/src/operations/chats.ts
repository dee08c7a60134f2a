import { z } from 'zod';
import { paging } from '../paging.js';
import { chat } from '../resources.js';
import { defineOperation } from './operation.js';

const ofChat = { params: { chatId: z.string().max(64) }, addresses: { chatId: 'chat' }, errors: ['CHAT_NOT_FOUND'] } as const;

export const chats = {
  'chats.list': defineOperation({
    id: 'chats.list',
    method: 'get',
    path: '/chats',
    summary: 'Chats as the WhatsApp Web page has them, newest first',
    permission: 'chats.read',
    query: {
      type: z.enum(['private', 'group', 'channel']).optional(),
      archived: z.stringbool().optional(),
      ...paging,
    },
    output: z.array(chat),
    effect: 'read',
  }),
  'chats.archive': defineOperation({
    id: 'chats.archive',
    method: 'put',
    path: '/chats/:chatId/archive',
    summary: 'Archive a chat',
    permission: 'chats.manage',
    ...ofChat,
    output: chat,
    effect: 'write',
  }),
  'chats.unarchive': defineOperation({
    id: 'chats.unarchive',
    method: 'delete',
    path: '/chats/:chatId/archive',
    summary: 'Take a chat out of the archive',
    permission: 'chats.manage',
    ...ofChat,
    output: chat,
    effect: 'write',
  }),
};
