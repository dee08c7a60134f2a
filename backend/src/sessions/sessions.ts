import {
  AppError,
  isSessionName,
  newId,
  unsetSettings,
  validationError,
  type PasskeyAnswer,
  type SessionHealth,
  type SessionMetricsResource,
  type SessionResource,
  type SessionSettings,
} from '@chasqui/shared';
import { IsNull } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { Caller } from '../accounts/caller.js';
import { readLimits } from '../accounts/plans.js';
import type { Core } from '../core.js';
import { insertRow, isConflict, lockRows, updateRows } from '../db/rows.js';
import { readable } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import { auditSession, type SessionContext, type SessionParts } from './context.js';
import { healthOf, metricsOf, unthrottleSession } from './health.js';
import { findSession, readSession, rereadSession, resolveSession } from './lookup.js';
import { presentSession } from './present.js';
import type { ProxyInput } from './proxies.js';
import { answerPasskey, readPasskey, type PasskeyWaiting } from './passkeys.js';
import { removeSession, wipePending } from './removal.js';
import {
  connectSession,
  phoneDigits,
  requestPairingCode,
  restartSession,
  resumeSession,
  startSession,
  statusOfSession,
  stopSession,
  suspendSession,
  type SessionStatusReply,
} from './running.js';
import { Session } from './session.entity.js';
import { initialColumns } from './initial-columns.js';
import { lockSession, ownerOf } from './state.js';
import { withChanges, type Changes } from '../lib/changes.js';

type SettingsChange = Changes<Omit<SessionSettings, 'pacing' | 'rejectCalls' | 'proxy'>> & {
  proxy?: ProxyInput | null | undefined;
  pacing?: Changes<SessionSettings['pacing']> | undefined;
  rejectCalls?: Changes<NonNullable<SessionSettings['rejectCalls']>> | undefined;
};

export interface SessionInput {
  name: string;
  deviceName?: string | null | undefined;
  /** The number for which pairing codes are requested while the session waits to be linked. Null: none are requested. */
  phoneNumber?: string | null | undefined;
  isDefault?: boolean | undefined;
  settings?: SettingsChange | undefined;
  metadata?: Record<string, unknown> | undefined;
}

/** Creates what belongs to a new session, in its transaction: both are created, or neither. May run again if the transaction is repeated. */
export type AlsoCreate = (tx: Transaction, session: Session) => Promise<void>;

export type SessionChanges = Changes<Omit<SessionInput, 'deviceName'>>;

export interface InitInput {
  sessionId?: string | undefined;
  name?: string | undefined;
  phoneNumber?: string | undefined;
}

/**
 * Manages the sessions of an account: finds the one that a request means, creates, changes and deletes sessions, and runs them on a worker. A verb
 * that starts or stops a session writes the desired state, then calls the worker; the heartbeat reconciles the two after any failure.
 *
 * Verbs with a `Session` parameter expect it from `find`, `resolve` or `byId`. They lock the row again before they write, and throw
 * `SESSION_NOT_FOUND` if it was deleted meanwhile. Those that change a session leave an entry in the audit log.
 */
