import { AppError, isId } from '@chasqui/shared';
import { IsNull } from 'typeorm';
import type { Caller } from '../accounts/caller.js';
import { readShared } from '../db/rows.js';
import type { SessionContext } from './context.js';
import { Session } from './session.entity.js';

/**
 * Returns the session that meets the conditions and is not deleted, with the text of its QR code and its pairing code. These columns are `select: false`, so that no
 * list and no query of the panel can return them by accident. The session is frozen: callers of one tick share it.
 */
export async function readSession(
  { database }: SessionContext,
  where: Partial<Pick<Session, 'id' | 'accountId' | 'liveName' | 'isDefault'>>,
): Promise<Session | null> {
  const conditions = ['"deletedAt" IS NULL', ...Object.keys(where).map((name) => `"${name}" = ?`)];
  const found = await readShared(database, Session, conditions.join(' AND '), Object.values(where), ['qrText', 'pairingCode']);
  return found[0] ?? null;
}

/** Reads the session again. Throws `SESSION_NOT_FOUND` if it was deleted meanwhile. */
export async function rereadSession(context: SessionContext, id: string): Promise<Session> {
  const session = await readSession(context, { id });
  if (!session) throw new AppError('SESSION_NOT_FOUND');
  return session;
}

/** See `Sessions.find`. */
export async function findSession(context: SessionContext, caller: Caller, ref: string): Promise<Session> {
  if (ref === 'current') return resolveSession(context, caller, null);
  const { accountId } = caller;
  const session = await readSession(context, isId(ref) ? { id: ref, accountId } : { liveName: ref, accountId });
  if (!session || (caller.sessionId !== null && caller.sessionId !== session.id)) throw new AppError('SESSION_NOT_FOUND');
  await charge(context, caller, session);
  return session;
}

/** See `Sessions.resolve`. */
export async function resolveSession(
  context: SessionContext,
  caller: Caller,
  named: string | null | undefined,
): Promise<Session> {
  if (named && named !== 'current') return findSession(context, caller, named);
  if (caller.sessionId !== null) return findSession(context, caller, caller.sessionId);
  const { accountId } = caller;
  const chosen = await readSession(context, { accountId, isDefault: true });
  if (chosen) {
    await charge(context, caller, chosen);
    return chosen;
  }
  const others = await context.database.reader
    .getRepository(Session)
    .find({ where: { accountId, deletedAt: IsNull() }, select: { id: true }, take: 2 });
  if (others.length > 1) throw new AppError('SESSION_REQUIRED');
  if (others.length === 1) return findSession(context, caller, others[0]!.id);
  const reason = { code: 'NOT_STARTED', message: 'There is no session yet. Create one with POST /api/v1/sessions/init.' };
  throw new AppError('SESSION_NOT_CONNECTED', { status: 'disconnected', reason }, reason.message);
}

/** Counts a request once against the plan's limit of its session, even if the request looks the session up several times. */
async function charge({ limitsOf }: SessionContext, caller: Caller, session: Session): Promise<void> {
  if (!caller.charge || caller.isSessionCharged) return;
  caller.isSessionCharged = true;
  const { apiLimit } = await limitsOf(caller.accountId);
  await caller.charge('session_api', `session:${session.id}`, apiLimit, 3_600_000);
}
