import { AppError, isId, parseRecipient, phoneOf } from '@chasqui/shared';
import type { Repository, SelectQueryBuilder } from 'typeorm';
import type { ListQuery } from './contract.js';
import type { Message } from './message.entity.js';

/** Totals are exact up to here; counting a million rows for a page of fifty helps nobody. */
const mostCounted = 10_000;

/** A page of the account's messages. With a cursor it costs the same on every page; with an offset it also says how many there are. */
export async function listMessages(
  rows: Repository<Message>,
  accountId: string,
  sessionId: string | null,
  query: ListQuery,
  countryCode?: string | null,
): Promise<{ messages: Message[]; meta: object }> {
  const filtered = (): SelectQueryBuilder<Message> =>
    filter(
      rows.createQueryBuilder('m').where('m.accountId = :accountId AND m.deletedAt IS NULL', { accountId }),
      sessionId,
      query,
      countryCode,
    );
  const direction = query.order === 'asc' ? 'ASC' : 'DESC';
  const page = filtered().orderBy('m.createdAt', direction).addOrderBy('m.id', direction).limit(query.limit);
  if (query.cursor) after(page, query);
  else page.offset(query.offset);
  const messages = await page.getMany();
  const last = messages.length === query.limit ? messages.at(-1) : undefined;
  const nextCursor = last ? Buffer.from(`${last.createdAt.getTime()}:${last.id}`).toString('base64url') : null;
  if (query.cursor) return { messages, meta: { limit: query.limit, nextCursor } };
  const counted = await countUpTo(filtered(), mostCounted);
  return {
    messages,
    meta: { limit: query.limit, offset: query.offset, total: counted, totalExact: counted < mostCounted, nextCursor },
  };
}

async function countUpTo(query: SelectQueryBuilder<Message>, most: number): Promise<number> {
  const [sql, parameters] = query.select('1', 'one').limit(most).getQueryAndParameters();
  const [row] = await query.connection.query<{ n: number | string }[]>(`SELECT COUNT(*) AS n FROM (${sql}) counted`, parameters);
  return Number(row!.n);
}

function filter(
  query: SelectQueryBuilder<Message>,
  sessionId: string | null,
  wish: ListQuery,
  countryCode: string | null | undefined,
): SelectQueryBuilder<Message> {
  if (sessionId) query.andWhere('m.sessionId = :sessionId', { sessionId });
  if (wish.direction) query.andWhere('m.direction = :direction', { direction: wish.direction });
  for (const name of ['type', 'status', 'origin'] as const)
    if (wish[name]) query.andWhere(`m.${name} IN (:...${name})`, { [name]: wish[name] });
  // A person is found by either form: the chat may be kept under the LID while the caller knows the number.
  if (wish.chatId) {
    const { id, pattern } = person('chatId', wish.chatId, countryCode);
    query.andWhere("(m.chatId = :chatId OR (m.chatType = 'private' AND m.contact LIKE :inChat))", {
      chatId: id,
      inChat: pattern,
    });
  }
  if (wish.contact) {
    const { id, pattern } = person('contact', wish.contact, countryCode);
    query.andWhere('(m.chatId = :contactId OR m.contact LIKE :inContact)', { contactId: id, inContact: pattern });
  }
  if (wish.from) query.andWhere('m.createdAt >= :from', { from: Date.parse(wish.from) });
  if (wish.to) query.andWhere('m.createdAt <= :to', { to: Date.parse(wish.to) });
  if (wish.search)
    query.andWhere("LOWER(m.text) LIKE :search ESCAPE '!'", {
      search: `%${wish.search.toLowerCase().replace(/[!%_]/g, '!$&')}%`,
    });
  return query;
}

function person(field: string, input: string, countryCode: string | null | undefined): { id: string; pattern: string } {
  const parsed = parseRecipient(input, countryCode);
  if (!parsed.ok)
    throw new AppError(
      'INVALID_RECIPIENT',
      { input, fields: [{ path: field, code: 'INVALID_RECIPIENT', message: parsed.message }] },
      parsed.message,
    );
  const { id } = parsed.address;
  return { id, pattern: `%"${phoneOf(id) ?? id}"%` };
}

function after(query: SelectQueryBuilder<Message>, wish: ListQuery): void {
  const [at = '', id = ''] = Buffer.from(wish.cursor!, 'base64url').toString().split(':');
  // Fifteen digits are the milliseconds of some thirty thousand years, and a number that both databases hold exactly.
  if (!/^\d{1,15}$/.test(at) || !isId(id))
    throw new AppError('VALIDATION_FAILED', {
      fields: [{ path: 'cursor', code: 'INVALID_CURSOR', message: 'Take the cursor from meta.nextCursor.' }],
    });
  const sign = wish.order === 'asc' ? '>' : '<';
  query.andWhere(`(m.createdAt ${sign} :at OR (m.createdAt = :at AND m.id ${sign} :id))`, { at: Number(at), id });
}
