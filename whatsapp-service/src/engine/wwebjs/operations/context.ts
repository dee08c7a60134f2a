import type { OperationId, OperationIdOf, OperationInput, OperationNoun, OperationOutput } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import type { Identities } from '../identities.js';
import type { LibraryClient } from '../library.js';
import type { PageCore } from '../page/world.js';

/** The parts that an operation receives besides its input. */
export interface OperationContext {
  page: Page;
  client: LibraryClient;
  /** Contacts and names by id. `learn` reads them from the page first. */
  identities: Identities;
  deadlineMs: number;
  /** Calls a function that `page/` has installed, by name. */
  call<T>(name: string, input: unknown): Promise<T>;
  /** Runs a function of the operation's own file in the page; see `runInPage`. */
  inPage<Input, Output>(run: (core: PageCore, input: Input) => Output, input: Input): Promise<Awaited<Output>>;
}

export type OperationHandler<Id extends OperationId> = (
  input: OperationInput<Id>,
  context: OperationContext,
) => Promise<OperationOutput<Id>>;

/** The handlers of one noun, by id. A row of the table without its handler does not compile. */
export type OperationHandlers<Noun extends OperationNoun> = { [Id in OperationIdOf<Noun>]: OperationHandler<Id> };
