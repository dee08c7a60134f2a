import { z } from 'zod';

/** Which WhatsApp account a session is linked to. `phoneNumber` has digits only. Null if the page does not know it. */
export const whatsappAccount = z.object({ phoneNumber: z.string().nullable(), lid: z.string().nullable() });
export type WhatsappAccount = z.infer<typeof whatsappAccount>;

/** Without the server and the device: `123456:7@lid` and `123456@lid` name one account. */
const userOf = (id: string): string => id.split(/[:@]/, 1).join('').replace(/^\+/, '');

/**
 * Whether both are the same WhatsApp account. One that changed its number keeps its LID, and one whose LID is not known yet has its
 * number, so either form is enough. Null if the two have no form in common: then it is unknown.
 */
export function isSameAccount(a: WhatsappAccount, b: WhatsappAccount): boolean | null {
  const lids = a.lid !== null && b.lid !== null ? userOf(a.lid) === userOf(b.lid) : null;
  const phones = a.phoneNumber !== null && b.phoneNumber !== null ? userOf(a.phoneNumber) === userOf(b.phoneNumber) : null;
  return lids === true || phones === true ? true : (lids ?? phones);
}
