import { z } from 'zod';
import { instant } from '../input.js';
import { contact } from '../resources.js';
import { defineOperation } from './operation.js';

const rejection = {
  rejected: z
    .boolean()
    .describe('False: the call ended in another way before. The caller hung up, or it was answered on the phone.'),
  confirmed: z
    .boolean()
    .describe(
      'Whether the page shows the call as rejected. False with `rejected`: it no longer rings, and the page does not say why.',
    ),
};

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
    body: {
      message: z
        .string()
        .trim()
        .min(1)
        .max(4_096)
        .optional()
        .describe(
          'Sent to the caller as an ordinary message once the call was rejected, at most one for each call. Needs the permission messages.send.',
        ),
    },
    examples: { 'With an answer': { message: 'There are no calls here. Please write.' } },
    output: z.object({
      ...rejection,
      /** The caller. Null: unknown, or the call is to a group. Older workers do not name them. */
      contact: contact.nullable().default(null),
    }),
    reply: z.object({
      ...rejection,
      messageId: z
        .string()
        .nullable()
        .describe(
          'The message that answers the call. Null: none was asked for, the call was not rejected, the caller is unknown, or the queue or a quota is full.',
        ),
    }),
    effect: 'write',
    errors: ['CALL_NOT_FOUND'],
  }),
};
