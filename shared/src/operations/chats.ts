import { z } from 'zod';
import { paging } from '../paging.js';
import { chat } from '../resources.js';
import { defineOperation } from './operation.js';

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
};
