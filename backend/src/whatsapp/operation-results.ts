import { allows, AppError, parseRecipient, type ObservedMessage, type OperationId, type OperationOutput } from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import type { Contacts, Sighting } from '../contacts/contacts.js';
import type { Database } from '../db/database.js';
import { lockRows } from '../db/rows.js';
import type { Clock } from '../lib/clock.js';
import type { Message } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import { answerCall } from '../messages/receive/calls.js';
import type { OperatedMessages } from '../messages/receive/operated.js';
import { Session } from '../sessions/session.entity.js';

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

/** Runs before an operation. Throws if the caller may not do a part of it, so that nothing was done then. */
export type OperationChecks = {
  readonly [Id in OperationId]?: (caller: Caller, input: Readonly<Record<string, unknown>>) => void;
};

export const operationChecks: OperationChecks = {
  'calls.reject': ({ permissions }, { message }) => {
    if (message !== undefined && !allows(permissions, 'messages.send'))
      throw new AppError('PERMISSION_DENIED', { permission: 'messages.send' });
  },
};

export interface ResultParts {
  database: Pick<Database, 'write'>;
  clock: Clock;
  contacts: Pick<Contacts, 'learnNow'>;
  messages: Messages;
  operated: OperatedMessages;
}

/** A call that changes only our own data: it needs neither a connected session nor a message that WhatsApp has. Returns the reply. */
export type LocalRun = (message: Message) => Promise<unknown>;

/** The calls that do not reach WhatsApp, by their input. */
export type LocalRuns = { readonly [Id in OperationId]?: (input: Readonly<Record<string, unknown>>) => LocalRun | null };

export function createLocalRuns({ messages, operated }: Pick<ResultParts, 'messages' | 'operated'>): LocalRuns {
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

export function createOperationResults(parts: ResultParts): OperationResults {
  const { contacts, messages, operated } = parts;
  const present = ({ message }: Pick<Completed<OperationId>, 'message'>): Promise<unknown> => presentNow(messages, message!);
  const mark = async (session: Session, message: Message, marks: Parameters<OperatedMessages['marked']>[2]): Promise<unknown> => {
    await operated.marked(session, message, marks);
    return presentNow(messages, message);
  };
  const presentFound = async (session: Session, found: readonly ObservedMessage[]): Promise<unknown> =>
    messages.presentFound(session, found);
  const first = async (session: Session, found: ObservedMessage): Promise<unknown> =>
    (await messages.presentFound(session, [found]))[0];
  return {
    'messages.react': present,
    'messages.unreact': present,
    'messages.star': ({ session, message }) => mark(session, message!, { starred: true }),
    'messages.unstar': ({ session, message }) => mark(session, message!, { starred: false }),
    'messages.pin': ({ session, message, input }) => mark(session, message!, { pinnedForMs: Number(input['seconds']) * 1_000 }),
    'messages.unpin': ({ session, message }) => mark(session, message!, { pinnedForMs: 0 }),
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
    'calls.reject': async ({ session, caller, input, output }) => ({
      ...output,
      messageId: await answerRejected(parts, session, caller, { input, output }),
    }),
    'contacts.check': async ({ session, output, countryCode }) => {
      const sightings = sightingsIn(output, countryCode);
      if (sightings.length > 0) await contacts.learnNow(session, sightings);
      return output;
    },
  };
}

/** Accepts the message of a request that rejected a call. Returns its id; null: there is none. */
async function answerRejected(
  { database, clock, messages }: ResultParts,
  session: Session,
  caller: Caller,
  { input, output }: Pick<Completed<'calls.reject'>, 'input' | 'output'>,
): Promise<string | null> {
  const { callId, message: text } = input;
  if (!output.rejected || typeof text !== 'string') return null;
  const call = { callId: String(callId), contact: output.contact, at: clock.now().toISOString() };
  const request = { requestId: caller.requestId, apiKeyId: caller.isPasswordLogin ? null : caller.credential.id };
  return database.write.run(async (tx) => {
    await lockRows(tx, Session, [session.id]);
    return answerCall({ clock, messages }, tx, session, call, { text, ...request });
  });
}

/** Returns the people in WhatsApp's answer, each with the spelling of the number in the request. */
const sightingsIn = (rows: OperationOutput<'contacts.check'>, countryCode: string | undefined): Sighting[] =>
  rows.flatMap(({ input, contact }) => {
    const typed = parseRecipient(input, countryCode);
    return contact ? [{ contact, alsoKnownAs: typed.ok ? [typed.address.id] : [] }] : [];
  });
