import { CsvError, parse, type Options } from 'csv-parse/sync';

/**
 * CSV as spreadsheets write and read it: UTF-8 or UTF-16 with or without its mark, or windows-1252; separated by commas, semicolons, tabs or bars. All
 * functions are pure.
 */

/** Names of columns that hold a phone number, in the languages that our users write. Lower case. */
export const phoneColumns: ReadonlySet<string> = new Set(
  ['recipient', 'phone', 'phone number', 'phonenumber', 'number', 'mobile', 'whatsapp', 'to', 'tel', 'telephone'].concat([
    'telefone',
    'celular',
    'numero',
    'número',
    'teléfono',
    'telefono',
    'móvil',
    'movil',
    'telefon',
    'nummer',
    'handy',
  ]),
);

const maxRecordLength = 100_000;

/** Thrown for a text that is no CSV. The message says why. */
export class CsvFormatError extends Error {}

/** Parses a text, blank lines included: each is a record with one empty cell. Throws `CsvFormatError`. */
export const parseCsv = (text: string): string[][] => parsed(text, {});

/** Parses at most so many records that are not blank. Throws `CsvFormatError`. */
export const parseFilled = (text: string, maxRecords: number): string[][] =>
  parsed(text, { skip_empty_lines: true, skip_records_with_empty_values: true, to: maxRecords });

function parsed(text: string, options: Options): string[][] {
  const delimiter = separatorOf(text);
  try {
    return parse(text, { ...options, delimiter, relax_column_count: true, max_record_size: maxRecordLength }) as string[][];
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new CsvFormatError(error.message);
  }
}

/** The separator that divides the header into the most columns. */
function separatorOf(text: string): string {
  let best = ',';
  let most = 0;
  for (const delimiter of [',', ';', '\t', '|']) {
    const columns = columnsWith(text, delimiter);
    if (columns > most) [best, most] = [delimiter, columns];
  }
  return best;
}

function columnsWith(text: string, delimiter: string): number {
  try {
    const options = { delimiter, relax_column_count: true, skip_empty_lines: true, max_record_size: maxRecordLength, to: 1 };
    return parse(text.slice(0, maxRecordLength), options)[0]?.length ?? 0;
  } catch {
    return 0; // With this separator the header is no CSV.
  }
}

/** Decodes the text of a file without its mark. Every sequence of bytes is a text in one of the encodings. */
export function decodeText(bytes: Uint8Array): string {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  const [even, odd] = zerosIn(bytes.subarray(0, 1_000));
  // Latin letters in UTF-16 have a zero as every second byte.
  if (odd > 100 || (bytes.length < 1_000 && odd * 3 > bytes.length)) return new TextDecoder('utf-16le').decode(bytes);
  if (even > 100 || (bytes.length < 1_000 && even * 3 > bytes.length)) return new TextDecoder('utf-16be').decode(bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
}

function zerosIn(bytes: Uint8Array): [even: number, odd: number] {
  const zeros: [number, number] = [0, 0];
  for (const [index, byte] of bytes.entries()) if (byte === 0) zeros[index % 2 === 0 ? 0 : 1] += 1;
  return zeros;
}

/**
 * Writes one record without the end of its line. A spreadsheet would run a text that begins like a formula: an apostrophe makes it a text. Numbers stay,
 * phone numbers with their plus too.
 */
export const csvRecord = (cells: readonly (string | number | null | undefined)[]): string => cells.map(cellOf).join(',');

function cellOf(value: string | number | null | undefined): string {
  if (typeof value !== 'string') return value === null || value === undefined ? '' : String(value);
  const isFormula = /^[=@+\-\t\r]/.test(value) && !/^\+\d+$/.test(value);
  const text = isFormula ? `'${value}` : value;
  return /[",;\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
