import { z } from 'zod';
import { instant } from '../input.js';
import { defineOperation } from './operation.js';

export const calls = {
  'calls.link': defineOperation({
    id: 'calls.link',
    examples: { 'A video call': { startsAt: '2099-01-15T14:00:00Z', type: 'video' } },
    method: 'post',
    path: '/calls/link',
    summary: 'Create a link to a call',
    permission: 'calls.manage',
    body: { startsAt: instant.describe('In the future.'), type: z.enum(['voice', 'video']) },
    output: z.object({ url: z.string() }),
    // It creates a link that WhatsApp shows to no one, so a repeat does no harm.
    effect: 'read',
  }),
  'calls.reject': defineOperation({
    id: 'calls.reject',
    method: 'post',
    path: '/calls/:callId/reject',
    summary: 'Reject a ringing call',
    permission: 'calls.manage',
    params: { callId: z.string().min(1).max(128) },
    output: z.object({
      rejected: z.literal(true),
      confirmed: z.boolean().describe('Whether the page shows that the call no longer rings.'),
    }),
    effect: 'write',
    errors: ['CALL_NOT_FOUND'],
  }),
};
