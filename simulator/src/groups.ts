import { randomBytes } from 'node:crypto';
import { lidId, phoneId, type Account } from './accounts.js';
import type { Clock } from './clock.js';
import type { Phones } from './phones.js';
import { notFound, Refusal } from './refusal.js';
import { newServerId } from './server-id.js';
import type { WireGroup, WireMessage } from './wire.js';

export interface Group extends Omit<WireGroup, 'participants' | 'requests' | 'owner'> {
  owner: string;
  /** Members by phone number. */
  members: Map<string, { isAdmin: boolean; isSuperAdmin: boolean }>;
  /** When each number requested to join, in seconds. */
  requests: Map<string, number>;
  /** Private invitations: code → number of the invited phone. */
  invitations: Map<string, string>;
  invite: string;
}

export interface ParticipantResult {
  id: string;
  phone: string;
  code: number;
  /** With code 403: the invitation that may be sent instead. */
  inviteCode?: string;
  inviteExpires?: number;
}

export interface GroupSettings {
  announce?: boolean | undefined;
  restrict?: boolean | undefined;
  memberAddMode?: WireGroup['memberAddMode'] | undefined;
  approval?: boolean | undefined;
  lidAddressing?: boolean | undefined;
  ephemeral?: number | undefined;
  isCommunity?: boolean | undefined;
  parent?: string | undefined;
  isAnnouncements?: boolean | undefined;
}

type Notify = (accounts: Account[], message: Omit<WireMessage, 'marks'>) => void;

/**
 * Groups, their members and settings. Every change is announced to the members as the notification that WhatsApp shows. Verbs throw a
 * `Refusal`: 404 if the group does not exist, 403 if the account may not do this, 409 if it is done already. Participants are addresses; each
 * has its own result.
 */
export interface Groups {
  /** All groups, by id. */
  groups: Map<string, Group>;
  /** A group as its members see it. */
  wire(id: string): WireGroup;
  members(id: string): Account[];
  /** The address of an account in the group: its phone number, or its LID. */
  memberId(id: string, of: Account): string;
  /** The groups of an account. */
  all(of: Account): WireGroup[];
  isAdmin(id: string, by: Account): boolean;
  mayWrite(id: string, by: Account): boolean;
  create(
    owner: Account,
    subject: string,
    participants: string[],
    settings?: GroupSettings,
  ): { id: string; results: ParticipantResult[] };
  add(by: Account, id: string, participants: string[]): ParticipantResult[];
  remove(by: Account, id: string, participants: string[]): ParticipantResult[];
  promote(by: Account, id: string, participants: string[]): ParticipantResult[];
  demote(by: Account, id: string, participants: string[]): ParticipantResult[];
  subject(by: Account, id: string, subject: string): void;
  description(by: Account, id: string, desc: string, descId: string): void;
  picture(by: Account, id: string, picture: string | null): void;
  set(by: Account, id: string, settings: GroupSettings): void;
  leave(by: Account, id: string): void;
  /** Moves a group into a community, or out of the one that it is in. The rights are checked by `communities.ts`. */
  move(by: Account, id: string, parent: string | null): void;
  /** Takes a group out of its community and ends it: its members stay, and no member can write to it. */
  terminate(by: Account, id: string): void;
  /** The invite code of the group. */
  invite(by: Account, id: string): string;
  /** Replaces the invite code. */
  revokeInvite(by: Account, id: string): string;
  byInvite(code: string): WireGroup;
  /** Joins at once, or requests to join if the group has `approval`. */
  join(by: Account, code: string): { id: string; joined: boolean };
  /** A private invitation for one account, as an admin's phone sends it. */
  invitation(by: Account, id: string, who: Account): { inviteCode: string; inviteExpires: number };
  /** Joins by the private invitation that `add` returned. */
  joinByInvitation(by: Account, id: string, code: string): string;
  /** Admits or rejects those who requested to join. */
  decide(by: Account, id: string, participants: string[], approve: boolean): ParticipantResult[];
}

interface GroupsContext {
  groups: Map<string, Group>;
  phones: Phones;
  clock: Clock;
  /** Delivers a group's notification. */
  notify: Notify;
}

