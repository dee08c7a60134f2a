import { eventTypes, typesNamed } from '@chasqui/shared';
import { In, type DataSource, type FindOptionsWhere } from 'typeorm';
import { EventRow } from '../events/event.entity.js';
import { Session } from '../sessions/session.entity.js';
import { bodyOf, matches } from '../webhooks/payload.js';
import { chatIdsOf } from '../webhooks/subscriptions.js';
import type { WebhookDraft, WebhookPreview } from './verbs.js';
import { withReadableData } from './views/event.js';
import { eventWords } from './views/event-words.js';

const maxExamined = 100;
const shownEvents = 8;
/** The most characters of a transformed body that are shown. */
const shownLength = 4_000;

/**
 * Compares the newest events of an account with an endpoint that is being written, as the delivery would. Throws `TRANSFORM_INVALID` when the
 * transformed body would be too large.
 */
export async function previewWebhook(reader: DataSource, draft: WebhookDraft): Promise<WebhookPreview> {
  const { accountId, sessionId, filter, transform, includeContent } = draft;
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
  let sample: WebhookPreview['sample'] = null;
  for (const row of rows.map(withReadableData)) {
    const { cursor, type, data, occurredAt, sessionId: of } = row;
    const event = {
      cursor,
      type,
      words: eventWords(type, data, of ? (names.get(of) ?? null) : null),
      at: occurredAt.getTime(),
      matches: matches({ type, data, sessionId: of }, form, await chatIdsOf(reader, { accountId, filter }, data)),
    };
    compared.push(event);
    if (transform === null || !event.matches || sample) continue;
    const session = of ? { id: of, name: names.get(of) ?? '' } : null;
    const made = bodyOf({ ...row, session }, { types: form.types, includeContent, transform });
    sample = { event: made.event, type, body: made.body.slice(0, shownLength) };
  }
  return {
    examined: compared.length,
    matching: compared.filter((event) => event.matches).length,
    events: compared.slice(0, shownEvents),
    sample,
  };
}
