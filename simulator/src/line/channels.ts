import type { Account } from '../accounts.js';
import { Refusal } from '../refusal.js';
import type { OnLine, Ops } from './ops.js';

export function channelOps({ world, me, device }: OnLine): Ops {
  const { channels } = world;
  const person = (id: string): Account => {
    const found = world.phones.find(id);
    if (!found) throw new Refusal(404, 'item-not-found');
    return found;
  };
  return {
    channel_create: (d: { name: string; description: string | null; picture: string | null }) =>
      channels.wire(channels.create(me(), d.name, d.description, d.picture), me()),
    channel_get: (d: { id: string }) => channels.wire(d.id, me()),
    channel_by_invite: (d: { code: string }) => channels.byInvite(d.code, me()),
    channel_edit: (d: { id: string; changes: { name?: string; description?: string; picture?: string | null } }) =>
      channels.edit(me(), d.id, d.changes),
    channel_delete: (d: { id: string }) => channels.remove(me(), d.id),
    channel_follow: (d: { id: string; follows: boolean }) => channels.follow(me(), d.id, d.follows),
    channel_mute: (d: { id: string; muted: boolean }) => channels.mute(me(), d.id, d.muted),
    channel_post(d: { id: string; key: string; type: string; data: Record<string, unknown> }) {
      const { serverId, t } = channels.post(me(), device(), d.id, d);
      return { serverId, t };
    },
    channel_posts: (d: { id: string; limit: number }) => channels.posts(d.id, me(), d.limit),
    channel_search: (d: { text: string; limit: number; skipMine: boolean }) => channels.search(d.text, me(), d.limit, d.skipMine),
    channel_followers: (d: { id: string; limit: number }) => channels.followers(me(), d.id, d.limit),
    channel_invite: (d: { id: string; user: string }) => channels.inviteAdmin(me(), d.id, person(d.user)),
    channel_uninvite: (d: { id: string; user: string }) => channels.uninviteAdmin(me(), d.id, person(d.user)),
    channel_accept: (d: { id: string }) => channels.acceptAdmin(me(), d.id),
    channel_demote: (d: { id: string; user: string }) => channels.demote(me(), d.id, person(d.user)),
    channel_transfer: (d: { id: string; user: string }) => channels.transfer(me(), d.id, person(d.user)),
  };
}
