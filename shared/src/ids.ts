import { hash, randomFillSync } from 'node:crypto';
import { getCountries, getCountryCallingCode, parsePhoneNumberFromString } from 'libphonenumber-js';

/**
 * Returns a new id: a UUID of version 7 (RFC 9562) with 48 bits of milliseconds, a count within the millisecond (section 6.2, method 1), and random
 * bits. Ids of one process therefore sort in the order of creation, even if their rows have the same millisecond.
 */
export function newId(now: number = Date.now()): string {
  const bytes = random16();
  count = now === last ? (count + 1) & 0xfff : 0;
  last = now;
  bytes.writeUIntBE(now, 0, 6);
  bytes.writeUInt16BE(0x7000 | count, 6);
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

let last = 0;
let count = 0;

/** Random bytes in advance: one call for 16 bytes costs as much as one for thousands. */
const pool = Buffer.alloc(4_096);
let used = pool.length;
function random16(): Buffer {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += 16;
  return pool.subarray(used - 16, used);
}

const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
export const isId = (value: string): boolean => uuidForm.test(value);

/** The kind of a WhatsApp address. `phone` and `lid` are the two forms of one person. */
export type AddressKind = 'phone' | 'lid' | 'group' | 'channel' | 'status';

export interface Address {
  kind: AddressKind;
  /** WhatsApp's id in the form of WhatsApp Web: `…@c.us`, `…@lid`, `…@g.us`, `…@newsletter`, `status@broadcast`. */
  id: string;
}

/**
 * The kinds of recipients whose messages can have a reserved id, so that a message whose outcome is unknown can be looked up. Stories are sent to
 * `status@broadcast` by a route of their own. Broadcast lists are not supported.
 */
export const reservedIdKinds: ReadonlySet<AddressKind> = new Set<AddressKind>(['phone', 'lid', 'group', 'channel', 'status']);

/** A map, not an object: `0@constructor` must find nothing. */
const servers = new Map<string, AddressKind>([
  ['c.us', 'phone'],
  ['s.whatsapp.net', 'phone'],
  ['lid', 'lid'],
  ['g.us', 'group'],
  ['newsletter', 'channel'],
  ['broadcast', 'status'],
]);

const userForms: Record<AddressKind, RegExp> = {
  phone: /^[1-9]\d{6,14}$/,
  lid: /^\d{5,20}$/,
  group: /^\d{5,20}(-\d{5,20})?$/,
  channel: /^\d{5,25}$/,
  status: /^status$/,
};

/** Parses an id of WhatsApp (a device suffix such as `:12` is dropped). Null: it is not one. */
export function parseAddress(id: string): Address | null {
  const at = id.indexOf('@');
  if (at < 1) return null;
  const kind = servers.get(id.slice(at + 1).toLowerCase());
  if (!kind) return null;
  const user = id.slice(0, at).replace(/[:_]\d{1,3}$/, '');
  if (!userForms[kind].test(user)) return null;
  return { kind, id: addressOf(kind, user) };
}

const serverOf: Record<AddressKind, string> = {
  phone: 'c.us',
  lid: 'lid',
  group: 'g.us',
  channel: 'newsletter',
  status: 'broadcast',
};
const addressOf = (kind: AddressKind, user: string): string => `${user}@${serverOf[kind]}`;

/** `+5511999990001` → `5511999990001@c.us`. */
export const phoneAddress = (e164: string): string => addressOf('phone', e164.replace(/^\+/, ''));

/** Returns the phone number in E.164 with its `+`; null if the id is not a phone number's. */
export function phoneOf(id: string | null | undefined): string | null {
  const address = id ? parseAddress(id) : null;
  return address?.kind === 'phone' ? `+${userOf(address.id)}` : null;
}

/** Returns the digits of the phone number, as in `fromNumber` and `toNumber`; null if the id is not a phone number's. */
export const digitsOf = (id: string | null | undefined): string | null => phoneOf(id)?.slice(1) ?? null;

export const userOf = (id: string): string => id.slice(0, id.indexOf('@'));

export type RecipientResult = { ok: true; address: Address } | { ok: false; message: string };

/** Format characters (Unicode category Cf), such as direction marks and zero-width spaces. They are often copied together with a number. */
const invisibleMarks = /\p{Cf}/gu;

/**
 * Numbers that WhatsApp still knows under an outdated form: Mexico with the former mobile prefix 1, Ivory Coast with the eight digits used before
 * 2021. libphonenumber knows only the current forms.
 */
const formerForms = /^(521\d{10}|225\d{8})$/;

/**
 * Parses a recipient as people write it, which is a WhatsApp id or a phone number in international form, with `+`, blanks, dashes, dots, brackets or `00`.
 * Invisible characters are ignored.
 *
 * - A number that begins with a single 0 is national. It is accepted only with a country calling code, by that country's rules.
 * - A national 0 after the country code (`+49 (0) 170 …`) is removed if that country's rules say so; Italy keeps it.
 * - A number that is valid in no country is refused. Most of these are national numbers without their country code, and as international
 *   numbers they would reach a stranger. `…@c.us` is accepted without this check: the rules for numbers change, and WhatsApp decides.
 */
export function parseRecipient(input: string, countryCode?: string | null): RecipientResult {
  const text = input.normalize('NFKC').replace(invisibleMarks, '').trim();
  if (text.includes('@')) {
    const address = parseAddress(text);
    return address
      ? { ok: true, address }
      : { ok: false, message: 'This is not an id of WhatsApp: …@c.us, …@lid, …@g.us, …@newsletter.' };
  }
  const number = parsePhoneNumber(text, countryCode);
  return number.ok ? { ok: true, address: { kind: 'phone', id: addressOf('phone', number.digits) } } : number;
}

const callingCodes = new Set<string>(getCountries().map((country) => getCountryCallingCode(country)));
export const isCallingCode = (code: string): boolean => callingCodes.has(code);

export type PhoneNumberResult = { ok: true; digits: string } | { ok: false; message: string };

/** Parses a phone number as people write it, by the rules of `parseRecipient`. Returns the digits of its international form, without `+`. */
export function parsePhoneNumber(input: string, countryCode?: string | null): PhoneNumberResult {
  const text = input.normalize('NFKC').replace(invisibleMarks, '').trim();
  if (!/^\(?\+?[\d\s().\-/\u2010-\u2015]+$/.test(text))
    return { ok: false, message: 'A number holds digits, blanks, dashes and brackets only.' };
  let digits = text.replace(/\D/g, '');
  if (!text.includes('+')) {
    if (digits.startsWith('00')) digits = digits.slice(2);
    else if (digits.startsWith('0')) {
      const national = countryCode ? parsePhoneNumberFromString(digits, { defaultCallingCode: countryCode }) : undefined;
      if (!national) return { ok: false, message: 'A number that begins with 0 needs a country code.' };
      digits = national.number.slice(1);
    }
  }
  // One digit more than a number has: a national 0 may follow the country code.
  if (!/^[1-9]\d{6,15}$/.test(digits))
    return { ok: false, message: 'An international number has 7 to 15 digits and does not begin with 0.' };
  const known = parsePhoneNumberFromString(`+${digits}`);
  if (known?.isValid() && known.nationalNumber.length < digits.length - known.countryCallingCode.length)
    digits = known.number.slice(1);
  if ((known?.isValid() || formerForms.test(digits)) && userForms.phone.test(digits)) return { ok: true, digits };
  return {
    ok: false,
    message: `This number is valid in no country. Add the country code, such as +55 11 99999-0001. If the number is right, send it as ${digits}@c.us.`,
  };
}

/**
 * Returns the WhatsApp message id that a message of ours has on every attempt: `3EB0` and 18 hex digits, the form that WhatsApp Web creates itself.
 * It is derived and not random, so that a crash cannot lead to a second one. `ownerId` is the account; for a message that only the worker knows it
 * is the session.
 */
export function reserveWhatsappId(ownerId: string, messageId: string): string {
  return `3EB0${hash('sha256', `${ownerId}:${messageId}`).slice(0, 18).toUpperCase()}`;
}

/**
 * Parses a serialized message id, `<fromMe>_<chat>_<key>[_<participant>]`. No known chat id or key contains an underscore. Ids of one message may
 * differ in the chat, which is written by phone number or by LID, so ids must not be compared as texts. Null: it is not a message id.
 */
export function parseMessageKey(
  serialized: string,
): { fromMe: boolean; chatId: string; key: string; participant: string | null } | null {
  const parts = serialized.split('_');
  if (parts.length < 3 || (parts[0] !== 'true' && parts[0] !== 'false')) return null;
  return { fromMe: parts[0] === 'true', chatId: parts[1]!, key: parts[2]!, participant: parts[3] ?? null };
}

/** Returns the form for logs: the kind and the last two digits, never a whole number. */
export function maskAddress(id: string): string {
  const address = parseAddress(id);
  return address ? `${address.kind}:…${userOf(address.id).slice(-2)}` : '…';
}

/** Names that a session may not have, because paths contain them as fixed words. */
const reservedNames = new Set(['init', 'status', 'disconnect', 'list', 'current', 'connect', 'logout', 'restart', 'qr']);
/** Whether a session may have this name: `[-_A-Za-z0-9]{1,64}`, not in the form of our ids, and not a reserved name. */
export const isSessionName = (name: string): boolean =>
  /^[-_A-Za-z0-9]{1,64}$/.test(name) && !isId(name) && !reservedNames.has(name.toLowerCase());
