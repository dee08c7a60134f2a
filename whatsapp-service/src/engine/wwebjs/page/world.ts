/* eslint-disable @typescript-eslint/no-explicit-any -- the page's objects have no types, and they change */

/**
 * What the files of this folder find in the page. Their functions are sent to the page as source text, so each may use only the page's
 * globals and its own arguments, never an import (types are erased) or a variable outside itself.
 */
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

/** `window.chasqui`: the worker's own object in the page. */
export interface PageCore {
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
  /** Returns the same value if its JSON has at most 4 MiB; otherwise a reduced copy. Never throws. */
  plain(value: unknown): unknown;
  /** The third number of the build, such as 1047700000; 0 if unknown. */
  build(): number;
  serialized(id: any): string;
  /** The ids under which an own message may be stored. In a group the id contains the own id, as phone number or LID. */
  ownIds(chatId: string, key: string): string[];
  /**
   * Whether `msg` can be the message of this id: same key, direction and chat. A private chat may be named by phone number or by LID. The
   * sender of a message chooses its key, so the key alone is not enough.
   */
  isNamedBy(whatsappId: string, msg: any): boolean;
}
