/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import type { ParticipantResult } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import { isoOf } from '../time.js';
import { change } from './change.js';
import { need, read, type ChangeHandler, type OperationContext, type OperationHandlers } from './context.js';
import { findingPeople, meaningOf } from './group-people.js';

const reading = need('WAWebGroupQueryJob', 'queryAndUpdateGroupMetadataById');
const listing = need('WAWebApiMembershipApprovalRequestStore', 'getMembershipApprovalRequests');
type Deciding = 'groups.approve' | 'groups.reject';

/** Lists and decides requests to join a group whose admins approve joins. */
export const requests: Pick<OperationHandlers<'groups'>, 'groups.requests' | Deciding> = {
  'groups.requests': read('groups.requests', {
    needs: [listing, reading],
    async run({ groupId }, { inPage, identities }) {
      const rows = await inPage(requestRows, { groupId });
      await identities.learn(rows.flatMap(({ id, addedBy }) => [id, addedBy]));
      return rows.map(({ id, addedBy, method, t }) => ({
        contact: identities.contact(id),
        addedBy: addedBy ? identities.contact(addedBy) : null,
        method,
        at: t ? isoOf(t) : null,
      }));
    },
  }),
  'groups.approve': deciding('groups.approve', true),
  'groups.reject': deciding('groups.reject', false),
};

interface Decision {
  groupId: string;
  requesters: string[] | null;
  isApproval: boolean;
}
interface Requested {
  asked: string;
  /** The id that the request has, which may be the person's other id. Null: there is no request. */
  id: string | null;
}

function deciding<Id extends Deciding>(id: Id, isApproval: boolean): ChangeHandler<Id> {
  return change<Deciding, Decision, Promise<Requested[]>, Promise<(number | null)[]>>(id, {
    needs: [
      need('WASmaxGroupsMembershipRequestsActionRPC', 'sendMembershipRequestsActionRPC'),
      need('WAWebWidToJid', 'widToUserJid', 'widToGroupJid'),
      findingPeople,
      listing,
      reading,
    ],
    prepare: ({ groupId, requesters }) => ({ groupId, requesters: requesters ? [...new Set(requesters)] : null, isApproval }),
    before: requested,
    act: decide,
    effect: isDecided,
    partly: async (_input, context, { given, before, result }) => {
      const results = await decisionResults(given, before, result, context);
      return results.some(({ status }) => status === 'done') ? results : null;
    },
    done: (_input, context, { given, before, result }) => decisionResults(given, before, result, context),
  }) as ChangeHandler<Id>;
}

/** Runs in the page. */
async function requestRows(
  core: PageCore,
  { groupId }: { groupId: string },
): Promise<{ id: string; addedBy: string | null; method: string | null; t: number | null }[]> {
  const chat = await core.requireGroup(groupId, 'admin');
  const found = await core.module('WAWebApiMembershipApprovalRequestStore').getMembershipApprovalRequests(chat.id);
  return (found ?? []).map(({ id, addedBy, requestMethod, t }: any) => ({
    id: core.serialized(id),
    addedBy: core.idOf(addedBy),
    method: requestMethod ?? null,
    t: t ?? null,
  }));
}

/** Runs in the page. Returns the requests to decide: those of `requesters`, or all. */
async function requested(core: PageCore, { groupId, requesters }: Decision): Promise<Requested[]> {
  const chat = await core.requireGroup(groupId, 'admin');
  const found: any[] = (await core.module('WAWebApiMembershipApprovalRequestStore').getMembershipApprovalRequests(chat.id)) ?? [];
  const ids = found.map(({ id }) => core.serialized(id));
  if (!requesters) return ids.map((id) => ({ asked: id, id }));
  for (const asked of requesters) if (!ids.some((id) => core.isSame(asked, id))) await core.person(asked);
  return requesters.map((asked) => ({ asked, id: ids.find((id) => core.isSame(asked, id)) ?? null }));
}

/** Runs in the page. Returns WhatsApp's error code for each request; null: no error. */
async function decide(core: PageCore, { groupId, isApproval }: Decision, before: Requested[]): Promise<(number | null)[]> {
  const jids = core.module('WAWebWidToJid');
  const rpc = core.module('WASmaxGroupsMembershipRequestsActionRPC');
  const iqTo = jids.widToGroupJid(core.widOf(groupId));
  const codes: (number | null)[] = [];
  for (const { id } of before) {
    if (id === null) {
      codes.push(404);
      continue;
    }
    const args = { participantArgs: [{ participantJid: jids.widToUserJid(core.widOf(id)) }] };
    const response = await rpc.sendMembershipRequestsActionRPC({ iqTo, [isApproval ? 'approveArgs' : 'rejectArgs']: args });
    if (!response) throw new Error('WhatsApp Web gave no answer to the decision.');
    const { name, value } = response;
    if (name !== 'MembershipRequestsActionResponseSuccess') core.refuse('WHATSAPP_REFUSED', { whatsapp: { message: name } });
    const [answer] = value[isApproval ? 'membershipRequestsActionApprove' : 'membershipRequestsActionReject']?.participant ?? [];
    const error =
      answer?.[
        isApproval ? 'membershipRequestsActionAcceptParticipantMixins' : 'membershipRequestsActionRejectParticipantMixins'
      ];
    codes.push(error ? Number(error.value?.error ?? 400) : null);
  }
  return codes;
}

/** Runs in the page. Whether no request that WhatsApp accepted is left, and everyone approved is in the group. */
async function isDecided(
  core: PageCore,
  { groupId, isApproval }: Decision,
  before: Requested[],
  codes: (number | null)[] | null,
): Promise<boolean> {
  const chat = await core.readGroup(groupId);
  const found: any[] = (await core.module('WAWebApiMembershipApprovalRequestStore').getMembershipApprovalRequests(chat.id)) ?? [];
  const left = found.map(({ id }) => core.serialized(id));
  return before
    .filter(({ id }, index) => id !== null && (codes?.[index] ?? null) === null)
    .every(({ id }) => !left.includes(id!) && (!isApproval || core.memberOf(chat, id!) !== null));
}

async function decisionResults(
  { groupId, isApproval }: Decision,
  before: Requested[],
  codes: (number | null)[] | null,
  context: OperationContext,
): Promise<ParticipantResult[]> {
  const shown = await context.inPage(decided, groupId, before);
  await context.identities.learn(before.map(({ asked }) => asked));
  return before.map(({ asked, id }, index) => {
    const contact = context.identities.contact(asked);
    const { isWaiting, role } = shown[index]!;
    if (id === null) return { contact, role, status: 'refused', code: 404, message: 'There is no such request.' };
    if (!isWaiting && (role !== null) === isApproval) return { contact, role, status: 'done', code: null, message: null };
    const code = codes?.[index] ?? null;
    if (code !== null) return { contact, role, status: 'refused', code, message: meaningOf(code) };
    return { contact, role, status: 'unknown', code: null, message: null };
  });
}

/** Runs in the page. Returns for each person whether the request still waits, and the role in the group. */
async function decided(
  core: PageCore,
  groupId: string,
  people: Requested[],
): Promise<{ isWaiting: boolean; role: ParticipantResult['role'] }[]> {
  const chat = await core.requireGroup(groupId);
  const found: any[] = (await core.module('WAWebApiMembershipApprovalRequestStore').getMembershipApprovalRequests(chat.id)) ?? [];
  const left = found.map(({ id }) => core.serialized(id));
  return people.map(({ asked, id }) => ({
    isWaiting: id !== null && left.includes(id),
    role: core.roleIn(chat, id ?? asked),
  }));
}
