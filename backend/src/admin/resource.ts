import { foldText } from '@chasqui/shared';
import { Resource as TypeOrmResource } from '@adminjs/typeorm';
import { BaseProperty, BaseRecord, type BaseResource, type Filter, type PropertyType } from 'adminjs';
import { In, type DataSource, type ObjectLiteral, type Repository, type SelectQueryBuilder } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import { containsText } from '../db/sql.js';
import { readable } from '../db/unreadable.js';
import type { MessageSearch } from '../search/search.js';
import { Session } from '../sessions/session.entity.js';
import type { Field, TableView } from './tables.js';
import { foundMessages } from './views/found-messages.js';

const types: Partial<Record<Field['look'], PropertyType>> = {
  time: 'datetime',
  yesno: 'boolean',
  json: 'textarea',
  changes: 'textarea',
  body: 'textarea',
};

/** A filter of a list: the value of each field, or the edges of its range. */
export type ListFilter = Record<string, { value: unknown }>;
export type ListSort = NonNullable<Page['sort']>;

/** A column as AdminJS sees it. */
class PanelProperty extends BaseProperty {
  constructor(private readonly field: Field) {
    super({ path: field.name, type: types[field.look] ?? 'string', isId: field.name === 'id', isSortable: field.sort ?? false });
  }
  override isEditable(): boolean {
    return false;
  }
  override availableValues(): string[] | null {
    return this.field.values ? [...this.field.values] : null;
  }
}

/**
 * Rows are counted up to this number. Pager.tsx then says that there may be more, and ListFilter.tsx that only the newest matches of a text were
 * searched.
 */
export const countLimit = 10_000;
/** A search for a text stops after so many messages that have its letters, so that it never reads a whole history. ListFilter.tsx says so. */
const maxExamined = 50_000;

interface Page {
  limit?: number;
  offset?: number;
  sort?: { sortBy?: string; direction?: 'asc' | 'desc' };
}

/**
 * The parts of a TypeORM BaseEntity that the adapter reads; our entities do not derive from it. It names the table and no columns, because the
 * adapter would show them all.
 */
const modelOf = (view: TableView, reader: DataSource) => {
  const { connection, primaryColumns } = reader.getRepository(view.entity).metadata;
  return { name: view.id, getRepository: () => ({ metadata: { connection, primaryColumns, columns: [] } }) };
};

/**
 * A table for AdminJS, read through the reader. It cannot write: its data source is read-only, and its write methods throw. All queries of the
 * adapter are replaced. The adapter's own filter and sort by any column, even a hidden one (which reveals its values), compare choices with LIKE
 * and times as text, and ignore the errors of a save.
 */
export class PanelResource extends TypeOrmResource {
  private readonly repository: Repository<ObjectLiteral>;
  private readonly panelProperties: Map<string, PanelProperty>;

  constructor(
    private readonly view: TableView,
    private readonly reader: DataSource,
    private readonly search: Pick<MessageSearch, 'find'>,
  ) {
    // The adapter's type requires the class; modelOf has the parts of it that the adapter uses.
    super(modelOf(view, reader) as unknown as ConstructorParameters<typeof TypeOrmResource>[0]);
    this.repository = reader.getRepository(view.entity);
    this.panelProperties = new Map(view.fields.map((field) => [field.name, new PanelProperty(field)]));
  }

  override properties(): never {
    return [...this.panelProperties.values()] as never;
  }
  override property(path: string): never {
    return (this.panelProperties.get(path) ?? null) as never;
  }

  /** Counts up to `countLimit`, so that a page number never requires reading a table with millions of rows. */
  override async count(filter: Filter): Promise<number> {
    const counted = (await this.query(filter)).select('1').limit(countLimit);
    const result = await this.reader
      .createQueryBuilder()
      .select('COUNT(*)', 'n')
      .from(`(${counted.getQuery()})`, 'counted')
      .setParameters(counted.getParameters())
      .getRawOne<{ n: number | string }>();
    return Number(result?.n ?? 0);
  }

  /** Returns the ids of the first rows of a list, `countLimit` at most. */
  async ids(filters: ListFilter, sort: ListSort): Promise<string[]> {
    const query = await this.sorted({ filters } as unknown as Filter, sort);
    const rows = await query.select('row.id', 'id').limit(countLimit).getRawMany<{ id: string }>();
    return rows.map(({ id }) => id);
  }

  override async find(filter: Filter, page: Page): Promise<BaseRecord[]> {
    const query = await this.sorted(filter, page.sort);
    return this.records(
      await query
        .take(Math.min(page.limit ?? 25, 100))
        .skip(page.offset ?? 0)
        .getMany(),
    );
  }

  override async findOne(id: string): Promise<BaseRecord | null> {
    return (await this.findMany([id]))[0] ?? null;
  }

  override async findMany(ids: (string | number)[]): Promise<BaseRecord[]> {
    return this.records(
      await this.base()
        .andWhere({ id: In(ids.map(String)) })
        .getMany(),
    );
  }

  override create(): Promise<never> {
    return Promise.reject(new Error('The panel reads tables; changes go through the verbs.'));
  }
  override update(): Promise<never> {
    return this.create();
  }
  override delete(): Promise<never> {
    return this.create();
  }

  private base(): SelectQueryBuilder<ObjectLiteral> {
    const query = this.repository.createQueryBuilder('row').select(this.view.fields.map((field) => `row.${field.name}`));
    const { hiddenBy, only } = this.view;
    query.where(hiddenBy ? `row.${hiddenBy} IS NULL` : '1 = 1');
    return only ? query.andWhere({ [only.column]: only.value }) : query;
  }