export interface Sessions {
  /**
   * Returns a session of the caller by id, by name or as `current`. Throws `SESSION_NOT_FOUND` for a session of another account or outside
   * the key, as if it did not exist. Counts the request against the plan's limit of the session; throws `RATE_LIMITED`.
   */
  find(caller: Caller, ref: string): Promise<Session>;
  /**
   * Returns the session that a request means: the named one, that of the key, the account's default, or its only one. Throws as `find`,
   * `SESSION_REQUIRED` if there are several, and `SESSION_NOT_CONNECTED` if there is none.
   */
  resolve(caller: Caller, named: string | null | undefined): Promise<Session>;
  /** Returns a session of any account; null if there is none or it was deleted. The caller of this verb must check the access. */
  byId(id: string): Promise<Session | null>;
  /** Returns the sessions of an account, the oldest first. */
  list(accountId: string): Promise<Session[]>;
  /** Returns the session in the API's form. */
  present(session: Session): SessionResource;
  /** Throws `ALREADY_EXISTS` for a name that is taken, `SESSION_LIMIT_REACHED`, `PROXY_INVALID`, and `VALIDATION_FAILED` for a reserved name. */
  create(caller: Caller, input: SessionInput, also?: AlsoCreate): Promise<Session>;
  /** Connects the named session or the default one, and creates it if the account has none. Throws as `create` and `connect`. */
  init(caller: Caller, input: InitInput): Promise<Session>;
  /**
   * Throws `ALREADY_EXISTS` for a name that is taken, `PROXY_INVALID`, and `VALIDATION_FAILED` for a reserved name. The worker of a session that
   * runs learns of it with its next heartbeat; for another proxy it then replaces the browser.
   */
  update(caller: Caller, session: Session, changes: SessionChanges): Promise<Session>;
  /** Hides the session, frees its name, revokes its keys and deletes its login. Its history stays. */
  remove(caller: Caller, session: Session): Promise<void>;
  /** Deletes the logins of deleted sessions that this worker still has on its disk. Throws the first error after trying all of them. */
  wipePending(workerId: string): Promise<void>;
  /** Starts the session unless it runs, and waits until there is a QR code, a connection or a final state. Throws as `start`. */
  connect(caller: Caller, session: Session): Promise<Session>;
  /**
   * Starts the session and returns as soon as its worker has answered. Throws `SESSION_SUSPENDED`, `ACCOUNT_INACTIVE`,
   * `WORKER_UNAVAILABLE`, `WORKER_CAPACITY` and `WORKER_MEMORY`.
   */
  start(caller: Caller, session: Session): Promise<Session>;
  /**
   * Stops the session; `logout` also unlinks the device. If the worker does not answer, it stops the session after its next heartbeat and the
   * result is `stale`. A logout throws `WORKER_UNAVAILABLE` then, because no later heartbeat would unlink the device.
   */
  stop(caller: Caller, session: Session, logout: boolean): Promise<SessionStatusReply>;
  /** Restarts the browser, or starts the session if it does not run. Throws as `start`. */
  restart(caller: Caller, session: Session): Promise<Session>;
  /** Asks the worker for the status. If it does not answer, returns the last known one as `stale`. */
  status(session: Session): Promise<SessionStatusReply>;
  /** Returns the health of the session: what its worker measures now, and what WhatsApp restricts. Stored values are `stale`. */
  health(session: Session): Promise<SessionHealth>;
  /** Returns the resources that the session uses and its sends of the last minute. Stored values are `stale`. */
  metrics(session: Session): Promise<SessionMetricsResource>;
  /** Ends the throttle of the session, and returns its health. */
  unthrottle(caller: Caller, session: Session): Promise<SessionHealth>;
  /** Throws `SESSION_STATE_CONFLICT` unless the session waits for a scan, and `VALIDATION_FAILED` for a bad number. */
  pairingCode(caller: Caller, session: Session, phoneNumber: string): Promise<{ code: string; expiresAt: string }>;
  /** Returns WhatsApp's request for a passkey. Throws `SESSION_STATE_CONFLICT` unless the session is `passkey_required`. */
  passkey(session: Session): Promise<PasskeyWaiting>;
  /**
   * Passes a passkey's answer to WhatsApp. Throws `SESSION_STATE_CONFLICT`, `VALIDATION_FAILED` for the answer to another request, and
   * `WHATSAPP_REFUSED` when WhatsApp refuses the answer for a linked account. While linking, the status shows that.
   */
  answerPasskey(caller: Caller, session: Session, answer: PasskeyAnswer): Promise<void>;
  /** For staff: ends the browser and keeps the login. Nothing starts or sends until `resume`. */
  suspend(caller: Caller, session: Session, why: string): Promise<void>;
  /**
   * For staff: ends the suspension. The session is `disconnected`, and the next heartbeat starts it if that is still desired. Throws
   * `SESSION_STATE_CONFLICT` if it is not suspended.
   */
  resume(caller: Caller, session: Session): Promise<void>;
}

export function createSessions(core: Core, parts: SessionParts): Sessions {
  const context: SessionContext = { ...core, ...parts };
  const rows = core.database.reader.getRepository(Session);
  return {
    find: (caller, ref) => findSession(context, caller, ref),
    resolve: (caller, named) => resolveSession(context, caller, named),
    byId: (id) => readSession(context, { id }),
    list: (accountId) => rows.find({ where: { accountId, deletedAt: IsNull() }, order: { createdAt: 'ASC' } }),
    present: (session) => presentSession(session, core.clock.now()),
    create: (caller, input, also) => createSession(context, caller, input, also),
    init: (caller, input) => initSession(context, caller, input),
    update: (caller, session, changes) => updateSession(context, caller, session, changes),
    remove: (caller, session) => removeSession(context, caller, session),
    wipePending: (workerId) => wipePending(context, workerId),
    connect: (caller, session) => connectSession(context, caller, session),
    start: (caller, session) => startSession(context, caller, session),
    stop: (caller, session, logout) => stopSession(context, caller, session, logout),
    restart: (caller, session) => restartSession(context, caller, session),
    status: (session) => statusOfSession(context, session),
    health: (session) => healthOf(context, session),
    metrics: (session) => metricsOf(context, session),
    unthrottle: (caller, session) => unthrottleSession(context, caller, session),
    pairingCode: (caller, session, phoneNumber) => requestPairingCode(context, caller, session, phoneNumber),
    passkey: (session) => readPasskey(context, session),
    answerPasskey: (caller, session, answer) => answerPasskey(context, caller, session, answer),
    suspend: (caller, session, why) => suspendSession(context, caller, session, why),
    resume: (caller, session) => resumeSession(context, caller, session),
  };
}

