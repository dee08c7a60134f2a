import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, parseRecipient, type Contact } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import type { Contacts } from '../contacts/contacts.js';
import { phoneIdOf } from '../contacts/people.js';
import type { Database } from '../db/database.js';
import { runStatement } from '../db/statement.js';
import type { EventRow } from '../events/event.entity.js';
import type { PrivacyRequest } from './privacy-request.entity.js';
import { Traces } from './traces.js';

const pageSize = 500;

/** A message, as far as it can name a person. Its JSON columns are texts as stored. */
export interface Line {
  id: string;
  chatId: string;
  fromId: string | null;
  toId: string | null;
  contact: string | null;
  mentions: string | null;
  groupMentions: string | null;
  quotedMessageId: string | null;
  options: string | null;
  content: string | null;
  sealed: string | null;
  createdAt: number | string;
}

const linesSql = `SELECT id, "chatId", "fromId", "toId", contact, mentions, "groupMentions", "quotedMessageId", options, content, sealed, "createdAt"
  FROM messages
  WHERE "accountId" = ? AND ("createdAt", id) > (?, ?) ORDER BY "createdAt", id LIMIT ${pageSize}`;
const eventsSql = `SELECT cursor, "messageId", type, data, "occurredAt" FROM events WHERE "accountId" = ? AND cursor > ? ORDER BY cursor LIMIT ${pageSize}`;

/** An event with its data as stored. */
export interface EventLine extends Pick<EventRow, 'cursor' | 'messageId' | 'type'> {
  text: string;
  at: number;
}

/** An account's messages and events page by page, oldest first. Between two pages, requests that came meanwhile are served. */
export interface Pages {
  linesOf(accountId: string): AsyncGenerator<Line[]>;
  eventsOf(accountId: string): AsyncGenerator<EventLine[]>;
  /** Returns every form that the account knows of the person: messages and contacts name a number and its LID together. */
  tracesOf(request: PrivacyRequest): Promise<Traces>;
}

export function createPages({ reader }: Pick<Database, 'reader'>, contacts: Pick<Contacts, 'stored'>): Pages {
  return {
    linesOf: (accountId) => linesOf(reader, accountId),
    eventsOf: (accountId) => eventsOf(reader, accountId),
    tracesOf: (request) => tracesOf(reader, contacts, request),
  };
}

async function* linesOf(reader: DataSource, accountId: string): AsyncGenerator<Line[]> {
  let last: [number, string] = [-1, ''];
  for (;;) {
    const { rows: page } = await runStatement<Line>(reader, linesSql, [accountId, ...last]);
    if (page.length === 0) return;
    yield page;
    const { createdAt, id } = page.at(-1)!;
    last = [Number(createdAt), id];
    await sleep(0);
  }
}

interface RawEvent {
  cursor: number | string;
  messageId: string | null;
  type: string;
  data: string;
  occurredAt: number | string;
}

async function* eventsOf(reader: DataSource, accountId: string): AsyncGenerator<EventLine[]> {
  let last = -1;
  for (;;) {
    const { rows: page } = await runStatement<RawEvent>(reader, eventsSql, [accountId, last]);
    if (page.length === 0) return;
    yield page.map(({ cursor, messageId, type, data, occurredAt }) => ({
      cursor: Number(cursor),
      messageId,
      type,
      text: data,
      at: Number(occurredAt),
    }));
    last = Number(page.at(-1)!.cursor);
    await sleep(0);
  }
}

async function tracesOf(
  reader: DataSource,
  contacts: Pick<Contacts, 'stored'>,
  { accountId, contact, forms }: PrivacyRequest,
): Promise<Traces> {
  const traces = new Traces([addressOf(contact ?? ''), ...(forms ?? [])]);
  for (let grew = true; grew;) {
    grew = false;
    for (const { ids } of await contacts.stored(accountId, traces.all())) for (const id of ids) grew = traces.add(id) || grew;
    for await (const page of linesOf(reader, accountId))
      for (const line of page) {
        if (!line.contact || !traces.mayBeIn(line.contact)) continue;
        const { id, phone, lid } = contactOf(line.contact);
        const found = [id, lid, phoneIdOf(phone)];
        if (found.some((form) => traces.has(form))) for (const form of found) grew = traces.add(form) || grew;
      }
  }
  return traces;
}

/** A contact that is not JSON names no further form; the message is still found by its chat and its sender. */
function contactOf(text: string): Pick<Contact, 'id' | 'phone' | 'lid'> {
  try {
    return JSON.parse(text) as Contact;
  } catch {
    return { id: '', phone: null, lid: null };
  }
}

/** Whether a message is with the person: in their chat, or written by them in a group. */
export const isWith = (traces: Traces, line: Line): boolean => [line.chatId, line.fromId, line.toId].some((id) => traces.has(id));

/**
 * Whether a message with others names the person where it is readable: in a mention, in the name of a mentioned group, as the writer of a quoted message,
 * or on a contact card.
 */
export const isNaming = (traces: Traces, { mentions, groupMentions, quotedMessageId, options, content }: Line): boolean =>
  traces.isIn(quotedMessageId) ||
  [mentions, groupMentions, options, content].some(
    (text) => text !== null && traces.mayBeIn(text) && traces.isIn(parsedOrText(text)),
  );

/** The value of a JSON column, or its text if it is damaged. */
function parsedOrText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** The chat id of a person. Throws `INVALID_RECIPIENT`. */
export function addressOf(contact: string, countryCode?: string): string {
  const result = parseRecipient(contact, countryCode);
  const isPerson = result.ok && (result.address.kind === 'phone' || result.address.kind === 'lid');
  if (isPerson) return result.address.id;
  const message = result.ok ? 'This is a chat, not a person.' : result.message;
  throw new AppError('INVALID_RECIPIENT', { fields: [{ path: 'contact', code: 'INVALID_RECIPIENT', message }] }, message);
}
