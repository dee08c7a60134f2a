import { isSameAccount, type WhatsappAccount } from '@chasqui/shared';
import { In, IsNull, Not, type EntityManager } from 'typeorm';
import { readable } from '../db/unreadable.js';
import { Session } from './session.entity.js';

/**
 * Returns the changes of a session's row when its worker reports the linked WhatsApp account, and whether it is another account than before.
 * Null: nothing is known, or nothing changed. `linkedAccountNumber` counts the accounts that were linked one after another; a message stores the
 * number under which it was accepted. A logout changes nothing: the account that is linked next is compared with the last one.
 */
export function linkOf(
  session: Pick<Session, 'linkedAccount' | 'linkedAccountNumber' | 'phoneNumber'>,
  observed: WhatsappAccount,
): { changes: Pick<Session, 'linkedAccount' | 'linkedAccountNumber'>; isOther: boolean } | null {
  if (observed.phoneNumber === null && observed.lid === null) return null;
  const number = session.linkedAccountNumber;
  // A damaged account is replaced by what is observed; the number in its own column still tells whether it is another one.
  const inOwnColumn = { phoneNumber: session.phoneNumber, lid: null };
  const before = readable(session.linkedAccount, inOwnColumn);
  if (before && isSameAccount(before, observed) === false)
    return { changes: { linkedAccount: observed, linkedAccountNumber: number + 1 }, isOther: true };
  const linkedAccount = {
    phoneNumber: observed.phoneNumber ?? before?.phoneNumber ?? null,
    lid: observed.lid ?? before?.lid ?? null,
  };
  const isKnown = before?.phoneNumber === linkedAccount.phoneNumber && before.lid === linkedAccount.lid;
  if (isKnown && before !== inOwnColumn) return null;
  return { changes: { linkedAccount, linkedAccountNumber: number }, isOther: false };
}

/** Whether another session of the installation is linked to the number, given as digits. */
export const isLinkedElsewhere = (manager: EntityManager, session: Session, digits: string): Promise<boolean> =>
  manager.existsBy(Session, { id: Not(session.id), phoneNumber: In([digits, `+${digits}`]), deletedAt: IsNull() });
