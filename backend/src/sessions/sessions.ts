import {
  AppError,
  isId,
  isSessionName,
  newId,
  type SessionSettings,
  type SessionResource,
  validationError,
} from '@chasqui/shared';
import { IsNull } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { ApiKeys } from '../accounts/api-keys.js';
import { readLimits, type Plans } from '../accounts/plans.js';
import type { Contacts } from '../contacts/contacts.js';
import type { Database } from '../db/database.js';
import { lockRows, insertRow, isConflict, readBatch, updateRows } from '../db/rows.js';
import { readable } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Events } from '../events/events.js';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Clock } from '../lib/clock.js';
import { presentSession } from './present.js';
import { createRunning, type WorkerGate } from './running.js';
import { Session } from './session.entity.js';
import type { SessionState } from './state.js';

export interface SessionDefaults {
  settings: SessionSettings;
  /** Calling code of the installation, for sessions that set none. */
  countryCode: string | undefined;
  initWaitMs: number;
  leaseMs: number;
}

type SettingsChange = Partial<Omit<SessionSettings, 'pacing'>> & { pacing?: Partial<SessionSettings['pacing']> | undefined };

export interface NewSession {
  name: string;
  deviceName?: string | null | undefined;
  isDefault?: boolean | undefined;
  settings?: SettingsChange | undefined;
  metadata?: Record<string, unknown> | undefined;
}

export type Sessions = ReturnType<typeof createSessions>;

