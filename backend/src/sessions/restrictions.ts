import { sessionReasons, type Restriction, type RestrictionKind, type SessionReason } from '@chasqui/shared';
import type { Core } from '../core.js';
import { readable } from '../db/unreadable.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Session } from './session.entity.js';
import { ownerOf, patchSession } from './session-rows.js';
import { throttle } from './throttle.js';

/** Maps reasons for which WhatsApp blocks the account, its page or the network to the kinds that `session.restriction` publishes. */
const kinds: Partial<Record<SessionReason, RestrictionKind>> = {
  ACCOUNT_BANNED: 'terms_block',
  ACCOUNT_RESTRICTED: 'terms_block',
  ACCOUNT_TEMPORARILY_BANNED: 'temporary_ban',
  ACCOUNT_CHALLENGED: 'challenge',
  ACCOUNT_PASSKEY_REQUIRED: 'challenge',
  NETWORK_BLOCKED: 'proxy_block',
  OUTDATED_VERSION: 'outdated_version',
};

/** Restrictions that say that WhatsApp does not like how the account writes. The session sends more slowly after them. */
const slowing: ReadonlySet<RestrictionKind> = new Set<RestrictionKind>(['terms_block', 'temporary_ban', 'challenge']);

export const reachOutLock = 'WhatsApp does not let this account write to new chats now. Existing chats continue.';

/** The restrictions that hold now. One that WhatsApp ends at a time that has passed is not shown any more. */
export function restrictionsOf(session: Session, nowMs: number): Restriction[] {
  const restriction = readable(session.restriction, null);
  const limits = readable(session.accountLimits, null);
  const all: Restriction[] = [];
  if (restriction) all.push({ kind: restriction.kind, message: restriction.message, until: restriction.until });
  if (limits?.reachOutLocked) all.push({ kind: 'reach_out_lock', message: reachOutLock, until: limits.reachOutUntil ?? null });
  return all.filter(({ until }) => until === null || Date.parse(until) > nowMs);
}

/**
 * Records the restriction that follows from the status of the session, or its end: WhatsApp has let the account in again. Publishes each change once.
 * The transaction must have locked the session's row. `before` is the reason before the last report of the worker, `until` the end that it named.
 */
export async function recordRestriction(
  { events, clock }: Pick<Core, 'events' | 'clock'>,
  tx: Transaction,
  session: Session,
  { before, until }: { before: string | null; until: string | null },
): Promise<void> {
  const known = readable(session.restriction, null);
  const kind = kinds[session.reasonCode as SessionReason];
  if (!kind) return known && session.status === 'connected' ? lift({ events, clock }, tx, session, known.kind) : undefined;
  const isSame = known?.kind === kind && session.reasonCode === before;
  const message = session.reasonText ?? sessionReasons[session.reasonCode as SessionReason];
  const end = until ?? (isSame ? known.until : null);
  if (isSame && end === known.until) return;
  const since = isSame ? known.since : clock.now().toISOString();
  await patchSession(tx, session, { restriction: { kind, message, until: end, since } });
  if (isSame) return;
  const data = { kind, message, until: end, lifted: null };
  await events.append(tx, { ...ownerOf(session), type: 'session.restriction', data });
  if (slowing.has(kind)) await throttle({ events, clock }, tx, session, kind);
}

async function lift(
  { events, clock }: Pick<Core, 'events' | 'clock'>,
  tx: Transaction,
  session: Session,
  kind: RestrictionKind,
): Promise<void> {
  await patchSession(tx, session, { restriction: null });
  const data = { kind: 'lifted' as const, message: 'WhatsApp lets this session in again.', until: null, lifted: kind };
  await events.append(tx, { ...ownerOf(session), type: 'session.restriction', data });
  // A ban may last longer than a throttle. The account must not begin again at its full pace.
  if (slowing.has(kind)) await throttle({ events, clock }, tx, session, kind);
}
