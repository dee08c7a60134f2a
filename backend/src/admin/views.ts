import { AppError } from '@chasqui/shared';
import QRCode from 'qrcode';
import { In, IsNull, LessThan, MoreThan, Not, type DataSource, type FindOptionsWhere } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import { ApiKey } from '../accounts/api-key.entity.js';
import { ApiKeyUsage } from '../accounts/key-usage.entity.js';
import { Plan } from '../accounts/plan.entity.js';
import { readLimits } from '../accounts/plans.js';
import { readRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { readable } from '../db/unreadable.js';
import { EventRow } from '../events/event.entity.js';
import { MediaFile } from '../media/media-file.entity.js';
import { Message } from '../messages/message.entity.js';
import { dayOf, monthOf } from '../messages/quotas/periods.js';
import { QuotaUsage, type QuotaScope } from '../messages/quotas/quota.entity.js';
import { Session } from '../sessions/session.entity.js';
import { waitingSince } from '../webhooks/deliveries.js';
import { Webhook, WebhookAttempt, WebhookDelivery } from '../webhooks/webhook.entity.js';

/** What the pages of the panel show, read off the reader. Secrets are in none of these; times are milliseconds since 1970. */

const ms = (time: Date | null | undefined): number | null => time?.getTime() ?? null;

export async function sessionView(reader: DataSource, id: string, now: Date) {
  const [row] = await readRows(reader, Session, 'id = ? AND "deletedAt" IS NULL', [id], ['qrText']);
  if (!row) throw new AppError('SESSION_NOT_FOUND');
  const account = await reader.getRepository(Account).findOneBy({ id: row.accountId });
  const day = dayOf(now, account?.timezone ?? 'UTC');
  return {
    id: row.id,
    name: row.name,
    account: { id: row.accountId, name: account?.username ?? null },
    status: row.status,
    desired: row.desired,
    reason: row.reasonCode ? { code: row.reasonCode, message: row.reasonText } : null,
    phoneNumber: row.phoneNumber,
    pushName: row.pushName,
    platform: row.platform,
    deviceName: row.deviceName,
    workerId: row.workerId,
    whatsappWebVersion: row.whatsappWebVersion,
    limits: {
      dailyLimit: row.settings.dailyLimit ?? null,
      storage: row.settings.storage ?? 'full',
      today: await acceptedOf(reader, 'session.daily', id, day),
    },
    counters: { sent: row.sentCount, received: row.receivedCount, failed: row.failedCount },
    memoryMb: row.memoryMb,
    roundTripMs: row.roundTripMs,
    lastSeen: ms(row.lastSeen),
    connectedAt: ms(row.connectedAt),
    createdAt: ms(row.createdAt),
    lastError: row.lastError,
    compat: (readable(row.compat, null) ?? []).filter((report) => report.state === 'failed'),
    qr: await qrOf(row, now),
    ...(await heldMessages(reader, row)),
  };
}

interface HeldMessages {
  /** Messages that wait for a decision because another WhatsApp account is linked now. */
  heldMessages: number;
  /** Of these, the ones that are sent when a person says so. The others may have left before, and are settled one by one. */
  heldMessagesToSend: number;
}

async function heldMessages(reader: DataSource, { id, linkedAccountNumber }: Session): Promise<HeldMessages> {
  if (linkedAccountNumber === 1) return { heldMessages: 0, heldMessagesToSend: 0 };
  const where = { sessionId: id, status: 'queued' as const, linkedAccountNumber: Not(linkedAccountNumber) };
  const rows = reader.getRepository(Message);
  return {
    heldMessages: await rows.countBy(where),
    heldMessagesToSend: await rows.countBy({ ...where, hasUncertainAttempt: false }),
  };
}
export type SessionView = Awaited<ReturnType<typeof sessionView>>;

/** The code as a picture. It is for the person who stands before the panel: never in a log, a list or a stored page. */
async function qrOf(row: Session, now: Date): Promise<{ id: string | null; svg: string; expiresAt: number | null } | null> {
  if (row.status !== 'qr_pending' || !row.qrText) return null;
  if (row.qrExpiresAt && row.qrExpiresAt <= now) return null;
  const svg = await QRCode.toString(row.qrText, { type: 'svg', margin: 2, errorCorrectionLevel: 'L' });
  return { id: row.qrId, svg, expiresAt: ms(row.qrExpiresAt) };
}

const times = ['createdAt', 'queuedAt', 'sentAt', 'deliveredAt', 'readAt', 'playedAt', 'failedAt', 'cancelledAt'] as const;

export async function messageView(reader: DataSource, id: string) {
  const row = await reader.getRepository(Message).findOneBy({ id, deletedAt: IsNull() });
  if (!row) throw new AppError('MESSAGE_NOT_FOUND');
  const [session, account, media, events] = await Promise.all([
    reader.getRepository(Session).findOneBy({ id: row.sessionId }),
    reader.getRepository(Account).findOneBy({ id: row.accountId }),
    row.mediaId ? reader.getRepository(MediaFile).findOneBy({ id: row.mediaId }) : null,
    reader.getRepository(EventRow).find({ where: { messageId: id }, order: { cursor: 'ASC' }, take: 200 }),
  ]);
  return {
    id: row.id,
    whatsappId: row.whatsappId,
    direction: row.direction,
    origin: row.origin,
    type: row.type,
    status: row.status,
    reason: row.reasonCode ? { code: row.reasonCode, message: row.reasonText } : null,
    session: { id: row.sessionId, name: session?.name ?? null },
    account: { id: row.accountId, name: account?.username ?? null },
    chat: { id: row.chatId, type: row.chatType, name: row.chatName },
    contact: row.contact,
    content: row.content,
    text: row.text,
    attempts: row.attempts,
    nextAttemptAt: ms(row.nextAttemptAt),
    media: media && {
      id: media.id,
      state: media.deletedAt ? 'removed' : media.state,
      reason: media.reason,
      mimetype: media.mimetype,
      size: media.size,
      filename: media.filename,
    },
    times: Object.fromEntries(times.map((name) => [name, ms(row[name])])) as Record<(typeof times)[number], number | null>,
    timeline: events.map((event) => timelineEntry(event)),
  };
}
export type MessageView = Awaited<ReturnType<typeof messageView>>;

const named = (value: unknown): string | null => (typeof value === 'string' ? value : null);

function timelineEntry({ cursor, type, data, occurredAt }: EventRow) {
  const reason = data['reason'] as { code?: unknown; message?: unknown } | null | undefined;
  const attempt = data['attempt'] ?? data['attempts'];
  return {
    cursor,
    type,
    status: named(data['status']) ?? type.slice(type.indexOf('.') + 1),
    at: occurredAt.getTime(),
    reason: reason ? { code: named(reason.code) ?? '', message: named(reason.message) } : null,
    attempt: typeof attempt === 'number' && attempt > 0 ? attempt : null,
  };
}

/** What a reader of the log could sign in with. */
const loginData: Record<string, readonly string[]> = {
  'session.qr': ['qrText', 'qrCode'],
  'session.pairing_code': ['code'],
};

/** The newest first. `after` gives what came since, `before` the page behind. */
export async function eventsView(
  reader: DataSource,
  asked: { after?: number; before?: number; type?: string; sessionId?: string },
) {
  const where: FindOptionsWhere<EventRow> = {};
  if (asked.after !== undefined) where.cursor = MoreThan(asked.after);
  else if (asked.before !== undefined) where.cursor = LessThan(asked.before);
  if (asked.type) where.type = asked.type;
  if (asked.sessionId) where.sessionId = asked.sessionId;
  const rows = await reader.getRepository(EventRow).find({ where, order: { cursor: 'DESC' }, take: 50 });
  const sessions = await reader
    .getRepository(Session)
    .find({ where: { id: In([...new Set(rows.flatMap((row) => row.sessionId ?? []))]) }, select: { id: true, name: true } });
  const names = new Map(sessions.map((session) => [session.id, session.name]));
  return rows.map((row) => ({
    cursor: row.cursor,
    type: row.type,
    session: row.sessionId ? { id: row.sessionId, name: names.get(row.sessionId) ?? null } : null,
    messageId: row.messageId,
    at: row.occurredAt.getTime(),
    data: Object.fromEntries(Object.entries(row.data).filter(([name]) => !loginData[row.type]?.includes(name))),
  }));
}
export type EventView = Awaited<ReturnType<typeof eventsView>>[number];

/** Messages that hold a place in an owner's day or month. */
async function acceptedOf(reader: DataSource, scope: QuotaScope, ownerId: string, period: string): Promise<number> {
  return (await reader.getRepository(QuotaUsage).findOneBy({ scope, ownerId, period }))?.taken ?? 0;
}

export async function accountView(reader: DataSource, id: string, now: Date) {
  const row = await reader.getRepository(Account).findOneBy({ id });
  if (!row) throw new AppError('ACCOUNT_NOT_FOUND');
  const [sessions, keys] = await Promise.all([
    reader.getRepository(Session).find({ where: { accountId: id, deletedAt: IsNull() }, order: { name: 'ASC' }, take: 100 }),
    reader.getRepository(ApiKey).find({ where: { accountId: id, deletedAt: IsNull() }, order: { createdAt: 'DESC' }, take: 100 }),
  ]);
  const limits = await readLimits(reader, id);
  const day = dayOf(now, limits.timezone);
  return {
    id: row.id,
    username: row.username,
    email: row.email,
    role: row.role,
    isActive: row.isActive,
    mustChangePassword: row.mustChangePassword,
    timezone: row.timezone,
    storage: row.storage,
    plan: limits.plan,
    maxMessagesPerDay: row.maxMessagesPerDay,
    limits: { dailyMessages: limits.dailyMessages, monthlyMessages: limits.monthlyMessages, maxSessions: limits.maxSessions },
    usage: {
      today: await acceptedOf(reader, 'account.daily', id, day),
      thisMonth: await acceptedOf(reader, 'plan.monthly', id, monthOf(day)),
    },
    lastLoginAt: ms(row.lastLoginAt),
    createdAt: ms(row.createdAt),
    sessions: sessions.map((session) => ({ id: session.id, name: session.name, status: session.status })),
    keys: keys.map((key) => ({ id: key.id, name: key.name, prefix: key.prefix, lastFour: key.lastFour, isActive: key.isActive })),
  };
}
export type AccountView = Awaited<ReturnType<typeof accountView>>;

export async function keyView(reader: DataSource, id: string) {
  const row = await reader.getRepository(ApiKey).findOneBy({ id, deletedAt: IsNull() });
  if (!row) throw new AppError('KEY_NOT_FOUND');
  const [usage, account, session] = await Promise.all([
    reader.getRepository(ApiKeyUsage).findOneBy({ keyId: id }),
    reader.getRepository(Account).findOneBy({ id: row.accountId }),
    row.sessionId ? reader.getRepository(Session).findOneBy({ id: row.sessionId }) : null,
  ]);
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    lastFour: row.lastFour,
    isPrimary: row.isPrimary,
    isActive: row.isActive,
    permissions: readable(row.permissions, []),
    rateLimit: row.rateLimit,
    autoRotation: row.autoRotation,
    isClaimable: row.isClaimable,
    successorId: row.successorId,
    usage: { successful: usage?.successful ?? 0, failed: usage?.failed ?? 0 },
    account: { id: row.accountId, name: account?.username ?? null },
    session: row.sessionId ? { id: row.sessionId, name: session?.name ?? null } : null,
    expiresAt: ms(row.expiresAt),
    lastUsedAt: ms(row.lastUsedAt),
    createdAt: ms(row.createdAt),
  };
}
export type KeyView = Awaited<ReturnType<typeof keyView>>;

