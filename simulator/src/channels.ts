import { randomBytes } from 'node:crypto';
import { phoneId, pushTo, type Account, type Device } from './accounts.js';
import type { Clock } from './clock.js';
import type { Journal } from './journal.js';
import type { Phones } from './phones.js';
import { notFound, Refusal } from './refusal.js';
import { newServerId } from './server-id.js';
import type { WireChannel } from './wire.js';

export interface Post {
  key: string;
  serverId: number;
  type: string;
  t: number;
  data: Record<string, unknown>;
  by: string;
}

export interface Channel extends Omit<WireChannel, 'role' | 'subscribers' | 'muted'> {
  owner: string;
  admins: Set<string>;
  followers: Set<string>;
  /** The numbers that are invited to become admins. */
  invited: Set<string>;
  posts: Post[];
}

type Role = WireChannel['role'];
type ChannelChanges = Partial<Pick<WireChannel, 'name' | 'description' | 'picture' | 'reactionCodes'>>;
type NewPost = Pick<Post, 'key' | 'type' | 'data'>;

/** Channels: few write, many follow. Verbs throw a `Refusal`: 404 if there is no such channel or invitation, 403 if the account may not do this. */
export interface Channels {
  /** All channels, by id. */
  channels: Map<string, Channel>;
  /** A channel as an account sees it. */
  wire(id: string, viewer: Account): WireChannel;
  /** The channels that an account owns, administers or follows. */
  mine(of: Account): WireChannel[];
  byInvite(code: string, viewer: Account): WireChannel;
  /** Returns the id. */
  create(owner: Account, name: string, description: string | null, picture: string | null): string;
  edit(by: Account, id: string, changes: ChannelChanges): void;
  remove(by: Account, id: string): void;
  follow(by: Account, id: string, follows: boolean): void;
  mute(by: Account, id: string, muted: boolean): void;
  /** Publishes a post and adds it to the journal. The same key again returns the first post. */
  post(by: Account, device: Device | null, id: string, post: NewPost): Post;
  /** The newest posts, oldest first. */
  posts(id: string, viewer: Account, limit: number): (Omit<Post, 'by'> & { mine: boolean })[];
  search(text: string, viewer: Account, limit: number, skipMine: boolean): WireChannel[];
  followers(by: Account, id: string, limit: number): { id: string; role: Role }[];
  inviteAdmin(by: Account, id: string, who: Account): void;
  uninviteAdmin(by: Account, id: string, who: Account): void;
  acceptAdmin(by: Account, id: string): void;
  /** The owner demotes an admin, or an admin resigns. */
  demote(by: Account, id: string, who: Account): void;
  /** The former owner becomes an admin. */
  transfer(by: Account, id: string, to: Account): void;
}

interface ChannelsContext {
  channels: Map<string, Channel>;
  phones: Phones;
  clock: Clock;
  journal: Journal;
}

export function createChannels(parts: { phones: Phones; clock: Clock; journal: Journal }): Channels {
  const context: ChannelsContext = { ...parts, channels: new Map() };
  const { channels } = context;
  return {
    channels,
    wire: (id, viewer) => wireOf(channelOf(context, id), viewer),
    mine: (of) => [...channels.values()].filter((one) => roleOf(one, of) !== 'guest').map((one) => wireOf(one, of)),
    byInvite: (code, viewer) => wireOf([...channels.values()].find((one) => one.invite === code) ?? notFound(), viewer),
    create: (owner, name, description, picture) => create(context, owner, { name, description, picture }),
    edit: (by, id, changes) => notify(context, Object.assign(asWriter(context, id, by), changes)),
    remove: (by, id) => remove(context, by, id),
    follow: (by, id, follows) => follow(context, by, id, follows),
    mute: (by, id, muted) => mute(context, by, id, muted),
    post: (by, device, id, post) => publish(context, by, device, id, post),
    posts: (id, viewer, limit) => postsOf(channelOf(context, id), viewer, limit),
    search: (text, viewer, limit, skipMine) => search(context, text, viewer, limit, skipMine),
    followers: (by, id, limit) => followersOf(context, by, id, limit),
    inviteAdmin: (by, id, who) => void asOwner(context, id, by).invited.add(who.phone),
    uninviteAdmin: (by, id, who) => {
      if (!asOwner(context, id, by).invited.delete(who.phone)) notFound();
    },
    acceptAdmin: (by, id) => acceptAdmin(context, by, id),
    demote: (by, id, who) => demote(context, by, id, who),
    transfer: (by, id, to) => transfer(context, by, id, to),
  };
}

const channelOf = ({ channels }: ChannelsContext, id: string): Channel => channels.get(id) ?? notFound();

function roleOf(channel: Channel, of: Account): Role {
  if (channel.owner === of.phone) return 'owner';
  if (channel.admins.has(of.phone)) return 'admin';
  return channel.followers.has(of.phone) ? 'subscriber' : 'guest';
}

function wireOf(channel: Channel, viewer: Account): WireChannel {
  const { owner: _, admins: __, followers, invited: ___, posts: ____, ...rest } = channel;
  const muted = viewer.mutedChannels.has(channel.id);
  return { ...rest, subscribers: followers.size, role: roleOf(channel, viewer), muted };
}

