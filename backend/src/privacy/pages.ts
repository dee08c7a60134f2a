import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, parseRecipient, type Contact } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import { runStatement } from '../db/statement.js';
import type { EventRow } from '../events/event.entity.js';
import type { PrivacyRequest } from './privacy-request.entity.js';
import { Traces } from './traces.js';

const pageSize = 500;

export interface Line {
  id: string;
  chatId: string;
  fromId: string | null;
  toId: string | null;
  contact: string | null;
  createdAt: number | string;
}

const linesSql = `SELECT id, "chatId", "fromId", "toId", contact, "createdAt" FROM messages
  WHERE "accountId" = ? AND ("createdAt", id) > (?, ?) ORDER BY "createdAt", id LIMIT ${pageSize}`;
const eventsSql = `SELECT cursor, "messageId", type, data, "occurredAt" FROM events WHERE "accountId" = ? AND cursor > ? ORDER BY cursor LIMIT ${pageSize}`;

export type Pages = ReturnType<typeof createPages>;

/** An account's messages and events page by page, oldest first. Between two pages whatever came meanwhile goes first. */
export function createPages(database: Database) {
  async function* linesOf(accountId: string): AsyncGenerator<Line[]> {
    let last: [number, string] = [-1, ''];
    for (;;) {
      const page = (await runStatement(database.reader, linesSql, [accountId, ...last])).rows as Line[];
      if (page.length === 0) return;
      yield page;
      const { createdAt, id } = page.at(-1)!;
      last = [Number(createdAt), id];
      await sleep(0); // Requests that came meanwhile go first.
    }
  }

  async function* eventsOf(
    accountId: string,
  ): AsyncGenerator<(Pick<EventRow, 'cursor' | 'messageId' | 'type'> & { text: string; at: number })[]> {
    let last = -1;
    for (;;) {
      const page = (await runStatement(database.reader, eventsSql, [accountId, last])).rows as {
        cursor: number | string;
        messageId: string | null;
        type: string;
        data: string;
        occurredAt: number | string;
      }[];
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

  /** Every form that the account knows of this person: a number and its hidden id (`@lid`) are told of together in messages. */
  async function tracesOf({ accountId, contact, forms }: PrivacyRequest): Promise<Traces> {
    const traces = new Traces([addressOf(contact ?? ''), ...(forms ?? [])]);
    for (let grew = true; grew;) {
      grew = false;
      for await (const page of linesOf(accountId))
        for (const line of page) {
          if (!line.contact || !traces.mayBeIn(line.contact)) continue;
          const { id, phone, lid } = contactOf(line.contact);
          const forms = [id, lid, phone ? `${phone.replace(/^\+/, '')}@c.us` : null];
          if (forms.some((form) => traces.has(form))) for (const form of forms) grew = traces.add(form) || grew;
        }
    }
    return traces;
  }

  return { linesOf, eventsOf, tracesOf };
}

/** A contact that is no JSON tells of no further form; the message is still found by its chat and its sender. */
function contactOf(text: string): Pick<Contact, 'id' | 'phone' | 'lid'> {
  try {
    return JSON.parse(text) as Contact;
  } catch {
    return { id: '', phone: null, lid: null };
  }
}

/** Whether a message is with them: a chat of theirs, or written by them in a group. */
export const isWith = (traces: Traces, line: Line): boolean => [line.chatId, line.fromId, line.toId].some((id) => traces.has(id));

/** The chat id of a person. Throws `INVALID_RECIPIENT`. */
export function addressOf(contact: string, countryCode?: string): string {
  const result = parseRecipient(contact, countryCode);
  const isPerson = result.ok && (result.address.kind === 'phone' || result.address.kind === 'lid');
  if (isPerson) return result.address.id;
  const message = result.ok ? 'This is a chat, not a person.' : result.message;
  throw new AppError('INVALID_RECIPIENT', { fields: [{ path: 'contact', code: 'INVALID_RECIPIENT', message }] }, message);
}
