import { z } from 'zod';
import { paging } from '../paging.js';
import { contact } from '../resources.js';
import { defineOperation } from './operation.js';

const who = z.enum(['all', 'admins']);
const nullableTime = z.iso.datetime().nullable();

export const groupParticipant = z
  .object({ contact, role: z.enum(['member', 'admin', 'owner']) })
  .meta({ id: 'GroupParticipant' });
export type GroupParticipant = z.infer<typeof groupParticipant>;

export const group = z
  .object({
    id: z.string(),
    name: z.string().nullable(),
    description: z.string().nullable(),
    owner: contact.nullable(),
    createdAt: nullableTime,
    settings: z.object({
      sendMessages: who,
      editInfo: who,
      addMembers: who,
      approveJoins: z.boolean().describe('Whether an admin must approve those who join by invitation link.'),
    }),
    disappearingSeconds: z.number().int().describe('How long messages are kept. 0: for ever.'),
    size: z.number().int().describe('The number of participants.'),
    role: z
      .enum(['member', 'admin', 'owner'])
      .nullable()
      .describe('The role of the linked account. Null: it is not in the group.'),
    communityId: z.string().nullable().describe('The community that the group belongs to.'),
    participants: z.array(groupParticipant).optional().describe('Left out in lists.'),
  })
  .meta({ id: 'Group' });
export type GroupResource = z.infer<typeof group>;

export const participantResult = z
  .object({
    contact,
    role: z
      .enum(['member', 'admin', 'owner'])
      .nullable()
      .describe('The role in the group, read after the change. Null: the group does not show them.'),
    status: z
      .enum(['done', 'invited', 'refused', 'unknown'])
      .describe(
        'done: the group shows the change. invited: an invitation was sent instead. refused: see code and message. unknown: WhatsApp did not refuse, but the group does not show the change.',
      ),
    code: z.number().int().nullable().describe('The code of WhatsApp for this participant.'),
    message: z.string().nullable().describe('What the code means.'),
  })
  .meta({ id: 'ParticipantResult' });
export type ParticipantResult = z.infer<typeof participantResult>;

const groupId = z
  .string()
  .max(64)
  .meta({ examples: ['120363041234567890@g.us'] });
const person = z
  .string()
  .min(1)
  .max(80)
  .meta({ examples: ['5511999990001'] });
const people = z.array(person).min(1).max(100);
const name = z.string().trim().min(1).max(100);
const description = z.string().max(2048);
const disappearingSeconds = z.literal([0, 86_400, 604_800, 7_776_000]).describe('0: off. Otherwise one, seven or ninety days.');
const settings = {
  sendMessages: who.optional(),
  editInfo: who.optional(),
  addMembers: who.optional(),
  approveJoins: z.boolean().optional(),
};
const sendInvitations = z
  .boolean()
  .default(false)
  .describe('Whether people whose privacy settings do not let others add them get a message with an invitation.');
const code = z
  .string()
  .trim()
  .min(1)
  .max(200)
  .describe('The code of an invitation, or its link.')
  .meta({ examples: ['https://chat.whatsapp.com/FmGBdUFXmW1Jz0Eh9Dd1Q2'] });

const read = { permission: 'groups.read', effect: 'read' } as const;
const write = { permission: 'groups.manage', effect: 'write' } as const;
const ofGroup = { params: { groupId }, addresses: { groupId: 'group' }, errors: ['GROUP_NOT_FOUND'] } as const;
const asAdmin = { ...ofGroup, errors: ['GROUP_NOT_FOUND', 'GROUP_ADMIN_REQUIRED'] } as const;
const withPeople = { ...asAdmin, addresses: { groupId: 'group', participants: 'person' } } as const;
const withRequesters = { ...asAdmin, addresses: { groupId: 'group', requesters: 'person' } } as const;
const invite = z.object({ code: z.string(), link: z.string() });

export const groups = {
  ...groupRows(),
  ...groupSettingRows(),
  ...invitationRows(),
  ...participantRows(),
};

