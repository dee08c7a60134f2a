import { AppError, errorTable, isErrorCode, pageMeta, type AccountResource, type InputOf } from '@chasqui/shared';
import { Reply } from '@chasqui/shared/express';
import {
  Between,
  In,
  IsNull,
  LessThanOrEqual,
  MoreThanOrEqual,
  Raw,
  type FindManyOptions,
  type FindOperator,
  type FindOptionsWhere,
  type Repository,
} from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { Accounts } from '../accounts/accounts.js';
import type { Plans } from '../accounts/plans.js';
import { makeOneTimePassword } from '../accounts/secrets.js';
import { presentPlan } from '../accounts/present.js';
import type { Database } from '../db/database.js';
import { containing } from '../db/sql.js';
import { readable } from '../db/unreadable.js';
import type { CountedError, ErrorCounts } from '../failures/error-counts.js';
import { Failure } from '../failures/failure.entity.js';
import type { Mount } from '../accounts/caller.js';
import type { Clock } from '../lib/clock.js';
import { nextCursorOf, readCursor } from '../lib/list-cursor.js';
import { sentFields } from '../lib/sent-fields.js';
import type { Quotas } from '../messages/quotas/quotas.js';
import { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import { AuditLog } from '../audit/audit.entity.js';
import * as contract from './staff.contract.js';

interface Deps {
  database: Database;
  accounts: Accounts;
  plans: Plans;
  sessions: Sessions;
  quotas: Quotas;
  clock: Clock;
  errors: Pick<ErrorCounts, 'since'>;
  present: (account: Account) => Promise<AccountResource>;
}

/** Mounts the routes for staff, across accounts: the only ones of REST that depend on a role. */
export function mountStaff(mount: Mount, deps: Deps): void {
  mountAccountRoutes(mount, deps);
  mountPlanRoutes(mount, deps);
  mountSessionRoutes(mount, deps);
  mountAuditRoutes(mount, deps);
  mountFailureRoutes(mount, deps);
  mountErrorRoutes(mount, deps);
}

function mountAccountRoutes(mount: Mount, { database, accounts, quotas, present }: Deps): void {
  const rows = database.reader.getRepository(Account);
  const findAccount = async (id: string): Promise<Account> => {
    const account = await accounts.find(id);
    if (!account) throw new AppError('ACCOUNT_NOT_FOUND');
    return account;
  };

  mount(contract.listAccounts, async ({ query }) => {
    const { search, role, active } = query;
    const conditions = {
      ...(role ? { role } : {}),
      ...(active === undefined ? {} : { isActive: active }),
      ...behind(query, 'createdAt'),
    };
    const where = search
      ? [
          { ...conditions, username: containing(database.reader, search) },
          { ...conditions, email: containing(database.reader, search) },
        ]
      : conditions;
    const { found, meta } = await readPage(
      rows,
      query,
      { where, order: { createdAt: 'DESC', id: 'DESC' } },
      ({ createdAt }) => createdAt,
    );
    return new Reply(await Promise.all(found.map(present)), { meta });
  });
  mount(contract.createAccount, async ({ body }, caller) => {
    const { password = makeOneTimePassword(), role = 'user', planId = null, username, email } = body;
    const isOneTime = body.password === undefined;
    const input = { username, email, password, role, planId, mustChangePassword: isOneTime };
    const { account, apiKey } = await accounts.create(caller, input);
    return { account: await present(account), apiKey, ...(isOneTime ? { oneTimePassword: password } : {}) };
  });
  mount(contract.readAccount, async ({ params }) => {
    const account = await findAccount(params.accountId);
    const ofAccount = { accountId: account.id, deletedAt: IsNull() };
    const count = await database.reader.getRepository(Session).countBy(ofAccount);
    return { ...(await present(account)), usage: { sessions: count, ...(await quotas.usageOf(account.id)) } };
  });
  mount(contract.changeAccount, async ({ params, body }, caller) => {
    await findAccount(params.accountId);
    return present(await accounts.govern(caller, params.accountId, sentFields(body)));
  });
}

function mountPlanRoutes(mount: Mount, { plans }: Deps): void {
  mount(contract.listPlans, async () => (await plans.list()).map(presentPlan));
  mount(contract.createPlan, async ({ body }, caller) => presentPlan(await plans.create(caller, body)));
  mount(contract.changePlan, async ({ params, body }, caller) => {
    return presentPlan(await plans.update(caller, params.planId, sentFields(body)));
  });
  mount(contract.deletePlan, async ({ params }, caller) => {
    await plans.remove(caller, params.planId);
    return { id: params.planId, deleted: true as const };
  });
}

function mountSessionRoutes(mount: Mount, { database, sessions }: Deps): void {
  const find = async (id: string): Promise<Session> => {
    const session = await sessions.byId(id);
    if (!session) throw new AppError('SESSION_NOT_FOUND');
    return session;
  };
  /** Runs a verb on the session and returns the session as it is afterwards. */
  const change = async (id: string, verb: (session: Session) => Promise<unknown>) => {
    await verb(await find(id));
    return sessions.present(await find(id));
  };

  mount(contract.listSessions, async ({ query }) => {
    const { accountId, status, workerId } = query;
    const where: FindOptionsWhere<Session> = { deletedAt: IsNull(), ...behind(query, 'createdAt') };
    if (accountId) where.accountId = accountId;
    if (status) where.status = status;
    if (workerId) where.workerId = workerId;
    const sorted = { where, order: { createdAt: 'DESC', id: 'DESC' } } as const;
    const rows = database.reader.getRepository(Session);
    const { found, meta } = await readPage(rows, query, sorted, ({ createdAt }) => createdAt);
    const owners = await database.reader
      .getRepository(Account)
      .findBy({ id: In([...new Set(found.map((session) => session.accountId))]) });
    const names = new Map(owners.map((owner) => [owner.id, owner.username]));
    const list = found.map((session) => ({
      ...sessions.present(session),
      account: { id: session.accountId, username: names.get(session.accountId) ?? '' },
    }));
    return new Reply(list, { meta });
  });
  mount(contract.suspend, async ({ params, body }, caller) =>
    change(params.sessionId, (session) => sessions.suspend(caller, session, (body as { reason: string }).reason)),
  );
  mount(contract.resume, async ({ params }, caller) => change(params.sessionId, (session) => sessions.resume(caller, session)));
  mount(contract.restart, async ({ params }, caller) => change(params.sessionId, (session) => sessions.restart(caller, session)));
  mount(contract.disconnect, async ({ params }, caller) =>
    change(params.sessionId, (session) => sessions.stop(caller, session, false)),
  );
}

type AuditQuery = InputOf<typeof contract.auditAll>['query'];

function mountAuditRoutes(mount: Mount, { database }: Deps): void {
  const list = async (query: Omit<AuditQuery, 'accountId'>, accountId: string | undefined, present: typeof presentEntry) => {
    const { actor, action, object, from, to } = query;
    const where: FindOptionsWhere<AuditLog> = behind(query, 'at');
    if (accountId) where.accountId = accountId;
    if (actor) where.actorName = actor;
    if (action) where.action = action;
    if (object) where.objectId = object;
    if (from && to) where.at = Between(new Date(from), new Date(to));
    else if (from) where.at = MoreThanOrEqual(new Date(from));
    else if (to) where.at = LessThanOrEqual(new Date(to));
    const rows = database.reader.getRepository(AuditLog);
    const sorted = { where, order: { at: 'DESC', id: 'DESC' } } as const;
    const { found, meta } = await readPage(rows, query, sorted, ({ at }) => at);
    return new Reply(found.map(present), { meta });
  };
  mount(contract.audit, async ({ query }, caller) => list(query, caller.accountId, presentOwnEntry));
  mount(contract.auditAll, async ({ query }) => list(query, query.accountId, presentEntry));
}

function mountFailureRoutes(mount: Mount, { database }: Deps): void {
  mount(contract.listFailures, async ({ query }) => {
    const { kind, code, accountId, sessionId } = query;
    const where: FindOptionsWhere<Failure> = { ...sentFields({ kind, code, accountId, sessionId }), ...behind(query, 'lastAt') };
    const sorted = { where, order: { lastAt: 'DESC', id: 'DESC' } } as const;
    const { found, meta } = await readPage(database.reader.getRepository(Failure), query, sorted, ({ lastAt }) => lastAt);
    return new Reply(found.map(presentFailure), { meta });
  });
}

interface PageQuery {
  limit: number;
  offset: number;
  cursor?: string | undefined;
}

/** The condition for the rows behind the cursor of a list that is ordered by `column` and then by id, the newest first. */
function behind({ cursor }: PageQuery, column: string): { id?: FindOperator<string> } {
  if (cursor === undefined) return {};
  const { at, id } = readCursor(cursor);
  const condition = (ofId: string): string => `(${ofId.replace(/id("?)$/, `${column}$1`)}, ${ofId}) < (:behindAt, :behindId)`;
  return { id: Raw(condition, { behindAt: at, behindId: id }) };
}

/** Reads a page of a list. The total is counted for pages at an offset. `timeOf`: the time by which the list is ordered. */
async function readPage<Row extends { id: string }>(
  rows: Repository<Row>,
  { limit, offset, cursor }: PageQuery,
  sorted: Pick<FindManyOptions<Row>, 'where' | 'order'>,
  timeOf: (row: Row) => Date,
): Promise<{ found: Row[]; meta: object }> {
  const page = { ...sorted, take: limit };
  const [found, total] = cursor ? [await rows.find(page), null] : await rows.findAndCount({ ...page, skip: offset });
  const nextCursor = nextCursorOf(
    found.map((row) => ({ at: timeOf(row).getTime(), id: row.id })),
    limit,
  );
  return { found, meta: { ...(total === null ? { limit } : pageMeta({ limit, offset }, total)), nextCursor } };
}

const dayMs = 86_400_000;

function mountErrorRoutes(mount: Mount, { clock, errors }: Deps): void {
  mount(contract.listErrors, async ({ query }) => {
    const from = query.since === undefined ? new Date(clock.now().getTime() - dayMs) : new Date(query.since);
    const { since, errors: found } = await errors.since(from);
    return new Reply(found.map(presentError), { meta: { since: since.toISOString() } });
  });
}

const presentError = ({ code, count, lastAt, sample }: CountedError) => ({
  ...{ code, count, sample },
  lastAt: lastAt.toISOString(),
  advice: isErrorCode(code) ? errorTable[code][1] : null,
});

const presentFailure = (failure: Failure) => ({
  id: failure.id,
  kind: failure.kind,
  subject: failure.subject,
  accountId: failure.accountId,
  sessionId: failure.sessionId,
  code: failure.code,
  detail: failure.detail,
  firstAt: failure.firstAt.toISOString(),
  lastAt: failure.lastAt.toISOString(),
  count: failure.count,
});

const presentEntry = (entry: AuditLog) => ({
  id: entry.id,
  at: entry.at.toISOString(),
  accountId: entry.accountId,
  actor: { type: entry.actorType, id: entry.actorId, name: entry.actorName },
  credential: entry.credential,
  action: entry.action,
  object: { type: entry.objectType, id: entry.objectId },
  changes: readable(entry.changes, {}),
  previous: readable(entry.previous, null),
  ip: entry.ip,
  requestId: entry.requestId,
});

/** Presents an entry to the account itself: it says that staff acted, but neither which person nor from where. */
const presentOwnEntry = (entry: AuditLog): ReturnType<typeof presentEntry> =>
  entry.actorType === 'staff'
    ? { ...presentEntry(entry), actor: { type: 'staff', id: null, name: null }, credential: null, ip: null }
    : presentEntry(entry);
