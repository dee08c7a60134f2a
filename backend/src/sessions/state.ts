import {
  AppError,
  newId,
  sessionMoves,
  sessionReasons,
  type EventData,
  type SessionReason,
  type SessionStatus,
  type WorkerEventPayload,
  machineReasons,
} from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { IsNull } from 'typeorm';
import { EventRow } from '../events/event.entity.js';
import type { Events } from '../events/events.js';
import { linkOf } from './linked-account.js';
import { runStatement } from '../db/statement.js';
import { lockRows, readRows, updateRows } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Clock } from '../lib/clock.js';
import { reasonOf } from './present.js';
import { Session } from './session.entity.js';

export type SessionState = ReturnType<typeof createSessionState>;

const named = (code: SessionReason) => ({ code, message: sessionReasons[code] });

/** What is said of a status that is only passed on the way to another. */
const passing: Partial<Record<SessionStatus, SessionReason>> = {
  initializing: 'STARTING',
  qr_pending: 'WAITING_FOR_SCAN',
  connecting: 'SYNCING',
  disconnected: 'WORKER_LOST',
};

/** Reasons with which WhatsApp keeps the account or the network out, as `session.restriction` names them. */
const restrictions: Partial<Record<string, EventData<'session.restriction'>['kind']>> = {
  ACCOUNT_BANNED: 'terms_block',
  ACCOUNT_RESTRICTED: 'terms_block',
  NETWORK_BLOCKED: 'proxy_block',
};

/** Codes of a session that may lie unwiped: each is wiped when it is replaced or used, so that one would do. */
const codesWithin = 5;