/** One endpoint with its newest deliveries; without what is secret of it. */
export async function webhookView(reader: DataSource, id: string) {
  const row = await reader.getRepository(Webhook).findOneBy({ id, deletedAt: IsNull() });
  if (!row) throw new AppError('WEBHOOK_NOT_FOUND');
  const newest = { where: { webhookId: id }, order: { eventCursor: 'DESC' }, take: 30 } as const;
  const countSql = 'SELECT status, COUNT(*) AS n FROM webhook_deliveries WHERE "webhookId" = ? GROUP BY status';
  const [account, session, deliveries, oldest, { rows: counts }] = await Promise.all([
    reader.getRepository(Account).findOneBy({ id: row.accountId }),
    row.sessionId ? reader.getRepository(Session).findOneBy({ id: row.sessionId }) : null,
    reader.getRepository(WebhookDelivery).find(newest),
    reader
      .getRepository(WebhookDelivery)
      .findOne({ where: { webhookId: id, status: In(['pending', 'sending']) }, order: { eventCursor: 'ASC' } }),
    runStatement<{ status: string; n: number | string }>(reader, countSql, [id], { prepare: false }),
  ]);
  const attempts = await reader
    .getRepository(WebhookAttempt)
    .find({ where: { deliveryId: In(deliveries.map((delivery) => delivery.id)) }, order: { at: 'DESC' }, take: 200 });
  const countOf = (...statuses: string[]): number =>
    counts.filter(({ status }) => statuses.includes(status)).reduce((sum, { n }) => sum + Number(n), 0);
  return {
    id: row.id,
    url: row.url,
    description: row.description,
    events: readable(row.events, []),
    account: { id: row.accountId, name: account?.username ?? null },
    session: row.sessionId ? { id: row.sessionId, name: session?.name ?? null } : null,
    isActive: row.isActive,
    state: !row.isActive
      ? ('disabled' as const)
      : row.openUntil
        ? ('open' as const)
        : row.failures > 0
          ? ('failing' as const)
          : ('healthy' as const),
    disabledReason: row.disabledReason,
    failures: row.failures,
    failingSince: ms(row.failingSince),
    openUntil: ms(row.openUntil),
    lastDeliveredAt: ms(row.lastDeliveredAt),
    oldestWaitingAt: ms(oldest && waitingSince(oldest)),
    createdAt: ms(row.createdAt),
    counts: {
      delivered: countOf('delivered'),
      failed: countOf('failed'),
      pending: countOf('pending', 'sending'),
      held: countOf('held'),
    },
    deliveries: deliveries.map((delivery) => ({
      id: delivery.id,
      type: delivery.type,
      status: delivery.status,
      attempts: delivery.attempts,
      statusCode: delivery.statusCode,
      error: delivery.error,
      createdAt: delivery.createdAt.getTime(),
      log: attempts
        .filter(({ deliveryId }) => deliveryId === delivery.id)
        .slice(0, 5)
        .map((attempt) => ({
          at: attempt.at.getTime(),
          durationMs: attempt.durationMs,
          statusCode: attempt.statusCode,
          error: attempt.error,
          request: attempt.requestBody,
          response: attempt.response,
        })),
    })),
  };
}
export type WebhookView = Awaited<ReturnType<typeof webhookView>>;

