import type { Core } from '../../core.js';
import type { Messages } from '../../messages/messages.js';
import type { Quotas } from '../../messages/quotas/quotas.js';
import type { MessageState } from '../../messages/state.js';
import type { OptOuts } from '../../opt-outs/opt-outs.js';
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
  optOuts: Pick<OptOuts, 'among'>;
  checkNumbers: CheckNumbers;
  /** Returns the end of the quiet hours of a session; null outside them. `timezone`: of its account. */
  quietUntil(session: Session, timezone: string, at: Date): Date | null;
  /** Returns the language and the time zone of an account. */
  localeOf(accountId: string): Promise<Locale>;
}

/** The reply of WhatsApp about one number. `ids`: all ids of its person that the reply names. */
export interface CheckedNumber {
  address: string;
  isRegistered: boolean;
  ids: string[];
}

/** Asks WhatsApp which of the numbers are registered. Throws an `AppError` if WhatsApp cannot be asked now. */
export type CheckNumbers = (session: Session, addresses: readonly string[]) => Promise<CheckedNumber[]>;

export interface FeedContext extends Core, FeedParts {
  /** Languages and time zones by account id, for accounts whose jobs run. They are read before each transaction. */
  locales: Map<string, Locale>;
  /** When each job was last tried, by job id. Monotonic milliseconds. */
  triedAt: Map<string, number>;
  /** How many times in a row the next message could not be written, by job id. */
  faults: Map<string, number>;
}
