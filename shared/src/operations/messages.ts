import { z } from 'zod';
import { message } from '../resources.js';
import { defineOperation } from './operation.js';

const emoji = z
  .string()
  .min(1)
  .max(64)
  .describe('One emoji.')
  .meta({ examples: ['👍'] });
const nothing = z.object({});

export const messages = {
  'messages.react': defineOperation({
    id: 'messages.react',
    method: 'put',
    scope: 'message',
    path: '/reaction',
    summary: 'React to a message; a second reaction replaces the first',
    permission: 'messages.manage',
    body: { emoji },
    output: nothing,
    reply: message,
    effect: 'write',
    isAudited: false,
  }),
  'messages.unreact': defineOperation({
    id: 'messages.unreact',
    method: 'delete',
    scope: 'message',
    path: '/reaction',
    summary: 'Take the own reaction back',
    permission: 'messages.manage',
    output: nothing,
    reply: message,
    effect: 'write',
    isAudited: false,
  }),
};