export function createGroups(parts: { phones: Phones; clock: Clock; notify: Notify }): Groups {
  const context: GroupsContext = { ...parts, groups: new Map() };
  const { groups } = context;
  return {
    groups,
    wire: (id) => wireOf(context, id),
    members: (id) => membersOf(context, id),
    memberId: (id, of) => idIn(groupOf(context, id), of),
    all: (of) => [...groups.values()].filter((group) => group.members.has(of.phone)).map((group) => wireOf(context, group.id)),
    isAdmin: (id, by) => groups.get(id)?.members.get(by.phone)?.isAdmin ?? false,
    mayWrite: (id, by) => mayWrite(context, id, by),
    create: (owner, subject, participants, settings = {}) => create(context, owner, subject, participants, settings),
    add: (by, id, participants) => add(context, by, id, participants),
    remove: (by, id, participants) => remove(context, by, id, participants),
    promote: (by, id, participants) => setRole(context, by, id, participants, true),
    demote: (by, id, participants) => setRole(context, by, id, participants, false),
    subject: (by, id, subject) => edit(context, by, id, { subject }, 'subject', subject),
    description: (by, id, desc, descId) => edit(context, by, id, { desc, descId }, 'description', desc),
    picture: (by, id, picture) => edit(context, by, id, { picture }, 'picture', null),
    set: (by, id, settings) => set(context, by, id, settings),
    leave: (by, id) => leave(context, by, id),
    move: (by, id, parent) => move(context, by, id, parent),
    terminate: (by, id) => {
      groupOf(context, id).terminated = true;
      move(context, by, id, null);
    },
    invite: (by, id) => asAdmin(context, id, by).invite,
    revokeInvite: (by, id) => (asAdmin(context, id, by).invite = randomBytes(11).toString('hex')),
    byInvite: (code) => wireOf(context, invitedTo(context, code).id),
    join: (by, code) => join(context, by, code),
    invitation: (by, id, who) => invitationFor(context, asAdmin(context, id, by), who),
    joinByInvitation: (by, id, code) => joinByInvitation(context, by, id, code),
    decide: (by, id, participants, approve) => decide(context, by, id, participants, approve),
  };
}

const groupOf = ({ groups }: GroupsContext, id: string): Group => groups.get(id) ?? notFound();
const accountOf = ({ phones }: GroupsContext, phone: string): Account => phones.accounts.get(phone) ?? notFound();
const idIn = (group: Group, of: Account): string => (group.lidAddressing ? lidId(of) : phoneId(of));
const invitedTo = ({ groups }: GroupsContext, code: string): Group =>
  [...groups.values()].find((group) => group.invite === code) ?? notFound();

function membersOf(context: GroupsContext, id: string): Account[] {
  return [...(context.groups.get(id)?.members.keys() ?? [])].map((phone) => accountOf(context, phone));
}

function asMember(context: GroupsContext, id: string, by: Account): Group {
  const group = groupOf(context, id);
  if (!group.members.has(by.phone)) throw new Refusal(403, 'not-authorized');
  return group;
}
function asAdmin(context: GroupsContext, id: string, by: Account): Group {
  const group = groupOf(context, id);
  if (!group.members.get(by.phone)?.isAdmin) throw new Refusal(403, 'not-authorized');
  return group;
}
/** The group, if the account may change its subject, description and picture. */
function asEditor(context: GroupsContext, id: string, by: Account): Group {
  const group = asMember(context, id, by);
  return group.restrict ? asAdmin(context, id, by) : group;
}

function mayWrite({ groups }: GroupsContext, id: string, by: Account): boolean {
  const group = groups.get(id);
  const member = group?.members.get(by.phone);
  return Boolean(group && member && !group.terminated && (!group.announce || member.isAdmin));
}

function wireOf(context: GroupsContext, id: string): WireGroup {
  const found = groupOf(context, id);
  const { members, requests, invitations: _, invite: __, owner, ...group } = found;
  const idOf = (phone: string): string => idIn(found, accountOf(context, phone));
  return {
    ...group,
    owner: idOf(owner),
    requests: [...requests].map(([phone, t]) => ({ id: idOf(phone), t })),
    participants: [...members].map(([phone, role]) => ({ id: idOf(phone), ...role })),
  };
}

