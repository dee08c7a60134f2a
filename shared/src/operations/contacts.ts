import { z } from 'zod';
import { numberCheck } from '../resources.js';
import { defineOperation } from './operation.js';

export const contacts = {
  'contacts.check': defineOperation({
    id: 'contacts.check',
    method: 'post',
    path: '/contacts/check',
    summary: 'Which numbers are registered on WhatsApp',
    permission: 'contacts.check',
    body: { numbers: z.array(z.string().min(1).max(80)).min(1).max(100) },
    takesCountry: true,
    output: z.array(numberCheck),
    effect: 'read',
  }),
};
