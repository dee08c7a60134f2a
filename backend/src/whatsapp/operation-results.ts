import { parseRecipient, type ObservedMessage, type OperationId, type OperationOutput } from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import type { Contacts, Sighting } from '../contacts/contacts.js';
import type { Message } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import type { OperatedMessages } from '../messages/receive/operated.js';
import type { Session } from '../sessions/session.entity.js';

/** An operation that succeeded. */
export interface Completed<Id extends OperationId> {
  session: Session;
  caller: Caller;
  input: Readonly<Record<string, unknown>>;
  output: OperationOutput<Id>;
  /** The message that the operation is about. Null for operations of a session, and for a message that only WhatsApp has. */
  message: Message | null;
  countryCode: string | undefined;
}

/** For some operations: writes their result to our own data, and returns what the route replies with. The other operations reply with their output. */
export type OperationResults = { readonly [Id in OperationId]?: (completed: Completed<Id>) => Promise<unknown> };

export interface ResultParts {
  contacts: Pick<Contacts, 'learnNow'>;
  messages: Messages;
  operated: OperatedMessages;
}

/** A call that changes only our own data: it needs neither a connected session nor a message that WhatsApp has. Returns the reply. */
export type LocalRun = (message: Message) => Promise<unknown>;

/** The calls that do not reach WhatsApp, by their input. */
export type LocalRuns = { readonly [Id in OperationId]?: (input: Readonly<Record<string, unknown>>) => LocalRun | null };

export function createLocalRuns({ messages, operated }: ResultParts): LocalRuns {
  const hide: LocalRun = async (message) => {
    await operated.hide(message, 'log');
    return presentNow(messages, message);
  };
  return { 'messages.delete': ({ scope }) => (scope === 'log' ? hide : null) };
}

/** Presents the message as it is after the operation, which may have changed its row. */
async function presentNow(messages: Messages, message: Message): Promise<unknown> {
  return (await messages.present([(await messages.byId(message.id)) ?? message]))[0];
}

export function createOperationResults({ contacts, messages, operated }: ResultParts): OperationResults {
  const present = ({ message }: Pick<Completed<OperationId>, 'message'>): Promise<unknown> => presentNow(messages, message!);
  const presentFound = async (session: Session, found: readonly ObservedMessage[]): Promise<unknown> =>
    messages.presentFound(session, found);
  const first = async (session: Session, found: ObservedMessage): Promise<unknown> =>
    (await messages.presentFound(session, [found]))[0];
  return {
    'messages.react': present,
    'messages.unreact': present,
    'messages.star': present,
    'messages.unstar': present,
    'messages.pin': present,
    'messages.unpin': present,
    'messages.get': ({ session, output }) => first(session, output),
    'messages.search': ({ session, output }) => presentFound(session, output),
    'history.messages': ({ session, output }) => presentFound(session, output),
    'messages.edit': async ({ session, output, message }) => {
      if (output.message) await operated.changed(session, output.message);
      return message ? present({ message }) : first(session, output.message!);
    },
    'messages.delete': async ({ session, input, output, message }) => {
      if (input['scope'] === 'everyone' && output.message) await operated.changed(session, output.message);
      if (input['scope'] === 'me' && message) await operated.hide(message, 'whatsapp');
      return message ? present({ message }) : first(session, output.message!);
    },
    'messages.seen': async ({ session, message }) => {
      await operated.seen(session, message!);
      return present({ message });
    },
    'contacts.check': async ({ session, output, countryCode }) => {
      const sightings = sightingsIn(output, countryCode);
      if (sightings.length > 0) await contacts.learnNow(session, sightings);
      return output;
    },
  };
}

/** Returns the people in WhatsApp's answer, each with the spelling of the number in the request. */
const sightingsIn = (rows: OperationOutput<'contacts.check'>, countryCode: string | undefined): Sighting[] =>
  rows.flatMap(({ input, contact }) => {
    const typed = parseRecipient(input, countryCode);
    return contact ? [{ contact, alsoKnownAs: typed.ok ? [typed.address.id] : [] }] : [];
  });
