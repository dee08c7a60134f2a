import type { OperationId, OperationIdOf, OperationInput, OperationNoun, OperationOutput, operations } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import type { EngineFile } from '../../engine.js';
import type { Identities } from '../identities.js';
import type { LibraryClient } from '../library.js';
import type { NumberCache } from '../number-cache.js';
import type { Need, PageCore } from '../page/world.js';
import type { PresenceSubscriptions } from '../presence.js';

/** What an operation receives besides its input. */
export interface OperationContext {
  page: Page;
  client: LibraryClient;
  /** Contacts and names by id. `learn` reads them from the page first. */
  identities: Identities;
  /** The time that the operation may use in total. */
  deadlineMs: number;
  /** WhatsApp's recent answers about numbers. */
  registered: NumberCache;
  /** The chats whose presence the session follows. */
  presence: PresenceSubscriptions;
  /** The file of the request, for rows with `file`. See `readFileOf`. */
  file: EngineFile | null;
  /** Calls a function that `page/` has installed, by name. */
  call<T>(name: string, input: unknown): Promise<T>;
  /** Runs a function of the operation's own file in the page; see `runInPage`. */
  inPage<Given extends unknown[], Output>(
    run: (core: PageCore, ...given: Given) => Output,
    ...given: Given
  ): Promise<Awaited<Output>>;
}

/** An operation that changes nothing. */
export interface ReadHandler<Id extends OperationId = OperationId> {
  readonly id: Id;
  readonly effect: 'read';
  /** The modules and functions that it calls in the page. If one is missing, the operation is not supported. */
  readonly needs: readonly Need[];
  run(input: OperationInput<Id>, context: OperationContext): Promise<OperationOutput<Id>>;
}

/** A part of an operation. `part`: what it is about, in words that follow "not for". */
export interface OperationPart {
  readonly part: string;
  readonly needs: readonly Need[];
}

/** An operation that changes something, and checks afterwards that the change happened. `change` returns it. */
export interface ChangeHandler<Id extends OperationId = OperationId> {
  readonly id: Id;
  readonly effect: 'write';
  readonly needs: readonly Need[];
  /** Whether success means that the effect was seen. False: that WhatsApp has accepted the change, whose effect nothing shows. */
  readonly isEffectSeen: boolean;
  /** What this input needs, where that differs. */
  needsFor?(input: OperationInput<Id>): readonly Need[];
  /** The parts of an operation that does different things by its input. Without the functions of one part, the others still work. */
  readonly parts?: readonly OperationPart[];
  run(input: OperationInput<Id>, context: OperationContext): Promise<OperationOutput<Id>>;
}

export type OperationHandler<Id extends OperationId> = (typeof operations)[Id]['effect'] extends 'write'
  ? ChangeHandler<Id>
  : ReadHandler<Id>;

/** The handlers of one noun, by id. A row of the table without its handler does not compile, and neither does a write without an effect check. */
export type OperationHandlers<Noun extends OperationNoun> = { [Id in OperationIdOf<Noun>]: OperationHandler<Id> };

export function read<Id extends OperationId>(id: Id, handler: Omit<ReadHandler<Id>, 'id' | 'effect'>): ReadHandler<Id> {
  return { id, effect: 'read', ...handler };
}

/** A module that an operation needs, with the functions that it calls there. */
export const need = (module: string, ...functions: string[]): Need => ({ module, functions });
/** The same where some builds have other functions instead. One of both is enough. */
export const needEither = (first: Need, ...otherwise: readonly Need[]): Need => ({ ...first, otherwise });
/** The same for a module that WhatsApp loads late, with the components that bring it. */
export const lazyNeed = (module: string, functions: readonly string[], components: readonly string[]): Need => ({
  module,
  functions,
  components,
});
