import { parseRecipient, type OperationId, type OperationOutput } from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import type { Contacts, Sighting } from '../contacts/contacts.js';
import type { Message } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import type { Session } from '../sessions/session.entity.js';

/** An operation that succeeded. */
export interface Completed<Id extends OperationId> {
  session: Session;
  caller: Caller;
  input: Readonly<Record<string, unknown>>;
  output: OperationOutput<Id>;
  /** The message that the operation is about. Null for operations of a session. */
  message: Message | null;
  countryCode: string | undefined;
}

/** What follows an operation in our own data, and what its route replies with. The other operations reply with their output. */
export type OperationResults = { readonly [Id in OperationId]?: (completed: Completed<Id>) => Promise<unknown> };

export interface ResultParts {
  contacts: Pick<Contacts, 'learnNow'>;
  messages: Messages;
}

export function createOperationResults({ contacts, messages }: ResultParts): OperationResults {
  const present = async ({ message }: Completed<OperationId>): Promise<unknown> => (await messages.present([message!]))[0];
  return {
    'messages.react': present,
    'messages.unreact': present,
    'contacts.check': async ({ session, output, countryCode }) => {
      const sightings = sightingsIn(output, countryCode);
      if (sightings.length > 0) await contacts.learnNow(session, sightings);
      return output;
    },
  };
}

/** The people in WhatsApp's answer: which person each number belongs to, and how WhatsApp spells it. */
const sightingsIn = (rows: OperationOutput<'contacts.check'>, countryCode: string | undefined): Sighting[] =>
  rows.flatMap(({ input, contact }) => {
    const typed = parseRecipient(input, countryCode);
    return contact ? [{ contact, alsoKnownAs: typed.ok ? [typed.address.id] : [] }] : [];
  });