async function createSession(
  context: SessionContext,
  caller: Caller,
  input: SessionInput,
  also: AlsoCreate = async () => undefined,
): Promise<Session> {
  requireName(input.name);
  return translateConflict(() =>
    context.database.write.run(async (tx) => {
      const session = await insertSession(context, tx, caller, input);
      await also(tx, session);
      return session;
    }),
  );
}

async function insertSession(context: SessionContext, tx: Transaction, caller: Caller, input: SessionInput): Promise<Session> {
  const { events, clock, defaults } = context;
  const { accountId } = caller;
  const now = clock.now();
  // Closes: two sessions are created at once, and each transaction finds room for one more.
  await lockRows(tx, Account, [accountId]);
  const existing = await tx.manager.find(Session, {
    where: { accountId, deletedAt: IsNull() },
    select: { id: true, name: true },
  });
  if (existing.some((session) => session.name === input.name)) throw new AppError('ALREADY_EXISTS', { field: 'name' });
  const { maxSessions } = await readLimits(tx.manager, accountId);
  if (maxSessions > 0 && existing.length >= maxSessions) throw new AppError('SESSION_LIMIT_REACHED', { limit: maxSessions });
  const isDefault = input.isDefault ?? existing.length === 0;
  if (isDefault) await updateRows(tx, Session, { accountId, isDefault: true }, { isDefault: false });
  const id = newId(now.getTime());
  const { settings, ...sealed } = settingsAfter(context, id, defaults.settings, input.settings);
  const session = Object.assign(new Session(), {
    ...initialColumns,
    ...sealed,
    id,
    accountId,
    name: input.name,
    liveName: input.name,
    isDefault,
    deviceName: input.deviceName ?? null,
    pairingNumber: pairingNumberAfter(context, null, settings, input.phoneNumber),
    settings,
    autoReadSince: autoReadSinceOf(settings, null, now),
    metadata: input.metadata ?? {},
    createdAt: now,
    updatedAt: now,
  });
  await insertRow(tx, Session, session);
  await auditSession(context, tx, caller, 'session.create', session, { name: session.name });
  await events.append(tx, { ...ownerOf(session), type: 'session.created', data: presentSession(session, clock.now()) });
  return session;
}

async function initSession(context: SessionContext, caller: Caller, input: InitInput): Promise<Session> {
  const named = input.sessionId ?? input.name;
  const existing = await resolveSession(context, caller, named).catch((error: unknown) => {
    // There is no session with that name, or none at all, so it is created. The session of a session's key, or with the requested id, must exist.
    const isNone =
      error instanceof AppError && (named ? error.code === 'SESSION_NOT_FOUND' : error.code === 'SESSION_NOT_CONNECTED');
    if (isNone && caller.sessionId === null && !input.sessionId) return null;
    throw error;
  });
  if (existing && input.sessionId && input.name && existing.name !== input.name)
    throw validationError([
      { path: 'name', code: 'AMBIGUOUS', message: 'sessionId and name are two sessions. Send one of them.' },
    ]);
  // Checked before anything is created, so that a refused number leaves no session behind.
  if (input.phoneNumber) phoneDigits(context, existing?.settings ?? null, input.phoneNumber);
  const session = existing ?? (await createOrFind(context, caller, input.name ?? 'default'));
  return connectSession(context, caller, session, input.phoneNumber);
}

/** Closes: two calls at once find no session of the name. The second one's creation fails, and it uses the first one's session. */
async function createOrFind(context: SessionContext, caller: Caller, name: string): Promise<Session> {
  try {
    return await createSession(context, caller, { name });
  } catch (error) {
    if (error instanceof AppError && error.code === 'ALREADY_EXISTS') return findSession(context, caller, name);
    throw error;
  }
}

async function updateSession(
  context: SessionContext,
  caller: Caller,
  session: Session,
  changes: SessionChanges,
): Promise<Session> {
  await translateConflict(() => context.database.write.run(async (tx) => updateLocked(context, tx, caller, session, changes)));
  return rereadSession(context, session.id);
}

