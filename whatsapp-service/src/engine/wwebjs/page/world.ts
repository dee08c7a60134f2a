/* eslint-disable @typescript-eslint/no-explicit-any -- the page's objects have no types, and they change */

/** The page's globals that the scripts of this folder use. */
export interface PageWindow {
  require: any;
  crypto: Crypto;
  WWebJS: any;
  Debug: { VERSION: string } | undefined;
  chasqui: PageCore;
  chasquiNotify: ((kind: string, payload: unknown) => Promise<unknown>) | undefined;
  top: unknown;
}

/** Returns the properties that a patch adds to a module, or replaces. */
export type ViewMaker = (module: any) => Record<string, unknown>;
/** See `compatStates` in shared/src/resources.ts. */
export type PatchState = 'armed' | 'corrected' | 'not_needed' | 'failed';

/** `window.chasqui`: the worker's own object in the page. `core.ts` creates it, and the four scripts after it add the parts named here. */
export interface PageCore extends PageTools, PageOperating, PageGroups, PageStories {
  /** The functions that the worker can call with `callPage`, by name. Input and result are plain JSON. */
  calls: Record<string, (input: any) => unknown>;
  patches: Record<string, { state: PatchState; detail: string | null }>;
  /** WhatsApp's own `require`, without the views. */
  module(name: string): any;
  /** The same, or null if the page does not have the module. */
  moduleIfAny(name: string): any;
  /** Library code that requires `name` gets a view: the module with the properties that `make` returns. The module itself is not changed. */
  view(patch: string, name: string, make: ViewMaker): void;
  /** Wraps a function that the library sets on `window.WWebJS`, now or later. */
  injected(patch: string, name: string, wrap: (original: any) => any): void;
  /** Runs once the page's modules can be required. */
  onModules(patch: string, run: () => void): void;
  /** Records the state of a patch and reports a change of it to the worker. */
  report(patch: string, state: PatchState, detail?: string | null): void;
  /** Reports an event of the page to the worker, and does not wait. `bridge.ts` receives it. */
  notify(kind: string, payload: unknown): void;
  /** Restores what the page's own start has replaced. Idempotent. */
  arm(): void;
}

/** Rules and lookups that the other scripts share. Those that need WhatsApp's modules throw before the page has loaded them. */
export interface PageTools {
  /** Returns the same value if its JSON has at most 4 MiB; otherwise a reduced copy. Never throws. */
  plain(value: unknown): unknown;
  /** The third number of the build, such as 1047700000; 0 if unknown. */
  build(): number;
  /** The text of an id, which may be a text already or an object of the page. Empty if there is none. */
  serialized(id: any): string;
  /** The text of an id, or null if there is none. */
  idOf(id: any): string | null;
  /** The ids under which a message of the account may be stored. In a group the id contains the account's id, as phone number or LID. */
  ownIds(chatId: string, key: string): string[];
  /**
   * Whether `msg` can be the message of this id: same key, direction and chat. A private chat may be named by phone number or by LID. The
   * sender of a message chooses its key, so the key alone is not enough.
   */
  isNamedBy(whatsappId: string, msg: any): boolean;
  /** WhatsApp's collections: `Chat`, `Contact`, `Msg`, `Reactions`, … */
  collections(): any;
  /** WhatsApp's id object for a text. */
  widOf(id: string): any;
  /** The chat of this id if the page has it, otherwise null. */
  chatOf(id: string): any;
  /** The name that WhatsApp shows for a chat or a contact. */
  nameOf(model: any): string | null;
  /** A message as the library's plain object, with the fields that `translate.ts` reads. */
  modelOf(msg: any): any;
  /** The message of this id, in the store or in the page's database. The id may name the other address of the chat. Null: not found. */
  findMessage(whatsappId: string): Promise<any>;
}

/** A module of the page with the functions that an operation calls. */
export interface Need {
  module: string;
  /** Paths to functions within the module, such as `Cmd.archiveChat`. Empty: the module itself is enough. */
  functions: readonly string[];
  /** Components that load the module when the first bundle does not have it. The first one that this build knows is used. */
  components?: readonly string[];
  /** What serves as well on builds that do not have this module or these functions. */
  otherwise?: readonly Need[];
}

/** A group as the page has it. */
export interface GroupRow {
  id: string;
  name: string | null;
  description: string | null;
  owner: string | null;
  /** Seconds. */
  creation: number | null;
  /** Whether only admins may send messages. */
  announce: boolean;
  /** Whether only admins may change the name, the description and the picture. */
  restrict: boolean;
  addMembers: 'all' | 'admins';
  /** Whether an admin must approve joins. */
  approval: boolean;
  /** The lifetime of messages in seconds. 0: they do not disappear. */
  ephemeral: number;
  size: number;
  /** The role of the linked account. Null: it is not in the group. */
  role: 'member' | 'admin' | 'owner' | null;
  /** The community of the group. */
  parent: string | null;
  /** Whether it is a community itself. */
  isCommunity: boolean;
  /** The group of announcements of a community, if the page has it. */
  announcements: string | null;
  /** The URL of the picture, if the page knows it. */
  picture: string | null;
  /** Null in lists. */
  members: { id: string; role: 'member' | 'admin' | 'owner' }[] | null;
}

