import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { phoneId } from '../accounts.js';
import type { World } from '../world.js';
import { accountIn, operation, phone } from './operation.js';

const groupSettings = {
  announce: z.boolean().optional(),
  restrict: z.boolean().optional(),
  memberAddMode: z.enum(['all_member_add', 'admin_add']).optional(),
  approval: z.boolean().optional(),
  lidAddressing: z.boolean().optional(),
  ephemeral: z.number().int().min(0).optional(),
};

const inGroup = { by: phone, id: z.string() };

/** Groups and channels, as phones change them. */
export const groupOperations = ({ world }: { world: World }) => ({
  ...membershipOperations(world),
  ...invitationOperations(world),
  ...communityOperations(world),
  ...channelOperations(world),
});

function membershipOperations(world: World) {
  const account = accountIn(world);
  const { groups } = world;

  return {
    createGroup: operation(
      'A phone creates a group',
      z.object({ by: phone, subject: z.string(), participants: z.array(z.string()), ...groupSettings }),
      ({ by, subject, participants, ...settings }) => ({ id: groups.create(account(by), subject, participants, settings).id }),
    ),
    group: operation('A group as its members see it', z.object({ id: z.string() }), (d) => ({
      ...groups.wire(d.id),
      invite: groups.groups.get(d.id)!.invite,
    })),
    changeGroup: operation(
      'Add, remove, promote or demote members',
      z.object({ ...inGroup, how: z.enum(['add', 'remove', 'promote', 'demote']), participants: z.array(z.string()) }),
      (d) => groups[d.how](account(d.by), d.id, d.participants),
    ),
    setGroup: operation(
      'Change subject, description and settings',
      z.object({ ...inGroup, subject: z.string().optional(), description: z.string().optional(), ...groupSettings }),
      ({ by, id, subject, description, ...settings }) => {
        if (subject !== undefined) groups.subject(account(by), id, subject);
        if (description !== undefined) groups.description(account(by), id, description, 'phone');
        if (Object.values(settings).some((value) => value !== undefined)) groups.set(account(by), id, settings);
      },
    ),
    populateGroups: operation(
      'Make many groups at once, each of the phone and the same other members',
      z.object({ phone, groups: z.number().int().min(1).max(1000), members: z.number().int().min(1).max(1024) }),
      (d) => {
        const owner = account(d.phone);
        const others = Array.from({ length: d.members - 1 }, (_, n) =>
          world.phones.create({ phone: String(442_070_000_000 + n) }),
        );
        for (let n = 1; n <= d.groups; n += 1) {
          const { id } = groups.create(owner, `Group ${n}`, []);
          // Not `add`, which announces each member.
          for (const { phone: number } of others)
            groups.groups.get(id)!.members.set(number, { isAdmin: false, isSuperAdmin: false });
        }
      },
    ),
  };
}

function invitationOperations(world: World) {
  const account = accountIn(world);
  const { groups } = world;
  return {
    inviteToGroup: operation(
      'An admin sends somebody a private invitation to a group, as a message',
      z.object({ ...inGroup, contact: phone }),
      ({ by, id, contact }) => {
        const { inviteCode, inviteExpires } = groups.invitation(account(by), id, account(contact));
        const inviteGrpName = groups.wire(id).subject;
        const data = { inviteGrp: id, inviteGrpName, inviteCode, inviteCodeExp: inviteExpires, comment: '' };
        return { key: world.messages.fromPhone(account(by), phoneId(account(contact)), { type: 'groups_v4_invite', data }) };
      },
    ),
    decideRequests: operation(
      'An admin approves or rejects requests to join',
      z.object({ ...inGroup, participants: z.array(z.string()), approve: z.boolean() }),
      (d) => groups.decide(account(d.by), d.id, d.participants, d.approve),
    ),
    revokeGroupInvite: operation('An admin replaces the invitation code', z.object(inGroup), (d) => ({
      code: groups.revokeInvite(account(d.by), d.id),
    })),
    joinGroup: operation('Join by invite code, or request to join', z.object({ phone, code: z.string() }), (d) =>
      groups.join(account(d.phone), d.code),
    ),
    leaveGroup: operation('Leave a group', z.object({ phone, id: z.string() }), (d) => groups.leave(account(d.phone), d.id)),
  };
}

function communityOperations(world: World) {
  const account = accountIn(world);
  const { communities } = world;
  return {
    createCommunity: operation(
      'A phone creates a community with its group of announcements',
      z.object({ by: phone, subject: z.string(), participants: z.array(z.string()) }),
      (d) => communities.create(account(d.by), d.subject, d.participants),
    ),
    communityGroups: operation('The groups of a community as a phone sees them', z.object({ phone, id: z.string() }), (d) =>
      communities.groups(account(d.phone), d.id),
    ),
    linkGroup: operation(
      'An admin adds a group to a community, or takes it out; the code is 200, or why it was refused',
      z.object({ ...inGroup, group: z.string(), linked: z.boolean().default(true) }),
      (d) => ({ code: communities[d.linked ? 'link' : 'unlink'](account(d.by), d.id, d.group) }),
    ),
  };
}

function channelOperations(world: World) {
  const account = accountIn(world);
  const { channels } = world;
  return {
    createChannel: operation(
      'A phone creates a channel',
      z.object({ by: phone, name: z.string(), description: z.string().nullable().default(null) }),
      (d) => {
        const id = channels.create(account(d.by), d.name, d.description, null);
        return { id, invite: channels.wire(id, account(d.by)).invite };
      },
    ),
    channel: operation('A channel as a phone sees it, with its posts', z.object({ id: z.string(), phone }), (d) => ({
      ...channels.wire(d.id, account(d.phone)),
      posts: channels.posts(d.id, account(d.phone), 100),
    })),
    followChannel: operation(
      'Follow a channel, or unfollow it',
      z.object({ phone, id: z.string(), follows: z.boolean().default(true) }),
      (d) => channels.follow(account(d.phone), d.id, d.follows),
    ),
    inviteChannelAdmin: operation(
      'The owner invites a contact to become an admin',
      z.object({ by: phone, id: z.string(), contact: phone }),
      (d) => channels.inviteAdmin(account(d.by), d.id, account(d.contact)),
    ),
    acceptChannelAdmin: operation('Accept an invitation to become an admin', z.object({ phone, id: z.string() }), (d) =>
      channels.acceptAdmin(account(d.phone), d.id),
    ),
    postInChannel: operation(
      'The channel’s phone posts a text',
      z.object({ by: phone, id: z.string(), text: z.string() }),
      (d) => {
        const key = `3A${randomBytes(9).toString('hex').toUpperCase()}`;
        channels.post(account(d.by), null, d.id, { key, type: 'chat', data: { body: d.text } });
        return { key };
      },
    ),
  };
}
