import type { GroupResource } from '@chasqui/shared';
import type { GroupRow, PageCore } from '../page/world.js';
import { isoOf } from '../time.js';
import type { OperationContext } from './context.js';

/** Reads a group again from WhatsApp and returns it in the API's form. */
export async function readGroupResource(groupId: string, context: OperationContext): Promise<GroupResource> {
  const row = await context.inPage(freshGroup, groupId);
  await context.identities.learn([row.owner, ...(row.members ?? []).map(({ id }) => id)]);
  return groupResource(row, context.identities);
}

/** Runs in the page. */
async function freshGroup(core: PageCore, groupId: string): Promise<GroupRow> {
  return core.groupRow(await core.requireGroup(groupId), true);
}

/** Converts a group to the API's form. `identities` must have learned the owner and the participants. */
export function groupResource(row: GroupRow, identities: OperationContext['identities']): GroupResource {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    owner: row.owner ? identities.contact(row.owner) : null,
    createdAt: row.creation ? isoOf(row.creation) : null,
    settings: {
      sendMessages: row.announce ? 'admins' : 'all',
      editInfo: row.restrict ? 'admins' : 'all',
      addMembers: row.addMembers,
      approveJoins: row.approval,
    },
    disappearingSeconds: row.ephemeral,
    size: row.size,
    role: row.role,
    communityId: row.parent,
    ...(row.members ? { participants: row.members.map(({ id, role }) => ({ contact: identities.contact(id), role })) } : {}),
  };
}