/** A channel as the page has it. */
export interface ChannelRow {
  id: string;
  name: string | null;
  description: string | null;
  role: string | null;
  subscribers: number | null;
  muted: boolean;
  verified: boolean;
  /** WhatsApp's code of the allowed reactions. */
  reactions: number | null;
  invite: string | null;
  /** The URL of the picture, if the page knows it. */
  picture: string | null;
  /** Seconds. */
  creation: number | null;
}

/** A group of a community, which the account need not be in. */
export interface SubgroupRow {
  id: string;
  name: string | null;
  isAnnouncements: boolean;
  isMember: boolean;
}

/** Finds a created group whose id WhatsApp's answer did not return. */
export interface NewGroupSearch {
  name: string;
  isCommunity: boolean;
  /** The ids of the groups that had this name before. */
  known: string[];
  /** Seconds, by the clock of the page. */
  startedAt: number;
}

/** What operations on groups and channels use: `groups.ts` adds it. */
export interface PageGroups {
  /** Both ids of a person, looked up if the page does not know them. Null: not on WhatsApp. */
  person(id: string): Promise<{ wid: any; phone: any; lid: any } | null>;
  /** The participant, by either id of a person. Null: not in the group as the page has it. */
  memberOf(chat: any, id: string): any;
  /** The role of a person in the group as the page has it. Null: not in it. */
  roleIn(chat: any, id: string): 'member' | 'admin' | 'owner' | null;
  groupRow(chat: any, isWithMembers: boolean): GroupRow;
  channelRow(channel: any): ChannelRow;
  /** The channel, loaded if the account does not follow it. Refuses with `CHANNEL_NOT_FOUND`. */
  findChannel(id: string): Promise<any>;
  /** The admins of a channel that the account owns, read from WhatsApp. Null: this build cannot read them. */
  channelAdmins(id: string): Promise<string[] | null>;
  /** Runs a change of a channel. Refuses with `WHATSAPP_NOT_PERMITTED` when WhatsApp does not permit it: it throws, or returns a text or false. */
  permitted(run: () => unknown): Promise<unknown>;
  /** The groups of a community, asked from WhatsApp at most twice a second. */
  subgroups(communityId: string): Promise<SubgroupRow[]>;
  /** Notes which groups have the name already, before one is created under it. */
  beforeNewGroup(name: string, kind: { isCommunity: boolean }): NewGroupSearch;
  /** The id of a new group with this name that the account owns, as the page has it. Null: none. */
  newGroup(search: NewGroupSearch): string | null;
  /** The URL of the picture of a group or a channel, if the page knows it. */
  knownPicture(id: any): string | null;
  /** Has the page ask WhatsApp for the picture, for two seconds. Never throws. */
  askPicture(id: any): Promise<void>;
  /** `requireGroup`, at most twice a second for one group. For checks of effects, which repeat quickly. */
  readGroup(id: string): Promise<any>;
  /** The same; null if the account is not in the group. Other errors are thrown: they say nothing about the membership. */
  readOwnGroup(id: string): Promise<any>;
}

/** What operations use besides the tools: `operate.ts` adds it. A function that refuses throws an error with a code of the API. */
export interface PageOperating {
  /** Loads the modules and returns what is still missing, as `Module` or `Module.function`. Empty: everything is there. */
  load(needs: readonly Need[]): Promise<string[]>;
  /** Ends the operation with an error code of the API. Throws always. */
  refuse(code: string, details?: Record<string, unknown>): never;
  /** The other id of a person, LID for a phone number and the reverse, as far as the page knows it. Null for other ids. */
  otherIdOf(wid: any): any;
  /** Whether two ids name the same person or chat, whichever of their ids they are. */
  isSame(a: any, b: any): boolean;
  /** The chat, under either id of a person. Refuses with `CHAT_NOT_FOUND`. */
  requireChat(id: string): any;
  /** The same, but a person on WhatsApp without a chat gets one. Refuses with `CHAT_NOT_FOUND`. */
  openChat(id: string): Promise<any>;
  /** The message. Refuses with `MESSAGE_NOT_FOUND`. */
  requireMessage(whatsappId: string): Promise<any>;
  /** The key of a message as text, first as the page has it, then with the other ids of the chat and of the author. */
  keysOf(message: any): string[];
  /** The rows of the votes of a poll outside channels, of each voter the newest one. */
  votesOf(poll: any): Promise<any[]>;
  /** The chat of a group with its members read again from WhatsApp. Refuses with `GROUP_NOT_FOUND`, and with `GROUP_ADMIN_REQUIRED` if asked. */
  requireGroup(id: string, rights?: 'member' | 'admin'): Promise<any>;
  /** The channel. Refuses with `CHANNEL_NOT_FOUND`. */
  requireChannel(id: string): any;
  /** The linked account's ids: phone number, then LID. */
  me(): any[];
}

/** Stories: `story.ts` adds this. */
export interface PageStories {
  /** The account's story with this key, from the store of stories, which knows the account by LID or by phone number. Null: not there. */
  ownStory(key: string): any;
  /**
   * The message of a story, with its file uploaded, under the reserved id. WhatsApp sends it to everyone in the account's privacy settings.
   * `options` are those of the library's `sendMessage`.
   */
  storyMessage(chat: any, input: { body: string; reservedId: string }, options: any): Promise<any>;
}
