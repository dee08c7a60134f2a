import { eventTypes, typesNamed } from '@chasqui/shared';
import { In, type DataSource, type FindOptionsWhere } from 'typeorm';
import { EventRow } from '../events/event.entity.js';
import { Session } from '../sessions/session.entity.js';
import { matches } from '../webhooks/payload.js';
import { chatIdsOf } from '../webhooks/subscriptions.js';
import type { Webhook } from '../webhooks/webhook.entity.js';
import type { WebhookPreview } from './verbs.js';
import { eventWords } from './views/event-words.js';

const maxExamined = 100;
const shownEvents = 8;

type Draft = Pick<Webhook, 'accountId' | 'sessionId' | 'events' | 'filter'>;

/** Compares the newest events of an account with an endpoint that is being written, as the delivery would. */
export async function previewWebhook(reader: DataSource, draft: Draft): Promise<WebhookPreview> {
  const { accountId, sessionId, filter } = draft;
  const types = [...new Set(draft.events.flatMap((name) => typesNamed(name) ?? []))];
  const where: FindOptionsWhere<EventRow> = { accountId, ...(sessionId ? { sessionId } : {}) };
  if (types.length < eventTypes.length) where.type = In(types);
  const rows = await reader.getRepository(EventRow).find({ where, order: { cursor: 'DESC' }, take: maxExamined });
  const sessions = await reader
    .getRepository(Session)
    .find({ where: { id: In([...new Set(rows.flatMap((row) => row.sessionId ?? []))]) }, select: { id: true, name: true } });
  const names = new Map(sessions.map(({ id, name }) => [id, name]));
  const form = { sessionId, types: Object.fromEntries(types.map((type) => [type, type])), filter };
  const compared = [];
  for (const { cursor, type, data, occurredAt, sessionId: of } of rows)
    compared.push({
      cursor,
      type,
      words: eventWords(type, data, of ? (names.get(of) ?? null) : null),
      at: occurredAt.getTime(),
      matches: matches({ type, data, sessionId: of }, form, await chatIdsOf(reader, { accountId, filter }, data)),
    });
  return {
    examined: compared.length,
    matching: compared.filter((event) => event.matches).length,
    events: compared.slice(0, shownEvents),
  };
}