function groupRows() {
  return {
    'groups.list': defineOperation({
      id: 'groups.list',
      method: 'get',
      path: '/groups',
      summary: 'The groups of the linked account, as the WhatsApp Web page has them',
      ...read,
      query: { search: z.string().max(100).optional().describe('A part of the name.'), ...paging },
      output: z.array(group),
    }),
    'groups.create': defineOperation({
      id: 'groups.create',
      examples: { 'Two people': { name: 'Customers', participants: ['+5511999990001', '+5511999990002'] } },
      method: 'post',
      path: '/groups',
      summary: 'Create a group; the reply has a result for each participant',
      ...write,
      body: {
        name,
        participants: people,
        description: description.optional(),
        settings: z.strictObject(settings).optional(),
        disappearingSeconds: disappearingSeconds.optional(),
        sendInvitations,
      },
      addresses: { participants: 'person' },
      output: z.object({
        group,
        participants: z.array(participantResult),
        notApplied: z
          .array(z.enum(['description', 'settings', 'disappearingSeconds']))
          .describe('Parts of the request that the new group does not show. Set each with its own route.'),
      }),
      status: 201,
    }),
    'groups.get': defineOperation({
      id: 'groups.get',
      method: 'get',
      path: '/groups/:groupId',
      summary: 'A group with its participants, read again from WhatsApp',
      ...read,
      ...ofGroup,
      output: group,
    }),
    'groups.leave': defineOperation({
      id: 'groups.leave',
      method: 'post',
      path: '/groups/:groupId/leave',
      summary: 'Leave a group',
      ...write,
      ...ofGroup,
      output: z.object({ left: z.literal(true) }),
    }),
  };
}

function groupSettingRows() {
  return {
    'groups.setName': defineOperation({
      id: 'groups.setName',
      examples: { 'Another name': { name: 'Customers of May' } },
      method: 'put',
      path: '/groups/:groupId/name',
      summary: 'Rename a group',
      ...write,
      ...asAdmin,
      body: { name },
      output: group,
    }),
    'groups.setDescription': defineOperation({
      id: 'groups.setDescription',
      examples: { 'A description': { description: 'News every Monday' } },
      method: 'put',
      path: '/groups/:groupId/description',
      summary: 'Change the description of a group; an empty one removes it',
      ...write,
      ...asAdmin,
      body: { description },
      output: group,
    }),
    'groups.setSettings': defineOperation({
      id: 'groups.setSettings',
      examples: {
        'Only admins write': { sendMessages: 'admins' },
        'Messages disappear after a week': { disappearingSeconds: 604_800 },
      },
      method: 'put',
      path: '/groups/:groupId/settings',
      summary: 'Change who may write, edit the group and add people, whether joins are approved, and how long messages are kept',
      ...write,
      ...asAdmin,
      body: { ...settings, disappearingSeconds: disappearingSeconds.optional() },
      output: group,
    }),
    'groups.setPicture': defineOperation({
      id: 'groups.setPicture',
      examples: { 'A picture by URL': { mediaUrl: 'https://example.com/picture.jpg' } },
      method: 'put',
      path: '/groups/:groupId/picture',
      summary: 'Change the picture of a group',
      ...write,
      ...asAdmin,
      file: 'image',
      output: group,
    }),
    'groups.deletePicture': defineOperation({
      id: 'groups.deletePicture',
      method: 'delete',
      path: '/groups/:groupId/picture',
      summary: 'Remove the picture of a group',
      ...write,
      ...asAdmin,
      output: group,
    }),
  };
}

