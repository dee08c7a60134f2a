import { eventCatalogue, type Contact, type ObservedMessage, type WorkerEventPayload } from '@chasqui/shared';
import type { Contacts } from '../../contacts/contacts.js';
import type { Core } from '../../core.js';
import { readRows } from '../../db/rows.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { EventRow } from '../../events/event.entity.js';
import type { Session } from '../../sessions/session.entity.js';
import type { Message } from '../message.entity.js';
import { findObserved } from './observed-identity.js';

/** Publishes reactions and votes. They have no rows of their own: the event log records them. */

interface Context extends Pick<Core, 'events' | 'clock'> {
  contacts: Pick<Contacts, 'observe'>;
}

/** Publishes what a person did to a message. The message need not be recorded. */
export async function recordResponse(
  { events, contacts }: Context,
  tx: Transaction,
  session: Session,
  type: 'message.reaction' | 'poll.vote',
  target: Omit<WorkerEventPayload<'message.reaction'>, 'emoji'>,
  response: { emoji: string | null } | { options: string[] },
): Promise<void> {
  const { message } = await findObserved(tx, session.id, { ...target, contact: null });
  const messageId = message?.id ?? null;
  const { whatsappId, chat, contact, at } = target;
  await events.append(tx, {
    accountId: session.accountId,
    sessionId: session.id,
    messageId,
    type,
    data: await contacts.observe(tx, session, { messageId, whatsappId, chat, contact, ...response, at }),
  });
}

interface Reaction {
  contact: Contact | null;
  /** Null: the reaction was removed. */
  emoji: string | null;
  at: string;
}

/** Publishes the reactions of an observed message that differ from those in the event log, and those that were removed. */
export async function recordReactions(
  { events, contacts, clock }: Context,
  tx: Transaction,
  session: Session,
  message: Message,
  { reactions, whatsappId, chat }: ObservedMessage,
): Promise<void> {
  if (!reactions) return;
  const publish = async ({ contact, emoji, at }: Reaction): Promise<unknown> =>
    events.append(tx, {
      accountId: message.accountId,
      sessionId: message.sessionId,
      messageId: message.id,
      type: 'message.reaction',
      data: await contacts.observe(tx, session, { messageId: message.id, whatsappId, chat, contact, emoji, at }),
    });
  const published = await readReactions(tx, message);
  const present = new Map(reactions.map((reaction) => [personKey(reaction.contact), reaction]));
  for (const [person, reaction] of present) if (published.get(person)?.emoji !== reaction.emoji) await publish(reaction);
  for (const [person, reaction] of published)
    if (reaction.emoji !== null && !present.has(person))
      await publish({ ...reaction, emoji: null, at: clock.now().toISOString() });
}

/** Returns the last reaction of each person from the event log, by person. */
async function readReactions(tx: Transaction, message: Message): Promise<Map<string, Reaction>> {
  const condition = '"messageId" = ? AND type = \'message.reaction\' ORDER BY cursor';
  const rows = await readRows(tx.manager, EventRow, condition, [message.id]);
  const reactions = new Map<string, Reaction>();
  for (const row of rows) {
    const { success, data: reaction } = eventCatalogue['message.reaction'].data.safeParse(row.data);
    if (success) reactions.set(personKey(reaction.contact), reaction);
  }
  return reactions;
}

const personKey = (contact: Contact | null): string => contact?.phone ?? contact?.lid ?? contact?.id ?? '';
