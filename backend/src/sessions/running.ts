import {
  AppError,
  parsePhoneNumber,
  validationError,
  type ObservedSession,
  type SessionReason,
  type SessionSettings,
} from '@chasqui/shared';
import { setTimeout as sleep } from 'node:timers/promises';
import { Account } from '../accounts/account.entity.js';
import type { Caller } from '../accounts/caller.js';
import { auditSession, type SessionContext } from './context.js';
import { rereadSession } from './lookup.js';
import { presentQrText } from './present.js';
import { type Session } from './session.entity.js';
import { isLinkedElsewhere } from './linked-account.js';
import { lockSession, patchSession, reasonFor } from './state.js';

/**
 * The verbs that start, stop and query a session; `Sessions` documents them. Each writes the desired state first and then calls the worker, so
 * that the heartbeat reconciles the two if the call is lost.
 */

/** The maximum time that an event of a worker takes to arrive while both processes run. */
const eventTravelMs = 500;

/** The reason that a session shows after a start that failed with this error. */
const startFailures: Partial<Record<string, SessionReason>> = {
  WORKER_UNAVAILABLE: 'WORKER_LOST',
  SHUTTING_DOWN: 'WORKER_LOST',
  WORKER_CAPACITY: 'WORKER_CAPACITY',
  WORKER_MEMORY: 'WORKER_MEMORY',
};

/** A session, and whether its worker did not answer. */
export interface SessionStatusReply {
  session: Session;
  stale: boolean;
}

/**
 * Sets desired to `running` under the worker that `gateway.place` returns, then calls the worker. Interleavings that this closes:
 *
 * | meanwhile | then |
 * | --- | --- |
 * | a second start | finds the same worker and epoch; the worker joins it to the running start: one browser |
 * | another worker got the lease after `place` looked | the row in the transaction decides: a session stays where its lease lives |
 * | the worker cannot be reached or has no room | the former desired state is restored, and the status says why |
 * | the backend dies after the commit | desired is `running`: the worker's next heartbeat starts it |
 */
export async function startSession(context: SessionContext, caller: Caller, session: Session): Promise<Session> {
  const { database, clock, state, gateway, defaults } = context;
  requireNotSuspended(session);
  const account = await database.reader.getRepository(Account).findOneBy({ id: session.accountId });
  if (account && !account.isActive) throw new AppError('ACCOUNT_INACTIVE');
  const { workerId } = await placeWithin(context, session, defaults.initWaitMs);
  let before = session.desired;
  const started = await database.write.run(async (tx) => {
    const row = await lockSession(tx, session.id);
    before = row.desired;
    const isLeased = row.workerId !== null && row.leaseExpiresAt !== null && row.leaseExpiresAt > clock.now();
    const chosen = isLeased ? row.workerId : workerId;
    await patchSession(tx, row, {
      desired: 'running',
      workerId: chosen,
      leaseEpoch: row.workerId === chosen && row.leaseEpoch > 0 ? row.leaseEpoch : row.leaseEpoch + 1,
      leaseExpiresAt: new Date(clock.now().getTime() + defaults.leaseMs),
    });
    if (row.status === 'disconnected' || row.status === 'error') await state.move(tx, row, 'initializing', reasonFor('STARTING'));
    await auditSession(context, tx, caller, 'session.start', row);
    return row;
  });
  try {
    await gateway.init(started);
  } catch (error) {
    await undoStart(context, started.id, before, error);
    throw error;
  }
  return started;
}

/**
 * Returns the worker for the session. Right after a start of the system no worker has registered yet; that is waited for, up to `waitMs`.
 * Throws `WORKER_UNAVAILABLE` after that, and `WORKER_CAPACITY` at once.
 */
async function placeWithin({ gateway }: SessionContext, session: Session, waitMs: number): Promise<{ workerId: string }> {
  for (const until = performance.now() + waitMs; ; await sleep(Math.min(250, Math.max(1, until - performance.now())))) {
    try {
      return await gateway.place(session);
    } catch (error) {
      const isMissing = error instanceof AppError && error.code === 'WORKER_UNAVAILABLE';
      if (!isMissing || performance.now() >= until) throw error;
    }
  }
}

