import { updateRows } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import { Session } from './session.entity.js';

/** The fields by which an event names its account and session. */
export const ownerOf = (session: Session) => ({ accountId: session.accountId, sessionId: session.id });

/** Writes columns that need no event, to the row and to the object. */
export async function patchSession(tx: Transaction, session: Session, changes: Partial<Session>): Promise<void> {
  await updateRows(tx, Session, { id: session.id }, changes);
  Object.assign(session, changes);
}
