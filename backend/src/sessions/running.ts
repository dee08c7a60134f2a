import { AppError, parsePhoneNumber, validationError, type ObservedSession, type SessionReason } from '@chasqui/shared';
import { setTimeout as sleep } from 'node:timers/promises';
import { Account } from '../accounts/account.entity.js';
import type { Database } from '../db/database.js';
import { updateRows } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Caller } from '../accounts/caller.js';
import type { Clock } from '../lib/clock.js';
import { presentQrText } from './present.js';
import { Session } from './session.entity.js';
import type { SessionState } from './state.js';

/** The way to the workers, handed in: this domain does not know how they are reached. Throws `WORKER_…` codes. */
export interface WorkerGate {
  /** Where this session runs, or should. */
  place(session: Session): Promise<{ workerId: string }>;
  init(session: Session): Promise<ObservedSession>;
  status(session: Session): Promise<ObservedSession>;
  disconnect(session: Session, logout: boolean): Promise<ObservedSession>;
  restart(session: Session): Promise<void>;
  pairingCode(session: Session, phoneNumber: string): Promise<{ code: string; expiresAt: string }>;
}

/** Longer than an event of a worker is ever on its way while both sides live. Milliseconds. */
const onTheWayMs = 500;

/** Why a start did not come about, as the session then says it. */
const notStarted: Partial<Record<string, SessionReason>> = {
  WORKER_UNAVAILABLE: 'WORKER_LOST',
  SHUTTING_DOWN: 'WORKER_LOST',
  WORKER_CAPACITY: 'WORKER_CAPACITY',
  WORKER_MEMORY: 'WORKER_MEMORY',
};

type Audit = (tx: Transaction, caller: Caller, action: string, session: Session) => Promise<void>;

