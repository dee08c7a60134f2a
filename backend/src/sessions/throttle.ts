import type { Core } from '../core.js';
import { readable } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import { endOfThrottle, factorAt, throttleSteps } from '../lib/throttle.js';
import type { Session } from './session.entity.js';
import { ownerOf, patchSession } from './session-rows.js';

/** Returns the throttle in the form of the session's health. Null: the session is not throttled. */
export function presentThrottle(session: Session, nowMs: number) {
  const throttle = readable(session.throttle, null);
  const factor = factorAt(throttle, nowMs);
  if (!throttle || factor === 1) return null;
  return { factor, until: new Date(endOfThrottle(throttle)).toISOString(), reason: throttle.reason };
}

type Context = Pick<Core, 'events' | 'clock'>;

/** Starts a throttle, or restarts a running one. The transaction must have locked the session's row. */
export async function throttle({ events, clock }: Context, tx: Transaction, session: Session, reason: string): Promise<void> {
  const begun = { since: clock.now().toISOString(), reason };
  await patchSession(tx, session, { throttle: begun });
  const data = { factor: throttleSteps[0], reason, until: new Date(endOfThrottle(begun)).toISOString() };
  await events.append(tx, { ...ownerOf(session), type: 'session.throttled', data });
}

/** Ends the throttle of a session; nothing happens if it has none. The transaction must have locked the session's row. */
export async function liftThrottle({ events, clock }: Context, tx: Transaction, session: Session): Promise<void> {
  const isThrottled = factorAt(readable(session.throttle, null), clock.now().getTime()) < 1;
  await patchSession(tx, session, { throttle: null, firstContacts: '' });
  if (!isThrottled) return;
  const data = { factor: 1, reason: 'LIFTED', until: null };
  await events.append(tx, { ...ownerOf(session), type: 'session.throttled', data });
}
