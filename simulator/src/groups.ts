import { randomBytes } from 'node:crypto';
import { lidId, phoneId, type Account } from './accounts.js';
import type { Clock } from './clock.js';
import type { Phones } from './phones.js';
import { Refusal } from './refusal.js';
import type { WireGroup, WireMessage } from './wire.js';

export interface Group extends Omit<WireGroup, 'participants' | 'requests' | 'owner'> {
  owner: string;
  /** By number. */
  members: Map<string, { isAdmin: boolean; isSuperAdmin: boolean }>;
  /** Who asked to join, by number, and when. */
  requests: Map<string, number>;
  /** Private invitations: code → number of the invited. */
  invitations: Map<string, string>;
  invite: string;
}

export interface ParticipantResult {
  id: string;
  phone: string;
  code: number;
  /** 403: the invitation that may be sent instead. */
  inviteCode?: string;
  inviteExpires?: number;
}

export interface GroupSettings {
  announce?: boolean | undefined;
  restrict?: boolean | undefined;
  memberAddMode?: WireGroup['memberAddMode'] | undefined;
  approval?: boolean | undefined;
  lidAddressing?: boolean | undefined;
}

type Notify = (accounts: Account[], message: Omit<WireMessage, 'marks'>) => void;

const notFound = (): never => {
  throw new Refusal(404, 'item-not-found');
};