export function createSessions({
  database,
  events,
  state,
  clock,
  gate,
  limitsOf,
  revokeKeys,
  forgetNames,
  defaults,
}: {
  database: Database;
  events: Events;
  state: SessionState;
  clock: Clock;
  gate: WorkerGate;
  limitsOf: Plans['limitsOf'];
  /** Ends the keys of a session in the transaction that deletes it. */
  revokeKeys: ApiKeys['revokeOfSession'];
  /** Removes the names of a session's contacts when it keeps none from now on. */
  forgetNames: Contacts['forgetNames'];
  defaults: SessionDefaults;
}) {
  const rows = database.reader.getRepository(Session);
  const live = { deletedAt: IsNull() };
  const charged = new WeakSet<Caller>();
  // The QR's text is select:false, so that no list and no panel query can show it by accident.
  const withQr = async (
    where: Partial<Pick<Session, 'id' | 'accountId' | 'liveName' | 'isDefault'>>,
  ): Promise<Session | null> => {
    const conditions = ['"deletedAt" IS NULL', ...Object.keys(where).map((name) => `"${name}" = ?`)];
    const found = await readBatch(database, Session, conditions.join(' AND '), Object.values(where), ['qrText']);
    return found[0] ?? null;
  };

  /** One session of the caller, by id, name or `current`. A foreign one is not there, in the same words as one that never was. */
  async function find(caller: Caller, ref: string): Promise<Session> {
    if (ref === 'current') return which(caller, null);
    const where = isId(ref) ? { id: ref, accountId: caller.accountId } : { liveName: ref, accountId: caller.accountId };
    const session = await withQr(where);
    if (!session || (caller.sessionId !== null && caller.sessionId !== session.id)) throw new AppError('SESSION_NOT_FOUND');
    await charge(caller, session);
    return session;
  }

  /** One request counts once against the plan's limit of its session, however often the session is looked up for it. */
  async function charge(caller: Caller, session: Session): Promise<void> {
    if (!caller.charge || charged.has(caller)) return;
    charged.add(caller);
    const { apiLimit } = await limitsOf(caller.accountId);
    await caller.charge('session_api', `session:${session.id}`, apiLimit, 3_600_000);
  }

  /** Which session a request means: the key's own, the one it names, the account's default. */
  async function which(caller: Caller, named: string | null | undefined): Promise<Session> {
    if (named && named !== 'current') return find(caller, named);
    if (caller.sessionId !== null) return find(caller, caller.sessionId);
    const chosen = await withQr({ accountId: caller.accountId, isDefault: true });
    if (chosen) return charge(caller, chosen).then(() => chosen);
    const others = await rows.find({ where: { accountId: caller.accountId, ...live }, select: { id: true }, take: 2 });
    if (others.length > 1) throw new AppError('SESSION_REQUIRED');
    if (others.length === 1) return find(caller, others[0]!.id);
    const reason = { code: 'NOT_STARTED', message: 'There is no session yet. Make one with POST /api/v1/sessions/init.' };
    throw new AppError('SESSION_NOT_CONNECTED', { status: 'disconnected', reason }, reason.message);
  }

  async function create(caller: Caller, wish: NewSession): Promise<Session> {
    requireName(wish.name);
    return onFreeName(() => database.write.run(async (tx) => insertNew(tx, caller, wish)));
  }

  async function insertNew(tx: Transaction, caller: Caller, wish: NewSession): Promise<Session> {
    const now = clock.now();
    // Closes: two sessions made at once, each finding room for one more.
    await lockRows(tx, Account, [caller.accountId]);
    const mine = await tx.manager.find(Session, {
      where: { accountId: caller.accountId, ...live },
      select: { id: true, name: true },
    });
    if (mine.some((session) => session.name === wish.name)) throw new AppError('ALREADY_EXISTS', { field: 'name' });
    const { maxSessions } = await readLimits(tx.manager, caller.accountId);
    if (maxSessions > 0 && mine.length >= maxSessions) throw new AppError('SESSION_LIMIT_REACHED', { limit: maxSessions });
    const isDefault = wish.isDefault ?? mine.length === 0;
    if (isDefault) await updateRows(tx, Session, { accountId: caller.accountId, isDefault: true }, { isDefault: false });
    const session = Object.assign(new Session(), {
      ...fresh,
      id: newId(now.getTime()),
      accountId: caller.accountId,
      name: wish.name,
      liveName: wish.name,
      isDefault,
      deviceName: wish.deviceName ?? null,
      settings: merge(defaults.settings, wish.settings),
      metadata: wish.metadata ?? {},
      ...reason('NOT_STARTED'),
      createdAt: now,
      updatedAt: now,
    });
    await insertRow(tx, Session, session);
    await audit(tx, caller, 'session.create', session, { name: session.name });
    const { accountId, id: sessionId } = session;
    await events.append(tx, { accountId, sessionId, type: 'session.created', data: presentSession(session, clock.now()) });
    return session;
  }

  const audit = (tx: Transaction, caller: Caller, action: string, session: Session, changes: Record<string, unknown> = {}) =>
    recordAudit(tx, caller, {
      action,
      objectType: 'session',
      objectId: session.id,
      accountId: session.accountId,
      changes,
      at: clock.now(),
    });

  const running = createRunning({ database, state, clock, gate, times: defaults, read: (id) => withQr({ id }), audit });

  return {
    find,
    which,
    create,
    present: (session: Session): SessionResource => presentSession(session, clock.now()),
    ...running,
    byId: (id: string): Promise<Session | null> => withQr({ id }),
    list: (accountId: string): Promise<Session[]> => rows.find({ where: { accountId, ...live }, order: { createdAt: 'ASC' } }),
    /** Starts the named session, or the default one, which is made when the account has none. */
    async init(
      caller: Caller,
      wish: { sessionId?: string | undefined; name?: string | undefined; phoneNumber?: string | undefined },
    ): Promise<Session> {
      const named = wish.sessionId ?? wish.name;
      const known = await which(caller, named).catch((error: unknown) => {
        // There is none of that name, or none at all: it is made here. A session key and an id name one that must be there.
        const isNone =
          error instanceof AppError && (named ? error.code === 'SESSION_NOT_FOUND' : error.code === 'SESSION_NOT_CONNECTED');
        if (isNone && caller.sessionId === null && !wish.sessionId) return null;
        throw error;
      });
      if (known && wish.sessionId && wish.name && known.name !== wish.name)
        throw validationError([
          { path: 'name', code: 'AMBIGUOUS', message: 'sessionId and name are two sessions. Send one of them.' },
        ]);
      // Before anything is created: a number that is refused leaves nothing behind.
      if (wish.phoneNumber) running.phoneDigits(known, wish.phoneNumber);
      // Two calls at once may both find none; the second one's create says so, and then the first one's is the session.
      const session =
        known ??
        (await create(caller, { name: wish.name ?? 'default' }).catch((error: unknown) => {
          if (error instanceof AppError && error.code === 'ALREADY_EXISTS') return find(caller, wish.name ?? 'default');
          throw error;
        }));
      return running.connect(caller, session, wish.phoneNumber);
    },
    async update(
      caller: Caller,
      session: Session,
      changes: {
        name?: string | undefined;
        isDefault?: boolean | undefined;
        settings?: SettingsChange | undefined;
        metadata?: Record<string, unknown> | undefined;
      },
    ): Promise<Session> {
      await onFreeName(() =>
        database.write.run(async (tx) => {
          if (changes.isDefault) await lockDefault(tx, session);
          const row = await state.hold(tx, session.id);
          const { name = row.name } = changes;
          if (name !== row.name) requireName(name);
          if (changes.isDefault)
            await updateRows(tx, Session, { accountId: row.accountId, isDefault: true }, { isDefault: false });
          await updateRows(
            tx,
            Session,
            { id: row.id },
            {
              name,
              liveName: name,
              isDefault: changes.isDefault ?? row.isDefault,
              settings: changes.settings ? merge(readable(row.settings, defaults.settings), changes.settings) : row.settings,
              metadata: changes.metadata ?? row.metadata,
              updatedAt: clock.now(),
            },
          );
          if (changes.settings?.storage === 'metadata') await forgetNames(tx, { sessionId: row.id });
          await audit(tx, caller, 'session.update', row, { fields: Object.keys(changes) });
        }),
      );
      const updated = await withQr({ id: session.id });
      if (!updated) throw new AppError('SESSION_NOT_FOUND');
      return updated;
    },
    /**
     * Softly: hidden, its name free again, its history kept. That the login is still to be deleted commits with it; the worker does so
     * now, or when its next heartbeat is answered.
     */
    async remove(caller: Caller, session: Session): Promise<void> {
      const row = await database.write.run(async (tx) => {
        // Locks the account, which everybody locks before a session.
        await revokeKeys(tx, { accountId: session.accountId, sessionId: session.id });
        const now = await state.hold(tx, session.id);
        if (now.status !== 'disconnected') await state.move(tx, now, 'disconnected', state.named('USER_LOGGED_OUT'));
        const gone = { desired: 'stopped' as const, deletedAt: clock.now(), liveName: now.id, isDefault: false };
        await updateRows(tx, Session, { id: now.id }, { ...gone, wipePending: now.workerId !== null });
        await audit(tx, caller, 'session.delete', now);
        const { accountId, id: sessionId } = now;
        await events.append(tx, { accountId, sessionId, type: 'session.deleted', data: presentSession(now, clock.now()) });
        return now;
      });
      if (row.workerId !== null) await wipe(row);
    },
    /** Logins of deleted sessions that this worker still has on its disk are deleted there. */
    async wipeLeft(workerId: string): Promise<void> {
      const failed: unknown[] = [];
      for (const session of await rows.findBy({ workerId, wipePending: true }))
        await wipe(session).catch((error: unknown) => failed.push(error)); // The others are wiped all the same.
      if (failed.length > 0) throw failed[0];
    },
    /** Staff: the browser ends, the login stays, and nothing starts or sends until `resume`. */
    async suspend(caller: Caller, session: Session, why: string): Promise<void> {
      await database.write.run(async (tx) => {
        const row = await state.hold(tx, session.id);
        await state.move(tx, row, 'suspended', { code: 'SUSPENDED_BY_STAFF', message: why || 'Suspended by staff.' });
        await audit(tx, caller, 'session.suspend', row, { why });
      });
      if (session.workerId !== null) await trying(() => gate.disconnect(session, false));
    },
    /** Staff: `disconnected` again; started by the next heartbeat if that is still desired. */
    async resume(caller: Caller, session: Session): Promise<void> {
      await database.write.run(async (tx) => {
        const row = await state.hold(tx, session.id);
        if (row.status !== 'suspended') throw new AppError('SESSION_STATE_CONFLICT', { status: row.status });
        await state.move(tx, row, 'disconnected', state.named('USER_STOPPED'));
        await audit(tx, caller, 'session.resume', row);
      });
    },
  };

  async function wipe(session: Session): Promise<void> {
    const isWiped = await trying(() => gate.disconnect(session, true));
    if (isWiped)
      await database.write.run((tx) => updateRows(tx, Session, { id: session.id, wipePending: true }, { wipePending: false }));
  }
}

