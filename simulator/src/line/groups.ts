import type { WireGroup } from '../wire.js';
import type { GroupSettings } from '../groups.js';
import type { OnLine, Ops } from './ops.js';

export function groupOps({ world, me }: OnLine): Ops {
  const { groups } = world;
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
    group_info: (d: { code: string }) => groups.byInvite(d.code),
    group_join: (d: { code: string }) => groups.join(me(), d.code),
    group_join_invited: (d: { id: string; code: string }) => groups.joinByInvitation(me(), d.id, d.code),
    group_decide: (d: { id: string; participants: string[]; approve: boolean }) =>
      groups.decide(me(), d.id, d.participants, d.approve),
  };
}
