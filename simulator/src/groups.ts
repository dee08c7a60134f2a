import { randomBytes } from 'node:crypto';
import { phoneId, type Account } from './accounts.js';
import type { WireGroup, WireMessage } from './wire.js';

interface Member {
  account: Account;
  isAdmin: boolean;
  isSuperAdmin: boolean;
}

interface Group extends Omit<WireGroup, 'participants'> {
  members: Map<string, Member>;
  invite: string;
}

/** Groups, their members and settings. Every change is announced to the members as the notification that WhatsApp shows. */
export function createGroups({
  find,
  now,
  announce,
}: {
  find: (id: string) => Account | null;
  now: () => Date;
  announce: (group: string, message: WireMessage, but: Account | null) => void;
}) {
  const groups = new Map<string, Group>();
  const seconds = (): number => Math.floor(now().getTime() / 1000);

  function get(id: string): Group {
    const group = groups.get(id);
    if (!group) throw Object.assign(new Error('item-not-found'), { status: 404 });
    return group;
  }

  function wire(id: string): WireGroup {
    const { members, invite: _, ...group } = get(id);
    return {
      ...group,
      participants: [...members.values()].map(({ account, isAdmin, isSuperAdmin }) => ({
        id: phoneId(account),
        isAdmin,
        isSuperAdmin,
      })),
    };
  }

  function notify(
    id: string,
    by: Account,
    subtype: string,
    recipients: string[],
    body: string | null,
    but: Account | null = null,
  ): void {
    const key = `3EB0${randomBytes(9).toString('hex').toUpperCase()}`;
    announce(
      id,
      {
        key,
        fromMe: false,
        chat: id,
        from: id,
        to: phoneId(by),
        author: phoneId(by),
        t: seconds(),
        type: 'gp2',
        data: { subtype, recipients: recipients.map((recipient) => ({ $wid: recipient })), body },
        ack: 0,
      },
      but,
    );
  }

  function admin(id: string, by: Account): Group {
    const group = get(id);
    if (!group.members.get(by.phone)?.isAdmin) throw Object.assign(new Error('not-authorized'), { status: 403 });
    return group;
  }

  function change(
    by: Account,
    id: string,
    participants: string[],
    act: (group: Group, account: Account) => void,
    subtype: string,
  ): { id: string; code: number }[] {
    const group = admin(id, by);
    const results = participants.map((participant) => {
      const account = find(participant);
      if (!account) return { id: participant, code: 404 };
      act(group, account);
      return { id: phoneId(account), code: 200 };
    });
    const done = results.filter((result) => result.code === 200).map((result) => result.id);
    if (done.length > 0) notify(id, by, subtype, done, null);
    return results;
  }

  return {
    all: (account: Account): WireGroup[] =>
      [...groups.values()].filter((group) => group.members.has(account.phone)).map((group) => wire(group.id)),
    wire,
    members: (id: string): Account[] => [...(groups.get(id)?.members.values() ?? [])].map((member) => member.account),
    others: (id: string, but: Account): Account[] =>
      [...get(id).members.values()].map((member) => member.account).filter((account) => account !== but),
    mayWrite(id: string, account: Account): boolean {
      const group = groups.get(id);
      const member = group?.members.get(account.phone);
      return Boolean(group && member && (!group.announce || member.isAdmin));
    },
    create(owner: Account, subject: string, participants: string[]): string {
      const id = `1203${BigInt(`0x${randomBytes(6).toString('hex')}`)
        .toString()
        .padStart(14, '0')
        .slice(0, 14)}@g.us`;
      groups.set(id, {
        id,
        subject,
        desc: null,
        descId: null,
        owner: phoneId(owner),
        creation: seconds(),
        announce: false,
        restrict: false,
        memberAddMode: 'all_member_add',
        members: new Map(),
        invite: randomBytes(11).toString('hex'),
      });
      const group = get(id);
      group.members.set(owner.phone, { account: owner, isAdmin: true, isSuperAdmin: true });
      for (const participant of participants) {
        const account = find(participant);
        if (account) group.members.set(account.phone, { account, isAdmin: false, isSuperAdmin: false });
      }
      notify(
        id,
        owner,
        'create',
        [...group.members.values()].map((member) => phoneId(member.account)),
        subject,
      );
      return id;
    },
    add: (by: Account, id: string, participants: string[]) =>
      change(
        by,
        id,
        participants,
        (group, account) => group.members.set(account.phone, { account, isAdmin: false, isSuperAdmin: false }),
        'add',
      ),
    remove: (by: Account, id: string, participants: string[]) =>
      change(by, id, participants, (group, account) => group.members.delete(account.phone), 'remove'),
    promote: (by: Account, id: string, participants: string[]) =>
      change(by, id, participants, (group, account) => setAdmin(group, account, true), 'promote'),
    demote: (by: Account, id: string, participants: string[]) =>
      change(by, id, participants, (group, account) => setAdmin(group, account, false), 'demote'),
    subject(by: Account, id: string, subject: string): void {
      const group = get(id).restrict ? admin(id, by) : get(id);
      group.subject = subject;
      notify(id, by, 'subject', [], subject);
    },
    description(by: Account, id: string, desc: string, descId: string): void {
      const group = get(id).restrict ? admin(id, by) : get(id);
      Object.assign(group, { desc, descId });
      notify(id, by, 'description', [], desc);
    },
    property(by: Account, id: string, name: 'announce' | 'restrict' | 'memberAddMode', value: boolean | string): void {
      Object.assign(admin(id, by), { [name]: value });
      notify(id, by, name, [], String(value));
    },
    leave(by: Account, id: string): void {
      get(id).members.delete(by.phone);
      notify(id, by, 'leave', [phoneId(by)], null);
    },
    invite: (by: Account, id: string): string => admin(id, by).invite,
    revokeInvite(by: Account, id: string): string {
      return (admin(id, by).invite = randomBytes(11).toString('hex'));
    },
    byInvite(code: string): WireGroup {
      const group = [...groups.values()].find((candidate) => candidate.invite === code);
      if (!group) throw Object.assign(new Error('item-not-found'), { status: 404 });
      return wire(group.id);
    },
    join(by: Account, code: string): string {
      const { id } = this.byInvite(code);
      get(id).members.set(by.phone, { account: by, isAdmin: false, isSuperAdmin: false });
      notify(id, by, 'invite', [phoneId(by)], null);
      return id;
    },
  };
}

function setAdmin(group: Group, account: Account, isAdmin: boolean): void {
  const member = group.members.get(account.phone);
  if (member) member.isAdmin = isAdmin;
}
