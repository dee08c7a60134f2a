import type { EntityManager } from 'typeorm';
import type { Core } from '../../core.js';
import type { Messages } from '../../messages/messages.js';
import type { Quotas } from '../../messages/quotas/quotas.js';
import type { MessageState } from '../../messages/state.js';
import type { Session } from '../../sessions/session.entity.js';
import type { Locale } from '../../templates/render.js';
import type { JobContents } from '../accept/content.js';
import type { BulkState } from '../state.js';

/** The parts that the feeder uses. */
export interface FeedParts {
  state: BulkState;
  messages: Pick<Messages, 'acceptWithin' | 'contentColumns' | 'countryOf'>;
  messageState: MessageState;
  quotas: Quotas;
  contents: JobContents;
  optOuts: BulkOptOuts;
  checkNumbers: CheckNumbers;
  /** Returns the end of the quiet hours of a session; null outside them. `timezone`: of its account. */
  quietUntil(session: Session, timezone: string, at: Date): Date | null;
  /** Returns the language and the time zone of an account. */
  localeOf(accountId: string): Promise<Locale>;
}

/** The opt-out list of an account, as jobs ask it. */
export interface BulkOptOuts {
  /** Returns those of the ids that are on the list. Inside a transaction pass its manager. */
  among(accountId: string, ids: readonly string[], inside?: EntityManager): Promise<ReadonlySet<string>>;
  /** Returns all ids of the person behind an id. */
  formsOf(accountId: string, id: string, inside?: EntityManager): Promise<string[]>;
}

/** What WhatsApp says of a number. `ids`: all ids of the person that it names. */
export interface CheckedNumber {
  address: string;
  isRegistered: boolean;
  ids: string[];
}

/** Asks WhatsApp which of the numbers are registered. Throws an `AppError` if it cannot be asked now. */
export type CheckNumbers = (session: Session, addresses: readonly string[]) => Promise<CheckedNumber[]>;

export interface FeedContext extends Core, FeedParts {
  hasOptedOut(accountId: string, address: string, inside: EntityManager): Promise<boolean>;
  /** Languages and time zones of the accounts whose jobs run; read before each transaction. */
  locales: Map<string, Locale>;
  /** When a job that waits for its quota was last tried. Monotonic milliseconds. */
  triedAt: Map<string, number>;
}
