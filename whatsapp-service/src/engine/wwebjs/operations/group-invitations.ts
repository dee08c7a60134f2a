/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import { AppError, type OperationInput } from '@chasqui/shared';
import type { GroupRow, PageCore } from '../page/world.js';
import { change } from './change.js';
import { need, read, type OperationHandlers } from './context.js';
import { groupResource, readGroupResource } from './group-rows.js';

const fetching = need('WAWebMexFetchGroupInviteCodeJob', 'fetchMexGroupInviteCode');
type Handlers = Pick<OperationHandlers<'groups'>, 'groups.inviteInfo' | 'groups.join' | 'groups.invite' | 'groups.revokeInvite'>;

/** Invitations to groups: the codes of the account's own groups, and invitations from others. */
export const invitations: Handlers = {
  'groups.invite': read('groups.invite', {
    needs: [fetching, need('WAWebGroupQueryJob', 'queryAndUpdateGroupMetadataById')],
    run: async ({ groupId }, { inPage }) => inviteOf(await inPage(inviteCode, { groupId })),
  }),
  'groups.revokeInvite': change('groups.revokeInvite', {
    needs: [need('WAWebGroupQueryJob', 'resetGroupInviteCode', 'queryAndUpdateGroupMetadataById'), fetching],
    prepare: ({ groupId }) => ({ groupId }),
    before: inviteCode,
    act: resetInvite,
    effect: hasOtherInvite,
    done: async ({ groupId }, { inPage }) => inviteOf(await inPage(inviteCode, { groupId })),
  }),
  'groups.inviteInfo': read('groups.inviteInfo', {
    needs: [need('WAWebGroupQueryJob', 'queryGroupInvite')],
    async run({ code }, { inPage, identities }) {
      const row = await inPage(invitedGroup, codeIn(code));
      await identities.learn([row.owner]);
      return groupResource(row, identities);
    },
  }),
  'groups.join': change('groups.join', {
    needs: [
      need('WAWebGroupInviteJob', 'joinGroupViaInvite'),
      need('WAWebGroupInviteV4Job', 'joinGroupViaInviteV4'),
      need('WAWebGroupQueryJob', 'queryGroupInvite', 'queryAndUpdateGroupMetadataById'),
    ],
    prepare: invitationIn,
    before: invitedTo,
    act: join,
    effect: isIn,
    async done(_input, context, { before }) {
      const { isMember } = await context.inPage(membership, before.groupId);
      if (isMember) return readGroupResource(before.groupId, context);
      // The request waits for an admin. WhatsApp shows it only to the group's admins.
      return { pending: true as const, groupId: before.groupId };
    },
  }),
};

const inviteOf = (code: string) => ({ code, link: `https://chat.whatsapp.com/${code}` });

/** Returns the code in a link, or the code itself. Throws `INVITE_NOT_FOUND` for any other text. */
function codeIn(text: string): string {
  const [, code] =
    /^(?:(?:https?:\/\/)?chat\.whatsapp\.com\/(?:invite\/)?)?([\w-]{6,64})\/?(?:[?#].*)?$/i.exec(text.trim()) ?? [];
  if (!code) throw new AppError('INVITE_NOT_FOUND', { code: text }, 'This is neither an invitation code nor its link.');
  return code;
}

interface Invitation {
  code: string | null;
  messageId: string | null;
}

/** Throws `VALIDATION_FAILED` unless exactly one of the two fields is set. */
function invitationIn({ code, messageId }: OperationInput<'groups.join'>): Invitation {
  if ((code === undefined) === (messageId === undefined)) {
    const message = 'Send either code or messageId.';
    throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'code', code: 'invalid_union', message }] }, message);
  }
  return { code: code === undefined ? null : codeIn(code), messageId: messageId ?? null };
}

/** Runs in the page. */
async function inviteCode(core: PageCore, { groupId }: { groupId: string }): Promise<string> {
  await core.requireGroup(groupId, 'admin');
  const answer = await core.module('WAWebMexFetchGroupInviteCodeJob').fetchMexGroupInviteCode(groupId);
  const code = answer?.code ?? answer;
  // WhatsApp returns no code to an account that may not see it.
  return typeof code === 'string' && code ? code : core.refuse('GROUP_ADMIN_REQUIRED', { groupId });
}