function invitationRows() {
  return {
    'groups.inviteInfo': defineOperation({
      id: 'groups.inviteInfo',
      method: 'get',
      path: '/groups/invite-info',
      summary: 'The group behind an invitation code or link, without joining it',
      ...read,
      query: { code },
      output: group,
      errors: ['INVITE_NOT_FOUND'],
    }),
    'groups.join': defineOperation({
      id: 'groups.join',
      examples: { 'By a link': { code: 'https://chat.whatsapp.com/FmGBdUFXmW1Jz0Eh9Dd1Q2' } },
      method: 'post',
      path: '/groups/join',
      summary: 'Join by an invitation code or link, or by a received invitation message; `pending` if an admin must approve',
      ...write,
      body: {
        code: code.optional(),
        messageId: z.string().min(1).max(200).optional().describe('A received message of type group_invite. Send it or `code`.'),
      },
      messages: ['messageId'],
      output: z.union([group, z.object({ pending: z.literal(true), groupId: z.string() })]),
      errors: ['INVITE_NOT_FOUND', 'MESSAGE_NOT_FOUND'],
    }),
    'groups.invite': defineOperation({
      id: 'groups.invite',
      method: 'get',
      path: '/groups/:groupId/invite',
      summary: 'The invitation code and link of a group',
      ...read,
      ...asAdmin,
      output: invite,
    }),
    'groups.revokeInvite': defineOperation({
      id: 'groups.revokeInvite',
      method: 'delete',
      path: '/groups/:groupId/invite',
      summary: 'Revoke the invitation code of a group and return the new one',
      ...write,
      ...asAdmin,
      output: invite,
    }),
    'groups.requests': defineOperation({
      id: 'groups.requests',
      method: 'get',
      path: '/groups/:groupId/requests',
      summary: 'Requests to join a group',
      ...read,
      ...asAdmin,
      output: z.array(z.object({ contact, addedBy: contact.nullable(), method: z.string().nullable(), at: nullableTime })),
    }),
  };
}

function participantRows() {
  const results = { ...write, output: z.array(participantResult) };
  return {
    'groups.participants': defineOperation({
      id: 'groups.participants',
      method: 'get',
      path: '/groups/:groupId/participants',
      summary: 'The participants of a group, read again from WhatsApp',
      ...read,
      ...ofGroup,
      output: z.array(groupParticipant),
    }),
    'groups.add': defineOperation({
      id: 'groups.add',
      examples: {
        'One person': { participants: ['+5511999990001'] },
        'Invite those who cannot be added': { participants: ['+5511999990001'], sendInvitations: true },
      },
      method: 'post',
      path: '/groups/:groupId/participants/add',
      summary: 'Add people to a group, with a result for each',
      ...results,
      ...withPeople,
      body: {
        participants: z.array(person).min(1).max(50),
        sendInvitations,
        comment: z.string().max(1024).optional().describe('The text of the invitations.'),
      },
    }),
    'groups.remove': defineOperation({
      id: 'groups.remove',
      method: 'post',
      path: '/groups/:groupId/participants/remove',
      summary: 'Remove people from a group, with a result for each',
      ...results,
      ...withPeople,
      body: { participants: people },
    }),
    'groups.promote': defineOperation({
      id: 'groups.promote',
      method: 'post',
      path: '/groups/:groupId/participants/promote',
      summary: 'Make participants admins, with a result for each',
      ...results,
      ...withPeople,
      body: { participants: people },
    }),
    'groups.demote': defineOperation({
      id: 'groups.demote',
      method: 'post',
      path: '/groups/:groupId/participants/demote',
      summary: 'Make admins participants again, with a result for each',
      ...results,
      ...withPeople,
      body: { participants: people },
    }),
    'groups.approve': defineOperation({
      id: 'groups.approve',
      examples: { 'All requests': {}, 'One request': { requesters: ['+5511999990001'] } },
      method: 'post',
      path: '/groups/:groupId/requests/approve',
      summary: 'Approve requests to join, with a result for each; all requests if none is named',
      ...results,
      ...withRequesters,
      body: { requesters: people.optional() },
    }),
    'groups.reject': defineOperation({
      id: 'groups.reject',
      examples: { 'All requests': {}, 'One request': { requesters: ['+5511999990001'] } },
      method: 'post',
      path: '/groups/:groupId/requests/reject',
      summary: 'Reject requests to join, with a result for each; all requests if none is named',
      ...results,
      ...withRequesters,
      body: { requesters: people.optional() },
    }),
  };
}
