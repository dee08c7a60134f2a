import { z } from 'zod';

/** The WhatsApp account that a session is linked to. `phoneNumber` has digits only. A field is null if the page does not know it. */
export const whatsappAccount = z.object({ phoneNumber: z.string().nullable(), lid: z.string().nullable() });
export type WhatsappAccount = z.infer<typeof whatsappAccount>;

/** Returns an id without the server and the device, because `123456:7@lid` and `123456@lid` name one account. */
const userOf = (id: string): string => id.split(/[:@]/, 1).join('').replace(/^\+/, '');

/**
 * Whether both are the same WhatsApp account. An account that changes its number keeps its LID, and one whose LID is not known yet has its number, so
 * one equal id is enough. Null: the two have no kind of id in common, so it is unknown.
 */
export function isSameAccount(a: WhatsappAccount, b: WhatsappAccount): boolean | null {
  const lids = a.lid !== null && b.lid !== null ? userOf(a.lid) === userOf(b.lid) : null;
  const phones = a.phoneNumber !== null && b.phoneNumber !== null ? userOf(a.phoneNumber) === userOf(b.phoneNumber) : null;
  return lids === true || phones === true ? true : (lids ?? phones);
}
