import { createHash } from 'node:crypto';
import { erased, parseAddress, parseMessageKey, phoneAddress, type Contact } from '@chasqui/shared';
import { readRows } from '../../db/rows.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { Message } from '../message.entity.js';

/**
 * The fields by which the row of an observed message is found. WhatsApp's key does not suffice: the sender chooses it and may choose one that is in
 * use. So a message is identified by its direction too, and an inbound message also by its chat and its sender. A chat may be written with a phone
 * number or a LID, so two messages count as different only if forms of the same kind differ.
 *
 * The first message under a key has the key itself in `whatsappKey`. For a message of another person under the same key, a digest of that person
 * is appended. So the unique index over session, key and direction holds whatever senders write.
 */
export interface ObservedIdentity {
  whatsappId: string;
  key: string;
  /** Read from `whatsappId` if it is absent. */
  fromMe?: boolean | undefined;
  chat: { id: string; type: Message['chatType'] };
  contact?: Contact | null | undefined;
}

function directionOf({ fromMe, whatsappId }: ObservedIdentity): Message['direction'] {
  return (fromMe ?? parseMessageKey(whatsappId)?.fromMe ?? false) ? 'outbound' : 'inbound';
}

/** The addresses of a person; phone numbers come first. */
function formsOf(...people: (Contact | string | null | undefined)[]): string[] {
  const ids = people.flatMap((person) =>
    typeof person === 'string'
      ? [person]
      : person
        ? [person.phone ? phoneAddress(person.phone) : null, person.lid, person.id]
        : [],
  );
  const addresses = ids.flatMap((id) => (id ? (parseAddress(id) ?? []) : []));
  const forms = addresses.filter(({ kind }) => kind === 'phone' || kind === 'lid');
  return [...new Set(forms.sort((a, b) => Number(a.kind === 'lid') - Number(b.kind === 'lid')).map(({ id }) => id))];
}

const writerOf = ({ chat, contact, whatsappId }: ObservedIdentity): string[] =>
  chat.type === 'private' ? formsOf(contact, chat.id) : formsOf(contact, parseMessageKey(whatsappId)?.participant);

/** Whether two people are certainly different: they have a form of the same kind and share no form. */
function areDifferent(one: readonly string[], other: readonly string[]): boolean {
  if (one.some((id) => other.includes(id))) return false;
  return ['@c.us', '@lid'].some((server) => [one, other].every((forms) => forms.some((id) => id.endsWith(server))));
}

function isAnother(row: Message, observed: ObservedIdentity): boolean {
  // The account's own devices create the keys of outbound messages. An erased person has nothing left to compare.
  if (row.direction === 'outbound' || row.chatId === erased || row.fromId === erased) return false;
  const isShared = row.chatType !== 'private' || observed.chat.type !== 'private';
  if (isShared && row.chatId !== observed.chat.id) return true;
  const writer = row.chatType === 'private' ? formsOf(row.contact, row.chatId) : formsOf(row.contact, row.fromId);
  return areDifferent(writer, writerOf(observed));
}

/** Returns the stored key of a message whose own key is taken by another sender's message. `place` is the chat; empty for a private chat. */
export function otherKeyOf(key: string, place: string, writer: string): string {
  const digest = createHash('sha256').update(`${place} ${writer}`).digest('hex').slice(0, 16);
  return `${key.slice(0, 63)}~${digest}`;
}

/** Returns the keys under which a message may be stored if its own key is taken: one for each form of its sender. */
function otherKeys(observed: ObservedIdentity): string[] {
  const place = observed.chat.type === 'private' ? '' : observed.chat.id;
  const writers = writerOf(observed);
  return (writers.length > 0 ? writers : [observed.chat.id]).slice(0, 3).map((writer) => otherKeyOf(observed.key, place, writer));
}

async function rowsOf(tx: Transaction, sessionId: string, observed: ObservedIdentity): Promise<Message[]> {
  const direction = directionOf(observed);
  const [first = observed.key, second = first, third = first] = direction === 'inbound' ? otherKeys(observed) : [];
  const condition = '"sessionId" = ? AND "whatsappKey" IN (?, ?, ?, ?) AND "direction" = ?';
  return readRows(tx.manager, Message, condition, [sessionId, observed.key, first, second, third, direction]);
}

/** Returns the row of an observed message, or null, and the key under which a new row can be stored. */
export async function findObserved(
  tx: Transaction,
  sessionId: string,
  observed: ObservedIdentity,
): Promise<{ message: Message | null; freeKey: string }> {
  const rows = await rowsOf(tx, sessionId, observed);
  const message = choose(rows, observed);
  return { message, freeKey: rows.some((row) => row.whatsappKey === observed.key) ? otherKeys(observed)[0]! : observed.key };
}

/** Chooses the row of the message. A row under one of the other keys is certainly its row; a row under its own key may be another person's message. */
const choose = (rows: readonly Message[], observed: ObservedIdentity): Message | null =>
  rows.find((row) => row.whatsappKey !== observed.key) ?? rows.find((row) => !isAnother(row, observed)) ?? null;

/** Returns the keys under which an observed message may be stored. */
export const keysOfObserved = (observed: ObservedIdentity): string[] =>
  directionOf(observed) === 'inbound' ? [observed.key, ...otherKeys(observed)] : [observed.key];

/** Returns the row of an observed message among rows of its session; null if it is not among them. */
export function rowOfObserved(rows: readonly Message[], observed: ObservedIdentity): Message | null {
  const keys = keysOfObserved(observed);
  const direction = directionOf(observed);
  return choose(
    rows.filter((row) => row.direction === direction && keys.includes(row.whatsappKey)),
    observed,
  );
}
