import { newId } from '@chasqui/shared';
import { AuditLog } from './audit.entity.js';
import { insertRow } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Caller } from '../accounts/caller.js';

/** Who did what to which object, from where; in the transaction of the change, so that neither is without the other. */
export async function recordAudit(
  tx: Transaction,
  caller: Caller | null,
  entry: {
    action: string;
    objectType: string;
    objectId: string | null;
    accountId?: string | null;
    changes?: Record<string, unknown>;
    at: Date;
  },
): Promise<void> {
  const { credential, accountId = null, ip = null, requestId = null } = caller ?? {};
  const concerned = entry.accountId === undefined ? accountId : entry.accountId;
  await insertRow(tx, AuditLog, {
    id: newId(entry.at.getTime()),
    at: entry.at,
    accountId: concerned,
    actorType: actorTypeOf(caller, concerned),
    actorId: credential?.id ?? null,
    actorName: credential?.name ?? null,
    credential: credentialOf(caller),
    action: entry.action,
    objectType: entry.objectType,
    objectId: entry.objectId,
    changes: entry.changes ?? {},
    ip,
    requestId,
  });
}

function credentialOf(caller: Caller | null): AuditLog['credential'] {
  const { type } = caller?.credential ?? { type: 'none' };
  return type === 'none' || type === 'service' ? null : type;
}

/** A key acts on its own account alone; a person may also act on another, and the id of their login is then that of a stranger. */
function actorTypeOf(caller: Caller | null, concerned: string | null): AuditLog['actorType'] {
  const { type, id } = caller?.credential ?? { type: 'none', id: null };
  if (type === 'none' || type === 'service') return 'system';
  return caller?.isPasswordLogin && id !== concerned ? 'staff' : type;
}
