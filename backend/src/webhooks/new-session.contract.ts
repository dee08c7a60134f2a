import { defineRoute, session } from '@chasqui/shared';
import { z } from 'zod';
import { newSession } from '../sessions/contract.js';
import { newErrors, newWebhook, withSecret } from './contract.js';
import { newSessionExamples } from './examples.js';

/** Here and not with the other routes of sessions, because sessions know no webhooks. */
export const createSession = defineRoute({
  id: 'sessions.create',
  examples: newSessionExamples,
  method: 'post',
  path: '/sessions',
  summary: 'Create a session, and its webhooks if there are any: all of them or nothing',
  auth: 'acc',
  permission: 'sessions.manage',
  body: newSession.extend({
    webhooks: z
      .array(newWebhook.omit({ sessionId: true }))
      .min(1)
      .max(100)
      .describe('Webhooks of this session, as `POST /webhooks` takes them. They need the permission `webhook.configure`.')
      .optional(),
  }),
  status: 201,
  reply: session.extend({
    webhooks: z.array(withSecret).describe('Those of the request. Only this reply shows their secrets.').optional(),
  }),
  errors: [
    'ALREADY_EXISTS',
    'SESSION_LIMIT_REACHED',
    'PROXY_INVALID',
    ...newErrors.filter((code) => code !== 'SESSION_NOT_FOUND' && code !== 'ACCOUNT_KEY_REQUIRED'),
  ],
});
