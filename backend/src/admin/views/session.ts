import { AppError, unsetSettings } from '@chasqui/shared';
import QRCode from 'qrcode';
import { In, IsNull, Not, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { ApiKey } from '../../accounts/api-key.entity.js';
import { readRows } from '../../db/rows.js';
import { readable } from '../../db/unreadable.js';
import { Message } from '../../messages/message.entity.js';
import { dayOf } from '../../messages/quotas/periods.js';
import { quietUntil, timezoneOf } from '../../sessions/quiet-hours.js';
import { Webhook } from '../../webhooks/webhook.entity.js';
import { adviceForSession } from '../advice.js';
import { webhookTitle } from '../alerts.js';
import { restrictionsOf } from '../../sessions/restrictions.js';
import { noSettings, Session } from '../../sessions/session.entity.js';
import { settingsUnreadable } from '../../sessions/present.js';
import { presentThrottle } from '../../sessions/throttle.js';
import { toMs } from './time.js';
import { acceptedOf } from './usage.js';
import { webhookStateOf } from './webhook.js';

/** One session, with its QR code while it waits for a scan. */
export async function sessionView(reader: DataSource, id: string, now: Date) {
  const [stored] = await readRows(reader, Session, 'id = ? AND "deletedAt" IS NULL', [id], ['qrText']);
  if (!stored) throw new AppError('SESSION_NOT_FOUND');
  const row = { ...stored, settings: readable(stored.settings, noSettings) };
  const isDamaged = row.settings === noSettings;
  const account = await reader.getRepository(Account).findOneBy({ id: row.accountId });
  const day = dayOf(now, account?.timezone ?? 'UTC');
  return {
    id: row.id,
    name: row.name,
    account: { id: row.accountId, name: account?.username ?? null },
    status: row.status,
    desired: row.desired,
    reason: row.reasonCode
      ? { code: row.reasonCode, message: row.reasonText, ...adviceForSession(row.reasonCode, row.reasonText) }
      : null,
    /** A phone was linked to this session once. */
    wasLinked: row.linkedAccount !== null || row.phoneNumber !== null,
    /** Since when it is not connected; null while it is. */
    offlineSince: row.status === 'connected' ? null : toMs(row.disconnectedAt),
    phoneNumber: row.phoneNumber,
    pushName: row.pushName,
    platform: row.platform,
    deviceName: row.deviceName,
    pairingNumber: row.pairingNumber,
    workerId: row.workerId,
    whatsappWebVersion: row.whatsappWebVersion,
    limits: {
      dailyLimit: row.settings.dailyLimit ?? null,
      storage: row.settings.storage ?? 'full',
      quietHours: row.settings.quietHours ?? null,
      warmUp: row.settings.warmUp ?? null,
      timezone: row.settings.timezone ?? account?.timezone ?? 'UTC',
      quietUntil: toMs(quietEndOf(row, account?.timezone ?? 'UTC', now)),
      today: await acceptedOf(reader, 'session.daily', id, day),
    },
    settings: settingsOf(row),
    restrictions: restrictionsOf(row, now.getTime()),
    throttle: presentThrottle(row, now.getTime()),
    counters: { sent: row.sentCount, received: row.receivedCount, failed: row.failedCount },
    memoryMb: row.memoryMb,
    roundTripMs: row.roundTripMs,
    lastSeen: toMs(row.lastSeen),
    connectedAt: toMs(row.connectedAt),
    createdAt: toMs(row.createdAt),
    lastError: isDamaged ? settingsUnreadable : row.lastError,
    compat: (readable(row.compat, null) ?? []).filter((report) => report.state === 'failed'),
    qr: await qrOf(row, now),
    webhooks: await webhooksOf(reader, row),
    keys: await keysOf(reader, id),
    ...(await heldMessages(reader, row)),
  };
}

const quietEndOf = ({ settings }: Session, accountZone: string, now: Date): Date | null =>
  quietUntil({ quietHours: settings.quietHours, timezone: timezoneOf(settings, accountZone) }, now);
/** The settings of the form on the session's page. */
function settingsOf({ settings }: Session) {
  return {
    autoReconnect: settings.autoReconnect,
    queueIfOffline: settings.queueIfOffline,
    pacing: settings.pacing,
    autoRead: settings.autoRead ?? unsetSettings.autoRead,
    rejectCalls: settings.rejectCalls ?? unsetSettings.rejectCalls,
    stories: settings.stories ?? unsetSettings.stories,
    recycleAboveMb: settings.recycleAboveMb ?? unsetSettings.recycleAboveMb,
    proxy: settings.proxy ?? unsetSettings.proxy,
  };
}

/** The webhooks that receive events of this session: its own, and those of the whole account. */
async function webhooksOf(reader: DataSource, { id, accountId }: Session) {
  const rows = await reader.getRepository(Webhook).find({
    where: [
      { sessionId: id, deletedAt: IsNull() },
      { accountId, sessionId: IsNull(), deletedAt: IsNull() },
    ],
    order: { createdAt: 'ASC' },
    take: 100,
  });
  return rows.map((row) => ({
    id: row.id,
    title: webhookTitle(row),
    ofAccount: row.sessionId === null,
    state: webhookStateOf(row),
  }));
}

/** The keys that are bound to this session. */
async function keysOf(reader: DataSource, sessionId: string) {
  const rows = await reader
    .getRepository(ApiKey)
    .find({ where: { sessionId, deletedAt: IsNull() }, order: { createdAt: 'ASC' }, take: 100 });
  return rows.map(({ id, name, isActive, lastUsedAt }) => ({ id, name, isActive, lastUsedAt: toMs(lastUsedAt) }));
}

interface HeldMessages {
  /** Messages, scheduled ones too, that wait for a decision because another WhatsApp account is linked now. */
  heldMessages: number;
  /** How many of these the decision `send` sends. The others may have been sent before; each is resolved by itself. */
  heldMessagesToSend: number;
}

async function heldMessages(reader: DataSource, { id, linkedAccountNumber }: Session): Promise<HeldMessages> {
  if (linkedAccountNumber === 1) return { heldMessages: 0, heldMessagesToSend: 0 };
  const where = { sessionId: id, status: In(['scheduled', 'queued'] as const), linkedAccountNumber: Not(linkedAccountNumber) };
  const rows = reader.getRepository(Message);
  return {
    heldMessages: await rows.countBy(where),
    heldMessagesToSend: await rows.countBy({ ...where, hasUncertainAttempt: false }),
  };
}
export type SessionView = Awaited<ReturnType<typeof sessionView>>;

/** Returns the QR code as a picture. It is only for the person who opened this page: never in a log, a list or a stored page. */
async function qrOf(row: Session, now: Date): Promise<{ id: string | null; svg: string; expiresAt: number | null } | null> {
  if (row.status !== 'qr_pending' || !row.qrText) return null;
  if (row.qrExpiresAt && row.qrExpiresAt <= now) return null;
  const svg = await QRCode.toString(row.qrText, { type: 'svg', margin: 2, errorCorrectionLevel: 'L' });
  return { id: row.qrId, svg, expiresAt: toMs(row.qrExpiresAt) };
}