/** Every change of what is observed of a session: one conditional update along the table, with its event, in one transaction. */
export function createSessionState({ events, clock }: { events: Events; clock: Clock }) {
  /**
   * Moves a session; a way that the table does not have in one step is gone in several, each an event. That happens when the backend
   * was away while the worker went on: the steps are what must have happened in between.
   */
  async function move(
    tx: Transaction,
    session: Session,
    to: SessionStatus,
    reason: { code: string; message: string } | null,
    more: Partial<Session> = {},
  ): Promise<void> {
    const steps = session.status === to ? [to] : pathTo(session.status, to);
    for (const [index, step] of steps.entries()) {
      const isLast = index === steps.length - 1;
      const between = passing[step];
      await one(tx, session, step, isLast ? reason : between ? named(between) : null, isLast ? more : {});
    }
  }

  async function one(
    tx: Transaction,
    session: Session,
    to: SessionStatus,
    reason: { code: string; message: string } | null,
    more: Partial<Session>,
  ): Promise<void> {
    const now = clock.now();
    const previous = session.status;
    const isNews = previous !== to || session.reasonCode !== (reason?.code ?? null);
    const changes: Partial<Session> = {
      ...more,
      status: to,
      reasonCode: reason?.code ?? null,
      reasonText: reason?.message ?? null,
      updatedAt: now,
      ...(to === 'connected'
        ? { lastSeen: now, reconnectAttempts: 0, ...(previous === 'connected' ? {} : { connectedAt: now }) }
        : {}),
      ...(previous === 'connected' && to !== 'connected'
        ? {
            disconnectedAt: now,
            lastSeen: now,
            connectedMs: session.connectedMs + Math.max(0, now.getTime() - (session.connectedAt ?? now).getTime()),
          }
        : {}),
      ...(to === 'error' && isNews ? { errorCount: session.errorCount + 1, lastError: reason?.message ?? null } : {}),
      ...(to === 'qr_pending' ? {} : { qrText: null, qrId: null, qrExpiresAt: null }),
    };
    const affected = await updateRows(tx, Session, { id: session.id, status: previous }, changes);
    if (affected === 0) throw new Error('A session changed under its own transaction.');
    if (previous === 'qr_pending' && to !== 'qr_pending') await wipeCodes(tx, session);
    Object.assign(session, changes);
    if (!isNews) return;
    await events.append(tx, {
      accountId: session.accountId,
      sessionId: session.id,
      type: 'session.status',
      data: {
        status: to,
        previous,
        desired: session.desired,
        isConnected: to === 'connected',
        reason: reasonOf(session),
        phoneNumber: session.phoneNumber,
        pushName: session.pushName,
        platform: session.platform,
        attempt: session.reconnectAttempts,
        workerId: session.workerId,
      },
    });
  }

  /** What a code was is nobody's business once it is replaced or used: the log keeps that there was one. */
  async function wipeCodes(
    tx: Transaction,
    session: Session,
    types: readonly ('session.qr' | 'session.pairing_code')[] = ['session.qr', 'session.pairing_code'],
  ): Promise<void> {
    for (const type of types) {
      // Only the last ones can still hold a code: each new one wipes those before it.
      const newest = `"sessionId" = ? AND type = ? ORDER BY cursor DESC LIMIT ${codesWithin}`;
      const rows = await readRows(tx.manager, EventRow, newest, [session.id, type]);
      for (const row of rows.filter(({ data }) => (data['qrText'] ?? data['code'] ?? null) !== null)) {
        const data = type === 'session.qr' ? { ...row.data, qrCode: null, qrText: null } : { ...row.data, code: null };
        await updateRows(tx, EventRow, { cursor: row.cursor }, { data });
      }
    }
  }

  /** The account's deactivation stopped the browser: the worker only knows that it was told to. */
  async function reasonSeen(
    tx: Transaction,
    session: Session,
    seen: Pick<WorkerEventPayload<'session.observed'>, 'status' | 'reason'>,
  ): Promise<{ code: string; message: string } | null> {
    const isStop = seen.status === 'disconnected' && seen.reason?.code === 'USER_STOPPED' && session.desired === 'running';
    if (!isStop) return seen.reason;
    const { rows } = await runStatement(tx.manager, 'SELECT 1 AS found FROM accounts WHERE id = ? AND NOT "isActive"', [
      session.accountId,
    ]);
    return rows.length > 0 ? named('ACCOUNT_INACTIVE') : seen.reason;
  }

  /** WhatsApp restricts the account or the network. Said once for each change. */
  async function emitRestriction(tx: Transaction, session: Session, before: string | null): Promise<void> {
    const kind = restrictions[session.reasonCode ?? ''];
    if (!kind || session.reasonCode === before) return;
    const data = { kind, message: session.reasonText };
    await events.append(tx, { accountId: session.accountId, sessionId: session.id, type: 'session.restriction', data });
  }

  return {
    move,
    named,
    /**
     * Locks the row until the end of the transaction and returns it as it is then, so that no caller changes a session that another request has
     * deleted since it was looked up. Throws `SESSION_NOT_FOUND` for a deleted one.
     */
    async hold(tx: Transaction, id: string): Promise<Session> {
      await lockRows(tx, Session, [id]);
      const session = await tx.manager.findOneBy(Session, { id, deletedAt: IsNull() });
      if (!session) throw new AppError('SESSION_NOT_FOUND');
      return session;
    },
    /** A pairing code was given; what was to be typed before it is nobody's business any more. */
    async showPairingCode(tx: Transaction, session: Session, data: EventData<'session.pairing_code'>): Promise<void> {
      await wipeCodes(tx, session, ['session.pairing_code']);
      await events.append(tx, { accountId: session.accountId, sessionId: session.id, type: 'session.pairing_code', data });
    },
    async observe(
      tx: Transaction,
      session: Session,
      seen: Pick<WorkerEventPayload<'session.observed'>, 'status' | 'reason' | 'compat' | 'whatsappWebVersion'> &
        Partial<WorkerEventPayload<'session.observed'>>,
    ): Promise<void> {
      // Suspended by staff: the browser's last words do not lift it.
      if (session.status === 'suspended') return;
      const known = seen.phoneNumber
        ? {
            phoneNumber: seen.phoneNumber,
            lid: seen.lid ?? null,
            pushName: seen.pushName ?? null,
            platform: seen.platform ?? null,
          }
        : {};
      const link = linkOf(session, { phoneNumber: seen.phoneNumber ?? null, lid: seen.lid ?? null });
      const previous = session.linkedAccount;
      const unlinked =
        seen.reason?.code === 'USER_LOGGED_OUT' || seen.reason?.code === 'LOGGED_OUT_BY_PHONE'
          ? { phoneNumber: null, lid: null, pushName: null }
          : {};
      const code = seen.reason?.code ?? '';
      const isOver = seen.status === 'error' && !machineReasons.has(code);
      const ended =
        ['LOGGED_OUT_BY_PHONE', 'QR_TIMEOUT', 'CONFLICT', 'RECONNECT_OFF'].includes(code) || isOver
          ? { desired: 'stopped' as const }
          : {};
      const reasonBefore = session.reasonCode;
      await move(tx, session, seen.status, await reasonSeen(tx, session, seen), {
        ...known,
        ...unlinked,
        ...link?.changes,
        ...ended,
        ...(seen.compat.length > 0 ? { compat: seen.compat } : {}),
        ...(seen.whatsappWebVersion ? { whatsappWebVersion: seen.whatsappWebVersion } : {}),
        ...(seen.attempt === undefined ? {} : { reconnectAttempts: seen.attempt }),
      });
      await emitRestriction(tx, session, reasonBefore);
      if (!link?.isOther) return;
      const { accountId, id: sessionId } = session;
      const data = { previous, current: link.changes.linkedAccount };
      await events.append(tx, { accountId, sessionId, type: 'session.identity_changed', data });
      failPoint('identity.written');
    },
    /** `qrCode` is the picture of the text. Drawing it takes a while, so that it is done before the transaction (`drawQr`). */
    async showQr(
      tx: Transaction,
      session: Session,
      { qrText, expiresAt, qrCode }: { qrText: string; expiresAt: string; qrCode: string },
    ): Promise<void> {
      const replaces = session.qrId;
      await wipeCodes(tx, session, ['session.qr']);
      const changes = { qrText, qrId: newId(clock.now().getTime()), qrExpiresAt: new Date(expiresAt), updatedAt: clock.now() };
      await updateRows(tx, Session, { id: session.id }, changes);
      Object.assign(session, changes);
      await events.append(tx, {
        accountId: session.accountId,
        sessionId: session.id,
        type: 'session.qr',
        data: { qrId: changes.qrId, qrCode, qrText, expiresAt, replaces },
      });
    },
  };
}

/** The shortest way through the table; every status leads to every other one. */
export function pathTo(from: SessionStatus, to: SessionStatus): SessionStatus[] {
  const ways: SessionStatus[][] = [[from]];
  const seen = new Set<SessionStatus>([from]);
  for (const way of ways) {
    for (const next of sessionMoves[way.at(-1)!]) {
      if (next === to) return [...way.slice(1), to];
      if (seen.has(next) || next === 'suspended') continue;
      seen.add(next);
      ways.push([...way, next]);
    }
  }
  throw new Error(`No way leads from ${from} to ${to}.`);
}
