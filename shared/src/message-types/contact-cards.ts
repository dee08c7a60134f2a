import { validationError, type FieldError } from '../errors.js';
import { parsePhoneNumber } from '../ids.js';
import type { KnownPerson, RequestContext } from './define.js';

/**
 * Reads and writes the vCards of outgoing messages.
 *
 * WhatsApp Web parses a vCard before it sends it, and sends a card that it cannot parse as a chat text with the card's source. So every card
 * is rewritten in the form that it can parse: one card, `VERSION`, one plain `FN` line. The other lines are copied unchanged, unfolded.
 * Formats: RFC 2426 (3.0), RFC 6350 (4.0), and vCard 2.1, which has `CHARSET` and quoted-printable values.
 */

export interface Card {
  name: string;
  /** The card's first number: in international form with `+` if it is complete, otherwise as it is written in the card. Null: no number. */
  phone: string | null;
  vcard: string;
}

export type CardInput = { name: string; phone: string } | { vcard: string } | { contactId: string };

/** The cards of one message. Throws `VALIDATION_FAILED` that names every card that cannot be sent. */
export function cardsOf(given: readonly CardInput[], { countryCode, people }: RequestContext): Card[] {
  const problems: FieldError[] = [];
  const cards = given.flatMap((one, index) => {
    const card =
      'vcard' in one
        ? readCard(one.vcard)
        : 'contactId' in one
          ? knownCard(people?.get(one.contactId) ?? null)
          : newCard(one, countryCode);
    if (!('message' in card)) return [card];
    problems.push({ ...card, path: `contacts.${index}.${card.path}` });
    return [];
  });
  if (problems.length > 0) throw validationError(problems);
  return cards;
}

function newCard({ name, phone }: { name: string; phone: string }, countryCode: string | null | undefined): Card | FieldError {
  const number = parsePhoneNumber(phone, countryCode);
  if (!number.ok) return { path: 'phone', code: 'INVALID_PHONE_NUMBER', message: number.message };
  const shown = plain(name);
  if (!shown) return { path: 'name', code: 'REQUIRED', message: 'The name is empty.' };
  const tel = `TEL;type=CELL;waid=${number.digits}:+${number.digits}`;
  return { name: shown, phone: `+${number.digits}`, vcard: vcardOf([`FN:${escaped(shown)}`, tel]) };
}

/** The card of a person whom the session knows. Without a name of their own the card shows the number, as WhatsApp does. */
function knownCard(person: KnownPerson | null): Card | FieldError {
  if (!person) {
    const message = 'The session does not know this person. Give the name and the phone number instead.';
    return { path: 'contactId', code: 'CONTACT_UNKNOWN', message };
  }
  const { name, phone } = person;
  if (phone) return newCard({ name: name || phone, phone }, null);
  const message = 'This person hides the phone number, and a card needs one. Give the name and the phone number instead.';
  return { path: 'contactId', code: 'NUMBER_UNKNOWN', message };
}

interface Property {
  name: string;
  parameters: string[];
  value: string;
  /** The whole line, unfolded. */
  line: string;
}

/** Parses one vCard and rewrites it in the form that WhatsApp Web can parse. */
function readCard(vcard: string): Card | FieldError {
  const invalid = (code: string, message: string): FieldError => ({ path: 'vcard', code, message });
  const lines = unfold(vcard);
  const isMark = (line: string, mark: 'BEGIN' | 'END'): boolean => line.trim().toUpperCase() === `${mark}:VCARD`;
  if (!isMark(lines[0] ?? '', 'BEGIN') || !isMark(lines.at(-1) ?? '', 'END'))
    return invalid('INVALID_FORMAT', 'A vCard begins with the line BEGIN:VCARD and ends with the line END:VCARD.');
  const inner = lines.slice(1, -1);
  if (inner.some((line) => isMark(line, 'BEGIN') || isMark(line, 'END')))
    return invalid('INVALID_FORMAT', 'Send one card in each item of contacts.');
  const properties = inner.map(propertyOf);
  const broken = properties.find((property) => property === null);
  if (broken !== undefined) return invalid('INVALID_FORMAT', 'A line of the vCard has no colon. Each line is NAME:VALUE.');
  const known = properties.filter((property) => property !== null);
  const name = nameIn(known);
  if (!name) return invalid('NAME_REQUIRED', 'The vCard has no name. Add a line such as FN:Ana Silva.');
  const phones = known.filter((property) => property.name === 'TEL');
  for (const phone of phones) {
    const problem = problemOf(phone);
    if (problem) return invalid('INVALID_PHONE_NUMBER', problem);
  }
  const others = known.filter((property) => !['FN', 'VERSION'].includes(property.name));
  const version = known.find((property) => property.name === 'VERSION')?.value.trim() === '4.0' ? '4.0' : '3.0';
  const first = phones[0] ? numberIn(phones[0]) : null;
  const parsed = first ? parsePhoneNumber(first) : null;
  return {
    name,
    phone: parsed?.ok ? `+${parsed.digits}` : first,
    vcard: vcardOf([`FN:${escaped(name)}`, ...others.map(lineOf)], version),
  };
}

