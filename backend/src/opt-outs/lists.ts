import { validationError, type OptOutResource } from '@chasqui/shared';

/** Lists of opt-outs as files. */

export type ListFormat = 'csv' | 'json';

const columns = ['contact', 'phone', 'lid', 'source', 'keyword', 'createdAt'] as const;

/** Writes a list as its pages come. People who were erased have no contact, and are left out: the file could not name them. */
export async function* writeList(pages: AsyncIterable<readonly OptOutResource[]>, format: ListFormat): AsyncGenerator<string> {
  let isFirst = true;
  yield format === 'csv' ? `${columns.join(',')}\r\n` : '[';
  for await (const page of pages)
    for (const { contact, source, keyword, createdAt } of page) {
      if (!contact) continue;
      const { id, phone, lid } = contact;
      if (format === 'csv') yield `${[id, phone, lid, source, keyword, createdAt].map(cellOf).join(',')}\r\n`;
      else yield `${isFirst ? '' : ','}\n${JSON.stringify({ contact: id, phone, lid, source, keyword, createdAt })}`;
      isFirst = false;
    }
  if (format === 'json') yield '\n]\n';
}

/** A spreadsheet reads a cell that begins with `=`, `@`, `+` or `-` as a formula, unless it is a number. */
function cellOf(value: string | null): string {
  const text = value ?? '';
  const isFormula = /^[=@+\-\t\r]/.test(text) && !/^\+\d+$/.test(text);
  const safe = isFormula ? `'${text}` : text;
  return /[",\r\n;]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export interface ListedPerson {
  row: number;
  input: string;
}

/** Reads the people of a file: a JSON list of ids or of exported objects, or CSV with or without a header. Throws `VALIDATION_FAILED`. */
export function readList(bytes: Buffer): ListedPerson[] {
  const text = decode(bytes);
  return text.trimStart().startsWith('[') ? readJson(text) : readCsv(text);
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw unreadable('The file is not UTF-8.');
  }
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

/** Names of the column with the person, the best one first. */
const idColumns = ['contact', 'phone', 'number', 'recipient', 'lid'];

function readCsv(text: string): ListedPerson[] {
  const separator = [';', '\t'].find((one) => text.split('\n', 1)[0]!.includes(one)) ?? ',';
  const rows = parseCsv(text, separator);
  const header = rows[0]?.map((cell) => cell.trim().toLowerCase()) ?? [];
  const named = idColumns.map((name) => header.indexOf(name)).find((index) => index !== -1);
  return rows.flatMap((cells, index) => {
    const input = (cells[named ?? 0] ?? '').trim();
    const isHeader = index === 0 && named !== undefined;
    const isBlank = cells.every((cell) => cell.trim() === '');
    return isHeader || isBlank ? [] : [{ row: index + 1, input }];
  });
}

/** CSV as RFC 4180 describes it. A quote inside an unquoted cell is text. */
function parseCsv(text: string, separator: string): string[][] {
  const rows: string[][] = [];
  let cells: string[] = [];
  for (let at = 0; at < text.length;) {
    const { value, end } = text[at] === '"' ? quotedCell(text, at) : plainCell(text, at, separator);
    cells.push(value);
    const isNext = text[end] === separator;
    if (!isNext) {
      rows.push(cells);
      cells = [];
    }
    at = end + (text[end] === '\r' && text[end + 1] === '\n' ? 2 : 1);
    // A separator at the very end begins an empty cell.
    if (isNext && at >= text.length) rows.push([...cells, '']);
  }
  return rows;
}

function plainCell(text: string, start: number, separator: string): { value: string; end: number } {
  let end = start;
  while (end < text.length && text[end] !== separator && text[end] !== '\n' && text[end] !== '\r') end += 1;
  return { value: text.slice(start, end), end };
}

function quotedCell(text: string, start: number): { value: string; end: number } {
  let value = '';
  for (let at = start + 1; ;) {
    const quote = text.indexOf('"', at);
    if (quote === -1) throw unreadable('A quoted cell of the file has no end.');
    value += text.slice(at, quote);
    if (text[quote + 1] !== '"') return { value, end: quote + 1 };
    value += '"';
    at = quote + 2;
  }
}

const unreadable = (message: string) => validationError([{ path: 'file', code: 'INVALID_FORMAT', message }]);