function asWriter(context: ChannelsContext, id: string, by: Account): Channel {
  const channel = channelOf(context, id);
  if (!['owner', 'admin'].includes(roleOf(channel, by))) throw new Refusal(403, 'not-authorized');
  return channel;
}
function asOwner(context: ChannelsContext, id: string, by: Account): Channel {
  const channel = channelOf(context, id);
  if (channel.owner !== by.phone) throw new Refusal(403, 'not-authorized');
  return channel;
}

/** The owner, the admins and the followers. */
function audienceOf({ phones }: ChannelsContext, channel: Channel): Account[] {
  return [...new Set([channel.owner, ...channel.admins, ...channel.followers])]
    .map((phone) => phones.accounts.get(phone))
    .filter((one) => one !== undefined);
}

function notify(context: ChannelsContext, channel: Channel): void {
  for (const one of audienceOf(context, channel)) pushTo(one, { ev: 'channel', d: wireOf(channel, one) });
}

function create(context: ChannelsContext, owner: Account, about: Pick<Channel, 'name' | 'description' | 'picture'>): string {
  const channel: Channel = {
    ...about,
    id: newServerId('newsletter'),
    invite: `0029Va${randomBytes(8).toString('hex')}`,
    creation: context.clock.seconds(),
    verified: false,
    reactionCodes: 0,
    owner: owner.phone,
    admins: new Set(),
    followers: new Set(),
    invited: new Set(),
    posts: [],
  };
  context.channels.set(channel.id, channel);
  notify(context, channel);
  return channel.id;
}

function remove(context: ChannelsContext, by: Account, id: string): void {
  const channel = asOwner(context, id, by);
  context.channels.delete(id);
  for (const one of audienceOf(context, channel)) pushTo(one, { ev: 'channel_gone', d: { id } });
}

function follow(context: ChannelsContext, by: Account, id: string, follows: boolean): void {
  const channel = channelOf(context, id);
  if (channel.owner === by.phone) throw new Refusal(409, 'the owner follows already');
  if (follows) channel.followers.add(by.phone);
  else channel.followers.delete(by.phone);
}

function mute(context: ChannelsContext, by: Account, id: string, muted: boolean): void {
  channelOf(context, id);
  if (muted) by.mutedChannels.add(id);
  else by.mutedChannels.delete(id);
}

function publish(context: ChannelsContext, by: Account, device: Device | null, id: string, post: NewPost): Post {
  const channel = asWriter(context, id, by);
  const before = channel.posts.find((candidate) => candidate.key === post.key);
  context.journal.add({
    account: by.phone,
    device: device?.id ?? null,
    key: post.key,
    chat: id,
    from: phoneId(by),
    type: post.type,
    body: JSON.stringify(post.data['body'] ?? post.data),
    repeat: before !== undefined,
    refused: false,
  });
  if (before) return before;
  const made: Post = { ...post, serverId: 100 + channel.posts.length, t: context.clock.seconds(), by: by.phone };
  channel.posts.push(made);
  for (const one of audienceOf(context, channel)) {
    if (one === by && device) continue;
    pushTo(one, { ev: 'post', d: { channel: id, post: { ...made, by: undefined }, mine: one === by } }, device);
  }
  return made;
}

function postsOf({ posts }: Channel, viewer: Account, limit: number): (Omit<Post, 'by'> & { mine: boolean })[] {
  return posts.slice(-limit).map(({ by, ...post }) => ({ ...post, mine: by === viewer.phone }));
}

function search({ channels }: ChannelsContext, text: string, viewer: Account, limit: number, skipMine: boolean): WireChannel[] {
  return [...channels.values()]
    .filter((channel) => channel.name.toLowerCase().includes(text.toLowerCase()))
    .filter((channel) => !skipMine || roleOf(channel, viewer) === 'guest')
    .slice(0, limit)
    .map((channel) => wireOf(channel, viewer));
}

function followersOf(context: ChannelsContext, by: Account, id: string, limit: number): { id: string; role: Role }[] {
  const channel = asWriter(context, id, by);
  return audienceOf(context, channel)
    .slice(0, limit)
    .map((one) => ({ id: phoneId(one), role: roleOf(channel, one) }));
}

function acceptAdmin(context: ChannelsContext, by: Account, id: string): void {
  const channel = channelOf(context, id);
  if (!channel.invited.delete(by.phone)) notFound();
  channel.admins.add(by.phone);
  notify(context, channel);
}

function demote(context: ChannelsContext, by: Account, id: string, who: Account): void {
  const channel = who === by ? channelOf(context, id) : asOwner(context, id, by);
  if (!channel.admins.delete(who.phone)) notFound();
  notify(context, channel);
}

function transfer(context: ChannelsContext, by: Account, id: string, to: Account): void {
  const channel = asOwner(context, id, by);
  channel.admins.delete(to.phone);
  channel.admins.add(by.phone);
  channel.owner = to.phone;
  notify(context, channel);
}
