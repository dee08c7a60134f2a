import { isSameAccount, type WhatsappAccount } from '@chasqui/shared';
import type { Session } from './session.entity.js';

/**
 * What a session's row becomes when its worker says which WhatsApp account it is linked to. The number counts the different accounts one
 * after the other; messages carry the number under which they were accepted. A logout changes nothing: the account that is linked next is
 * compared with the last one. Null: nothing is known, or nothing changed.
 */
export function linkOf(
  session: Pick<Session, 'linkedAccount' | 'linkedAccountNumber'>,
  seen: WhatsappAccount,
): { changes: Pick<Session, 'linkedAccount' | 'linkedAccountNumber'>; isOther: boolean } | null {
  if (seen.phoneNumber === null && seen.lid === null) return null;
  const { linkedAccount: before, linkedAccountNumber: number } = session;
  if (before && isSameAccount(before, seen) === false)
    return { changes: { linkedAccount: seen, linkedAccountNumber: number + 1 }, isOther: true };
  const linkedAccount = { phoneNumber: seen.phoneNumber ?? before?.phoneNumber ?? null, lid: seen.lid ?? before?.lid ?? null };
  if (before?.phoneNumber === linkedAccount.phoneNumber && before.lid === linkedAccount.lid) return null;
  return { changes: { linkedAccount, linkedAccountNumber: number }, isOther: false };
}
