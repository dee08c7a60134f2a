/* eslint-disable @typescript-eslint/no-explicit-any -- the page's objects have no types, and they change */

/** The page's globals that the scripts of this folder use. */
export interface PageWindow {
  require: any;
  WWebJS: any;
  Debug: { VERSION: string } | undefined;
  chasqui: PageCore;
  chasquiNotify: ((kind: string, payload: unknown) => Promise<unknown>) | undefined;
  top: unknown;
}

export type ViewMaker = (module: any) => Record<string, unknown>;
export type PatchState = 'armed' | 'mended' | 'not_needed' | 'failed';

/** `window.chasqui`: the worker's own object in the page. `core.ts` creates it; `tools.ts` adds the second half. */
export interface PageCore extends PageTools {
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
  report(patch: string, state: PatchState, detail?: string | null): void;
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
  serialized(id: any): string;
  /** The text of an id, or null if there is none. */
  idOf(id: any): string | null;
  /** The ids under which an own message may be stored. In a group the id contains the own id, as phone number or LID. */
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
