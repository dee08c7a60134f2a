import { AppError, newId, reserveWhatsappId } from '@chasqui/shared';
import type { Core } from '../../core.js';
import { readRows } from '../../db/rows.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Session } from '../../sessions/session.entity.js';
import type { StorageOf } from '../../sessions/storage-mode.js';
import { Message } from '../message.entity.js';
import type { ContentStore } from '../sealed-content.js';
import type { Acceptances } from './acceptance.js';
import { newRow, type NewMessage } from './new-message.js';
import { requireReservedId } from './recipients.js';

/** Accepts messages in the transaction of a change that must commit with them: recipients of bulk jobs, occurrences of schedules, automatic answers. */

export interface AcceptContext extends Pick<Core, 'clock'> {
  contents: ContentStore;
  storageOf: StorageOf;
  store: Acceptances;
  /** Returns the time for a new message's id; see messages.ts. */
  idTime: (now: Date) => number;
}

/** See `Messages.acceptWithin`. */
export async function acceptWithin(
  context: AcceptContext,
  tx: Transaction,
  session: Session,
  input: NewMessage,
  id = newId(context.idTime(context.clock.now())),
): Promise<Message> {
  requireReservedId(input.recipient, input.isStory);
  const message = await rowWithin(context, tx, session, input, id);
  const file = input.isFileShared ? null : input.file;
  await context.store.acceptWithin(tx, { session, message, key: null, file });
  return message;
}

async function rowWithin(
  { clock, contents, storageOf }: AcceptContext,
  tx: Transaction,
  session: Session,
  input: NewMessage,
  id: string,
): Promise<Message> {
  const message = newRow(id, session, input, clock.now());
  if ((await storageOf(session, tx.manager)) === 'metadata') contents.seal(message);
  return message;
}

/** See `Messages.contentColumns`. */
export async function contentColumns(
  context: AcceptContext,
  tx: Transaction,
  session: Session,
  input: NewMessage,
  id: string,
): Promise<Partial<Message>> {
  const { content, sealed, text, mediaId, mentions, options } = await rowWithin(context, tx, session, input, id);
  return { content, sealed, text, mediaId, mentions, options };
}

/** See `Messages.acceptInside`. */
export async function acceptInside(
  context: AcceptContext,
  tx: Transaction,
  session: Session,
  input: NewMessage,
): Promise<Message | null> {
  if (session.status === 'suspended') return null;
  try {
    return await acceptWithin(context, tx, session, input);
  } catch (error) {
    if (error instanceof AppError) return null;
    throw error;
  }
}

/** See `Messages.acceptOnce`. */
export async function acceptOnce(
  { clock, contents, idTime, storageOf, store }: AcceptContext,
  tx: Transaction,
  session: Session,
  input: NewMessage,
  subject: string,
): Promise<string | null> {
  const whatsappKey = reserveWhatsappId(session.accountId, `${session.id} ${subject}`);
  const isSame = `"sessionId" = ? AND "whatsappKey" = ? AND direction = 'outbound'`;
  const [known] = await readRows(tx.manager, Message, isSame, [session.id, whatsappKey]);
  if (known) return known.id;
  const now = clock.now();
  const message = { ...newRow(newId(idTime(now)), session, input, now), whatsappKey };
  if ((await storageOf(session, tx.manager)) === 'metadata') contents.seal(message);
  try {
    await store.acceptWithin(tx, { session, message, key: null, file: null });
    return message.id;
  } catch (error) {
    if (error instanceof AppError) return null;
    throw error;
  }
}
