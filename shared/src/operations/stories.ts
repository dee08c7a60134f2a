import { z } from 'zod';
import { contact } from '../resources.js';
import { queryFlag } from '../paging.js';
import { defineOperation } from './operation.js';
import { seenMessage } from './seen-message.js';

export const stories = {
  'stories.list': defineOperation({
    id: 'stories.list',
    method: 'get',
    path: '/stories',
    summary: 'Stories by contact, as the WhatsApp Web page has them',
    permission: 'stories.read',
    query: { mine: queryFlag.optional().describe('true: only stories of the linked account. false: only those of others.') },
    output: z.array(z.object({ contact, mine: z.boolean(), unreadCount: z.number().int(), messages: z.array(seenMessage) })),
    effect: 'read',
  }),
  'stories.revoke': defineOperation({
    id: 'stories.revoke',
    method: 'delete',
    path: '/stories/:messageId',
    summary: 'Revoke a story of the linked account',
    permission: 'stories.manage',
    params: { messageId: z.string().min(1).max(200) },
    messages: ['messageId'],
    output: z.object({ whatsappId: z.string(), revoked: z.literal(true) }),
    effect: 'write',
    errors: ['MESSAGE_NOT_FOUND'],
  }),
};
