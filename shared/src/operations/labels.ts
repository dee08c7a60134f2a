import { z } from 'zod';
import { chat, label } from '../resources.js';
import { ofChat } from './chats.js';
import { defineOperation } from './operation.js';

const labelId = z.string().min(1).max(64);
const ofLabel = { params: { labelId }, errors: ['LABEL_NOT_FOUND'] } as const;
const name = z.string().trim().min(1).max(100);
const colorIndex = z.number().int().min(0).max(19).describe('The index of the colour in WhatsApp’s palette of 20.');

/** Only business accounts have labels. On other accounts each of these operations answers `NOT_SUPPORTED_BY_WHATSAPP`. */
export const labels = {
  'labels.list': defineOperation({
    id: 'labels.list',
    method: 'get',
    path: '/labels',
    summary: 'The labels of a business account',
    permission: 'labels.read',
    output: z.array(label),
    effect: 'read',
  }),
  'labels.create': defineOperation({
    id: 'labels.create',
    examples: { 'A label': { name: 'Paid', colorIndex: 3 } },
    method: 'post',
    path: '/labels',
    summary: 'Create a label',
    permission: 'labels.manage',
    body: { name, colorIndex: colorIndex.default(0) },
    output: label,
    status: 201,
    effect: 'write',
  }),
  'labels.get': defineOperation({
    id: 'labels.get',
    method: 'get',
    path: '/labels/:labelId',
    summary: 'One label',
    permission: 'labels.read',
    ...ofLabel,
    output: label,
    effect: 'read',
  }),
  'labels.edit': defineOperation({
    id: 'labels.edit',
    examples: { 'Another name': { name: 'Paid in full' } },
    method: 'put',
    path: '/labels/:labelId',
    summary: 'Change the name or the colour of a label',
    permission: 'labels.manage',
    ...ofLabel,
    body: { name: name.optional(), colorIndex: colorIndex.optional() },
    output: label,
    effect: 'write',
  }),
  'labels.delete': defineOperation({
    id: 'labels.delete',
    method: 'delete',
    path: '/labels/:labelId',
    summary: 'Delete a label; its chats stay',
    permission: 'labels.manage',
    ...ofLabel,
    output: z.object({ id: z.string(), deleted: z.literal(true) }),
    effect: 'write',
  }),
  'labels.chats': defineOperation({
    id: 'labels.chats',
    method: 'get',
    path: '/labels/:labelId/chats',
    summary: 'The chats that have a label',
    permission: 'labels.read',
    ...ofLabel,
    output: z.array(chat),
    effect: 'read',
  }),
  'labels.ofChat': defineOperation({
    id: 'labels.ofChat',
    method: 'get',
    path: '/chats/:chatId/labels',
    summary: 'The labels of a chat',
    permission: 'labels.read',
    ...ofChat,
    output: z.array(label),
    effect: 'read',
  }),
  'labels.assign': defineOperation({
    id: 'labels.assign',
    examples: { 'One label': { labelIds: ['1'] }, None: { labelIds: [] } },
    method: 'put',
    path: '/chats/:chatId/labels',
    summary: 'Set the labels of a chat: the list is the whole new set',
    permission: 'labels.manage',
    ...ofChat,
    errors: ['CHAT_NOT_FOUND', 'LABEL_NOT_FOUND'],
    body: { labelIds: z.array(labelId).max(20) },
    output: z.array(label),
    effect: 'write',
  }),
};
