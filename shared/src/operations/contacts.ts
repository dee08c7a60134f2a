import { z } from 'zod';
import { contactCursorAfter, readContactCursor } from '../contact-cursor.js';
import { paging, queryFlag } from '../paging.js';
import { contact, contactDetails, numberCheck } from '../resources.js';
import { defineOperation } from './operation.js';

const ofPerson = {
  params: {
    contactId: z
      .string()
      .max(64)
      .meta({ examples: ['5511999990001'] }),
  },
  addresses: { contactId: 'person' },
  errors: ['CONTACT_NOT_FOUND'],
} as const;
const person = z
  .string()
  .min(1)
  .max(80)
  .meta({ examples: ['5511999990001'] });

export const contacts = {
  'contacts.list': defineOperation({
    id: 'contacts.list',
    method: 'get',
    path: '/contacts',
    summary: 'The people that the WhatsApp Web page knows, by name. A person with two ids appears once',
    permission: 'contacts.read',
    query: {
      search: z.string().trim().max(100).optional().describe('A part of a name or of a number.'),
      saved: queryFlag.optional().describe('Only people in the address book, or only others.'),
      ...paging,
      cursor: z
        .string()
        .max(1_000)
        .refine((text) => readContactCursor(text) !== null, 'Take the cursor from meta.nextCursor.')
        .optional()
        .describe('The `meta.nextCursor` of the page before. It takes precedence over `offset`.'),
    },
    output: z.array(contactDetails),
    cursorAfter: contactCursorAfter,
    effect: 'read',
  }),
  'contacts.check': defineOperation({
    id: 'contacts.check',
    examples: { 'Two numbers': { numbers: ['+5511999990001', '+5511999990002'] } },
    method: 'post',
    path: '/contacts/check',
    summary:
      'Which numbers are registered on WhatsApp. Answers are cached for five minutes, because WhatsApp may ban an account that asks often',
    permission: 'contacts.check',
    body: { numbers: z.array(z.string().min(1).max(80)).min(1).max(100) },
    takesCountry: true,
    output: z.array(numberCheck),
    effect: 'read',
  }),
  'contacts.resolve': defineOperation({
    id: 'contacts.resolve',
    method: 'post',
    path: '/contacts/resolve',
    summary: 'Both ids of people, phone number and LID, as far as WhatsApp reveals them; in the order of the request',
    permission: 'contacts.read',
    body: { ids: z.array(person).min(1).max(100) },
    addresses: { ids: 'person' },
    output: z.array(contact),
    effect: 'read',
  }),
  'contacts.blocked': defineOperation({
    id: 'contacts.blocked',
    method: 'get',
    path: '/contacts/blocked',
    summary: 'The people that the account has blocked',
    permission: 'contacts.read',
    output: z.array(contactDetails),
    effect: 'read',
  }),
  'contacts.get': defineOperation({
    id: 'contacts.get',
    method: 'get',
    path: '/contacts/:contactId',
    summary: 'One person, known to the page or found on WhatsApp',
    permission: 'contacts.read',
    ...ofPerson,
    output: contactDetails,
    effect: 'read',
  }),
  'contacts.save': defineOperation({
    id: 'contacts.save',
    examples: { 'A name': { firstName: 'Ana', lastName: 'Lima' } },
    method: 'put',
    path: '/contacts/:contactId',
    summary: 'Save a name in the address book of WhatsApp. A person whose number is hidden cannot be saved',
    permission: 'contacts.manage',
    ...ofPerson,
    body: {
      firstName: z.string().trim().min(1).max(100),
      lastName: z.string().trim().max(100).optional(),
      syncToPhone: z.boolean().default(false).describe('Save it in the address book of the phone too.'),
    },
    output: contactDetails,
    effect: 'write',
  }),
  'contacts.delete': defineOperation({
    id: 'contacts.delete',
    method: 'delete',
    path: '/contacts/:contactId',
    summary: 'Remove a person from the address book of WhatsApp; the chat stays',
    permission: 'contacts.manage',
    ...ofPerson,
    output: z.object({ id: z.string(), deleted: z.literal(true) }),
    effect: 'write',
  }),
  'contacts.block': defineOperation({
    id: 'contacts.block',
    method: 'put',
    path: '/contacts/:contactId/block',
    summary: 'Block a person',
    permission: 'contacts.manage',
    ...ofPerson,
    output: contactDetails,
    effect: 'write',
  }),
  'contacts.unblock': defineOperation({
    id: 'contacts.unblock',
    method: 'delete',
    path: '/contacts/:contactId/block',
    summary: 'Unblock a person',
    permission: 'contacts.manage',
    ...ofPerson,
    output: contactDetails,
    effect: 'write',
  }),
  'contacts.about': defineOperation({
    id: 'contacts.about',
    method: 'get',
    path: '/contacts/:contactId/about',
    summary: 'The about text of a person; null when it is hidden',
    permission: 'contacts.read',
    ...ofPerson,
    output: z.object({ about: z.string().nullable() }),
    effect: 'read',
  }),
  'contacts.picture': defineOperation({
    id: 'contacts.picture',
    method: 'get',
    path: '/contacts/:contactId/picture',
    summary: 'The URL of a person’s picture; null when it is hidden. The URL expires after some days',
    permission: 'contacts.read',
    ...ofPerson,
    output: z.object({ url: z.string().nullable() }),
    effect: 'read',
  }),
  'contacts.commonGroups': defineOperation({
    id: 'contacts.commonGroups',
    method: 'get',
    path: '/contacts/:contactId/groups',
    summary: 'The groups that the account shares with a person',
    permission: 'contacts.read',
    ...ofPerson,
    output: z.array(z.object({ id: z.string(), name: z.string().nullable() })),
    effect: 'read',
  }),
};
