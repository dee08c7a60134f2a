import { AppError, isId, isSessionName, newId, type ObservedSession, type SessionSettings } from '@chasqui/shared';
import { setTimeout as sleep } from 'node:timers/promises';
import { IsNull } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { Database } from '../db/database.js';
import { insertRow, updateRows } from '../db/rows.js';
import type { Events } from '../events/events.js';
import type { Caller } from '../http/context.js';
import { recordAudit } from '../lib/audit.js';
import type { Clock } from '../lib/clock.js';
import { presentQrText, presentSession } from './present.js';
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

export interface SessionDefaults {
  settings: SessionSettings;
  initWaitMs: number;
  leaseMs: number;
}

type SettingsChange = Partial<Omit<SessionSettings, 'pacing'>> & { pacing?: Partial<SessionSettings['pacing']> | undefined };

export type Sessions = ReturnType<typeof createSessions>;

export function createSessions({
  database,
  events,
  state,
  clock,
  gate,
  defaults,
}: {
  database: Database;
  events: Events;
  state: SessionState;
  clock: Clock;
  gate: WorkerGate;
  defaults: SessionDefaults;
}) {
  const rows = database.reader.getRepository(Session);
  const live = { deletedAt: IsNull() };
  // The QR's text is select:false, so that no list and no panel query can show it by accident.
  const withQr = (where: Partial<Session>): Promise<Session | null> =>
    rows.createQueryBuilder('s').addSelect('s.qrText').where('s.deletedAt IS NULL').andWhere(where).getOne();

  /** One session of the caller, by id, name or `current`. A foreign one is not there, in the same words as one that never was. */
  async function find(caller: Caller, ref: string): Promise<Session> {
    if (ref === 'current') return which(caller, null);
    const where = isId(ref) ? { id: ref, accountId: caller.accountId } : { liveName: ref, accountId: caller.accountId };
    const session = await withQr(where);
    if (!session || (caller.sessionId !== null && caller.sessionId !== session.id)) throw new AppError('SESSION_NOT_FOUND');
    return session;
  }

  /** Which session a request means: the key's own, the one it names, the account's default (D-03). */
  async function which(caller: Caller, named: string | null | undefined): Promise<Session> {
    if (named && named !== 'current') return find(caller, named);
    if (caller.sessionId !== null) return find(caller, caller.sessionId);
    const all = await rows.find({ where: { accountId: caller.accountId, ...live }, select: { id: true, isDefault: true } });
    const chosen = all.find((session) => session.isDefault) ?? (all.length === 1 ? all[0] : undefined);
    if (chosen) return find(caller, chosen.id);
    if (all.length > 0) throw new AppError('SESSION_REQUIRED');
    const reason = { code: 'NOT_STARTED', message: 'There is no session yet. Make one with POST /api/v1/sessions/init.' };
    throw new AppError('SESSION_NOT_CONNECTED', { status: 'disconnected', reason }, reason.message);
  }

  async function create(
    caller: Caller,
    wish: {
      name: string;
      deviceName?: string | undefined;
      isDefault?: boolean | undefined;
      settings?: SettingsChange | undefined;
      metadata?: Record<string, unknown> | undefined;
    },
  ): Promise<Session> {
    if (!isSessionName(wish.name))
      throw new AppError('VALIDATION_FAILED', {
        fields: [
          {
            path: 'name',
            code: 'INVALID_NAME',
            message: 'Choose another name: it may not look like an id or be a word of the paths.',
          },
        ],
      });
    return database.write.run(async (tx) => {
      const now = clock.now();
      const mine = await tx.manager.find(Session, {
        where: { accountId: caller.accountId, ...live },
        select: { id: true, name: true },
      });
      if (mine.some((session) => session.name === wish.name)) throw new AppError('ALREADY_EXISTS', { field: 'name' });
      const account = await tx.manager.findOneByOrFail(Account, { id: caller.accountId });
      if (mine.length >= account.maxSessions) throw new AppError('SESSION_LIMIT_REACHED', { limit: account.maxSessions });
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
      await recordAudit(tx, caller, {
        action: 'session.create',
        objectType: 'session',
        objectId: session.id,
        changes: { name: session.name },
        at: now,
      });
      await events.append(tx, {
        accountId: session.accountId,
        sessionId: session.id,
        type: 'session.created',
        data: presentSession(session),
      });
      return session;
    });
  }

  /** Desired is `running` from now on, under the worker that `gate.place` names; then the worker is told, and the reconcile loop is the net. */
  async function start(caller: Caller, session: Session): Promise<Session> {
    if (session.status === 'suspended') throw new AppError('SESSION_SUSPENDED');
    const { workerId } = await gate.place(session);
    const started = await database.write.run(async (tx) => {
      const row = await tx.manager.findOneByOrFail(Session, { id: session.id });
      const epoch = row.workerId === workerId && row.leaseEpoch > 0 ? row.leaseEpoch : row.leaseEpoch + 1;
      const lease = {
        desired: 'running' as const,
        workerId,
        leaseEpoch: epoch,
        leaseExpiresAt: new Date(clock.now().getTime() + defaults.leaseMs),
      };
      await updateRows(tx, Session, { id: row.id }, lease);
      Object.assign(row, lease);
      if (row.status === 'disconnected' || row.status === 'error')
        await state.move(tx, row, 'initializing', state.named('STARTING'));
      await recordAudit(tx, caller, {
        action: 'session.start',
        objectType: 'session',
        objectId: row.id,
        accountId: row.accountId,
        at: clock.now(),
      });
      return row;
    });
    await gate.init(started);
    return started;
  }

  /** Waits until there is something to show: a code, a connection, or an end. Gives the row as it is then. */
  async function settled(id: string, waitMs: number): Promise<Session> {
    for (const until = Date.now() + waitMs; ; await sleep(40)) {
      const row = await withQr({ id });
      if (!row) throw new AppError('SESSION_NOT_FOUND');
      const hasNews =
        presentQrText(row) !== null ||
        ['connected', 'error', 'disconnected', 'passkey_required', 'suspended'].includes(row.status);
      if (hasNews || Date.now() >= until) return row;
    }
  }

  async function stop(caller: Caller, session: Session, logout: boolean): Promise<Session> {
    await database.write.run(async (tx) => {
      await updateRows(tx, Session, { id: session.id }, { desired: 'stopped', updatedAt: clock.now() });
      await recordAudit(tx, caller, {
        action: logout ? 'session.logout' : 'session.stop',
        objectType: 'session',
        objectId: session.id,
        accountId: session.accountId,
        at: clock.now(),
      });
    });
    if (session.workerId === null) return (await withQr({ id: session.id }))!;
    const seen = await gate.disconnect(session, logout);
    return save(session.id, seen);
  }

  /** What the worker said just now, written down; the same as its event will say in a moment. */
  async function save(id: string, seen: ObservedSession): Promise<Session> {
    await database.write.run(async (tx) => {
      const row = await tx.manager.findOneByOrFail(Session, { id });
      if (seen.epoch === row.leaseEpoch && row.status !== 'initializing') await state.observe(tx, row, seen);
    });
    return (await withQr({ id }))!;
  }

  return {
    find,
    which,
    create,
    start,
    settled,
    stop,
    byId: (id: string): Promise<Session | null> => withQr({ id }),
    list: (accountId: string): Promise<Session[]> => rows.find({ where: { accountId, ...live }, order: { createdAt: 'ASC' } }),
    /** Starts the named session, or the default one, which is made when the account has none. */
    async init(caller: Caller, wish: { sessionId?: string | undefined; name?: string | undefined }): Promise<Session> {
      const named = wish.sessionId ?? wish.name;
      const known = await which(caller, named).catch((error: unknown) => {
        const isMissing =
          error instanceof AppError && (error.code === 'SESSION_NOT_FOUND' || error.code === 'SESSION_NOT_CONNECTED');
        if (isMissing && caller.sessionId === null && !wish.sessionId) return null;
        throw error;
      });
      // Two calls at once may both find none; the second one's create says so, and then the first one's is the session.
      const session =
        known ??
        (await create(caller, { name: wish.name ?? 'default' }).catch((error: unknown) => {
          if (error instanceof AppError && error.code === 'ALREADY_EXISTS') return find(caller, wish.name ?? 'default');
          throw error;
        }));
      if (session.status !== 'connected' && !(session.desired === 'running' && presentQrText(session)))
        await start(caller, session);
      return settled(session.id, defaults.initWaitMs);
    },
    async connect(caller: Caller, session: Session): Promise<Session> {
      if (session.status !== 'connected') await start(caller, session);
      return settled(session.id, defaults.initWaitMs);
    },
    /** Asked from the worker and saved; when it is silent, the last known with `stale`. */
    async status(session: Session): Promise<{ session: Session; stale: boolean }> {
      if (session.workerId === null || session.desired === 'stopped') return { session, stale: false };
      try {
        return { session: await save(session.id, await gate.status(session)), stale: false };
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        return { session, stale: error.code === 'WORKER_UNAVAILABLE' };
      }
    },
    async restart(caller: Caller, session: Session): Promise<Session> {
      if (session.desired === 'stopped' || session.status === 'error' || session.status === 'disconnected')
        return start(caller, session);
      await gate.restart(session);
      return (await withQr({ id: session.id }))!;
    },
    async pairingCode(session: Session, phoneNumber: string): Promise<{ code: string; expiresAt: string }> {
      if (session.status !== 'qr_pending')
        throw new AppError(
          'SESSION_STATE_CONFLICT',
          { status: session.status },
          'A pairing code can be had while the session waits for a scan. Start it with POST /api/v1/sessions/init.',
        );
      return gate.pairingCode(session, phoneNumber);
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
      await database.write.run(async (tx) => {
        if (changes.name && changes.name !== session.name) {
          if (!isSessionName(changes.name))
            throw new AppError('VALIDATION_FAILED', {
              fields: [{ path: 'name', code: 'INVALID_NAME', message: 'Choose another name.' }],
            });
          if (await tx.manager.existsBy(Session, { accountId: session.accountId, liveName: changes.name }))
            throw new AppError('ALREADY_EXISTS', { field: 'name' });
        }
        if (changes.isDefault)
          await updateRows(tx, Session, { accountId: session.accountId, isDefault: true }, { isDefault: false });
        const name = changes.name ? { name: changes.name, liveName: changes.name } : {};
        await updateRows(
          tx,
          Session,
          { id: session.id },
          {
            ...name,
            ...(changes.isDefault === undefined ? {} : { isDefault: changes.isDefault }),
            settings: merge(session.settings, changes.settings),
            ...(changes.metadata ? { metadata: changes.metadata } : {}),
            updatedAt: clock.now(),
          },
        );
        await recordAudit(tx, caller, {
          action: 'session.update',
          objectType: 'session',
          objectId: session.id,
          changes: { fields: Object.keys(changes) },
          at: clock.now(),
        });
      });
      return (await withQr({ id: session.id }))!;
    },
    /** Softly: hidden, its name free again, its history kept. The worker deletes the login when it can be reached, now or with its next heartbeat. */
    async remove(caller: Caller, session: Session): Promise<void> {
      if (session.workerId !== null)
        await gate.disconnect(session, true).catch((error: unknown) => {
          if (!(error instanceof AppError)) throw error;
        });
      await database.write.run(async (tx) => {
        const row = await tx.manager.findOneByOrFail(Session, { id: session.id });
        if (row.status !== 'disconnected') await state.move(tx, row, 'disconnected', state.named('USER_LOGGED_OUT'));
        await updateRows(
          tx,
          Session,
          { id: row.id },
          { desired: 'stopped', deletedAt: clock.now(), liveName: row.id, isDefault: false },
        );
        await recordAudit(tx, caller, { action: 'session.delete', objectType: 'session', objectId: row.id, at: clock.now() });
        await events.append(tx, {
          accountId: row.accountId,
          sessionId: row.id,
          type: 'session.deleted',
          data: presentSession(row),
        });
      });
    },
    async suspend(caller: Caller, session: Session, why: string): Promise<void> {
      await database.write.run(async (tx) => {
        const row = await tx.manager.findOneByOrFail(Session, { id: session.id });
        await state.move(tx, row, 'suspended', { code: 'SUSPENDED_BY_STAFF', message: why || 'Suspended by staff.' });
        await recordAudit(tx, caller, {
          action: 'session.suspend',
          objectType: 'session',
          objectId: row.id,
          accountId: row.accountId,
          changes: { why },
          at: clock.now(),
        });
      });
      if (session.workerId !== null)
        await gate.disconnect(session, false).catch((error: unknown) => {
          // Down: its next heartbeat learns that the session is not to run.
          if (!(error instanceof AppError)) throw error;
        });
    },
    async resume(caller: Caller, session: Session): Promise<void> {
      if (session.status !== 'suspended') throw new AppError('SESSION_STATE_CONFLICT', { status: session.status });
      await database.write.run(async (tx) => {
        const row = await tx.manager.findOneByOrFail(Session, { id: session.id });
        await state.move(tx, row, 'disconnected', state.named('USER_STOPPED'));
        await recordAudit(tx, caller, {
          action: 'session.resume',
          objectType: 'session',
          objectId: row.id,
          accountId: row.accountId,
          at: clock.now(),
        });
      });
    },
  };
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
  deletedAt: null,
};
