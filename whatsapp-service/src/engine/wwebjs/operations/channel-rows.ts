import type { ChannelResource } from '@chasqui/shared';
import type { ChannelRow, PageCore } from '../page/world.js';
import { isoOf } from '../time.js';
import type { OperationContext } from './context.js';

const roles = ['owner', 'admin', 'subscriber', 'guest'] as const;
const reactionsOf: Readonly<Record<number, ChannelResource['reactions']>> = { 0: 'all', 1: 'basic', 3: 'none' };

export function channelResource(row: ChannelRow): ChannelResource {
  return {
    id: row.id,
    name: row.name,
    description: row.description || null,
    role: roles.find((role) => role === row.role) ?? 'guest',
    subscribers: row.subscribers,
    isMuted: row.muted,
    isVerified: row.verified,
    reactions: row.reactions === null ? null : (reactionsOf[row.reactions] ?? null),
    inviteLink: row.invite,
    picture: row.picture,
    createdAt: row.creation ? isoOf(row.creation) : null,
  };
}

export const readChannel = async (channelId: string, { inPage }: OperationContext): Promise<ChannelResource> =>
  channelResource(await inPage(channelById, { channelId }));

/** Runs in the page. Loads a channel that the account does not follow. */
async function channelById(core: PageCore, { channelId }: { channelId: string }): Promise<ChannelRow> {
  const channel = await core.findChannel(channelId);
  await core.askPicture(channel.id);
  return core.channelRow(channel);
}
