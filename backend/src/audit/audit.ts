import { newId } from '@chasqui/shared';
import { AuditLog } from './audit.entity.js';
import { insertRow } from '../db/rows.js';
import { storedTextOf } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Caller } from '../accounts/caller.js';

/** Writes who did what to which object, and from where, in the transaction of the change: neither exists without the other. */
export async function recordAudit(
  tx: Transaction,
  caller: Caller | null,
  entry: {
    action: string;
    objectType: string;
    objectId: string | null;
    accountId?: string | null;
    changes?: Record<string, unknown>;
    /** The object before the change. The entry keeps only those of its fields that `changes` names. */
    before?: object;
    at: Date;
  },
): Promise<void> {
  const { credential, accountId = null, ip = null, requestId = null } = caller ?? {};
  const changedAccount = entry.accountId === undefined ? accountId : entry.accountId;
  await insertRow(tx, AuditLog, {
    id: newId(entry.at.getTime()),
    at: entry.at,
    accountId: changedAccount,
    actorType: actorTypeOf(caller, changedAccount),
    actorId: credential?.id ?? null,
    actorName: credential?.name ?? null,
    credential: credentialOf(caller),
    action: entry.action,
    objectType: entry.objectType,
    objectId: entry.objectId,
    changes: entry.changes ?? {},
    previous: previousOf(entry.changes ?? {}, entry.before),
    ip,
    requestId,
  });
}

function previousOf(changes: Record<string, unknown>, before: object | undefined): AuditLog['previous'] {
  if (before === undefined) return null;
  const values = Object.entries(before).filter(
    // What cannot be read is replaced, which is how it is repaired.
    ([name, value]) => changes[name] !== undefined && value !== undefined && storedTextOf(value) === undefined,
  );
  return values.length === 0 ? null : Object.fromEntries(values);
}

function credentialOf(caller: Caller | null): AuditLog['credential'] {
  const { type } = caller?.credential ?? { type: 'none' };
  return type === 'none' || type === 'service' ? null : type;
}

/** A key acts only on its own account. A person may act on another account; then the id of the login is not that of the changed account. */
function actorTypeOf(caller: Caller | null, changedAccount: string | null): AuditLog['actorType'] {
  const { type, id } = caller?.credential ?? { type: 'none', id: null };
  if (type === 'none' || type === 'service') return 'system';
  return caller?.isPasswordLogin && id !== changedAccount ? 'staff' : type;
}
