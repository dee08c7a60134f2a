import {
  allows,
  sessionReasons,
  type SessionReason,
  type SessionResource,
  type SessionSettings,
  type SessionStatusResource,
} from '@chasqui/shared';
import QRCode from 'qrcode';
import { readable } from '../db/unreadable.js';
import type { Caller } from '../accounts/caller.js';
import type { Session } from './session.entity.js';
import { iso } from '../lib/iso.js';

export const reasonOf = (session: Session) =>
  session.reasonCode
    ? {
        code: session.reasonCode,
        message: session.reasonText ?? sessionReasons[session.reasonCode as SessionReason] ?? session.reasonCode,
      }
    : null;

/**
 * `stale`: the worker was not heard, and `status` is what was known last. `isConnected` is a fact of now, so a stale session does not have it: a
 * program that looks at it alone must not take the state from before a crash for the present one.
 */
const base = (session: Session, stale: boolean) => ({
  name: session.name,
  status: session.status,
  isConnected: session.status === 'connected' && !stale,
  desired: session.desired,
  reason: reasonOf(session),
  phoneNumber: session.phoneNumber,
  pushName: session.pushName,
  platform: session.platform,
  lastSeen: iso(session.lastSeen),
  stale,
});

/** With the QR, drawn again, for callers who may control the session; it is in no other reply. */
export async function presentStatus(session: Session, caller: Caller, stale = false): Promise<SessionStatusResource> {
  const status = { sessionId: session.id, ...base(session, stale) };
  if (!allows(caller.permissions, 'session.control')) return status;
  const text = presentQrText(session);
  return {
    ...status,
    qrCode: text ? await drawQr(text) : null,
    expiresAt: text ? iso(session.qrExpiresAt) : null,
  };
}

export const presentQrText = (session: Session): string | null => (session.status === 'qr_pending' ? session.qrText : null);

/** How much of its life it was connected, with one decimal. */
function uptimePercent({ connectedMs, connectedAt, status, createdAt }: Session, now: number): number {
  const present = status === 'connected' && connectedAt ? Math.max(0, now - connectedAt.getTime()) : 0;
  const life = Math.max(1, now - createdAt.getTime());
  return Math.min(100, Math.round(((connectedMs + present) / life) * 1_000) / 10);
}

/** A worker renews the lease with each heartbeat. One that ran out means that nobody has been heard, not yet that the session is lost. */
const isHeartbeatOverdue = ({ status, leaseExpiresAt }: Session, now: number): boolean =>
  !['disconnected', 'error', 'suspended'].includes(status) && leaseExpiresAt !== null && leaseExpiresAt.getTime() < now;

/** Shown of a session whose stored settings are damaged. Nothing runs under them: what needs the settings fails until they are saved again. */
const noSettings: SessionSettings = {
  autoReconnect: false,
  storeMedia: false,
  countryCode: null,
  queueIfOffline: false,
  maxQueueAgeHours: 24,
  pacing: { perMinute: 0, chatGapMs: 0, jitterMs: 0, typing: false },
};
const settingsUnreadable = 'The stored settings of this session cannot be read. Save its settings again.';

/** `now` is the backend's clock, by which leases are written. */
export function presentSession(session: Session, now: Date): SessionResource {
  const settings = readable(session.settings, null);
  return {
    id: session.id,
    ...base(session, isHeartbeatOverdue(session, now.getTime())),
    isDefault: session.isDefault,
    deviceName: session.deviceName,
    workerId: session.workerId,
    settings: { dailyLimit: null, ...(settings ?? noSettings) },
    metadata: readable(session.metadata, {}),
    counters: { sent: session.sentCount, received: session.receivedCount, failed: session.failedCount },
    reconnectAttempts: session.reconnectAttempts,
    connectedAt: iso(session.connectedAt),
    disconnectedAt: iso(session.disconnectedAt),
    uptimePercent: uptimePercent(session, now.getTime()),
    errorCount: session.errorCount,
    lastError: settings ? session.lastError : settingsUnreadable,
    createdAt: session.createdAt.toISOString(),
    updatedAt: session.updatedAt.toISOString(),
  };
}

/** The picture of a code to scan, as a data URL. */
export const drawQr = (text: string): Promise<string> => QRCode.toDataURL(text, { margin: 2, width: 320 });
