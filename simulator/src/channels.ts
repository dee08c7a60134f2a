import { randomBytes } from 'node:crypto';
import { phoneId, pushTo, type Account, type Device } from './accounts.js';
import type { Clock } from './clock.js';
import type { Journal } from './journal.js';
import type { Phones } from './phones.js';
import { Refusal } from './refusal.js';
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
  /** Invited to become admins, by number. */
  invited: Set<string>;
  posts: Post[];
}

const notFound = (): never => {
  throw new Refusal(404, 'item-not-found');
};

/** Channels: one writes, many follow. */
export function createChannels({ phones, clock, journal }: { phones: Phones; clock: Clock; journal: Journal }) {
  const channels = new Map<string, Channel>();
  const get = (id: string): Channel => channels.get(id) ?? notFound();
  const role = (channel: Channel, of: Account): WireChannel['role'] =>
    channel.owner === of.phone
      ? 'owner'
      : channel.admins.has(of.phone)
        ? 'admin'
        : channel.followers.has(of.phone)
          ? 'subscriber'
          : 'guest';

  function wire(id: string, viewer: Account): WireChannel {
    const { owner: _, admins: __, followers, invited: ___, posts: ____, ...channel } = get(id);
    return {
      ...channel,
      subscribers: followers.size,
      role: role(get(id), viewer),
      muted: viewer.mutedChannels.has(id),
    };
  }

  function writer(id: string, by: Account): Channel {
    const channel = get(id);
    if (!['owner', 'admin'].includes(role(channel, by))) throw new Refusal(403, 'not-authorized');
    return channel;
  }
  function owned(id: string, by: Account): Channel {
    const channel = get(id);
    if (channel.owner !== by.phone) throw new Refusal(403, 'not-authorized');
    return channel;
  }

  const everybody = (channel: Channel): Account[] =>
    [...new Set([channel.owner, ...channel.admins, ...channel.followers])]
      .map((phone) => phones.accounts.get(phone))
      .filter((one) => one !== undefined);

  const notify = (channel: Channel, but?: Device | null): void => {
    for (const one of everybody(channel)) pushTo(one, { ev: 'channel', d: wire(channel.id, one) }, but);
  };

  return {
    channels,
    wire,
    mine: (of: Account): WireChannel[] =>
      [...channels.values()].filter((channel) => role(channel, of) !== 'guest').map((channel) => wire(channel.id, of)),
    byInvite: (code: string, viewer: Account): WireChannel =>
      wire([...channels.values()].find((channel) => channel.invite === code)?.id ?? notFound(), viewer),
    create(owner: Account, name: string, description: string | null, picture: string | null): string {
      const id = `1203${String(BigInt(`0x${randomBytes(6).toString('hex')}`))
        .padStart(14, '0')
        .slice(0, 14)}@newsletter`;
      channels.set(id, {
        id,
        name,
        description,
        picture,
        invite: `0029Va${randomBytes(8).toString('hex')}`,
        creation: clock.seconds(),
        verified: false,
        reactionCodes: 0,
        owner: owner.phone,
        admins: new Set(),
        followers: new Set(),
        invited: new Set(),
        posts: [],
      });
      notify(get(id));
      return id;
    },
    edit(
      by: Account,
      id: string,
      changes: Partial<Pick<WireChannel, 'name' | 'description' | 'picture' | 'reactionCodes'>>,
    ): void {
      notify(Object.assign(writer(id, by), changes));
    },
    remove(by: Account, id: string): void {
      const channel = owned(id, by);
      channels.delete(id);
      for (const one of everybody(channel)) pushTo(one, { ev: 'channel_gone', d: { id } });
    },
    follow(by: Account, id: string, follows: boolean): void {
      const channel = get(id);
      if (channel.owner === by.phone) throw new Refusal(409, 'the owner follows already');
      if (follows) channel.followers.add(by.phone);
      else channel.followers.delete(by.phone);
    },
    mute(by: Account, id: string, muted: boolean): void {
      get(id);
      if (muted) by.mutedChannels.add(id);
      else by.mutedChannels.delete(id);
    },
    post(
      by: Account,
      device: Device | null,
      id: string,
      post: { key: string; type: string; data: Record<string, unknown> },
    ): Post {
      const channel = writer(id, by);
      const before = channel.posts.find((candidate) => candidate.key === post.key);
      journal.add({
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
      const made: Post = { ...post, serverId: 100 + channel.posts.length, t: clock.seconds(), by: by.phone };
      channel.posts.push(made);
      for (const one of everybody(channel)) {
        if (one === by && device) continue;
        pushTo(one, { ev: 'post', d: { channel: id, post: { ...made, by: undefined }, mine: one === by } }, device);
      }
      return made;
    },
    posts: (id: string, viewer: Account, limit: number): (Omit<Post, 'by'> & { mine: boolean })[] =>
      get(id)
        .posts.slice(-limit)
        .map(({ by, ...post }) => ({ ...post, mine: by === viewer.phone })),
    search: (text: string, viewer: Account, limit: number, skipMine: boolean): WireChannel[] =>
      [...channels.values()]
        .filter((channel) => channel.name.toLowerCase().includes(text.toLowerCase()))
        .filter((channel) => !skipMine || role(channel, viewer) === 'guest')
        .slice(0, limit)
        .map((channel) => wire(channel.id, viewer)),
    followers(by: Account, id: string, limit: number): { id: string; role: WireChannel['role'] }[] {
      return everybody(writer(id, by))
        .slice(0, limit)
        .map((one) => ({ id: phoneId(one), role: role(get(id), one) }));
    },
    inviteAdmin: (by: Account, id: string, who: Account): void => void owned(id, by).invited.add(who.phone),
    uninviteAdmin(by: Account, id: string, who: Account): void {
      if (!owned(id, by).invited.delete(who.phone)) notFound();
    },
    acceptAdmin(by: Account, id: string): void {
      if (!get(id).invited.delete(by.phone)) notFound();
      get(id).admins.add(by.phone);
      notify(get(id));
    },
    demote(by: Account, id: string, who: Account): void {
      const channel = who === by ? get(id) : owned(id, by);
      if (!channel.admins.delete(who.phone)) notFound();
      notify(channel);
    },
    transfer(by: Account, id: string, to: Account): void {
      const channel = owned(id, by);
      channel.admins.delete(to.phone);
      channel.admins.add(by.phone);
      channel.owner = to.phone;
      notify(channel);
    },
  };
}
export type Channels = ReturnType<typeof createChannels>;
