import { AppError } from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import type { Session } from './session.entity.js';
import type { Sessions } from './sessions.js';

export type StaffSessions = ReturnType<typeof createStaffSessions>;

/** The session of any account for staff and admins, of their own for everybody else; a foreign one is not there. */
export async function reachSession(sessions: Sessions, caller: Caller, sessionId: string): Promise<Session> {
  const session = await sessions.byId(sessionId);
  const isTheirs = session !== null && (caller.role !== 'user' || session.accountId === caller.accountId);
  if (!isTheirs || (caller.sessionId !== null && caller.sessionId !== sessionId)) throw new AppError('SESSION_NOT_FOUND');
  return session;
}

/** The verbs of the panel over sessions: for people, across accounts. Each writes its row of the audit log, under the person's name. */
export function createStaffSessions({ sessions }: { sessions: Sessions }) {
  const reach = (caller: Caller, id: string): Promise<Session> => reachSession(sessions, caller, id);

  return {
    async create(caller: Caller, wish: { accountId: string; name: string; deviceName: string | null }): Promise<{ id: string }> {
      if (caller.role === 'user' && wish.accountId !== caller.accountId) throw new AppError('ACCOUNT_NOT_FOUND');
      const { accountId, name, deviceName } = wish;
      const { id } = await sessions.create({ ...caller, accountId }, { name, deviceName });
      return { id };
    },
    async start(caller: Caller, id: string): Promise<void> {
      const session = await reach(caller, id);
      if (session.status !== 'connected') await sessions.begin(caller, session);
    },
    async stop(caller: Caller, id: string): Promise<void> {
      await sessions.stop(caller, await reach(caller, id), false);
    },
    async logout(caller: Caller, id: string): Promise<void> {
      await sessions.stop(caller, await reach(caller, id), true);
    },
    async restart(caller: Caller, id: string): Promise<void> {
      await sessions.restart(caller, await reach(caller, id));
    },
    async suspend(caller: Caller, id: string, why: string): Promise<void> {
      requireStaff(caller);
      await sessions.suspend(caller, await reach(caller, id), why);
    },
    async resume(caller: Caller, id: string): Promise<void> {
      requireStaff(caller);
      await sessions.resume(caller, await reach(caller, id));
    },
    async pairingCode(caller: Caller, id: string, phoneNumber: string): Promise<{ code: string; expiresAt: Date }> {
      const { code, expiresAt } = await sessions.pairingCode(caller, await reach(caller, id), phoneNumber);
      return { code, expiresAt: new Date(expiresAt) };
    },
    /** What the present QR encodes; null when there is none. */
    async qr(caller: Caller, id: string): Promise<{ text: string; expiresAt: Date | null } | null> {
      const session = await reach(caller, id);
      return session.status === 'qr_pending' && session.qrText ? { text: session.qrText, expiresAt: session.qrExpiresAt } : null;
    },
  };
}

function requireStaff(caller: Caller): void {
  if (caller.role === 'user') throw new AppError('STAFF_REQUIRED');
}
