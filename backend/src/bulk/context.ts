import type { Contacts } from '../contacts/contacts.js';
import type { Core } from '../core.js';
import type { Media } from '../media/media.js';
import type { Idempotency } from '../messages/accept/idempotency.js';
import type { Messages } from '../messages/messages.js';
import type { Quotas } from '../messages/quotas/quotas.js';
import type { MessageState } from '../messages/state.js';
import type { OptOuts } from '../opt-outs/opt-outs.js';
import type { Sessions } from '../sessions/sessions.js';
import type { StorageOf } from '../sessions/storage-mode.js';
import type { Locale } from '../templates/render.js';
import type { JobContents } from './accept/content.js';
import type { BulkState } from './state.js';

/** The parts that the verbs of bulk jobs use. */
export interface BulkParts {
  state: BulkState;
  contents: JobContents;
  messages: Pick<Messages, 'countryOf' | 'storageOf'>;
  messageState: MessageState;
  sessions: Pick<Sessions, 'byId'>;
  media: Pick<Media, 'attach' | 'discard'>;
  contacts: Pick<Contacts, 'formsOfAll'>;
  optOuts: Pick<OptOuts, 'among'>;
  quotas: Quotas;
  idempotency: Pick<Idempotency, 'reserve'>;
  storageOf: StorageOf;
  localeOf(accountId: string): Promise<Locale>;
}

export interface BulkContext extends Core, BulkParts {}
