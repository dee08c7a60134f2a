import { AppError, validationError } from '@chasqui/shared';
import { CsvError, parse } from 'csv-parse/sync';
import type { Variables } from '../../templates/render.js';

/**
 * Reads recipients from CSV as spreadsheets write it: UTF-8 or UTF-16 with or without its mark, or windows-1252; separated by commas, semicolons,
 * tabs or bars; with a header. All functions are pure and bounded by the limits below.
 */

export interface CsvRow {
  recipient: string;
  variables: Variables;
}

/** Which column has what. Absent: the recipient is in the column whose name says so, and each other column is a variable. */
export interface ColumnMapping {
  /** The column of the recipients. */
  recipient?: string | undefined;
  /** Variable → column. */
  variables?: Record<string, string> | undefined;
}

export const maxCsvBytes = 8_388_608;
const maxColumns = 64;
const maxRecordLength = 100_000;

/** Names of columns that hold the recipient, in the languages that our users write. The first column is taken if there is none. */
const recipientNames = new Set(
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

/** Throws `FILE_TOO_LARGE`, and `VALIDATION_FAILED` for a file that is no CSV, has too many rows, or lacks a column that the mapping names. */
export function readCsv(
  given: string | Uint8Array,
  mapping: ColumnMapping,
  maxRows: number,
): { rows: CsvRow[]; columns: string[] } {
  const size = typeof given === 'string' ? given.length : given.byteLength;
  if (size > maxCsvBytes) throw new AppError('FILE_TOO_LARGE', { limit: maxCsvBytes, size });
  const text = typeof given === 'string' ? given.replace(/^\ufeff/, '') : decode(given);
  const [header = [], ...records] = recordsOf(text, maxRows);
  const columns = header.map((name) => name.trim());
  if (columns.length > maxColumns) throw refuse('TOO_BIG', `The file has more than ${maxColumns} columns.`);
  if (records.length > maxRows) throw refuse('TOO_BIG', `The file has more than ${maxRows} rows.`);
  const at = recipientColumn(columns, mapping.recipient);
  const variables = variableColumns(columns, at, mapping.variables);
  const rows = records.map((record) => ({
    recipient: (record[at] ?? '').trim(),
    variables: Object.fromEntries(variables.map(([name, index]) => [name, (record[index] ?? '').trim()])),
  }));
  return { rows, columns };
}

/** A name as placeholders write it: `First name` → `First_name`. */
export function variableName(column: string): string {
  const name = column
    .normalize('NFC')
    .split(/[^\p{L}\p{M}\p{N}_]+/u)
    .filter((part) => part !== '')
    .join('_')
    .slice(0, 63);
  return /^\p{N}/u.test(name) ? `_${name}` : name;
}

function recipientColumn(columns: readonly string[], named: string | undefined): number {
  if (named !== undefined) return indexOf(columns, named);
  const found = columns.findIndex((column) => recipientNames.has(column.toLowerCase()));
  return Math.max(0, found);
}

function variableColumns(
  columns: readonly string[],
  recipientAt: number,
  named: Record<string, string> | undefined,
): [string, number][] {
  if (named) return Object.entries(named).map(([name, column]) => [name, indexOf(columns, column)]);
  return columns.flatMap((column, index): [string, number][] => {
    const name = variableName(column);
    return index === recipientAt || name === '' ? [] : [[name, index]];
  });
}

function indexOf(columns: readonly string[], name: string): number {
  const index = columns.indexOf(name.trim());
  if (index === -1)
    throw refuse('UNKNOWN_COLUMN', `The file has no column ${name}. Its columns are ${columns.join(', ')}.`, 'columns');
  return index;
}

function recordsOf(text: string, maxRows: number): string[][] {
  try {
    return parse(text, {
      delimiter: separatorOf(text),
      relax_column_count: true,
      skip_empty_lines: true,
      skip_records_with_empty_values: true,
      max_record_size: maxRecordLength,
      to: maxRows + 2,
    });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw refuse('INVALID_FORMAT', `The CSV file cannot be read: ${error.message}`);
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

function decode(bytes: Uint8Array): string {
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
    return new TextDecoder('windows-1252').decode(bytes); // It is not UTF-8, and every sequence of bytes is a text in this encoding.
  }
}

function zerosIn(bytes: Uint8Array): [even: number, odd: number] {
  const zeros: [number, number] = [0, 0];
  for (const [index, byte] of bytes.entries()) if (byte === 0) zeros[index % 2 === 0 ? 0 : 1] += 1;
  return zeros;
}

const refuse = (code: string, message: string, path = 'file'): AppError => validationError([{ path, code, message }]);