/** Groups, their members and settings. Every change is announced to the members as the notification that WhatsApp shows. */
export function createGroups({ phones, clock, notify }: { phones: Phones; clock: Clock; notify: Notify }) {
  const groups = new Map<string, Group>();

  const get = (id: string): Group => groups.get(id) ?? notFound();
  const account = (phone: string): Account => phones.accounts.get(phone) ?? notFound();
  const idIn = (group: Group, of: Account): string => (group.lidAddressing ? lidId(of) : phoneId(of));
  const members = (id: string): Account[] => [...(groups.get(id)?.members.keys() ?? [])].map(account);

  function admin(id: string, by: Account): Group {
    const group = get(id);
    if (!group.members.get(by.phone)?.isAdmin) throw new Refusal(403, 'not-authorized');
    return group;
  }
  function editor(id: string, by: Account): Group {
    const group = get(id);
    if (!group.members.has(by.phone)) throw new Refusal(403, 'not-authorized');
    return group.restrict ? admin(id, by) : group;
  }

  function wire(id: string): WireGroup {
    const { members: people, requests, invitations: _, invite: __, owner, ...group } = get(id);
    return {
      ...group,
      owner: idIn(get(id), account(owner)),
      requests: [...requests].map(([phone, t]) => ({ id: idIn(get(id), account(phone)), t })),
      participants: [...people].map(([phone, role]) => ({ id: idIn(get(id), account(phone)), ...role })),
    };
  }

  /** `gone`: those who are no members any more and are to be told all the same. */
  function tell(group: Group, by: Account, subtype: string, about: Account[], body: string | null, gone: Account[] = []): void {
    notify([...new Set([...members(group.id), ...gone])], {
      key: `3EB0${randomBytes(9).toString('hex').toUpperCase()}`,
      fromMe: false,
      chat: group.id,
      from: group.id,
      to: group.id,
      author: idIn(group, by),
      t: clock.seconds(),
      type: 'gp2',
      data: { subtype, recipients: about.map((one) => ({ $wid: idIn(group, one) })), body },
      ack: 0,
    });
  }

  const enter = (group: Group, who: Account): void => void group.members.set(who.phone, { isAdmin: false, isSuperAdmin: false });

  function change(
    by: Account,
    id: string,
    participants: string[],
    act: (group: Group, who: Account) => Partial<ParticipantResult> & { code: number },
    subtype: string,
  ): ParticipantResult[] {
    const group = subtype === 'add' && get(id).memberAddMode === 'all_member_add' ? editorOrMember(id, by) : admin(id, by);
    const done: Account[] = [];
    const results = participants.map((participant) => {
      const who = phones.find(participant);
      if (!who) return { id: participant, phone: participant, code: 404 };
      const result = act(group, who);
      if (result.code === 200) done.push(who);
      return { id: idIn(group, who), phone: phoneId(who), ...result };
    });
    if (done.length > 0) tell(group, by, subtype, done, null, subtype === 'remove' ? done : []);
    return results;
  }

  function editorOrMember(id: string, by: Account): Group {
    const group = get(id);
    if (!group.members.has(by.phone)) throw new Refusal(403, 'not-authorized');
    return group;
  }

  function admit(group: Group, who: Account): Partial<ParticipantResult> & { code: number } {
    if (group.members.has(who.phone)) return { code: 409 };
    if (who.groupsByInvite) {
      const inviteCode = randomBytes(8).toString('hex');
      group.invitations.set(inviteCode, who.phone);
      return { code: 403, inviteCode, inviteExpires: clock.seconds() + 3 * 86_400 };
    }
    enter(group, who);
    return { code: 200 };
  }

  const role = (isAdmin: boolean) => (group: Group, who: Account) => {
    const member = group.members.get(who.phone);
    if (!member) return { code: 404 };
    member.isAdmin = isAdmin;
    return { code: 200 };
  };

  return {
    groups,
    wire,
    members,
    memberId: (id: string, of: Account): string => idIn(get(id), of),
    all: (of: Account): WireGroup[] =>
      [...groups.values()].filter((group) => group.members.has(of.phone)).map((group) => wire(group.id)),
    isAdmin: (id: string, by: Account): boolean => groups.get(id)?.members.get(by.phone)?.isAdmin ?? false,
    mayWrite(id: string, by: Account): boolean {
      const group = groups.get(id);
      const member = group?.members.get(by.phone);
      return Boolean(group && member && (!group.announce || member.isAdmin));
    },
    create(owner: Account, subject: string, participants: string[], settings: GroupSettings = {}) {
      const id = `1203${String(BigInt(`0x${randomBytes(6).toString('hex')}`))
        .padStart(14, '0')
        .slice(0, 14)}@g.us`;
      const group: Group = {
        id,
        subject,
        desc: null,
        descId: null,
        owner: owner.phone,
        creation: clock.seconds(),
        announce: settings.announce ?? false,
        restrict: settings.restrict ?? false,
        memberAddMode: settings.memberAddMode ?? 'all_member_add',
        approval: settings.approval ?? false,
        lidAddressing: settings.lidAddressing ?? false,
        picture: null,
        members: new Map([[owner.phone, { isAdmin: true, isSuperAdmin: true }]]),
        requests: new Map(),
        invitations: new Map(),
        invite: randomBytes(11).toString('hex'),
      };
      groups.set(id, group);
      const results = participants.map((participant): ParticipantResult => {
        const who = phones.find(participant);
        if (!who) return { id: participant, phone: participant, code: 404 };
        return { id: idIn(group, who), phone: phoneId(who), ...admit(group, who) };
      });
      tell(group, owner, 'create', members(id), subject);
      return { id, results };
    },
    add: (by: Account, id: string, participants: string[]) => change(by, id, participants, admit, 'add'),
    remove: (by: Account, id: string, participants: string[]) =>
      change(by, id, participants, (group, who) => ({ code: group.members.delete(who.phone) ? 200 : 404 }), 'remove'),
    promote: (by: Account, id: string, participants: string[]) => change(by, id, participants, role(true), 'promote'),
    demote: (by: Account, id: string, participants: string[]) => change(by, id, participants, role(false), 'demote'),
    subject(by: Account, id: string, subject: string): void {
      const group = editor(id, by);
      group.subject = subject;
      tell(group, by, 'subject', [], subject);
    },
    description(by: Account, id: string, desc: string, descId: string): void {
      const group = editor(id, by);
      Object.assign(group, { desc, descId });
      tell(group, by, 'description', [], desc);
    },
    picture(by: Account, id: string, picture: string | null): void {
      const group = editor(id, by);
      group.picture = picture;
      tell(group, by, 'picture', [], null);
    },
    set(by: Account, id: string, settings: GroupSettings): void {
      const group = admin(id, by);
      for (const [name, value] of Object.entries(settings)) {
        if (value === undefined) continue;
        Object.assign(group, { [name]: value });
        tell(group, by, noticeOf[name] ?? name, [], String(value));
      }
    },
    leave(by: Account, id: string): void {
      if (!get(id).members.delete(by.phone)) throw new Refusal(403, 'not-authorized');
      tell(get(id), by, 'leave', [by], null, [by]);
    },
    invite: (by: Account, id: string): string => admin(id, by).invite,
    revokeInvite: (by: Account, id: string): string => (admin(id, by).invite = randomBytes(11).toString('hex')),
    byInvite: (code: string): WireGroup => wire([...groups.values()].find((group) => group.invite === code)?.id ?? notFound()),
    /** Joins at once, or asks the admins where they want to be asked. */
    join(by: Account, code: string): { id: string; joined: boolean } {
      const group = [...groups.values()].find((candidate) => candidate.invite === code) ?? notFound();
      if (group.members.has(by.phone)) throw new Refusal(409, 'conflict');
      if (group.approval) {
        group.requests.set(by.phone, clock.seconds());
        tell(group, by, 'membership_approval_request', [by], null);
        return { id: group.id, joined: false };
      }
      enter(group, by);
      tell(group, by, 'invite', [by], null);
      return { id: group.id, joined: true };
    },
    joinByInvitation(by: Account, id: string, code: string): string {
      const group = get(id);
      if (group.invitations.get(code) !== by.phone) throw new Refusal(404, 'item-not-found');
      group.invitations.delete(code);
      enter(group, by);
      tell(group, by, 'invite', [by], null);
      return id;
    },
    decide(by: Account, id: string, participants: string[], approve: boolean): ParticipantResult[] {
      const group = admin(id, by);
      return participants.map((participant) => {
        const who = phones.find(participant);
        if (!who || !group.requests.delete(who.phone)) return { id: participant, phone: participant, code: 404 };
        if (approve) {
          enter(group, who);
          tell(group, by, 'add', [who], null);
        }
        return { id: idIn(group, who), phone: phoneId(who), code: 200 };
      });
    },
  };
}
export type Groups = ReturnType<typeof createGroups>;

/** The names of settings in WhatsApp's notices. */
const noticeOf: Record<string, string> = {
  announce: 'announce',
  restrict: 'restrict',
  memberAddMode: 'member_add_mode',
  approval: 'membership_approval_mode',
};
