import { AppError, validationError } from '@chasqui/shared';
import { CsvFormatError, decodeText, parseFilled, phoneColumns } from '../../lib/csv.js';
import type { Variables } from '../../templates/render.js';

/** Reads recipients from CSV with a header, in any form that `lib/csv.ts` reads. All functions are pure and bounded by the limits below. */

export interface CsvRow {
  recipient: string;
  variables: Variables;
}

/**
 * Which columns are read. Absent: the recipient is in the column that is named like a phone number, or else in the first; each other column is a
 * variable.
 */
export interface ColumnMapping {
  /** The column of the recipients. */
  recipient?: string | undefined;
  /** Variable → column. */
  variables?: Record<string, string> | undefined;
}

export const maxCsvBytes = 8_388_608;
const maxColumns = 64;
/** The maximum length of a stored recipient. No id of a chat is longer. */
const maxRecipientLength = 80;

/** Throws `FILE_TOO_LARGE`, and `VALIDATION_FAILED` for a file that is no CSV, has too many rows, or lacks a column that the mapping names. Without a mapping, two columns may not become one variable. */
export function readCsv(
  input: string | Uint8Array,
  mapping: ColumnMapping,
  maxRows: number,
): { rows: CsvRow[]; columns: string[] } {
  const size = typeof input === 'string' ? input.length : input.byteLength;
  if (size > maxCsvBytes) throw new AppError('FILE_TOO_LARGE', { limit: maxCsvBytes, size });
  const text = typeof input === 'string' ? input.replace(/^\ufeff/, '') : decodeText(input);
  // PostgreSQL stores no text with it, and no spreadsheet writes it.
  if (text.includes('\0')) throw refuse('INVALID_CHARACTER', 'The file has a character that is no text (U+0000).');
  const [header = [], ...records] = recordsOf(text, maxRows);
  const columns = header.map((name) => name.trim());
  if (columns.length > maxColumns) throw refuse('TOO_BIG', `The file has more than ${maxColumns} columns.`);
  if (records.length > maxRows) throw refuse('TOO_BIG', `The file has more than ${maxRows} rows.`);
  requireNoMoreValues(records, columns.length);
  const at = recipientColumn(columns, mapping.recipient);
  const variables = variableColumns(columns, at, mapping.variables);
  const rows = records.map((record) => ({
    recipient: (record[at] ?? '').trim().slice(0, maxRecipientLength),
    variables: Object.fromEntries(variables.map(([name, index]) => [name, (record[index] ?? '').trim()])),
  }));
  return { rows, columns };
}

/** Throws for a row with more values than columns: a value with an unquoted separator, such as 1,50, would be cut, and later ones would shift. */
function requireNoMoreValues(records: readonly string[][], columns: number): void {
  const index = records.findIndex((record) => record.slice(columns).some((value) => value.trim() !== ''));
  if (index === -1) return;
  const message = `Row ${index + 1} has more values than the header has columns. Write a value that contains the separator in quotes.`;
  throw refuse('TOO_MANY_VALUES', message);
}

/** Returns the name of a column as a placeholder can contain it: `First name` → `First_name`. Empty if it has no letter or digit. */
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
  const found = columns.findIndex((column) => phoneColumns.has(column.toLowerCase()));
  return Math.max(0, found);
}

function variableColumns(
  columns: readonly string[],
  recipientAt: number,
  named: Record<string, string> | undefined,
): [string, number][] {
  if (named) return Object.entries(named).map(([name, column]) => [name, indexOf(columns, column)]);
  const variables = new Map<string, number>();
  for (const [index, column] of columns.entries()) {
    const name = variableName(column);
    if (index === recipientAt || name === '') continue;
    const other = variables.get(name);
    if (other !== undefined)
      throw refuse(
        'DUPLICATE_COLUMN',
        `The columns ${columns[other]} and ${column} would both be the variable ${name}. Rename one, or say in columns.variables which one it is.`,
      );
    variables.set(name, index);
  }
  return [...variables];
}

function indexOf(columns: readonly string[], name: string): number {
  const index = columns.indexOf(name.trim());
  if (index === -1)
    throw refuse('UNKNOWN_COLUMN', `The file has no column ${name}. Its columns are ${columns.join(', ')}.`, 'columns');
  if (columns.includes(name.trim(), index + 1))
    throw refuse('DUPLICATE_COLUMN', `The file has more than one column ${name}. Rename one of them.`, 'columns');
  return index;
}

function recordsOf(text: string, maxRows: number): string[][] {
  try {
    return parseFilled(text, maxRows + 2);
  } catch (error) {
    if (!(error instanceof CsvFormatError)) throw error;
    throw refuse('INVALID_FORMAT', `The CSV file cannot be read: ${error.message}`);
  }
}

const refuse = (code: string, message: string, path = 'file'): AppError => validationError([{ path, code, message }]);
