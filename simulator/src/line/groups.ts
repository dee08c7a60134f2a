import type { WireGroup } from '../wire.js';
import type { GroupSettings } from '../groups.js';
import type { OnLine, Ops } from './ops.js';

export function groupOps({ world, me }: OnLine): Ops {
  const { groups, communities } = world;
  return {
    group_create(d: { subject: string; participants: string[]; settings: GroupSettings }) {
      const { id, results } = groups.create(me(), d.subject, d.participants, d.settings);
      return { group: groups.wire(id), results };
    },
    group_get: (d: { id: string }): WireGroup => groups.wire(d.id),
    group_change: (d: { id: string; how: 'add' | 'remove' | 'promote' | 'demote'; participants: string[] }) =>
      groups[d.how](me(), d.id, d.participants),
    group_subject: (d: { id: string; subject: string }) => groups.subject(me(), d.id, d.subject),
    group_desc: (d: { id: string; desc: string; descId: string }) => groups.description(me(), d.id, d.desc, d.descId),
    group_picture: (d: { id: string; picture: string | null }) => groups.picture(me(), d.id, d.picture),
    group_set: (d: { id: string; settings: GroupSettings }) => groups.set(me(), d.id, d.settings),
    group_leave: (d: { id: string }) => groups.leave(me(), d.id),
    group_invite: (d: { id: string }) => groups.invite(me(), d.id),
    group_revoke: (d: { id: string }) => groups.revokeInvite(me(), d.id),
    community_create(d: { subject: string; desc: string }) {
      const { id } = communities.create(me(), d.subject, [], d.desc);
      return { id, creation: groups.groups.get(id)!.creation };
    },
    community_deactivate: (d: { id: string }) => communities.deactivate(me(), d.id),
    community_leave: (d: { id: string }) => communities.leave(me(), d.id),
    community_groups: (d: { id: string }) => communities.groups(me(), d.id),
    community_link: (d: { id: string; groups: string[] }) =>
      d.groups.map((id) => ({ id, code: communities.link(me(), d.id, id) })),
    community_unlink: (d: { id: string; groups: string[] }) =>
      d.groups.map((id) => ({ id, code: communities.unlink(me(), d.id, id) })),
    group_info: (d: { code: string }) => groups.byInvite(d.code),
    group_join: (d: { code: string }) => groups.join(me(), d.code),
    group_join_invited: (d: { id: string; code: string }) => groups.joinByInvitation(me(), d.id, d.code),
    group_decide: (d: { id: string; participants: string[]; approve: boolean }) =>
      groups.decide(me(), d.id, d.participants, d.approve),
  };
}
