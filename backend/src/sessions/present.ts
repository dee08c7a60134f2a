import {
  allows,
  sessionReasons,
  unsetSettings,
  type SessionReason,
  type SessionResource,
  type SessionStatusResource,
} from '@chasqui/shared';
import QRCode from 'qrcode';
import { readable } from '../db/unreadable.js';
import type { Caller } from '../accounts/caller.js';
import { noSettings, type Session } from './session.entity.js';
import { iso } from '../lib/iso.js';

/** The reason of the session's status, with its sentence; null when there is none. */
export const reasonOf = (session: Session) =>
  session.reasonCode
    ? {
        code: session.reasonCode,
        message: session.reasonText ?? sessionReasons[session.reasonCode as SessionReason] ?? session.reasonCode,
      }
    : null;

/**
 * `stale` means that the worker did not answer and `status` is the last known one. `isConnected` is false for a stale session: a program that
 * reads only this field must not mistake the state from before a crash for the current one.
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

/** Presents the status. Callers with `session.control` also get the QR code as a picture; no other reply contains it. */
export async function presentStatus(session: Session, caller: Caller, stale = false): Promise<SessionStatusResource> {
  const status = { sessionId: session.id, ...base(session, stale) };
  if (!allows(caller.permissions, 'session.control')) return status;
  const text = presentQrText(session);
  return {
    ...status,
    qrCode: text ? await drawQr(text) : null,
    qrText: text,
    expiresAt: text ? iso(session.qrExpiresAt) : null,
    pairingCode: presentPairingCode(session),
  };
}

/** The text of the QR code to scan; null when there is none. */
export const presentQrText = (session: Session): string | null => (session.status === 'qr_pending' ? session.qrText : null);

/** The pairing code to type; null when there is none, or it has expired. */
function presentPairingCode({ status, pairingCode }: Session): SessionStatusResource['pairingCode'] {
  const code = status === 'qr_pending' ? readable(pairingCode, null) : null;
  return code && Date.parse(code.expiresAt) > Date.now() ? code : null;
}

/** The share of the session's life during which it was connected, in percent with one decimal. */
function uptimePercent({ connectedMs, connectedAt, status, createdAt }: Session, now: number): number {
  const currentMs = status === 'connected' && connectedAt ? Math.max(0, now - connectedAt.getTime()) : 0;
  const lifeMs = Math.max(1, now - createdAt.getTime());
  return Math.min(100, Math.round(((connectedMs + currentMs) / lifeMs) * 1_000) / 10);
}

/** Whether the lease, which each heartbeat renews, has expired. The session may still run: only its heartbeats do not arrive. */
const isHeartbeatOverdue = ({ status, leaseExpiresAt }: Session, now: number): boolean =>
  !['disconnected', 'error', 'suspended'].includes(status) && leaseExpiresAt !== null && leaseExpiresAt.getTime() < now;

export const settingsUnreadable = 'The stored settings of this session cannot be read. Save its settings again.';

/** Presents a session. `now` is the time of the backend's clock, by which leases are written. */
export function presentSession(session: Session, now: Date): SessionResource {
  const settings = readable(session.settings, null);
  return {
    id: session.id,
    ...base(session, isHeartbeatOverdue(session, now.getTime())),
    isDefault: session.isDefault,
    deviceName: session.deviceName,
    pairingNumber: session.pairingNumber,
    workerId: session.workerId,
    settings: { dailyLimit: null, ...unsetSettings, ...(settings ?? noSettings) },
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

/** Draws a QR code, as a data URL. */
export const drawQr = (text: string): Promise<string> => QRCode.toDataURL(text, { margin: 2, width: 320 });
