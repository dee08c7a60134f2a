import { z } from 'zod';
import { ofChat } from './chats.js';
import { defineOperation, unseen } from './operation.js';

const subscription = z.object({ chatId: z.string(), subscribed: z.boolean() });

export const presence = {
  'presence.set': defineOperation({
    id: 'presence.set',
    method: 'put',
    path: '/presence',
    summary: 'Show the account as available or not. While it is available, the phone rings for no message',
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
      'Follow who is available or typing in a chat: changes arrive as presence.changed, as far as people show them. Lasts until it is removed or the worker of the session restarts',
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
