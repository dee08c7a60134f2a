import { foldText } from '@chasqui/shared';
import { In, IsNull, Like, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { containing } from '../../db/sql.js';
import { Message } from '../../messages/message.entity.js';
import type { MessageSearch } from '../../search/search.js';
import { Session } from '../../sessions/session.entity.js';
import { Webhook } from '../../webhooks/webhook.entity.js';
import { webhookTitle } from '../alerts.js';
import { foundMessages } from './found-messages.js';

/** One thing that was found. `to` is its path below the root of the panel. */
export interface Found {
  kind: 'session' | 'message' | 'webhook' | 'account';
  title: string;
  below: string;
  to: string;
}

interface FindParts {
  reader: DataSource;
  search: Pick<MessageSearch, 'find'>;
}

/** The most results of each kind. */
const maxOfKind = 5;
/** The most messages with the letters of a text that are examined for it. The search of the message list goes further. */
const maxExamined = 5_000;
/** The most characters of a message's text in a result. */
const maxTitle = 120;

const pathOf = (table: string, id: string): string => `/resources/${table}/records/${encodeURIComponent(id)}/show`;

/**
 * Finds sessions by name or phone, accounts by name or e-mail address, webhooks by name or address, and messages as the
 * search of their list does: by text, name, number or id. Returns the first few of each kind.
 */
export async function findView(parts: FindParts, term: string): Promise<Found[]> {
  if (foldText(term) === '') return [];
  const found = await Promise.all([
    findSessions(parts.reader, term),
    findMessages(parts, term),
    findWebhooks(parts.reader, term),
    findAccounts(parts.reader, term),
  ]);
  return found.flat();
}

async function findSessions(reader: DataSource, term: string): Promise<Found[]> {
  const digits = /^[+\d\s().-]+$/.test(term) ? term.replace(/\D/g, '') : '';
  const shown = { deletedAt: IsNull() };
  const rows = await reader.getRepository(Session).find({
    where: [
      { ...shown, name: containing(reader, term) },
      { ...shown, id: term },
      ...(digits === '' ? [] : [{ ...shown, phoneNumber: Like(`%${digits}%`) }]),
    ],
    select: { id: true, name: true, phoneNumber: true },
    order: { name: 'ASC', id: 'ASC' },
    take: maxOfKind,
  });
  return rows.map(({ id, name, phoneNumber }) => ({
    kind: 'session' as const,
    title: name,
    below: phoneNumber ? `+${phoneNumber.replace(/^\+/, '')}` : '',
    to: pathOf('sessions', id),
  }));
}

/** The newest messages that the search of the message list finds. */
async function findMessages({ reader, search }: FindParts, term: string): Promise<Found[]> {
  const ids = await foundMessages({ reader, search }, term, { maxMatches: maxOfKind, maxExamined });
  if (ids.length === 0) return [];
  const rows = await reader.getRepository(Message).find({
    where: { id: In(ids), deletedAt: IsNull() },
    select: { id: true, text: true, type: true, chatName: true, chatId: true, direction: true },
    order: { id: 'DESC' },
  });
  return rows.map(({ id, text, type, chatName, chatId, direction }) => ({
    kind: 'message' as const,
    title: (text ?? '').slice(0, maxTitle) || type,
    below: `${direction === 'outbound' ? 'to' : 'from'} ${chatName ?? chatId}`,
    to: pathOf('messages', id),
  }));
}

async function findWebhooks(reader: DataSource, term: string): Promise<Found[]> {
  const shown = { deletedAt: IsNull() };
  const rows = await reader.getRepository(Webhook).find({
    where: [
      { ...shown, url: containing(reader, term) },
      { ...shown, description: containing(reader, term) },
    ],
    select: { id: true, url: true, description: true },
    order: { createdAt: 'DESC', id: 'DESC' },
    take: maxOfKind,
  });
  return rows.map((row) => ({
    kind: 'webhook' as const,
    title: webhookTitle(row),
    below: row.description ? row.url : '',
    to: pathOf('webhooks', row.id),
  }));
}

async function findAccounts(reader: DataSource, term: string): Promise<Found[]> {
  const rows = await reader.getRepository(Account).find({
    where: [{ username: containing(reader, term) }, { email: containing(reader, term) }],
    select: { id: true, username: true, email: true },
    order: { username: 'ASC', id: 'ASC' },
    take: maxOfKind,
  });
  return rows.map(({ id, username, email }) => ({
    kind: 'account' as const,
    title: username,
    below: email,
    to: pathOf('accounts', id),
  }));
}