const vcardOf = (lines: readonly string[], version = '3.0'): string =>
  ['BEGIN:VCARD', `VERSION:${version}`, ...lines, 'END:VCARD'].join('\n');

/** Splits a card into lines and joins continued ones: lines that begin with a blank, and lines after a quoted-printable soft line break. */
function unfold(vcard: string): string[] {
  const lines: string[] = [];
  for (const raw of vcard.replace(/^\ufeff/, '').split(/\r\n|\n|\r/)) {
    const last = lines.at(-1);
    if (last !== undefined && /^[ \t]/.test(raw)) lines[lines.length - 1] = last + raw.slice(1);
    else if (last?.endsWith('=') && /;(ENCODING=)?QUOTED-PRINTABLE[;:]/i.test(last))
      lines[lines.length - 1] = last.slice(0, -1) + raw;
    else if (raw.trim() !== '') lines.push(raw);
  }
  return lines;
}

function propertyOf(line: string): Property | null {
  // A colon inside a quoted parameter is not the end of the name.
  const head = /^(?:[^":]|"[^"]*")*(?=:)/.exec(line)?.[0];
  if (!head) return null;
  const [full = '', ...parameters] = head.split(';');
  const value = line.slice(head.length + 1);
  return { name: full.slice(full.lastIndexOf('.') + 1).toUpperCase(), parameters, value, line };
}

const isQuotedPrintable = ({ parameters }: Property): boolean =>
  parameters.some((parameter) => /^(ENCODING=)?QUOTED-PRINTABLE$/i.test(parameter));

/** Returns a property's value, decoded if it is quoted-printable. A value in an unknown charset is returned undecoded. */
function textOf(property: Property): string {
  if (!isQuotedPrintable(property)) return property.value;
  const charset = /^CHARSET=(.+)$/i.exec(property.parameters.find((one) => /^CHARSET=/i.test(one)) ?? '')?.[1] ?? 'utf-8';
  const bytes = Buffer.from(
    property.value.replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
    'latin1',
  );
  try {
    return new TextDecoder(charset).decode(bytes);
  } catch {
    return property.value;
  }
}

/** Returns the line without `CHARSET` and quoted-printable, which vCard 3.0 and 4.0 do not have: they are UTF-8. */
function lineOf(property: Property): string {
  const isOld = property.parameters.some((parameter) => /^CHARSET=/i.test(parameter)) || isQuotedPrintable(property);
  if (!isOld) return property.line;
  const kept = property.parameters.filter((one) => !/^(CHARSET=|(ENCODING=)?QUOTED-PRINTABLE$)/i.test(one));
  return `${[property.name, ...kept].join(';')}:${textOf(property).replace(/\r\n|\r|\n/g, '\\n')}`;
}

/** Returns the name that the card shows: FN, else the parts of N in spoken order, else the organisation. Null: none of them. */
function nameIn(properties: readonly Property[]): string | null {
  const valueOf = (name: string): string => {
    const found = properties.find((property) => property.name === name);
    return found ? textOf(found) : '';
  };
  const parts = valueOf('N').split(/(?<!\\);/);
  const [family = '', given = '', additional = '', prefix = '', suffix = ''] = parts;
  const spoken = [prefix, given, additional, family, suffix].filter((part) => part.trim() !== '').join(' ');
  return (
    plain(unescaped(valueOf('FN'))) || plain(unescaped(spoken)) || plain(unescaped(valueOf('ORG').replaceAll(';', ' '))) || null
  );
}

const numberIn = ({ value }: Property): string => value.trim().replace(/^tel:/i, '').split(';', 1)[0]!.trim();

/** Returns why the value of a TEL line is not a phone number; null when it is one. National numbers and extensions are accepted. */
function problemOf(property: Property): string | null {
  const number = numberIn(property);
  const digits = number.replace(/\D/g, '').length;
  if (!/^[+\d\s().\-/*#,pwx\u2010-\u2015\p{Cf}]+$/iu.test(number) || digits < 3 || digits > 20)
    return 'A TEL line of the vCard holds no phone number. Write it such as TEL:+55 11 99999-0001, or remove the line.';
  const waid = property.parameters.find((parameter) => /^waid=/i.test(parameter))?.slice('waid='.length);
  if (waid !== undefined && !/^[1-9]\d{6,14}$/.test(waid))
    return 'The parameter waid of a TEL line holds the digits of a number in international form, such as waid=5511999990001. Correct or remove it.';
  return null;
}

/** Returns the text as one line, without control characters and without marks that are invisible or change the direction of text. */
const plain = (text: string): string =>
  text
    .replace(/[\u0000-\u001f\u007f\u2028\u2029]+/g, ' ')
    .replace(/[\u202a-\u202e\u2066-\u2069\ufeff]/g, '')
    .trim();
const escaped = (text: string): string => text.replace(/([,;\\])/g, '\\$1');
const unescaped = (text: string): string => text.replace(/\\([n,;:\\])/gi, (_, sign: string) => (/n/i.test(sign) ? ' ' : sign));
