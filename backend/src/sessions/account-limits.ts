import type { WorkerEventPayload } from '@chasqui/shared';
import type { Core } from '../core.js';
import { readable } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import { reachOutLock } from './restrictions.js';
import type { Session } from './session.entity.js';
import { ownerOf, patchSession } from './session-rows.js';
import { throttle } from './throttle.js';

/** Records what a worker reports of the account, and publishes what has changed. A repeated report publishes nothing. */
export async function recordAccount(
  { events, clock }: Pick<Core, 'events' | 'clock'>,
  tx: Transaction,
  session: Session,
  { reachOutLocked, reachOutUntil = null, linkedDevices: count }: WorkerEventPayload<'session.account'>,
): Promise<void> {
  const before = readable(session.accountLimits, null);
  const checkedAt = clock.now().toISOString();
  const linkedDevices = count === null ? (before?.linkedDevices ?? null) : { count, checkedAt };
  await patchSession(tx, session, { accountLimits: { reachOutLocked, reachOutUntil, linkedDevices } });
  const owner = ownerOf(session);
  if (reachOutLocked !== (before?.reachOutLocked ?? false)) {
    const message = reachOutLocked ? reachOutLock : 'WhatsApp lets this account write to new chats again.';
    const kind = 'reach_out_lock' as const;
    const data = reachOutLocked
      ? { kind, message, until: reachOutUntil, lifted: null }
      : { kind: 'lifted' as const, message, until: null, lifted: kind };
    await events.append(tx, { ...owner, type: 'session.restriction', data });
    if (reachOutLocked) await throttle({ events, clock }, tx, session, 'reach_out_lock');
  }
  const previousCount = before?.linkedDevices?.count;
  if (count !== null && previousCount !== undefined && count > previousCount)
    await events.append(tx, { ...owner, type: 'session.device_linked', data: { count, previousCount } });
}
