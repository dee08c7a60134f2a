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
};

/** Groups and channels, as phones change them. */
export function groupOperations({ world }: { world: World }) {
  const account = accountIn(world);
  const { groups, channels } = world;
  const inGroup = { by: phone, id: z.string() };

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
    joinGroup: operation('Join by invite code, or request to join', z.object({ phone, code: z.string() }), (d) =>
      groups.join(account(d.phone), d.code),
    ),
    leaveGroup: operation('Leave a group', z.object({ phone, id: z.string() }), (d) => groups.leave(account(d.phone), d.id)),
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
    postInChannel: operation(
      'The channel’s phone posts a text',
      z.object({ by: phone, id: z.string(), text: z.string() }),
      (d) => {
        const key = `3A${phoneId(account(d.by)).length}${Date.now().toString(16).toUpperCase()}`;
        channels.post(account(d.by), null, d.id, { key, type: 'chat', data: { body: d.text } });
        return { key };
      },
    ),
  };
}
