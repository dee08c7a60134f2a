import { AppError, unsetSettings } from '@chasqui/shared';
import QRCode from 'qrcode';
import { Not, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { readRows } from '../../db/rows.js';
import { readable } from '../../db/unreadable.js';
import { Message } from '../../messages/message.entity.js';
import { dayOf } from '../../messages/quotas/periods.js';
import { quietUntil, timezoneOf } from '../../sessions/quiet-hours.js';
import { restrictionsOf } from '../../sessions/restrictions.js';
import { Session } from '../../sessions/session.entity.js';
import { presentThrottle } from '../../sessions/throttle.js';
import { toMs } from './time.js';
import { acceptedOf } from './usage.js';

/** One session, with its QR code while it waits for a scan. */
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
    lastError: row.lastError,
    compat: (readable(row.compat, null) ?? []).filter((report) => report.state === 'failed'),
    qr: await qrOf(row, now),
    ...(await heldMessages(reader, row)),
  };
}

const quietEndOf = ({ settings }: Session, accountZone: string, now: Date): Date | null =>
  quietUntil({ quietHours: settings.quietHours, timezone: timezoneOf(settings, accountZone) }, now);
/** The settings of the form on the session's page. */
function settingsOf({ settings }: Session) {
  return {
    autoReconnect: settings.autoReconnect,
    autoRead: settings.autoRead ?? unsetSettings.autoRead,
    rejectCalls: settings.rejectCalls ?? unsetSettings.rejectCalls,
    stories: settings.stories ?? unsetSettings.stories,
    recycleAboveMb: settings.recycleAboveMb ?? unsetSettings.recycleAboveMb,
  };
}

interface HeldMessages {
  /** Messages that wait for a decision because another WhatsApp account is linked now. */
  heldMessages: number;
  /** How many of these the decision `send` sends. The others may have been sent before; each is resolved by itself. */
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

/** Returns the QR code as a picture. It is only for the person who opened this page: never in a log, a list or a stored page. */
async function qrOf(row: Session, now: Date): Promise<{ id: string | null; svg: string; expiresAt: number | null } | null> {
  if (row.status !== 'qr_pending' || !row.qrText) return null;
  if (row.qrExpiresAt && row.qrExpiresAt <= now) return null;
  const svg = await QRCode.toString(row.qrText, { type: 'svg', margin: 2, errorCorrectionLevel: 'L' });
  return { id: row.qrId, svg, expiresAt: toMs(row.qrExpiresAt) };
}