/** Runs in the page. */
async function resetInvite(core: PageCore, { groupId }: { groupId: string }): Promise<void> {
  await core.module('WAWebGroupQueryJob').resetGroupInviteCode(core.widOf(groupId));
}

/** Runs in the page. */
async function hasOtherInvite(core: PageCore, { groupId }: { groupId: string }, before: string): Promise<boolean> {
  const answer = await core.module('WAWebMexFetchGroupInviteCodeJob').fetchMexGroupInviteCode(groupId);
  const code = answer?.code ?? answer;
  return typeof code === 'string' && code !== '' && code !== before;
}

/** Runs in the page. Returns the group of a code, with the details that WhatsApp shows to non-members. */
async function invitedGroup(core: PageCore, code: string): Promise<GroupRow> {
  let info: any;
  try {
    info = await core.module('WAWebGroupQueryJob').queryGroupInvite(code);
  } catch (error: any) {
    // Unknown, malformed and revoked codes.
    if ([400, 404, 406, 410].includes(error?.status)) core.refuse('INVITE_NOT_FOUND', { code });
    throw error;
  }
  if (!info?.id) core.refuse('INVITE_NOT_FOUND', { code });
  const row = core.groupRow({ id: info.id, groupMetadata: info }, false);
  return { ...row, size: Number(info.size ?? info.participants?.length ?? 0), role: null };
}

/** Runs in the page. Returns the group of an invitation, and what `join` needs. Refuses expired and unknown invitations. */
async function invitedTo(core: PageCore, { code, messageId }: Invitation): Promise<any> {
  if (code) {
    const query = core.module('WAWebGroupQueryJob').queryGroupInvite(code);
    const info = await query.catch((error: any) => {
      if ([400, 404, 406, 410].includes(error?.status)) core.refuse('INVITE_NOT_FOUND', { code });
      throw error;
    });
    if (!info?.id) core.refuse('INVITE_NOT_FOUND', { code });
    return { groupId: core.serialized(info.id), needsApproval: Boolean(info.membershipApprovalMode) };
  }
  const message = await core.requireMessage(messageId!);
  const expires = Number(message.inviteCodeExp ?? 0);
  const isOpen = message.type === 'groups_v4_invite' && message.inviteCode && !message.id.fromMe;
  if (!isOpen || expires * 1_000 < Date.now())
    core.refuse('INVITE_NOT_FOUND', { messageId, reason: isOpen ? 'The invitation has expired.' : 'Not a received invitation.' });
  return {
    groupId: core.serialized(message.inviteGrp),
    needsApproval: false,
    private: { code: message.inviteCode, expires: String(expires), from: core.serialized(message.author ?? message.from) },
  };
}

/** Runs in the page. Returns true when WhatsApp has accepted the request. */
async function join(core: PageCore, { code }: Invitation, before: any): Promise<boolean> {
  try {
    // The page must know that an admin approves joins. Otherwise it reports the waiting request as an error.
    if (code) await core.module('WAWebGroupInviteJob').joinGroupViaInvite(code, before.needsApproval);
    else {
      const { code: privateCode, expires, from } = before.private;
      await core.module('WAWebGroupInviteV4Job').joinGroupViaInviteV4(privateCode, expires, before.groupId, core.widOf(from));
    }
  } catch (error: any) {
    if ([404, 406, 410].includes(error?.status)) core.refuse('INVITE_NOT_FOUND');
    throw error;
  }
  return true;
}

/** Runs in the page. Whether the account is in the group, or its accepted request waits for an admin. */
async function isIn(core: PageCore, _given: Invitation, before: any, result: boolean | null): Promise<boolean> {
  const chat = core.chatOf(before.groupId);
  const isMember = core.me().some((id) => chat?.groupMetadata?.participants?.get(core.serialized(id)));
  if (!isMember) return result === true && before.needsApproval;
  await core.readGroup(before.groupId);
  return true;
}

/** Runs in the page. */
function membership(core: PageCore, groupId: string): { isMember: boolean } {
  const chat = core.chatOf(groupId);
  return { isMember: core.me().some((id) => chat?.groupMetadata?.participants?.get(core.serialized(id))) };
}
