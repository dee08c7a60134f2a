/* eslint-disable @typescript-eslint/no-explicit-any -- the page is WhatsApp's world: it has no types, and it changes */

/**
 * What the files of this folder find in the page. Their functions are sent there as source text, so each stands alone: it may
 * use the page's globals and its own arguments, never an import (types vanish) and never anything around it.
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
export type MendState = 'armed' | 'mended' | 'not_needed' | 'failed';

/** `window.chasqui`: ours in the page. */
export interface PageCore {
  calls: Record<string, (input: any) => unknown>;
  mends: Record<string, { state: MendState; detail: string | null }>;
  /** WhatsApp's own `require`, without our views. */
  module(name: string): any;
  /** The same, or null where the page does not have the module. */
  moduleIfAny(name: string): any;
  /** Library code that requires `name` gets the module with what `make` returns laid over it. The module itself is not touched. */
  view(mend: string, name: string, make: ViewMaker): void;
  /** Wraps a function that the library puts on `window.WWebJS`, now or later. */
  injected(mend: string, name: string, wrap: (original: any) => any): void;
  /** Runs once the page's modules can be required. */
  onModules(mend: string, run: () => void): void;
  report(mend: string, state: MendState, detail?: string | null): void;
  notify(kind: string, payload: unknown): void;
  /** Puts everything in place that the page's own start has replaced. Idempotent. */
  arm(): void;
  /** The same value if it is JSON of at most 4 MiB; otherwise a copy of what of it is. Never throws. */
  plain(value: unknown): unknown;
  /** The third number of the build, such as 1047700000; 0 where unknown. */
  build(): number;
  serialized(id: any): string;
  /** The ids under which a message of ours may be stored. In a group our own id, in either form, belongs to it. */
  ownIds(chatId: string, key: string): string[];
  /**
   * Whether `msg` can be the message of this id: same key and direction, and the same chat. A private chat may be written by phone or by LID.
   * Whoever writes a message chooses its key, so the key alone says nothing.
   */
  isNamedBy(whatsappId: string, msg: any): boolean;
}