/** Restores the desired state from before a failed start. If the worker started the session and only its answer was lost, its events report that. */
async function undoStart(
  { database, state }: SessionContext,
  id: string,
  before: Session['desired'],
  error: unknown,
): Promise<void> {
  const code = error instanceof AppError ? startFailures[error.code] : undefined;
  if (!code) return;
  await database.write.run(async (tx) => {
    const row = await lockSession(tx, id);
    await patchSession(tx, row, { desired: before });
    if (row.status === 'initializing') await state.move(tx, row, 'disconnected', reasonFor(code));
  });
}

/** See `Sessions.connect`. With a phone number it also requests a pairing code, if the session waits for a scan. */
export async function connectSession(
  context: SessionContext,
  caller: Caller,
  session: Session,
  phoneNumber?: string,
): Promise<Session> {
  const digits = phoneNumber === undefined ? null : phoneDigits(context, session.settings, phoneNumber);
  // A connected session that should stop, and will as soon as its worker can be reached, does not count as started.
  const isStarted = session.desired === 'running' && (session.status === 'connected' || presentQrText(session) !== null);
  if (!isStarted) await startSession(context, caller, session);
  const row = await waitForResult(context, session.id, context.defaults.initWaitMs);
  if (digits && row.status === 'qr_pending') {
    await requireUnlinked(context, row, digits);
    await context.gateway.pairingCode(row, digits);
  }
  return row;
}

/** Waits until there is a QR code, a connection or a final state, for at most `waitMs`. Returns the row of that moment. */
async function waitForResult(context: SessionContext, id: string, waitMs: number): Promise<Session> {
  for (const until = performance.now() + waitMs; ; await sleep(40)) {
    const row = await rereadSession(context, id);
    const isSettled =
      presentQrText(row) !== null || ['connected', 'error', 'disconnected', 'passkey_required', 'suspended'].includes(row.status);
    if (isSettled || performance.now() >= until) return row;
  }
}

/** See `Sessions.stop`. */
export async function stopSession(
  context: SessionContext,
  caller: Caller,
  session: Session,
  logout: boolean,
): Promise<SessionStatusReply> {
  const { database, clock, state, gateway } = context;
  const row = await database.write.run(async (tx) => {
    const locked = await lockSession(tx, session.id);
    await patchSession(tx, locked, { desired: 'stopped', updatedAt: clock.now() });
    if (locked.workerId === null && locked.status === 'error')
      await state.move(tx, locked, 'disconnected', reasonFor('USER_STOPPED'));
    await auditSession(context, tx, caller, logout ? 'session.logout' : 'session.stop', locked);
    return locked;
  });
  if (row.workerId === null || (row.status === 'disconnected' && !logout))
    return { session: await rereadSession(context, row.id), stale: false };
  const observed = await gateway.disconnect(row, logout).catch((error: unknown) => {
    if (error instanceof AppError) return null;
    throw error;
  });
  // If the session was deleted meanwhile, this throws `SESSION_NOT_FOUND`, and that is the answer.
  if (observed) return { session: await reconcileWith(context, row.id, observed), stale: false };
  if (!logout) return { session: await rereadSession(context, row.id), stale: row.status !== 'disconnected' };
  throw new AppError(
    'WORKER_UNAVAILABLE',
    { desired: 'stopped' },
    'The worker does not answer, so the device was not unlinked. The session will be stopped; log out again once the worker is back.',
  );
}

/** See `Sessions.status`. */
export async function statusOfSession(context: SessionContext, session: Session): Promise<SessionStatusReply> {
  if (session.workerId === null || session.desired === 'stopped' || session.status === 'suspended')
    return { session, stale: false };
  const ask = (): Promise<ObservedSession> => context.gateway.status(session);
  try {
    return { session: await reconcileWith(context, session.id, await ask(), ask), stale: false };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { session: await rereadSession(context, session.id), stale: true };
  }
}

/**
 * Returns the row once it agrees with the worker's answer. The worker's events write the row, in their order. A direct answer may be newer than the
 * events that are still on their way, so it is not written at once: the events would set the session back. If the difference lasts longer than
 * an event takes to arrive, the answer is written, after `confirm` has asked once more.
 */
