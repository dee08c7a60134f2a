import { AppError, type MessageResource } from '@chasqui/shared';
import { Between, IsNull, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { ApiKey } from '../../accounts/api-key.entity.js';
import { AuditLog } from '../../audit/audit.entity.js';
import { BulkJob } from '../../bulk/bulk.entity.js';
import { readPeople } from '../../contacts/lookup.js';
import { EventRow } from '../../events/event.entity.js';
import { idsIn, presentMessage } from '../../messages/read/present.js';
import { MediaFile } from '../../media/media-file.entity.js';
import { Thumbnail } from '../../media/thumbnail.entity.js';
import { heldUntil, Message } from '../../messages/message.entity.js';
import { Schedule } from '../../messages/recurring/schedule.entity.js';
import { Session } from '../../sessions/session.entity.js';
import { readable } from '../../db/unreadable.js';
import { runStatement } from '../../db/statement.js';
import { adviceForMessage } from '../advice.js';
import { withReadableData } from './event.js';
import { readChatTitles } from './chats.js';
import { toMs } from './time.js';

const times = [
  'createdAt',
  'scheduledAt',
  'queuedAt',
  'sentAt',
  'deliveredAt',
  'readAt',
  'playedAt',
  'failedAt',
  'cancelledAt',
] as const;

/** The request that is responsible for a message, and its API key. Null where they are not known. */
interface Sender {
  requestId: string | null;
  apiKeyId: string | null;
}

/** How far the clock of an audit entry may be from that of its job or schedule, in milliseconds. */
const auditSlackMs = 60_000;

/** Returns the request that sent the message, or the one that created the bulk job or schedule which made it. */
async function senderOf(reader: DataSource, { requestId, apiKeyId, bulkJobId, scheduleId }: Message): Promise<Sender> {
  if (bulkJobId === null && scheduleId === null) return { requestId, apiKeyId };
  const made = bulkJobId
    ? await reader.getRepository(BulkJob).findOneBy({ id: bulkJobId })
    : await reader.getRepository(Schedule).findOneBy({ id: scheduleId! });
  if (!made) return { requestId, apiKeyId };
  const { id, accountId, createdAt } = made;
  const [from, to] = [-auditSlackMs, auditSlackMs].map((ms) => new Date(createdAt.getTime() + ms)) as [Date, Date];
  const action = bulkJobId ? 'bulk.create' : 'schedule.create';
  // By account and time, because the audit log has no index of objects.
  const created = await reader.getRepository(AuditLog).findOneBy({ accountId, at: Between(from, to), action, objectId: id });
  return { requestId: created?.requestId ?? null, apiKeyId: created?.credential === 'key' ? created.actorId : null };
}

/** One message with its timeline. */
export async function messageView(reader: DataSource, id: string) {
  const row = await reader.getRepository(Message).findOneBy({ id, deletedAt: IsNull() });
  if (!row) throw new AppError('MESSAGE_NOT_FOUND');
  const { requestId, apiKeyId } = await senderOf(reader, row);
  const [session, account, key, media, hasThumbnail, events, titleOf, deliveries] = await Promise.all([
    reader.getRepository(Session).findOneBy({ id: row.sessionId }),
    reader.getRepository(Account).findOneBy({ id: row.accountId }),
    apiKeyId ? reader.getRepository(ApiKey).findOneBy({ id: apiKeyId }) : null,
    row.mediaId ? reader.getRepository(MediaFile).findOneBy({ id: row.mediaId }) : null,
    reader.getRepository(Thumbnail).existsBy({ messageId: id }),
    readEvents(reader, id),
    readChatTitles(reader, [row]),
    countDeliveries(reader, id),
  ]);
  return {
    id: row.id,
    whatsappId: row.whatsappId,
    direction: row.direction,
    origin: row.origin,
    requestId,
    apiKey: apiKeyId ? { id: apiKeyId, name: key?.name ?? null } : null,
    bulkJobId: row.bulkJobId,
    templateId: row.templateId,
    scheduleId: row.scheduleId,
    deliveries,
    type: row.type,
    status: row.status,
    reason: row.reasonCode
      ? { code: row.reasonCode, message: row.reasonText, ...adviceForMessage(row.reasonCode, row.reasonText) }
      : null,
    session: { id: row.sessionId, name: session?.name ?? null, isConnected: session?.status === 'connected' },
    account: { id: row.accountId, name: account?.username ?? null },
    chat: { id: row.chatId, type: row.chatType, ...titleOf(row) },
    fromId: row.fromId,
    contact: readable(row.contact, null),
    content: readable(row.content, null),
    text: row.text,
    attempts: row.attempts,
    isUrgent: row.isUrgent,
    nextAttemptAt: toMs(row.nextAttemptAt && row.nextAttemptAt < heldUntil ? row.nextAttemptAt : null),
    lookup: { count: row.lookups ?? 0, lastAt: toMs(row.lookedUpAt), result: row.lookupResult },
    media: media && {
      id: media.id,
      state: media.deletedAt ? 'removed' : media.state,
      reason: media.reason,
      mimetype: media.mimetype,
      size: media.size,
      filename: media.filename,
      hasThumbnail,
    },
    times: Object.fromEntries(times.map((name) => [name, toMs(row[name])])) as Record<(typeof times)[number], number | null>,
    timeline: events.map((event) => timelineEntry(event)),
    reactions: reactionsIn(events),
    edits: editsIn(events),
    editedAt: toMs(row.editedAt),
    revokedAt: toMs(row.revokedAt),
  };
}
export type MessageView = Awaited<ReturnType<typeof messageView>>;

async function readEvents(reader: DataSource, messageId: string): Promise<EventRow[]> {
  const rows = await reader.getRepository(EventRow).find({ where: { messageId }, order: { cursor: 'ASC' }, take: 200 });
  return rows.map(withReadableData);
}

/** The number of webhook deliveries of the message's events. */
async function countDeliveries(reader: DataSource, id: string): Promise<number> {
  const sql = `SELECT COUNT(*) AS n FROM events e JOIN webhook_deliveries d ON d."eventCursor" = e.cursor WHERE e."messageId" = ?`;
  const [row] = (await runStatement<{ n: number | string }>(reader, sql, [id])).rows;
  return Number(row?.n ?? 0);
}

/** One message as the API returns it. */
export async function rawMessageView(reader: DataSource, id: string): Promise<MessageResource> {
  const row = await reader.getRepository(Message).findOneBy({ id, deletedAt: IsNull() });
  if (!row) throw new AppError('MESSAGE_NOT_FOUND');
  const ids = idsIn(row).flatMap(({ waId }) => waId ?? []);
  return presentMessage(row, await readPeople(reader, row.sessionId, ids));
}

const named = (value: unknown): string | null => (typeof value === 'string' ? value : null);

/** The reason in an event. Its own sentence is for programs: it names routes. */
function reasonIn(data: EventRow['data']): { code: string; message: string | null } | null {
  const reason = data['reason'] as { code?: unknown; message?: unknown } | null | undefined;
  const code = named(reason?.code);
  return code === null ? null : { code, message: named(reason?.message) };
}

function timelineEntry({ cursor, type, data, occurredAt }: EventRow) {
  const reason = reasonIn(data);
  const attempt = data['attempt'] ?? data['attempts'];
  return {
    cursor,
    type,
    status: (type === 'message.updated' ? named(data['change']) : named(data['status'])) ?? type.slice(type.indexOf('.') + 1),
    at: occurredAt.getTime(),
    reason: reason && { code: reason.code, what: adviceForMessage(reason.code, reason.message).what },
    attempt: typeof attempt === 'number' && attempt > 0 ? attempt : null,
  };
}

/** The last reaction of each person, from the event log. */
function reactionsIn(events: readonly EventRow[]) {
  const found = new Map<string, { emoji: string; by: string; at: number }>();
  for (const { type, data, occurredAt } of events) {
    if (type !== 'message.reaction') continue;
    const contact = (data['contact'] ?? {}) as Record<string, unknown>;
    const person = named(contact['phone']) ?? named(contact['lid']) ?? named(contact['id']) ?? '';
    const emoji = named(data['emoji']);
    found.delete(person);
    if (emoji) found.set(person, { emoji, by: named(contact['name']) ?? person, at: occurredAt.getTime() });
  }
  return [...found.values()];
}

/** The texts before each edit, oldest first. A text that is not stored is null. */
const editsIn = (events: readonly EventRow[]) =>
  events
    .filter(({ type, data }) => type === 'message.updated' && data['change'] === 'edited')
    .map(({ cursor, data, occurredAt }) => ({ cursor, previousText: named(data['previousText']), at: occurredAt.getTime() }));
