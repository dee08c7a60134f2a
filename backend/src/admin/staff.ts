import { AppError, pageMeta, type AccountResource, type InputOf } from '@chasqui/shared';
import { Reply } from '@chasqui/shared/express';
import { Between, In, IsNull, LessThanOrEqual, MoreThanOrEqual, Raw, type FindOperator, type FindOptionsWhere } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { Accounts } from '../accounts/accounts.js';
import type { Plans } from '../accounts/plans.js';
import { makeOneTimePassword } from '../accounts/secrets.js';
import { presentPlan } from '../accounts/present.js';
import type { Database } from '../db/database.js';
import { containing } from '../db/sql.js';
import { readable } from '../db/unreadable.js';
import { Failure } from '../failures/failure.entity.js';
import type { Mount } from '../accounts/caller.js';
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
  present: (account: Account) => Promise<AccountResource>;
}

/** Mounts the routes for staff, across accounts: the only ones of REST that depend on a role. */
export function mountStaff(mount: Mount, deps: Deps): void {
  mountAccountRoutes(mount, deps);
  mountPlanRoutes(mount, deps);
  mountSessionRoutes(mount, deps);
  mountAuditRoutes(mount, deps);
  mountFailureRoutes(mount, deps);
}

function mountAccountRoutes(mount: Mount, { database, accounts, quotas, present }: Deps): void {
  const rows = database.reader.getRepository(Account);
  const findAccount = async (id: string): Promise<Account> => {
    const account = await accounts.find(id);
    if (!account) throw new AppError('ACCOUNT_NOT_FOUND');
    return account;
  };

  mount(contract.listAccounts, async ({ query }) => {
    const { search, role, active, limit, offset } = query;
    const conditions = { ...(role ? { role } : {}), ...(active === undefined ? {} : { isActive: active }) };
    const where = search
      ? [
          { ...conditions, username: containing(database.reader, search) },
          { ...conditions, email: containing(database.reader, search) },
        ]
      : conditions;
    const order = { createdAt: 'DESC', id: 'DESC' } as const;
    const [found, total] = await rows.findAndCount({ where, order, take: limit, skip: offset });
    return new Reply(await Promise.all(found.map(present)), { meta: pageMeta(query, total) });
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
    const { accountId, status, workerId, limit, offset } = query;
    const where: FindOptionsWhere<Session> = { deletedAt: IsNull() };
    if (accountId) where.accountId = accountId;
    if (status) where.status = status;
    if (workerId) where.workerId = workerId;
    const [found, total] = await database.reader
      .getRepository(Session)
      .findAndCount({ where, order: { createdAt: 'DESC', id: 'DESC' }, take: limit, skip: offset });
    const owners = await database.reader
      .getRepository(Account)
      .findBy({ id: In([...new Set(found.map((session) => session.accountId))]) });
    const names = new Map(owners.map((owner) => [owner.id, owner.username]));
    const list = found.map((session) => ({
      ...sessions.present(session),
      account: { id: session.accountId, username: names.get(session.accountId) ?? '' },
    }));
    return new Reply(list, { meta: pageMeta(query, total) });
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
    const { actor, action, object, from, to, limit, offset, cursor } = query;
    const where: FindOptionsWhere<AuditLog> = {};
    if (accountId) where.accountId = accountId;
    if (actor) where.actorName = actor;
    if (action) where.action = action;
    if (object) where.objectId = object;
    if (from && to) where.at = Between(new Date(from), new Date(to));
    else if (from) where.at = MoreThanOrEqual(new Date(from));
    else if (to) where.at = LessThanOrEqual(new Date(to));
    if (cursor) where.id = behind(cursor);
    const rows = database.reader.getRepository(AuditLog);
    const sorted = { where, order: { at: 'DESC', id: 'DESC' }, take: limit } as const;
    const [found, total] = cursor ? [await rows.find(sorted), null] : await rows.findAndCount({ ...sorted, skip: offset });
    const nextCursor = nextCursorOf(
      found.map(({ at, id }) => ({ at: at.getTime(), id })),
      limit,
    );
    const meta = total === null ? { limit } : pageMeta({ limit, offset }, total);
    return new Reply(found.map(present), { meta: { ...meta, nextCursor } });
  };
  mount(contract.audit, async ({ query }, caller) => list(query, caller.accountId, presentOwnEntry));
  mount(contract.auditAll, async ({ query }) => list(query, query.accountId, presentEntry));
}

/** The condition on the column `id` for the entries behind a cursor, newest first. */
const behind = (cursor: string): FindOperator<string> => {
  const { at, id } = readCursor(cursor);
  return Raw((column) => `(${column.replace(/id("?)$/, 'at$1')}, ${column}) < (:behindAt, :behindId)`, {
    behindAt: at,
    behindId: id,
  });
};

function mountFailureRoutes(mount: Mount, { database }: Deps): void {
  mount(contract.listFailures, async ({ query }) => {
    const { kind, code, accountId, sessionId, limit, offset } = query;
    const where: FindOptionsWhere<Failure> = sentFields({ kind, code, accountId, sessionId });
    const [found, total] = await database.reader
      .getRepository(Failure)
      .findAndCount({ where, order: { lastAt: 'DESC', id: 'DESC' }, take: limit, skip: offset });
    return new Reply(found.map(presentFailure), { meta: pageMeta({ limit, offset }, total) });
  });
}

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
  ip: entry.ip,
  requestId: entry.requestId,
});

/** Presents an entry to the account itself: it says that staff acted, but neither which person nor from where. */
const presentOwnEntry = (entry: AuditLog): ReturnType<typeof presentEntry> =>
  entry.actorType === 'staff'
    ? { ...presentEntry(entry), actor: { type: 'staff', id: null, name: null }, credential: null, ip: null }
    : presentEntry(entry);
