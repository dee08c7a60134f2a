import { validationError, type OptOutResource } from '@chasqui/shared';
import { CsvFormatError, csvRecord, decodeText, parseCsv, phoneColumns } from '../lib/csv.js';

/** Writes opt-outs as files, and reads the people of a file. */

export type ListFormat = 'csv' | 'json';

const columns = ['contact', 'phone', 'lid', 'source', 'keyword', 'createdAt'] as const;

/** Yields the text of a file, page by page. People who were erased have no contact and are left out, because the file could not name them. */
export async function* writeList(pages: AsyncIterable<readonly OptOutResource[]>, format: ListFormat): AsyncGenerator<string> {
  let isFirst = true;
  yield format === 'csv' ? `${columns.join(',')}\r\n` : '[';
  for await (const page of pages)
    for (const { contact, source, keyword, createdAt } of page) {
      if (!contact) continue;
      const { id, phone, lid } = contact;
      if (format === 'csv') yield `${csvRecord([id, phone, lid, source, keyword, createdAt])}\r\n`;
      else yield `${isFirst ? '' : ','}\n${JSON.stringify({ contact: id, phone, lid, source, keyword, createdAt })}`;
      isFirst = false;
    }
  if (format === 'json') yield '\n]\n';
}

/** A line of a file. `row` counts from 1, with the header of a CSV. */
export interface ListedPerson {
  row: number;
  input: string;
}

/**
 * Reads the people of a file: a JSON list of ids or of exported objects, or CSV with or without a header, in any form that `lib/csv.ts` reads. Throws
 * `VALIDATION_FAILED`.
 */
export function readList(file: Buffer | string): ListedPerson[] {
  const text = typeof file === 'string' ? file.replace(/^\ufeff/, '') : decodeText(file);
  return text.trimStart().startsWith('[') ? readJson(text) : readCsv(text);
}

function readJson(text: string): ListedPerson[] {
  let list: unknown;
  try {
    list = JSON.parse(text) as unknown;
  } catch {
    throw unreadable('The file is not valid JSON.');
  }
  return (list as unknown[]).map((item, index) => ({ row: index + 1, input: idIn(item) }));
}

function idIn(item: unknown): string {
  if (typeof item === 'string') return item;
  const { contact, phone, lid } = (item ?? {}) as Record<string, unknown>;
  const id = [contact, phone, lid].find((one) => typeof one === 'string');
  return typeof id === 'string' ? id : '';
}

function readCsv(text: string): ListedPerson[] {
  const rows = recordsOf(text);
  const at = personColumn(rows[0] ?? []);
  return rows.flatMap((cells, index) => {
    const isHeader = index === 0 && at !== null;
    const isBlank = cells.every((cell) => cell.trim() === '');
    return isHeader || isBlank ? [] : [{ row: index + 1, input: (cells[at ?? 0] ?? '').trim() }];
  });
}

function recordsOf(text: string): string[][] {
  try {
    return parseCsv(text);
  } catch (error) {
    if (!(error instanceof CsvFormatError)) throw error;
    throw unreadable(`The CSV file cannot be read: ${error.message}`);
  }
}

/**
 * Returns the index of the column that names people: `contact`, as in our own exports, or else one that is named like a phone number, or else `lid`.
 * Null if the first record is not a header.
 */
function personColumn(header: readonly string[]): number | null {
  const names = header.map((cell) => cell.trim().toLowerCase());
  const [own, phone, lid] = [names.indexOf('contact'), names.findIndex((name) => phoneColumns.has(name)), names.indexOf('lid')];
  return [own, phone, lid].find((index) => index !== -1) ?? null;
}

const unreadable = (message: string) => validationError([{ path: 'file', code: 'INVALID_FORMAT', message }]);