interface Announcement {
  /** WhatsApp's name for the change. */
  subtype: string;
  about?: Account[];
  body?: string | null;
  /** Accounts that have left the group and are informed too. */
  gone?: Account[];
}

function announce(context: GroupsContext, group: Group, by: Account, { subtype, about, body, gone }: Announcement): void {
  context.notify([...new Set([...membersOf(context, group.id), ...(gone ?? [])])], {
    key: `3EB0${randomBytes(9).toString('hex').toUpperCase()}`,
    fromMe: false,
    chat: group.id,
    from: group.id,
    to: group.id,
    author: idIn(group, by),
    t: context.clock.seconds(),
    type: 'gp2',
    data: { subtype, recipients: (about ?? []).map((one) => ({ $wid: idIn(group, one) })), body: body ?? null },
    ack: 0,
  });
}

type Outcome = Partial<ParticipantResult> & { code: number };

/** Calls `act` with the account of each participant. The result of an address without an account is 404. */
function forEach(
  { phones }: GroupsContext,
  group: Group,
  participants: string[],
  act: (who: Account) => Outcome,
): ParticipantResult[] {
  return participants.map((participant) => {
    const who = phones.find(participant);
    if (!who) return { id: participant, phone: participant, code: 404 };
    return { id: idIn(group, who), phone: phoneId(who), ...act(who) };
  });
}

/** Calls `act` with each participant, and announces in the group for which of them it succeeded. */
function change(
  context: GroupsContext,
  { group, by, participants, subtype }: { group: Group; by: Account; participants: string[]; subtype: string },
  act: (who: Account) => Outcome,
): ParticipantResult[] {
  const done: Account[] = [];
  const results = forEach(context, group, participants, (who) => {
    const outcome = act(who);
    if (outcome.code === 200) done.push(who);
    return outcome;
  });
  if (done.length > 0) announce(context, group, by, { subtype, about: done, gone: subtype === 'remove' ? done : [] });
  return results;
}

function enter(group: Group, who: Account): void {
  group.members.set(who.phone, { isAdmin: false, isSuperAdmin: false });
}

function invitationFor({ clock }: GroupsContext, group: Group, who: Account): { inviteCode: string; inviteExpires: number } {
  const inviteCode = randomBytes(8).toString('hex');
  group.invitations.set(inviteCode, who.phone);
  return { inviteCode, inviteExpires: clock.seconds() + 3 * 86_400 };
}

/** Adds an account. Some can only be invited: code 403, with the invitation. */
function admit(context: GroupsContext, group: Group, who: Account): Outcome {
  if (group.members.has(who.phone)) return { code: 409 };
  if (who.groupsByInvite) return { code: 403, ...invitationFor(context, group, who) };
  enter(group, who);
  return { code: 200 };
}

function create(
  context: GroupsContext,
  owner: Account,
  subject: string,
  participants: string[],
  settings: GroupSettings,
): { id: string; results: ParticipantResult[] } {
  const group: Group = {
    id: newServerId('g.us'),
    subject,
    desc: null,
    descId: null,
    owner: owner.phone,
    creation: context.clock.seconds(),
    announce: settings.announce ?? false,
    restrict: settings.restrict ?? false,
    memberAddMode: settings.memberAddMode ?? 'all_member_add',
    approval: settings.approval ?? false,
    lidAddressing: settings.lidAddressing ?? false,
    ephemeral: settings.ephemeral ?? 0,
    picture: null,
    isCommunity: settings.isCommunity ?? false,
    parent: settings.parent ?? null,
    isAnnouncements: settings.isAnnouncements ?? false,
    terminated: false,
    members: new Map([[owner.phone, { isAdmin: true, isSuperAdmin: true }]]),
    requests: new Map(),
    invitations: new Map(),
    invite: randomBytes(11).toString('hex'),
  };
  context.groups.set(group.id, group);
  const results = forEach(context, group, participants, (who) => admit(context, group, who));
  announce(context, group, owner, { subtype: 'create', about: membersOf(context, group.id), body: subject });
  return { id: group.id, results };
}

