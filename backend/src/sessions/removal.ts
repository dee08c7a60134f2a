import type { Caller } from '../accounts/caller.js';
import { updateRows } from '../db/rows.js';
import { auditSession, type SessionContext } from './context.js';
import { presentSession } from './present.js';
import { isReached } from './running.js';
import { Session } from './session.entity.js';
import { lockSession, ownerOf, reasonFor } from './state.js';

/** See `Sessions.remove`. The commit records that the login must still be deleted, so that it is deleted later if the worker cannot be reached. */
export async function removeSession(context: SessionContext, caller: Caller, session: Session): Promise<void> {
  const { database, events, clock, state, revokeKeys } = context;
  const row = await database.write.run(async (tx) => {
    // Locks the account, which every transaction locks before a session.
    await revokeKeys(tx, { accountId: session.accountId, sessionId: session.id });
    const locked = await lockSession(tx, session.id);
    if (locked.status !== 'disconnected') await state.move(tx, locked, 'disconnected', reasonFor('USER_LOGGED_OUT'));
    const deleted = {
      desired: 'stopped' as const,
      deletedAt: clock.now(),
      liveName: locked.id,
      isDefault: false,
      proxyPassword: null,
    };
    await updateRows(tx, Session, { id: locked.id }, { ...deleted, wipePending: locked.workerId !== null });
    await auditSession(context, tx, caller, 'session.delete', locked);
    await events.append(tx, { ...ownerOf(locked), type: 'session.deleted', data: presentSession(locked, clock.now()) });
    return locked;
  });
  if (row.workerId !== null) await wipe(context, row);
}

/** See `Sessions.wipePending`. */
export async function wipePending(context: SessionContext, workerId: string): Promise<void> {
  const failed: unknown[] = [];
  const pending = await context.database.reader.getRepository(Session).findBy({ workerId, wipePending: true });
  for (const session of pending) await wipe(context, session).catch((error: unknown) => failed.push(error));
  if (failed.length > 0) throw failed[0];
}

/** Deletes the login of a deleted session on its worker, and records that this is done. */
async function wipe({ database, gateway }: SessionContext, session: Session): Promise<void> {
  const isWiped = await isReached(() => gateway.disconnect(session, true));
  if (isWiped)
    await database.write.run((tx) => updateRows(tx, Session, { id: session.id, wipePending: true }, { wipePending: false }));
}