  private async sorted(filter: Filter, sort: ListSort | undefined): Promise<SelectQueryBuilder<ObjectLiteral>> {
    const sortField = this.view.fields.find((field) => field.sort && field.name === sort?.sortBy);
    const { by, direction } = this.view.order;
    const sqlDirection = (sortField ? sort?.direction : direction) === 'desc' ? 'DESC' : 'ASC';
    const query = (await this.query(filter)).orderBy(`row.${sortField?.name ?? by}`, sqlDirection);
    return (sortField?.name ?? by) === 'id' ? query : query.addOrderBy('row.id', sqlDirection);
  }

  private async query(filter: Filter | undefined): Promise<SelectQueryBuilder<ObjectLiteral>> {
    const query = this.base();
    const filters = (filter?.filters ?? {}) as Record<string, { value: unknown }>;
    for (const field of this.view.fields) {
      const value = filters[field.name]?.value;
      if (field.filter && value !== undefined && value !== '') await this.narrow(query, field, field.filter, value);
    }
    return query;
  }

  private async narrow(
    query: SelectQueryBuilder<ObjectLiteral>,
    { name }: Field,
    kind: NonNullable<Field['filter']>,
    value: unknown,
  ): Promise<void> {
    const column = `row.${name}`;
    if (kind === 'range') {
      for (const [edge, sign] of [
        ['from', '>='],
        ['to', '<='],
      ] as const) {
        const time = Date.parse(String((value as Record<string, unknown>)[edge] ?? ''));
        if (!Number.isNaN(time)) query.andWhere(`${column} ${sign} :${name}_${edge}`, { [`${name}_${edge}`]: time });
      }
      return;
    }
    const text = String(value);
    if (kind === 'exact') query.andWhere(`${column} = :${name}`, { [name]: text });
    else if (kind === 'flag') query.andWhere(`${column} = :${name}`, { [name]: this.flag(text === 'true') });
    else if (kind === 'contains') query.andWhere(...this.contains(column, name, text));
    else if (kind === 'text') query.andWhere({ id: In(await this.idsFound(text)) });
    else query.andWhere({ [name]: In([text, ...(await this.idsNamed(kind, text))]) });
  }

  /** SQLite stores booleans as numbers. */
  private flag(value: boolean): boolean | number {
    return this.reader.options.type === 'postgres' ? value : Number(value);
  }

  /** A condition that a column contains a text, in upper or lower case. */
  private contains(column: string, name: string, text: string): [sql: string, parameters: Record<string, string>] {
    const { sql, value } = containsText(this.reader, column, `:${name}`, text);
    return [sql, { [name]: value }];
  }

  /** Returns the ids of the newest messages that a search finds, of all accounts, up to `countLimit` of `maxExamined`. */
  private async idsFound(text: string): Promise<string[]> {
    if (foldText(text) === '') return [];
    const { reader, search } = this;
    return foundMessages({ reader, search }, text, { maxMatches: countLimit, maxExamined });
  }

  private async idsNamed(kind: 'account' | 'session', text: string): Promise<string[]> {
    const [entity, column] = kind === 'account' ? ([Account, 'username'] as const) : ([Session, 'name'] as const);
    const found = await this.reader
      .getRepository<ObjectLiteral>(entity)
      .createQueryBuilder('owner')
      .select('owner.id')
      .where(...this.contains(`owner.${column}`, 'owner', text))
      .take(200)
      .getMany();
    return found.map((row) => String(row['id']));
  }

  /** Converts rows to AdminJS records: the fields of the view, JSON as text, and the names of accounts and sessions. */
  private async records(rows: ObjectLiteral[]): Promise<BaseRecord[]> {
    const accounts = await namesOf(this.reader, Account, 'username', rows, 'accountId');
    const sessions = await namesOf(this.reader, Session, 'name', rows, 'sessionId');
    const more = await this.view.more?.(this.reader, rows);
    return rows.map((row) => {
      const params: Record<string, unknown> = {};
      for (const { name, look } of this.view.fields)
        params[name] =
          look === 'json' || look === 'changes'
            ? JSON.stringify(readable(row[name], '(cannot be read)'), null, 2)
            : (row[name] as unknown);
      if (this.view.adviceFor && row['reasonCode']) {
        const { what, by, isWanted } = this.view.adviceFor(String(row['reasonCode']), row['reasonText'] as string | null);
        Object.assign(params, { advice: what, by, isWanted });
      }
      if (row['accountId']) params['accountName'] = accounts.get(String(row['accountId'])) ?? null;
      if (row['sessionId']) params['sessionName'] = sessions.get(String(row['sessionId'])) ?? null;
      Object.assign(params, more?.get(String(row['id'])));
      return new BaseRecord(params, this as unknown as BaseResource);
    });
  }
}

async function namesOf(
  reader: DataSource,
  entity: typeof Account | typeof Session,
  column: 'username' | 'name',
  rows: ObjectLiteral[],
  key: string,
): Promise<Map<string, string>> {
  const ids = [...new Set(rows.map((row) => row[key] as unknown).filter((id): id is string => typeof id === 'string'))];
  if (ids.length === 0) return new Map();
  const found = await reader
    .getRepository<ObjectLiteral>(entity)
    .createQueryBuilder('owner')
    .select(['owner.id', `owner.${column}`])
    .where({ id: In(ids) })
    .getMany();
  return new Map(found.map((row) => [String(row['id']), String(row[column])]));
}
