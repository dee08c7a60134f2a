/**
 * Other spellings under which WhatsApp may have registered a number, for countries that changed their numbers: digits in, digits out, without the
 * number itself. WhatsApp keeps the spelling of the time when the person registered. Used to look for a person, never to decide who somebody is:
 * only what WhatsApp answers joins two spellings in the contacts table.
 *
 * Sources: ITU national numbering plans of Brazil (ninth digit, 2012 to 2016), Mexico (the mobile prefix 1 was dropped in 2019), Argentina (the
 * mobile prefix 9 is used in international form only) and Ivory Coast (ten digits since 31 January 2021; mobile 01 MTN's Moov, 05 MTN, 07 Orange).
 */
export function spellingsOf(digits: string): string[] {
  for (const { form, other } of rules) {
    const match = form.exec(digits);
    if (match) return other(match);
  }
  return [];
}

/** The calling codes of the countries that have rules. */
const codes = ['55', '52', '54', '225'];

/** Other spellings, in international form, of a number that may have been written without its country code. */
export const spellingsInAnyCountry = (digits: string, { isInternational }: { isInternational: boolean }): string[] => [
  ...spellingsOf(digits),
  ...(isInternational ? [] : codes.flatMap((code) => spellingsOf(code + digits))),
];

interface Rule {
  form: RegExp;
  other: (match: RegExpExecArray) => string[];
}

const rules: readonly Rule[] = [
  // Brazil: 55, area code, 9, eight digits; and the same without the 9.
  { form: /^55([1-9]\d)9([6-9]\d{7})$/, other: ([, area, rest]) => [`55${area}${rest}`] },
  { form: /^55([1-9]\d)([6-9]\d{7})$/, other: ([, area, rest]) => [`55${area}9${rest}`] },
  // Mexico: 52, ten digits; and 521.
  { form: /^521(\d{10})$/, other: ([, rest]) => [`52${rest}`] },
  { form: /^52(\d{10})$/, other: ([, rest]) => [`521${rest}`] },
  // Argentina: 54, ten digits; and 549.
  { form: /^549(\d{10})$/, other: ([, rest]) => [`54${rest}`] },
  { form: /^54([1-8]\d{9})$/, other: ([, rest]) => [`549${rest}`] },
  // Ivory Coast: 225 and eight digits; and the same behind the operator's two digits.
  { form: /^225(?:01|05|07)(\d{8})$/, other: ([, rest]) => [`225${rest}`] },
  { form: /^225(\d{8})$/, other: ([, rest]) => ['01', '05', '07'].map((operator) => `225${operator}${rest}`) },
];