async function reconcileWith(
  context: SessionContext,
  id: string,
  observed: ObservedSession,
  confirm?: () => Promise<ObservedSession>,
): Promise<Session> {
  for (const until = performance.now() + eventTravelMs; ; await sleep(20)) {
    const row = await rereadSession(context, id);
    if (row.status === observed.status || row.status === 'suspended' || row.leaseEpoch !== observed.epoch) return row;
    if (performance.now() >= until) break;
  }
  const again = confirm ? await confirm() : observed;
  if (again.status === observed.status) await recordObserved(context, id, again);
  return rereadSession(context, id);
}

async function recordObserved({ database, state }: SessionContext, id: string, observed: ObservedSession): Promise<void> {
  await database.write.run(async (tx) => {
    const row = await lockSession(tx, id);
    if (observed.epoch === row.leaseEpoch) await state.observe(tx, row, observed);
  });
}

/** See `Sessions.restart`. */
export async function restartSession(context: SessionContext, caller: Caller, session: Session): Promise<Session> {
  requireNotSuspended(session);
  if (session.desired === 'stopped' || session.status === 'error' || session.status === 'disconnected')
    return startSession(context, caller, session);
  await context.database.write.run((tx) => auditSession(context, tx, caller, 'session.restart', session));
  await context.gateway.restart(session);
  return rereadSession(context, session.id);
}

/** See `Sessions.pairingCode`. */
export async function requestPairingCode(
  context: SessionContext,
  caller: Caller,
  session: Session,
  phoneNumber: string,
): Promise<{ code: string; expiresAt: string }> {
  const digits = phoneDigits(context, session.settings, phoneNumber);
  if (session.status !== 'qr_pending')
    throw new AppError(
      'SESSION_STATE_CONFLICT',
      { status: session.status },
      'A pairing code is available while the session waits for a scan. Start it with POST /api/v1/sessions/init.',
    );
  await requireUnlinked(context, session, digits);
  const code = await context.gateway.pairingCode(session, digits);
  await context.database.write.run((tx) => auditSession(context, tx, caller, 'session.pairing_code', session));
  return code;
}

/** WhatsApp unlinks the earlier device when a number that is linked already is linked again by code. */
async function requireUnlinked({ database }: SessionContext, session: Session, digits: string): Promise<void> {
  if (await isLinkedElsewhere(database.reader.manager, session, digits))
    throw new AppError(
      'SESSION_STATE_CONFLICT',
      { phoneNumber: `+${digits}` },
      'This number is linked to another session of this installation, and WhatsApp would unlink that one. Log it out first.',
    );
}

/** Returns the phone number for a pairing code as digits, parsed like a recipient's number. Throws `VALIDATION_FAILED`. */
export function phoneDigits(
  { defaults }: SessionContext,
  settings: Pick<SessionSettings, 'countryCode'> | null,
  phoneNumber: string,
): string {
  const number = parsePhoneNumber(phoneNumber, settings?.countryCode ?? defaults.countryCode);
  if (number.ok) return number.digits;
  throw validationError([{ path: 'phoneNumber', code: 'INVALID_PHONE_NUMBER', message: number.message }]);
}

/** See `Sessions.suspend`. */
export async function suspendSession(context: SessionContext, caller: Caller, session: Session, why: string): Promise<void> {
  const { database, state, gateway } = context;
  await database.write.run(async (tx) => {
    const row = await lockSession(tx, session.id);
    await state.move(tx, row, 'suspended', { code: 'SUSPENDED_BY_STAFF', message: why || 'Suspended by staff.' });
    await auditSession(context, tx, caller, 'session.suspend', row, { why });
  });
  if (session.workerId !== null) await isReached(() => gateway.disconnect(session, false));
}

/** See `Sessions.resume`. */
export async function resumeSession(context: SessionContext, caller: Caller, session: Session): Promise<void> {
  const { database, state } = context;
  await database.write.run(async (tx) => {
    const row = await lockSession(tx, session.id);
    if (row.status !== 'suspended') throw new AppError('SESSION_STATE_CONFLICT', { status: row.status });
    await state.move(tx, row, 'disconnected', reasonFor('USER_STOPPED'));
    await auditSession(context, tx, caller, 'session.resume', row);
  });
}

/** Makes a call to a worker and returns whether it arrived. A worker that cannot be reached gets the same order with its next heartbeat. */
export async function isReached(call: () => Promise<unknown>): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}

function requireNotSuspended(session: Session): void {
  if (session.status === 'suspended') throw new AppError('SESSION_SUSPENDED', { reason: session.reasonText });
}
