import { hash, randomFillSync } from 'node:crypto';
import { getCountries, getCountryCallingCode, parsePhoneNumberFromString } from 'libphonenumber-js';

/**
 * Our own ids are UUIDs, version 7 (RFC 9562): 48 bits of milliseconds, then a count within the millisecond (its section 6.2, method 1),
 * then random bits. Ids of one process therefore sort in the order of creation, which is the only order of two rows of one
 * millisecond.
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

/** Drawn in stock: one call for 16 bytes costs as much as one for thousands. */
const stock = Buffer.alloc(4_096);
let taken = stock.length;
function random16(): Buffer {
  if (taken === stock.length) {
    randomFillSync(stock);
    taken = 0;
  }
  taken += 16;
  return stock.subarray(taken - 16, taken);
}

const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
export const isId = (value: string): boolean => uuidForm.test(value);

/** The kind of a WhatsApp address. `phone` and `lid` are the two forms of one person. */
export type AddressKind = 'phone' | 'lid' | 'group' | 'channel' | 'status';

export interface Address {
  kind: AddressKind;
  /** WhatsApp's id as its own library writes it: `…@c.us`, `…@lid`, `…@g.us`, `…@newsletter`, `status@broadcast`. */
  id: string;
}

/**
 * Kinds of recipients whose sends accept a reserved message id, so that a message whose outcome is unknown can be looked up. Stories go to
 * `status@broadcast` by a route of their own. Broadcast lists are not recipients here.
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

/** Reads an id as WhatsApp writes it (a device suffix `:12` is dropped); null when it is none. */
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

/** The phone number in E.164 with its `+`, or null where the address is no phone form. */
export function phoneOf(id: string | null | undefined): string | null {
  const address = id ? parseAddress(id) : null;
  return address?.kind === 'phone' ? `+${userOf(address.id)}` : null;
}

/** Digits only, as `fromNumber` and `toNumber` carry them; null where no phone number is known. */
export const digitsOf = (id: string | null | undefined): string | null => phoneOf(id)?.slice(1) ?? null;

export const userOf = (id: string): string => id.slice(0, id.indexOf('@'));

export type RecipientResult = { ok: true; address: Address } | { ok: false; message: string };

/** Format characters (Unicode category Cf): direction marks, zero-width spaces and the like, which come along when a number is copied. */
const invisibleMarks = /\p{Cf}/gu;

/**
 * Numbers that WhatsApp keeps under a form that is not valid any more: Mexico with the former mobile prefix 1, Ivory Coast with the eight
 * digits used before 2021. libphonenumber knows only the current forms.
 */
const formerForms = /^(521\d{10}|225\d{8})$/;

/**
 * A recipient as people write it: any WhatsApp id, or a phone number in international form, with `+`, blanks, dashes, dots, brackets or
 * `00`. Invisible marks are ignored.
 *
 * - A number that begins with a single 0 is national. It is accepted only with a country calling code, by that country's rules.
 * - A national 0 behind the country code (`+49 (0) 170 …`) is removed where that country's rules say so; Italy keeps it.
 * - A number that is valid in no country is refused. Most of these are national numbers without their country code, and as international
 *   numbers they would reach a stranger. `…@c.us` is accepted without this check: the rules of numbers change, and WhatsApp decides.
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

/** A phone number as people write it, by the rules of `parseRecipient`. Returns the digits of its international form, without `+`. */
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
 * The WhatsApp message id that a message of ours will have, on every attempt: `3EB0` and 18 hex digits, the form that WhatsApp
 * Web itself makes. It is derived, not random, so that a crash cannot lead to a second one.
 */
export function reserveWhatsappId(accountId: string, messageId: string): string {
  return `3EB0${hash('sha256', `${accountId}:${messageId}`).slice(0, 18).toUpperCase()}`;
}

/**
 * Serialized message ids are `<fromMe>_<chat>_<key>[_<participant>]`; the middle part may carry underscores in no known form.
 * Messages are compared by `key` alone, because the chat may be written by phone or by LID.
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

/** Session names: `[-_A-Za-z0-9]{1,64}`, not shaped like one of our ids, and none of the fixed words of the paths. */
const reservedNames = new Set(['init', 'status', 'disconnect', 'list', 'current', 'connect', 'logout', 'restart', 'qr']);
export const isSessionName = (name: string): boolean =>
  /^[-_A-Za-z0-9]{1,64}$/.test(name) && !isId(name) && !reservedNames.has(name.toLowerCase());