export async function planView(reader: DataSource, id: string) {
  const row = await reader.getRepository(Plan).findOneBy({ id });
  if (!row) throw new AppError('PLAN_NOT_FOUND');
  const accounts = await reader.getRepository(Account).find({ where: { planId: id }, order: { username: 'ASC' }, take: 100 });
  return {
    id: row.id,
    name: row.name,
    dailyMessages: row.dailyMessages,
    monthlyMessages: row.monthlyMessages,
    maxSessions: row.maxSessions,
    apiLimit: row.apiLimit,
    pricePerMessage: row.pricePerMessage,
    currency: row.currency,
    updatedAt: row.updatedAt.getTime(),
    accounts: accounts.map(({ id: accountId, username }) => ({ id: accountId, name: username })),
  };
}
export type PlanView = Awaited<ReturnType<typeof planView>>;

/** The choices of a form: accounts, and the sessions of each. */
export async function choicesView(reader: DataSource) {
  const [plans, accounts, sessions] = await Promise.all([
    reader.getRepository(Plan).find({ order: { name: 'ASC' }, take: 500 }),
    reader.getRepository(Account).find({ where: { isActive: true }, order: { username: 'ASC' }, take: 500 }),
    reader.getRepository(Session).find({ where: { deletedAt: IsNull() }, order: { name: 'ASC' }, take: 2000 }),
  ]);
  return {
    plans: plans.map(({ id, name }) => ({ id, name })),
    accounts: accounts.map(({ id, username }) => ({ id, name: username })),
    sessions: sessions.map(({ id, name, accountId }) => ({ id, name, accountId })),
  };
}
export type ChoicesView = Awaited<ReturnType<typeof choicesView>>;
