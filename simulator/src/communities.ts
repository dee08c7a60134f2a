import { forget, pushTo, type Account } from './accounts.js';
import type { Group, Groups } from './groups.js';
import { notFound, Refusal } from './refusal.js';

/** A group of a community, as one account sees it. */
export interface WireSubgroup {
  id: string;
  subject: string;
  isAnnouncements: boolean;
  isMember: boolean;
}

/** Communities: groups that name another group as their parent. Verbs throw a `Refusal`; linking has a code for the one group that it is about. */
export interface Communities {
  /** Creates a community with its group of announcements. */
  create(owner: Account, subject: string, participants: string[], desc?: string | null): { id: string; announcementsId: string };
  /** Only the owner may. The groups stay without the community, and the announcements end. */
  deactivate(by: Account, id: string): void;
  /** Leaves the community and all of its groups. The owner may not. */
  leave(by: Account, id: string): void;
  /** All groups of a community, also those that the account is not in. */
  groups(viewer: Account, id: string): WireSubgroup[];
  /** 200, or why the group was not linked: 403 no admin of it, 404 no such group, 409 in another community. */
  link(by: Account, id: string, groupId: string): number;
  /** 200, or why the group was not unlinked: 404 not in the community, 406 the group of announcements. */
  unlink(by: Account, id: string, groupId: string): number;
}

export function createCommunities({ groups }: { groups: Groups }): Communities {
  const within = (id: string): Group[] => [...groups.groups.values()].filter(({ parent }) => parent === id);
  return {
    create(owner, subject, participants, desc = null) {
      const { id } = groups.create(owner, subject, participants, { isCommunity: true });
      groups.groups.get(id)!.desc = desc || null;
      const of = { announce: true, parent: id, isAnnouncements: true };
      return { id, announcementsId: groups.create(owner, subject, participants, of).id };
    },
    deactivate(by, id) {
      communityOf(groups, id, by);
      if (!groups.groups.get(id)!.members.get(by.phone)!.isSuperAdmin) throw new Refusal(403, 'not-authorized');
      const members = groups.members(id);
      for (const group of within(id)) {
        if (group.isAnnouncements) groups.terminate(by, group.id);
        else groups.move(by, group.id, null);
      }
      groups.groups.delete(id);
      for (const member of members) removeFor(member, id);
    },
    leave(by, id) {
      communityOf(groups, id, by);
      const { members } = groups.groups.get(id)!;
      if (members.get(by.phone)!.isSuperAdmin) throw new Refusal(403, 'not-authorized');
      for (const group of within(id)) if (group.members.has(by.phone)) groups.leave(by, group.id);
      // The community itself shows no notices.
      members.delete(by.phone);
      removeFor(by, id);
    },
    groups(viewer, id) {
      communityOf(groups, id, viewer);
      return within(id).map((one) => ({
        ...{ id: one.id, subject: one.subject, isAnnouncements: one.isAnnouncements },
        isMember: one.members.has(viewer.phone),
      }));
    },
    link(by, id, groupId) {
      requireAdmin(groups, id, by);
      const group = groups.groups.get(groupId);
      if (!group) return 404;
      if (!groups.isAdmin(groupId, by)) return 403;
      if (group.parent !== null || group.isCommunity) return 409;
      groups.move(by, groupId, id);
      return 200;
    },
    unlink(by, id, groupId) {
      requireAdmin(groups, id, by);
      const group = groups.groups.get(groupId);
      if (group?.parent !== id) return 404;
      if (group.isAnnouncements) return 406;
      groups.move(by, groupId, null);
      return 200;
    },
  };
}

/** Removes a community from the chats of an account, and from its pages: those of a community that was left or deactivated do not keep it. */
function removeFor(account: Account, id: string): void {
  forget(
    account,
    (account.byChat.get(id) ?? []).map(({ key }) => key),
  );
  account.byChat.delete(id);
  account.chats.delete(id);
  pushTo(account, { ev: 'community_gone', d: { id } });
}

function communityOf(groups: Groups, id: string, by: Account): void {
  const group = groups.groups.get(id);
  if (!group?.isCommunity) notFound();
  else if (!group.members.has(by.phone)) throw new Refusal(403, 'not-authorized');
}
function requireAdmin(groups: Groups, id: string, by: Account): void {
  communityOf(groups, id, by);
  if (!groups.isAdmin(id, by)) throw new Refusal(403, 'not-authorized');
}
