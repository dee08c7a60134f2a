import { z } from 'zod';
import { defineOperation } from './operation.js';

export const communityGroup = z
  .object({
    id: z.string(),
    name: z.string().nullable(),
    isAnnouncements: z.boolean().describe('The group in which admins write to everyone in the community.'),
    isMember: z.boolean().describe('Whether the linked account is in the group. Operations on groups reach only its own groups.'),
  })
  .meta({ id: 'CommunityGroup' });
export type CommunityGroup = z.infer<typeof communityGroup>;

export const community = z
  .object({
    id: z.string(),
    name: z.string().nullable(),
    description: z.string().nullable(),
    createdAt: z.iso.datetime().nullable(),
    role: z.enum(['member', 'admin', 'owner']).nullable().describe('The role of the linked account.'),
    picture: z
      .string()
      .nullable()
      .describe('The URL of the picture on WhatsApp’s server. Null: there is none, or the page does not know it.'),
    announcementsGroupId: z.string().nullable().describe('The group of announcements. `GET …/groups/:groupId` reads it.'),
    groups: z.array(communityGroup).optional().describe('The groups of the community. Left out in lists.'),
  })
  .meta({ id: 'Community' });
export type CommunityResource = z.infer<typeof community>;

const id = z
  .string()
  .max(64)
  .meta({ examples: ['120363041234567890@g.us'] });
const read = { permission: 'groups.read', effect: 'read' } as const;
const write = { permission: 'groups.manage', effect: 'write' } as const;
const ofCommunity = { params: { communityId: id }, addresses: { communityId: 'group' }, errors: ['GROUP_NOT_FOUND'] } as const;
const ofOwnRole = { ...ofCommunity, errors: ['GROUP_NOT_FOUND', 'WHATSAPP_NOT_PERMITTED'] } as const;
const ofGroup = {
  params: { communityId: id, groupId: id },
  addresses: { communityId: 'group', groupId: 'group' },
  errors: ['GROUP_NOT_FOUND', 'GROUP_ADMIN_REQUIRED', 'WHATSAPP_NOT_PERMITTED'],
} as const;

export const communities = {
  'communities.list': defineOperation({
    id: 'communities.list',
    method: 'get',
    path: '/communities',
    summary: 'The communities of the linked account, as the WhatsApp Web page has them',
    ...read,
    output: z.array(community),
  }),
  'communities.create': defineOperation({
    id: 'communities.create',
    examples: { 'A name and a description': { name: 'Neighbors', description: 'News of our street' } },
    method: 'post',
    path: '/communities',
    summary: 'Create a community. WhatsApp creates its group of announcements with it',
    ...write,
    body: { name: z.string().trim().min(1).max(100), description: z.string().max(2048).optional() },
    output: community,
    status: 201,
  }),
  'communities.get': defineOperation({
    id: 'communities.get',
    method: 'get',
    path: '/communities/:communityId',
    summary: 'A community with its groups, read again from WhatsApp, also those that the linked account is not in',
    ...read,
    ...ofCommunity,
    output: community,
  }),
  'communities.deactivate': defineOperation({
    id: 'communities.deactivate',
    method: 'delete',
    path: '/communities/:communityId',
    summary: 'Deactivate a community. Only its owner may. Its groups stay as ordinary groups, and its announcements end',
    ...write,
    ...ofOwnRole,
    output: z.object({ id: z.string(), deactivated: z.literal(true) }),
  }),
  'communities.leave': defineOperation({
    id: 'communities.leave',
    method: 'post',
    path: '/communities/:communityId/leave',
    summary: 'Leave a community and all of its groups. The owner cannot leave it',
    ...write,
    ...ofOwnRole,
    output: z.object({ left: z.literal(true) }),
  }),
  'communities.linkGroup': defineOperation({
    id: 'communities.linkGroup',
    method: 'put',
    path: '/communities/:communityId/groups/:groupId',
    summary: 'Add an existing group to a community. The linked account must be an admin of both',
    ...write,
    ...ofGroup,
    output: community,
  }),
  'communities.unlinkGroup': defineOperation({
    id: 'communities.unlinkGroup',
    method: 'delete',
    path: '/communities/:communityId/groups/:groupId',
    summary: 'Take a group out of a community. The group and its members stay',
    ...write,
    ...ofGroup,
    output: community,
  }),
};
