import type { MessageResource, WorkerEventPayload } from '@chasqui/shared';
import type { Contacts } from '../../contacts/contacts.js';
import type { Core } from '../../core.js';
import { updateRows } from '../../db/rows.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { Message } from '../message.entity.js';
import { idsIn, presentMessage } from '../read/present.js';
import { countChange } from '../usage/counts.js';

/** Changes of recorded messages: each is written and published in one transaction. */
export interface ChangeContext extends Pick<Core, 'events' | 'clock'> {
  contacts: Pick<Contacts, 'people'>;
}

/** The scope of an event about a message. */
export const eventScope = ({ id, accountId, sessionId }: Message) => ({ accountId, sessionId, messageId: id });

export const present = async (
  { contacts }: Pick<ChangeContext, 'contacts'>,
  tx: Transaction,
  message: Message,
): Promise<MessageResource> => presentMessage(message, await contacts.people(idsIn(message), tx.manager));

/** Records and publishes a change of a message. What was deleted from the log stays as it was, and nothing of its content is published. */
export async function update(
  context: ChangeContext,
  tx: Transaction,
  message: Message,
  change: 'edited' | 'revoked' | 'completed' | 'pinned' | 'unpinned',
  columns: Partial<Message>,
): Promise<void> {
  if (message.deletedAt) return;
  const previousText = change === 'edited' ? message.text : null;
  const before = { ...message };
  await updateRows(tx, Message, { id: message.id }, columns);
  Object.assign(message, columns);
  const data = async () => ({ ...(await present(context, tx, message)), change, previousText });
  await context.events.append(tx, { ...eventScope(message), type: 'message.updated', data });
  if (before.type !== message.type) await countChange(tx, before, message);
}

/** Two reports of one pin differ by the time that the call took. A later pin of the same length within this time is taken for the same. */
const samePinMs = 600_000;

/** Records the star and the pin of a message. What is absent has not changed. A pin is published; a star only the account itself sees. */
export async function mark(
  context: ChangeContext,
  tx: Transaction,
  message: Message,
  { starred, pinnedUntil }: Pick<WorkerEventPayload<'message.marked'>, 'starred' | 'pinnedUntil'>,
): Promise<void> {
  if (starred !== undefined && starred !== message.starred && !message.deletedAt) {
    await updateRows(tx, Message, { id: message.id }, { starred });
    message.starred = starred;
  }
  if (pinnedUntil === undefined) return;
  const now = context.clock.now().getTime();
  const before = message.pinnedUntil?.getTime() ?? 0;
  const until = pinnedUntil === null ? 0 : Date.parse(pinnedUntil);
  const isPinned = until > now;
  if (isPinned ? Math.abs(until - before) < samePinMs : before <= now) return;
  await update(context, tx, message, isPinned ? 'pinned' : 'unpinned', { pinnedUntil: isPinned ? new Date(until) : null });
}
