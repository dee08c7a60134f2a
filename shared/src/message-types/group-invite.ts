import { z } from 'zod';
import { defineMessageType } from './define.js';
import { id, maxText, someText } from './observed-fields.js';

export const groupInvite = defineMessageType({
  observed: z.object({
    type: z.literal('group_invite'),
    groupId: id(80).catch(''),
    groupName: someText(256),
    message: someText(maxText),
  }),
  textOf: ({ message }) => message,
});
