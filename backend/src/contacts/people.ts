import { digitsOf, erased, type Contact } from '@chasqui/shared';

/** Returns what is known of the person behind an id of a session; null if nothing is. */
export type People = (sessionId: string, waId: string | null) => Contact | null;

export const noPeople: People = () => null;

/**
 * Completes the contact in a payload from the contacts table: number and LID, whichever of them the message used, and the current name. `id` becomes
 * the number's id if the number is known. An erased person stays erased.
 */
export function completed(contact: Contact | null, sessionId: string, people: People): Contact | null {
  if (!contact || contact.id === erased) return contact;
  const known = people(sessionId, contact.id) ?? people(sessionId, contact.lid) ?? people(sessionId, phoneIdOf(contact.phone));
  if (!known) return contact;
  const phone = known.phone ?? contact.phone;
  return {
    id: phoneIdOf(phone) ?? contact.id,
    phone,
    lid: known.lid ?? contact.lid,
    name: known.name ?? contact.name,
  };
}

/** What an id says of a person, completed like a contact. */
export function personOf(id: string, sessionId: string, people: People): Contact {
  const digits = digitsOf(id);
  const bare = { id, phone: digits ? `+${digits}` : null, lid: id.endsWith('@lid') ? id : null, name: null };
  return completed(bare, sessionId, people) ?? bare;
}

/** The digits of the number behind an id in either form; null where it is not known. */
export function numberOf(waId: string | null, sessionId: string, people: People): string | null {
  return digitsOf(waId) ?? people(sessionId, waId)?.phone?.replace(/^\+/, '') ?? null;
}

/** `+5511…` → `5511…@c.us`. */
export const phoneIdOf = (phone: string | null | undefined): string | null => (phone ? `${phone.replace(/^\+/, '')}@c.us` : null);