function add(context: GroupsContext, by: Account, id: string, participants: string[]): ParticipantResult[] {
  const mode = groupOf(context, id).memberAddMode;
  const group = mode === 'all_member_add' ? asMember(context, id, by) : asAdmin(context, id, by);
  return change(context, { group, by, participants, subtype: 'add' }, (who) => admit(context, group, who));
}

function remove(context: GroupsContext, by: Account, id: string, participants: string[]): ParticipantResult[] {
  const group = asAdmin(context, id, by);
  return change(context, { group, by, participants, subtype: 'remove' }, (who) => ({
    code: group.members.delete(who.phone) ? 200 : 404,
  }));
}

function setRole(context: GroupsContext, by: Account, id: string, participants: string[], isAdmin: boolean): ParticipantResult[] {
  const group = asAdmin(context, id, by);
  return change(context, { group, by, participants, subtype: isAdmin ? 'promote' : 'demote' }, (who) => {
    const member = group.members.get(who.phone);
    if (!member) return { code: 404 };
    member.isAdmin = isAdmin;
    return { code: 200 };
  });
}

function edit(
  context: GroupsContext,
  by: Account,
  id: string,
  fields: Partial<Group>,
  subtype: string,
  body: string | null,
): void {
  announce(context, Object.assign(asEditor(context, id, by), fields), by, { subtype, body });
}

function set(context: GroupsContext, by: Account, id: string, settings: GroupSettings): void {
  const group = asAdmin(context, id, by);
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined) continue;
    Object.assign(group, { [name]: value });
    announce(context, group, by, { subtype: noticeOf[name] ?? name, body: String(value) });
  }
}

function leave(context: GroupsContext, by: Account, id: string): void {
  const group = groupOf(context, id);
  if (!group.members.delete(by.phone)) throw new Refusal(403, 'not-authorized');
  announce(context, group, by, { subtype: 'leave', about: [by], gone: [by] });
}

function move(context: GroupsContext, by: Account, id: string, parent: string | null): void {
  const group = groupOf(context, id);
  group.parent = parent;
  const subtype = parent === null ? 'community_unlink_parent_group' : 'community_link_parent_group';
  announce(context, group, by, { subtype, body: parent });
}

function join(context: GroupsContext, by: Account, code: string): { id: string; joined: boolean } {
  const group = invitedTo(context, code);
  if (group.members.has(by.phone)) throw new Refusal(409, 'conflict');
  if (group.approval) {
    group.requests.set(by.phone, context.clock.seconds());
    announce(context, group, by, { subtype: 'membership_approval_request', about: [by] });
    return { id: group.id, joined: false };
  }
  enter(group, by);
  announce(context, group, by, { subtype: 'invite', about: [by] });
  return { id: group.id, joined: true };
}

function joinByInvitation(context: GroupsContext, by: Account, id: string, code: string): string {
  const group = groupOf(context, id);
  if (group.invitations.get(code) !== by.phone) notFound();
  group.invitations.delete(code);
  enter(group, by);
  announce(context, group, by, { subtype: 'invite', about: [by] });
  return id;
}

function decide(context: GroupsContext, by: Account, id: string, participants: string[], approve: boolean): ParticipantResult[] {
  const group = asAdmin(context, id, by);
  return participants.map((participant) => {
    const who = context.phones.find(participant);
    if (!who || !group.requests.delete(who.phone)) return { id: participant, phone: participant, code: 404 };
    if (approve) {
      enter(group, who);
      announce(context, group, by, { subtype: 'add', about: [who] });
    }
    return { id: idIn(group, who), phone: phoneId(who), code: 200 };
  });
}

/** The names of settings in WhatsApp's notices. */
const noticeOf: Record<string, string> = {
  announce: 'announce',
  restrict: 'restrict',
  memberAddMode: 'member_add_mode',
  approval: 'membership_approval_mode',
  ephemeral: 'ephemeral',
};
