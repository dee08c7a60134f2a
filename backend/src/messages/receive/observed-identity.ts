import { createHash } from 'node:crypto';
import { erased, parseAddress, parseMessageKey, phoneAddress, type Contact } from '@chasqui/shared';
import { readRows } from '../../db/rows.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { Message } from '../message.entity.js';

/**
 * Which row an observed message is. WhatsApp's key alone does not say it: whoever writes a message chooses its key, and may choose one
 * that is in use. So the direction belongs to a message's identity, and of an inbound one the chat and who wrote it. The chat may be
 * written by phone or by LID, so two messages are only told apart by forms that both have.
 *
 * The first message under a key has the key itself in `whatsappKey`; another person's message under the same key gets a digest of the
 * person behind it. The unique index over session, key and direction therefore holds for whatever anybody writes.
 */
export interface SeenMessage {
  whatsappId: string;
  key: string;
  /** Read from `whatsappId` where it is absent. */
  fromMe?: boolean | undefined;
  chat: { id: string; type: Message['chatType'] };
  contact?: Contact | null | undefined;
}

export function directionOf({ fromMe, whatsappId }: SeenMessage): Message['direction'] {
  return (fromMe ?? parseMessageKey(whatsappId)?.fromMe ?? false) ? 'outbound' : 'inbound';
}

/** The addresses by which a person is known, phone first. */
function formsOf(...people: (Contact | string | null | undefined)[]): string[] {
  const ids = people.flatMap((one) =>
    typeof one === 'string' ? [one] : one ? [one.phone ? phoneAddress(one.phone) : null, one.lid, one.id] : [],
  );
  const addresses = ids.flatMap((id) => (id ? (parseAddress(id) ?? []) : []));
  const forms = addresses.filter(({ kind }) => kind === 'phone' || kind === 'lid');
  return [...new Set(forms.sort((a, b) => Number(a.kind === 'lid') - Number(b.kind === 'lid')).map(({ id }) => id))];
}

const writerOf = ({ chat, contact, whatsappId }: SeenMessage): string[] =>
  chat.type === 'private' ? formsOf(contact, chat.id) : formsOf(contact, parseMessageKey(whatsappId)?.participant);

/** Whether two people are certainly not the same: they have a form of the same kind, and share none. */
function areDifferent(one: readonly string[], other: readonly string[]): boolean {
  if (one.some((id) => other.includes(id))) return false;
  return ['@c.us', '@lid'].some((server) => [one, other].every((forms) => forms.some((id) => id.endsWith(server))));
}

function isAnother(row: Message, seen: SeenMessage): boolean {
  // Our own keys are drawn by our own devices. Of a person who was erased nothing can be compared.
  if (row.direction === 'outbound' || row.chatId === erased || row.fromId === erased) return false;
  const isShared = row.chatType !== 'private' || seen.chat.type !== 'private';
  if (isShared && row.chatId !== seen.chat.id) return true;
  const writer = row.chatType === 'private' ? formsOf(row.contact, row.chatId) : formsOf(row.contact, row.fromId);
  return areDifferent(writer, writerOf(seen));
}

/** The key of a message whose own key is taken by another writer's. `place` is the chat, empty for a private one. */
export function otherKeyOf(key: string, place: string, writer: string): string {
  const digest = createHash('sha256').update(`${place} ${writer}`).digest('hex').slice(0, 16);
  return `${key.slice(0, 63)}~${digest}`;
}

/** Keys of a message whose own key is taken: one for each form of its writer. */
function otherKeys(seen: SeenMessage): string[] {
  const place = seen.chat.type === 'private' ? '' : seen.chat.id;
  const writers = writerOf(seen);
  return (writers.length > 0 ? writers : [seen.chat.id]).slice(0, 3).map((writer) => otherKeyOf(seen.key, place, writer));
}

async function rowsOf(tx: Transaction, sessionId: string, seen: SeenMessage): Promise<Message[]> {
  const direction = directionOf(seen);
  const [first = seen.key, second = first, third = first] = direction === 'inbound' ? otherKeys(seen) : [];
  const condition = '"sessionId" = ? AND "whatsappKey" IN (?, ?, ?, ?) AND "direction" = ?';
  return readRows(tx.manager, Message, condition, [sessionId, seen.key, first, second, third, direction]);
}

/** The row of an observed message, and under which key a new one is to be stored where there is none. */
export async function findObserved(
  tx: Transaction,
  sessionId: string,
  seen: SeenMessage,
): Promise<{ message: Message | null; freeKey: string }> {
  const rows = await rowsOf(tx, sessionId, seen);
  const message = rows.find((row) => row.whatsappKey !== seen.key) ?? rows.find((row) => !isAnother(row, seen)) ?? null;
  return { message, freeKey: rows.some((row) => row.whatsappKey === seen.key) ? otherKeys(seen)[0]! : seen.key };
}
