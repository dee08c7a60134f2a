import { z } from 'zod';
import { ofChat } from './chats.js';
import { defineOperation, unseen } from './operation.js';

const subscription = z.object({ chatId: z.string(), subscribed: z.boolean() });

export const presence = {
  'presence.set': defineOperation({
    id: 'presence.set',
    method: 'put',
    path: '/presence',
    summary: 'Show the account as available or unavailable. While it is available, the phone shows no notifications of messages',
    permission: 'presence.manage',
    body: { state: z.enum(['available', 'unavailable']) },
    output: z.object({ state: z.enum(['available', 'unavailable']) }),
    effect: 'write',
    ...unseen,
    isAudited: false,
  }),
  'presence.subscribe': defineOperation({
    id: 'presence.subscribe',
    method: 'put',
    path: '/chats/:chatId/presence-subscription',
    summary:
      'Follow who is available or typing in a chat. Changes that people do not hide arrive as presence.changed. The subscription lasts until it is removed or the worker of the session restarts',
    permission: 'presence.manage',
    ...ofChat,
    output: subscription,
    effect: 'write',
    isAudited: false,
  }),
  'presence.unsubscribe': defineOperation({
    id: 'presence.unsubscribe',
    method: 'delete',
    path: '/chats/:chatId/presence-subscription',
    summary: 'Stop following the presence in a chat',
    permission: 'presence.manage',
    ...ofChat,
    output: subscription,
    effect: 'write',
    isAudited: false,
  }),
};
