import { type restrictionKinds, sessionReasons, type Restriction, type SessionReason } from '@chasqui/shared';
import { readable } from '../db/unreadable.js';
import type { Session } from './session.entity.js';

type RestrictionKind = (typeof restrictionKinds)[number];

/** Maps reasons for which WhatsApp blocks the account, its page or the network to the kinds that `session.restriction` publishes. */
const kinds: Partial<Record<SessionReason, RestrictionKind>> = {
  ACCOUNT_BANNED: 'terms_block',
  ACCOUNT_RESTRICTED: 'terms_block',
  NETWORK_BLOCKED: 'proxy_block',
  OUTDATED_VERSION: 'outdated_version',
};

export const restrictionOf = (reasonCode: string | null): RestrictionKind | undefined => kinds[reasonCode as SessionReason];

export const reachOutLock = 'WhatsApp does not let this account write to new chats now. Existing chats continue.';

/** Returns the restrictions that apply now: of the session's status, and of its account. */
export function restrictionsOf(session: Session): Restriction[] {
  const kind = restrictionOf(session.reasonCode);
  const message = session.reasonText ?? sessionReasons[session.reasonCode as SessionReason] ?? '';
  const isLocked = readable(session.accountLimits, null)?.reachOutLocked === true;
  return [
    ...(kind ? [{ kind, message }] : []),
    ...(isLocked ? [{ kind: 'reach_out_lock' as const, message: reachOutLock }] : []),
  ];
}