/** Starting, stopping and asking after a session: what is desired is written first, then the worker is told. */
export function createRunning({
  database,
  state,
  clock,
  gate,
  times,
  read,
  audit,
}: {
  database: Database;
  state: SessionState;
  clock: Clock;
  gate: WorkerGate;
  times: { initWaitMs: number; leaseMs: number; countryCode: string | undefined };
  /** The session as it is now, with its code. */
  read: (id: string) => Promise<Session | null>;
  audit: Audit;
}) {
  const fresher = async (id: string): Promise<Session> => {
    const row = await read(id);
    if (!row) throw new AppError('SESSION_NOT_FOUND');
    return row;
  };

  /**
   * Desired is `running` from now on, under the worker that `gate.place` names; then the worker is told, and the reconcile loop is the
   * net. Interleavings that this closes:
   *
   * | meanwhile | then |
   * | --- | --- |
   * | a second start | finds the same worker and epoch; the worker joins it to the running start: one browser |
   * | another worker got the lease after `place` looked | the row in the transaction decides: a living lease stays where it is |
   * | the worker cannot be reached or has no room | what was desired before is desired again, and the status says why |
   * | the backend dies after the commit | desired is `running`: the worker's next heartbeat starts it |
   */
  async function start(caller: Caller, session: Session): Promise<Session> {
    if (session.status === 'suspended') throw new AppError('SESSION_SUSPENDED', { reason: session.reasonText });
    const account = await database.reader.getRepository(Account).findOneBy({ id: session.accountId });
    if (account && !account.isActive) throw new AppError('ACCOUNT_INACTIVE');
    const { workerId } = await placeWithin(session, times.initWaitMs);
    let before = session.desired;
    const started = await database.write.run(async (tx) => {
      const row = await state.hold(tx, session.id);
      before = row.desired;
      const isHeld = row.workerId !== null && row.leaseExpiresAt !== null && row.leaseExpiresAt > clock.now();
      const chosen = isHeld ? row.workerId : workerId;
      const epoch = row.workerId === chosen && row.leaseEpoch > 0 ? row.leaseEpoch : row.leaseEpoch + 1;
      const lease = {
        desired: 'running' as const,
        workerId: chosen,
        leaseEpoch: epoch,
        leaseExpiresAt: new Date(clock.now().getTime() + times.leaseMs),
      };
      await updateRows(tx, Session, { id: row.id }, lease);
      Object.assign(row, lease);
      if (row.status === 'disconnected' || row.status === 'error')
        await state.move(tx, row, 'initializing', state.named('STARTING'));
      await audit(tx, caller, 'session.start', row);
      return row;
    });
    try {
      await gate.init(started);
    } catch (error) {
      await reclaim(started.id, before, error);
      throw error;
    }
    return started;
  }

  /**
   * Where the session is to run. Right after a start of the system no worker has registered yet: it is waited for, within the time that the start
   * of a session may take anyway. Throws `WORKER_UNAVAILABLE` after that, and `WORKER_CAPACITY` at once.
   */
  async function placeWithin(session: Session, waitMs: number): Promise<{ workerId: string }> {
    for (const until = performance.now() + waitMs; ; await sleep(Math.min(250, Math.max(1, until - performance.now())))) {
      try {
        return await gate.place(session);
      } catch (error) {
        const isMissing = error instanceof AppError && error.code === 'WORKER_UNAVAILABLE';
        if (!isMissing || performance.now() >= until) throw error;
      }
    }
  }

  /** The start did not come about. If the worker took it all the same and only its answer was lost, its events will say so. */
  async function reclaim(id: string, before: Session['desired'], error: unknown): Promise<void> {
    const code = error instanceof AppError ? notStarted[error.code] : undefined;
    if (!code) return;
    await database.write.run(async (tx) => {
      const row = await state.hold(tx, id);
      await updateRows(tx, Session, { id }, { desired: before });
      Object.assign(row, { desired: before });
      if (row.status === 'initializing') await state.move(tx, row, 'disconnected', state.named(code));
    });
  }

  /** Waits until there is something to show: a code, a connection, or an end. Gives the row as it is then. */
  async function settled(id: string, waitMs: number): Promise<Session> {
    for (const until = performance.now() + waitMs; ; await sleep(40)) {
      const row = await fresher(id);
      const hasNews =
        presentQrText(row) !== null ||
        ['connected', 'error', 'disconnected', 'passkey_required', 'suspended'].includes(row.status);
      if (hasNews || performance.now() >= until) return row;
    }
  }

  /**
   * Desired is `stopped` from now on. A worker that does not answer learns it with its next heartbeat; only a logout needs it now,
   * because nobody would unlink the device later. Throws `WORKER_UNAVAILABLE` for a logout alone.
   */
  async function stop(caller: Caller, session: Session, logout: boolean): Promise<{ session: Session; stale: boolean }> {
    const row = await database.write.run(async (tx) => {
      const now = await state.hold(tx, session.id);
      await updateRows(tx, Session, { id: now.id }, { desired: 'stopped', updatedAt: clock.now() });
      Object.assign(now, { desired: 'stopped' });
      if (now.workerId === null && now.status === 'error') await state.move(tx, now, 'disconnected', state.named('USER_STOPPED'));
      await audit(tx, caller, logout ? 'session.logout' : 'session.stop', now);
      return now;
    });
    if (row.workerId === null || (row.status === 'disconnected' && !logout))
      return { session: await fresher(row.id), stale: false };
    const seen = await gate.disconnect(row, logout).catch((error: unknown) => {
      if (error instanceof AppError) return null;
      throw error;
    });
    // Deleted meanwhile, it is not there any more, and that is the answer.
    if (seen) return { session: await agree(row.id, seen), stale: false };
    if (!logout) return { session: await fresher(row.id), stale: row.status !== 'disconnected' };
    throw new AppError(
      'WORKER_UNAVAILABLE',
      { desired: 'stopped' },
      'The worker does not answer, so the device was not unlinked. The session will be stopped; log out again once the worker is back.',
    );
  }

  /**
   * The row once it says what the worker said just now. The worker's events write it, in their order; a direct answer that overtakes
   * them must not, or the session would seem to go back. Only what stays different for longer than any event is on its way is written
   * down from the answer itself (`confirm` asks once more).
   */
  async function agree(id: string, seen: ObservedSession, confirm?: () => Promise<ObservedSession>): Promise<Session> {
    for (const until = performance.now() + onTheWayMs; ; await sleep(20)) {
      const row = await fresher(id);
      if (row.status === seen.status || row.status === 'suspended' || row.leaseEpoch !== seen.epoch) return row;
      if (performance.now() >= until) break;
    }
    const again = confirm ? await confirm() : seen;
    return again.status === seen.status ? save(id, again) : fresher(id);
  }

  async function save(id: string, seen: ObservedSession): Promise<Session> {
    await database.write.run(async (tx) => {
      const row = await state.hold(tx, id);
      if (seen.epoch === row.leaseEpoch) await state.observe(tx, row, seen);
    });
    return fresher(id);
  }

  /** The number of a pairing code as digits, read like a recipient's. Throws `VALIDATION_FAILED`. */
  function phoneDigits(session: Session | null, phoneNumber: string): string {
    const number = parsePhoneNumber(phoneNumber, session?.settings.countryCode ?? times.countryCode);
    if (number.ok) return number.digits;
    throw validationError([{ path: 'phoneNumber', code: 'INVALID_PHONE_NUMBER', message: number.message }]);
  }

  return {
    stop,
    phoneDigits,
    /** Starts it unless it runs, and waits until there is a code, a connection or an end. */
    async connect(caller: Caller, session: Session, phoneNumber?: string): Promise<Session> {
      const digits = phoneNumber === undefined ? null : phoneDigits(session, phoneNumber);
      // Connected, while it is to be stopped as soon as its worker can be reached: not any more.
      const isThere = session.desired === 'running' && (session.status === 'connected' || presentQrText(session) !== null);
      if (!isThere) await start(caller, session);
      const row = await settled(session.id, times.initWaitMs);
      if (digits && row.status === 'qr_pending') await gate.pairingCode(row, digits);
      return row;
    },
    /** Starts without waiting for anything but the worker's word that it does. */
    begin: start,
    /** Asked from the worker; when it is silent, the last known with `stale`. */
    async status(session: Session): Promise<{ session: Session; stale: boolean }> {
      if (session.workerId === null || session.desired === 'stopped' || session.status === 'suspended')
        return { session, stale: false };
      const ask = (): Promise<ObservedSession> => gate.status(session);
      try {
        return { session: await agree(session.id, await ask(), ask), stale: false };
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        return { session: await fresher(session.id), stale: true };
      }
    },
    async restart(caller: Caller, session: Session): Promise<Session> {
      if (session.status === 'suspended') throw new AppError('SESSION_SUSPENDED', { reason: session.reasonText });
      if (session.desired === 'stopped' || session.status === 'error' || session.status === 'disconnected')
        return start(caller, session);
      await database.write.run((tx) => audit(tx, caller, 'session.restart', session));
      await gate.restart(session);
      return fresher(session.id);
    },
    async pairingCode(caller: Caller, session: Session, phoneNumber: string): Promise<{ code: string; expiresAt: string }> {
      const digits = phoneDigits(session, phoneNumber);
      if (session.status !== 'qr_pending')
        throw new AppError(
          'SESSION_STATE_CONFLICT',
          { status: session.status },
          'A pairing code can be had while the session waits for a scan. Start it with POST /api/v1/sessions/init.',
        );
      const given = await gate.pairingCode(session, digits);
      await database.write.run((tx) => audit(tx, caller, 'session.pairing_code', session));
      return given;
    },
  };
}
