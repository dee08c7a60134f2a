import { pipeline } from 'node:stream/promises';
import { AppError } from '@chasqui/shared';
import type { Request, Response, Router } from 'express';
import type { DataSource } from 'typeorm';
import { csvRecord } from '../lib/csv.js';
import type { MessageSearch } from '../search/search.js';
import { sanitizeQuery } from './adminjs.js';
import { requireVisitor } from './guard.js';
import { PanelResource, type ListFilter, type ListSort } from './resource.js';
import { tables, type Field } from './tables.js';
import type { PanelVerbs } from './verbs.js';

/** So many rows are read at once. Other requests run between two parts. */
const partSize = 200;

interface Parts {
  reader: DataSource;
  search: Pick<MessageSearch, 'find'>;
  lists: PanelVerbs['lists'];
}

/**
 * Mounts the download of a list as CSV: the rows that its filters show, in its order, 10,000 at most. Filters are those of the list's address. Each
 * download is in the audit log before its first byte is sent.
 */
export function mountListCsv(router: Router, parts: Parts): void {
  router.get('/live/lists/:table/csv', sanitizeQuery, (req, res, next) => {
    download(parts, req, res).catch(next);
  });
}

async function download({ reader, search, lists }: Parts, req: Request, res: Response): Promise<void> {
  const { caller } = requireVisitor(req);
  const view = tables.find(({ id }) => id === req.params['table']);
  if (!view) throw new AppError('ROUTE_NOT_FOUND');
  const query = req.query as Record<string, string>;
  const resource = new PanelResource(view, reader, search);
  const sort = { sortBy: query['sortBy'], direction: query['direction'] } as ListSort;
  const filters = filtersOf(query);
  const ids = await resource.ids(filters, sort);
  await lists.recordDownload(caller, view.id, { rows: ids.length, filters: Object.keys(filters) });
  const fields = view.fields.filter(({ look }) => look !== 'json' && look !== 'changes');
  const name = `${view.plural.toLowerCase().replaceAll(' ', '-')}.csv`;
  res.type('csv').set('Content-Disposition', `attachment; filename="${name}"`);
  try {
    await pipeline(linesOf(resource, fields, ids), res);
  } catch (error) {
    // The person ended the download.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  }
}

async function* linesOf(resource: PanelResource, fields: readonly Field[], ids: readonly string[]): AsyncGenerator<string> {
  // With the mark of UTF-8, without which spreadsheets read another encoding.
  yield `\uFEFF${csvRecord(fields.map(({ label }) => label))}\r\n`;
  for (let start = 0; start < ids.length; start += partSize) {
    const part = ids.slice(start, start + partSize);
    const found = new Map<string, Row>();
    for (const record of await resource.findMany(part)) found.set(String(record.id()), record.params as Row);
    // A row that was deleted meanwhile is left out.
    const rows = part.map((id) => found.get(id)).filter((row) => row !== undefined);
    yield rows.map((row) => `${csvRecord(fields.map((field) => cellOf(field, row)))}\r\n`).join('');
  }
}

type Row = Record<string, unknown>;

/** The filters in an address: `filters.status=failed`, `filters.createdAt~~from=2026-11-01`. */
function filtersOf(query: Record<string, string>): ListFilter {
  const filters: ListFilter = {};
  for (const [key, value] of Object.entries(query)) {
    if (!key.startsWith('filters.')) continue;
    const [name = '', edge] = key.slice('filters.'.length).split('~~');
    filters[name] = { value: edge ? { ...(filters[name]?.value as object | undefined), [edge]: value } : value };
  }
  return filters;
}

/** What the list shows of a value, as text or number: times in ISO 8601, names in place of ids. */
function cellOf({ name, look }: Field, row: Row): string | number | null {
  const value = row[name];
  if (name === 'accountId') return textOf(row['accountName'] ?? value);
  if (name === 'sessionId') return textOf(row['sessionName'] ?? value);
  if (look === 'chat') return textOf(row['chatTitle'] ?? row['chatNumber']);
  if (look === 'yesno' || look === 'webhookState') return value ? 'yes' : 'no';
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'number' ? value : textOf(value);
}

const textOf = (value: unknown): string | null => (value === null || value === undefined ? null : String(value));