async function updateLocked(
  context: SessionContext,
  tx: Transaction,
  caller: Caller,
  session: Session,
  changes: SessionChanges,
): Promise<void> {
  if (changes.isDefault) await lockDefault(tx, session);
  const row = await lockSession(tx, session.id);
  const { id, accountId } = row;
  const { name = row.name, isDefault = row.isDefault, metadata = row.metadata } = changes;
  if (name !== row.name) requireName(name);
  if (changes.isDefault) await updateRows(tx, Session, { accountId, isDefault: true }, { isDefault: false });
  const { settings, ...sealed } = changes.settings
    ? settingsAfter(context, id, readable(row.settings, context.defaults.settings), changes.settings)
    : { settings: row.settings };
  const updatedAt = context.clock.now();
  const autoReadSince = changes.settings ? autoReadSinceOf(settings, row.autoReadSince, updatedAt) : row.autoReadSince;
  const pairingNumber = pairingNumberAfter(context, row.pairingNumber, readable(settings, null), changes.phoneNumber);
  const columns = { name, liveName: name, isDefault, pairingNumber, settings, autoReadSince, metadata, updatedAt };
  await updateRows(tx, Session, { id }, { ...columns, ...sealed });
  if (changes.settings?.storage === 'metadata') await context.forgetNames(tx, { sessionId: id });
  const before = { name: row.name, isDefault: row.isDefault, ...shownSettings(readable(row.settings, {})) };
  // As they are stored: what was sent may contain the password of a proxy.
  const changed = Object.entries(readable(settings, {})).filter(([key]) => Object.hasOwn(changes.settings ?? {}, key));
  const shown = { name: changes.name, isDefault: changes.isDefault, ...shownSettings(Object.fromEntries(changed)) };
  await auditSession(context, tx, caller, 'session.update', row, { fields: Object.keys(changes), ...shown }, before);
}

/** Settings as the audit log shows them. */
const shownSettings = (settings: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [`settings.${name}`, value as unknown]));

/**
 * Locks what a change of the default session writes: the account, then this session and the current default in the order of their ids.
 *
 * Closes: two sessions become the default at once, each transaction clearing only the default that it could see.
 */
async function lockDefault(tx: Transaction, { id, accountId }: Session): Promise<void> {
  await lockRows(tx, Account, [accountId]);
  const current = await tx.manager.find(Session, { where: { accountId, isDefault: true }, select: { id: true } });
  const ids = [id, ...current.map((session) => session.id)];
  await lockRows(tx, Session, ids);
}

/** Runs a write of a name. The unique index over names decides between two requests for the same one: the second gets `ALREADY_EXISTS`. */
async function translateConflict<T>(work: () => Promise<T>): Promise<T> {
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

/** Returns the settings after a change, and the column of the proxy's password if it changes. Throws `PROXY_INVALID`. */
function settingsAfter(
  { proxies }: SessionContext,
  id: string,
  settings: SessionSettings,
  { proxy: input, ...changes }: SettingsChange = {},
): Pick<Session, 'settings'> & Partial<Pick<Session, 'proxyPassword'>> {
  const merged = mergeSettings(settings, changes);
  if (input === undefined) return { settings: merged };
  const { proxy, ...column } = proxies.columnsOf(id, settings.proxy ?? null, input);
  return { settings: { ...merged, proxy }, ...column };
}

function mergeSettings(settings: SessionSettings, changes: Omit<SettingsChange, 'proxy'>): SessionSettings {
  const pacing = withChanges(settings.pacing, changes.pacing);
  const rejectCalls = withChanges(settings.rejectCalls ?? unsetSettings.rejectCalls, changes.rejectCalls);
  return withChanges({ ...unsetSettings, ...settings }, { ...changes, pacing, rejectCalls });
}

/** The number of a session for pairing codes after a change. Throws `VALIDATION_FAILED` for one that is not valid. */
function pairingNumberAfter(
  context: SessionContext,
  before: string | null,
  settings: SessionSettings | null,
  phoneNumber: string | null | undefined,
): string | null {
  if (phoneNumber === undefined) return before;
  return phoneNumber === null ? null : `+${phoneDigits(context, settings, phoneNumber)}`;
}

/** Messages are marked as seen from the moment on at which that was switched on. */
function autoReadSinceOf({ autoRead }: SessionSettings, before: Date | null, now: Date): Date | null {
  return (autoRead ?? unsetSettings.autoRead) === 'off' ? null : (before ?? now);
}