/**
 * Locks what a change of the default session writes: the account, then this session and the present default in the order of their ids.
 *
 * Closes: two sessions become the default at once, each transaction clearing only the default that it could see.
 */
async function lockDefault(tx: Transaction, { id, accountId }: Session): Promise<void> {
  await lockRows(tx, Account, [accountId]);
  const present = await tx.manager.find(Session, { where: { accountId, isDefault: true }, select: { id: true } });
  const ids = [id, ...present.map((session) => session.id)];
  await lockRows(tx, Session, ids);
}

/** What a worker that is away learns with its next heartbeat. Gives whether it heard it now. */
async function trying(call: () => Promise<unknown>): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}

/** The unique index over names decides between two that want the same one at once. */
async function onFreeName<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw isConflict(error) ? new AppError('ALREADY_EXISTS', { field: 'name' }) : error;
  }
}

function requireName(name: string): void {
  if (isSessionName(name)) return;
  const message = 'Choose another name: it may not look like an id or be a word of the paths.';
  throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'name', code: 'INVALID_NAME', message }] }, message);
}

function merge(settings: SessionSettings, changes: SettingsChange | undefined): SessionSettings {
  return { ...settings, ...changes, pacing: { ...settings.pacing, ...changes?.pacing } } as SessionSettings;
}

const reason = (code: 'NOT_STARTED') => ({ reasonCode: code, reasonText: null });

const fresh: Partial<Session> = {
  desired: 'stopped',
  status: 'disconnected',
  phoneNumber: null,
  lid: null,
  pushName: null,
  platform: null,
  whatsappWebVersion: null,
  compat: null,
  qrText: null,
  qrId: null,
  qrExpiresAt: null,
  sentCount: 0,
  receivedCount: 0,
  failedCount: 0,
  reconnectAttempts: 0,
  errorCount: 0,
  lastError: null,
  memoryMb: null,
  roundTripMs: null,
  workerId: null,
  leaseEpoch: 0,
  leaseExpiresAt: null,
  lastSeen: null,
  connectedAt: null,
  disconnectedAt: null,
  connectedMs: 0,
  deletedAt: null,
  wipePending: false,
};
