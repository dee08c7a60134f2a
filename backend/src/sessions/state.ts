import {
  AppError,
  machineReasons,
  newId,
  sessionMoves,
  sessionReasons,
  type EventData,
  type SessionReason,
  type SessionStatus,
  waitingReasons,
  type WorkerEventPayload,
} from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { IsNull } from 'typeorm';
import type { Core } from '../core.js';
import { lockRows, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { readable } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import { EventRow } from '../events/event.entity.js';
import { linkOf } from './linked-account.js';
import { reasonOf } from './present.js';
import { recordRestriction } from './restrictions.js';
import { Session } from './session.entity.js';
import { ownerOf, patchSession } from './session-rows.js';

export { ownerOf, patchSession };

/** The reason of the status of a session: a code of `sessionReasons` or of the worker, and a sentence. */
export interface StatusReason {
  code: string;
  message: string;
}

/** The report of a worker about a session: with an event, with a heartbeat, or as the answer to a call. */
export type Observation = Pick<WorkerEventPayload<'session.observed'>, 'status' | 'reason' | 'compat' | 'whatsappWebVersion'> &
  Partial<WorkerEventPayload<'session.observed'>>;

/**
 * Writes every change of the observed state of a session: conditional updates along the table `sessionMoves`, each with its event, in the caller's
 * transaction. The caller has locked the row (`lockSession`). Each verb also updates the `session` object that is passed to it.
 */
export interface SessionState {
  /**
   * Moves a session to a status; `more` are further columns to set with the last step. If the table has no direct move, it takes the shortest
   * path, with one event for each step: they must have happened while the backend was away.
   */
  move(tx: Transaction, session: Session, to: SessionStatus, reason: StatusReason | null, more?: Partial<Session>): Promise<void>;
  /** Records what a worker reports: status, identity, patches. Ignores reports of a suspended session. */
  observe(tx: Transaction, session: Session, observed: Observation): Promise<void>;
  /** Stores and publishes a new QR code. `qrCode` is the picture of the text. It takes time to draw, so it is drawn before the transaction (`drawQr`). */
  showQr(tx: Transaction, session: Session, qr: { qrText: string; expiresAt: string; qrCode: string }): Promise<void>;
  /** Publishes a new pairing code and wipes the codes before it. */
  showPairingCode(tx: Transaction, session: Session, data: EventData<'session.pairing_code'>): Promise<void>;
}

type Context = Pick<Core, 'events' | 'clock'>;

export function createSessionState(core: Context): SessionState {
  return {
    move: (tx, session, to, reason, more = {}) => moveSession(core, tx, session, to, reason, more),
    observe: (tx, session, observed) => observeSession(core, tx, session, observed),
    showQr: (tx, session, qr) => showQr(core, tx, session, qr),
    showPairingCode: (tx, session, data) => showPairingCode(core, tx, session, data),
  };
}

/** Returns a reason of the table with its sentence. */
export const reasonFor = (code: SessionReason): StatusReason => ({ code, message: sessionReasons[code] });

/**
 * Locks the row until the end of the transaction and returns it as it is then, so that no caller changes a session that another request has
 * deleted since it was looked up. Throws `SESSION_NOT_FOUND` for a deleted one.
 */
export async function lockSession(tx: Transaction, id: string): Promise<Session> {
  await lockRows(tx, Session, [id]);
  const session = await tx.manager.findOneBy(Session, { id, deletedAt: IsNull() });
  if (!session) throw new AppError('SESSION_NOT_FOUND');
  return session;
}

/** The reason of a status that a session only passes on its way to another. */
const passingReasons: Partial<Record<SessionStatus, SessionReason>> = {
  initializing: 'STARTING',
  qr_pending: 'WAITING_FOR_SCAN',
  connecting: 'SYNCING',
  disconnected: 'WORKER_LOST',
};

async function moveSession(
  context: Context,
  tx: Transaction,
  session: Session,
  to: SessionStatus,
  reason: StatusReason | null,
  more: Partial<Session>,
): Promise<void> {
  const steps = session.status === to ? [to] : pathTo(session.status, to);
  for (const [index, step] of steps.entries()) {
    const isLast = index === steps.length - 1;
    const passing = passingReasons[step];
    await stepTo(context, tx, session, step, isLast ? reason : passing ? reasonFor(passing) : null, isLast ? more : {});
  }
}

async function stepTo(
  { events, clock }: Context,
  tx: Transaction,
  session: Session,
  to: SessionStatus,
  reason: StatusReason | null,
  more: Partial<Session>,
): Promise<void> {
  const previous = session.status;
  const isNews = previous !== to || session.reasonCode !== (reason?.code ?? null);
  const changes = { ...more, ...changesOfStep(session, to, reason, isNews, clock.now()) };
  const affected = await updateRows(tx, Session, { id: session.id, status: previous }, changes);
  if (affected === 0) throw new Error('The row of a session changed although its transaction had locked it.');
  if (previous === 'qr_pending' && to !== 'qr_pending') await wipeCodes(tx, session, ['session.qr', 'session.pairing_code']);
  Object.assign(session, changes);
  if (!isNews) return;
  await events.append(tx, {
    ...ownerOf(session),
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

/** The columns that one step of a session changes. */
function changesOfStep(
  session: Session,
  to: SessionStatus,
  reason: StatusReason | null,
  isNews: boolean,
  now: Date,
): Partial<Session> {
  const wasConnected = session.status === 'connected';
  const changes: Partial<Session> = {
    status: to,
    reasonCode: reason?.code ?? null,
    reasonText: reason?.message ?? null,
    updatedAt: now,
  };
  if (to === 'connected') {
    Object.assign(changes, { lastSeen: now, reconnectAttempts: 0 });
    if (!wasConnected) changes.connectedAt = now;
  } else if (wasConnected) {
    Object.assign(changes, { disconnectedAt: now, lastSeen: now });
    changes.connectedMs = session.connectedMs + Math.max(0, now.getTime() - (session.connectedAt ?? now).getTime());
  }
  if (to === 'error' && isNews)
    Object.assign(changes, { errorCount: session.errorCount + 1, lastError: reason?.message ?? null });
  if (to !== 'qr_pending') Object.assign(changes, { qrText: null, qrId: null, qrExpiresAt: null, pairingCode: null });
  return changes;
}

async function observeSession(context: Context, tx: Transaction, session: Session, observed: Observation): Promise<void> {
  // Late reports of a suspended session's browser do not end the suspension.
  if (session.status === 'suspended') return;
  const link = linkOf(session, { phoneNumber: observed.phoneNumber ?? null, lid: observed.lid ?? null });
  const { linkedAccount: previous, reasonCode: reasonBefore } = session;
  const changes = { ...changesOfObservation(session, observed), ...link?.changes };
  await moveSession(context, tx, session, observed.status, await reasonObserved(tx, session, observed), changes);
  // What WhatsApp holds against another account does not concern this one.
  if (link?.isOther) await patchSession(tx, session, { restriction: null, firstContacts: '' });
  await recordRestriction(context, tx, session, { before: reasonBefore, until: observed.until ?? null });
  if (!link?.isOther) return;
  const data = { previous: readable(previous, null), current: link.changes.linkedAccount };
  await context.events.append(tx, { ...ownerOf(session), type: 'session.identity_changed', data });
  failPoint('identity.written');
}

/** Reasons after which a session does not start again by itself. */
const finalReasons: ReadonlySet<string> = new Set(['LOGGED_OUT_BY_PHONE', 'QR_TIMEOUT', 'CONFLICT', 'RECONNECT_OFF']);

/** Whether a session in `error` starts again by itself: when the worker does, or when the session's proxy works. */
const isPassing = ({ settings }: Session, code: string): boolean =>
  machineReasons.has(code) || (waitingReasons.has(code) && readable(settings, null)?.autoReconnect !== false);

/** The columns, other than those of the status, that follow from a worker's report. */
function changesOfObservation(session: Session, observed: Observation): Partial<Session> {
  const { status, phoneNumber, lid = null, pushName = null, platform = null } = observed;
  const code = observed.reason?.code ?? '';
  const changes: Partial<Session> = {};
  if (phoneNumber) Object.assign(changes, { phoneNumber, lid, pushName, platform });
  if (code === 'USER_LOGGED_OUT' || code === 'LOGGED_OUT_BY_PHONE')
    Object.assign(changes, { phoneNumber: null, lid: null, pushName: null });
  if (finalReasons.has(code) || (status === 'error' && !isPassing(session, code))) changes.desired = 'stopped';
  if (observed.compat.length > 0) changes.compat = observed.compat;
  if (observed.selfCheck) changes.selfCheck = observed.selfCheck;
  if (observed.whatsappWebVersion) changes.whatsappWebVersion = observed.whatsappWebVersion;
  if (observed.attempt !== undefined) changes.reconnectAttempts = observed.attempt;
  return changes;
}

/**
 * Returns the reason to record for a report. The worker does not know that the deactivation of the account stopped its browser: it only received
 * the order to stop.
 */
async function reasonObserved(tx: Transaction, session: Session, observed: Observation): Promise<StatusReason | null> {
  const { status, reason } = observed;
  const isStop = status === 'disconnected' && reason?.code === 'USER_STOPPED' && session.desired === 'running';
  if (!isStop) return reason;
  const sql = 'SELECT 1 AS found FROM accounts WHERE id = ? AND NOT "isActive"';
  const { rows } = await runStatement(tx.manager, sql, [session.accountId]);
  return rows.length > 0 ? reasonFor('ACCOUNT_INACTIVE') : reason;
}

async function showQr(
  { events, clock }: Context,
  tx: Transaction,
  session: Session,
  { qrText, expiresAt, qrCode }: { qrText: string; expiresAt: string; qrCode: string },
): Promise<void> {
  const replaces = session.qrId;
  await wipeCodes(tx, session, ['session.qr']);
  const qrId = newId(clock.now().getTime());
  await patchSession(tx, session, { qrText, qrId, qrExpiresAt: new Date(expiresAt), updatedAt: clock.now() });
  const data = { qrId, qrCode, qrText, expiresAt, replaces };
  await events.append(tx, { ...ownerOf(session), type: 'session.qr', data });
}

async function showPairingCode(
  { events }: Context,
  tx: Transaction,
  session: Session,
  data: EventData<'session.pairing_code'>,
): Promise<void> {
  await wipeCodes(tx, session, ['session.pairing_code']);
  // One that arrives after the account was linked, or for a browser that is gone, is of no use.
  const { code, ...rest } = data;
  if (session.status === 'qr_pending' && code !== null) await patchSession(tx, session, { pairingCode: { code, ...rest } });
  await events.append(tx, { ...ownerOf(session), type: 'session.pairing_code', data });
}

/** How many of the last code events are checked. Each code is wiped when it is replaced or used, so one would be enough. */
const maxUnwipedCodes = 5;

/** Removes codes that were replaced or used from their events in the log. The events themselves stay. */
async function wipeCodes(
  tx: Transaction,
  session: Session,
  types: readonly ('session.qr' | 'session.pairing_code')[],
): Promise<void> {
  for (const type of types) {
    // Only the last events can contain a code: each new one wipes those before it.
    const newest = `"sessionId" = ? AND type = ? ORDER BY cursor DESC LIMIT ${maxUnwipedCodes}`;
    const rows = await readRows(tx.manager, EventRow, newest, [session.id, type]);
    for (const row of rows.filter(({ data }) => (data['qrText'] ?? data['code'] ?? null) !== null)) {
      const data = type === 'session.qr' ? { ...row.data, qrCode: null, qrText: null } : { ...row.data, code: null };
      await updateRows(tx, EventRow, { cursor: row.cursor }, { data });
    }
  }
}

/** Returns the shortest path through the table. Every status can be reached from every other one. */
function pathTo(from: SessionStatus, to: SessionStatus): SessionStatus[] {
  const paths: SessionStatus[][] = [[from]];
  const reached = new Set<SessionStatus>([from]);
  for (const path of paths) {
    for (const next of sessionMoves[path.at(-1)!]) {
      if (next === to) return [...path.slice(1), to];
      if (reached.has(next) || next === 'suspended') continue;
      reached.add(next);
      paths.push([...path, next]);
    }
  }
  throw new Error(`No path leads from ${from} to ${to}.`);
}
