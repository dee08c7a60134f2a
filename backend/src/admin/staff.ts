import { AppError, pageMeta, type AccountResource, type InputOf } from '@chasqui/shared';
import { Reply } from '@chasqui/shared/express';
import { Between, In, IsNull, LessThanOrEqual, MoreThanOrEqual, type FindOptionsWhere } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { Accounts } from '../accounts/accounts.js';
import type { Plans } from '../accounts/plans.js';
import { makeOneTimePassword } from '../accounts/secrets.js';
import { presentPlan } from '../accounts/present.js';
import type { Database } from '../db/database.js';
import { containsText } from '../db/sql.js';
import { readable } from '../db/unreadable.js';
import { Failure } from '../failures/failure.entity.js';
import type { Caller, Mount } from '../accounts/caller.js';
import { sentFields } from '../lib/sent-fields.js';
import type { Quotas } from '../messages/quotas/quotas.js';
import { Session } from '../sessions/session.entity.js';
import { createStaffSessions, reachSession } from '../sessions/staff.js';
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

/** Routes for staff, across accounts: the one place of REST where a role counts. */
export function mountStaff(mount: Mount, deps: Deps): void {
  mountAccountRoutes(mount, deps);
  mountPlanRoutes(mount, deps);
  mountSessionRoutes(mount, deps);
  mountAuditRoutes(mount, deps);
  mountFailureRoutes(mount, deps);
}

function mountAccountRoutes(mount: Mount, { database, accounts, quotas, present }: Deps): void {
  const rows = database.reader.getRepository(Account);
  const reach = async (id: string): Promise<Account> => {
    const account = await accounts.find(id);
    if (!account) throw new AppError('ACCOUNT_NOT_FOUND');
    return account;
  };

  mount(contract.listAccounts, async ({ query }) => {
    const { search, role, active, limit, offset } = query;
    const asked = rows.createQueryBuilder('a').orderBy('a.createdAt', 'DESC').addOrderBy('a.id', 'DESC').take(limit).skip(offset);
    if (role) asked.andWhere('a.role = :role', { role });
    if (active !== undefined) asked.andWhere('a.isActive = :active', { active });
    if (search) {
      const { sql: inName, value } = containsText(database.reader, 'a.username', ':part', search);
      const { sql: inEmail } = containsText(database.reader, 'a.email', ':part', search);
      asked.andWhere(`(${inName} OR ${inEmail})`, { part: value });
    }
    const [found, total] = await asked.getManyAndCount();
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
    const account = await reach(params.accountId);
    const ofAccount = { accountId: account.id, deletedAt: IsNull() };
    const count = await database.reader.getRepository(Session).countBy(ofAccount);
    return { ...(await present(account)), usage: { sessions: count, ...(await quotas.usageOf(account.id)) } };
  });
  mount(contract.changeAccount, async ({ params, body }, caller) => {
    await reach(params.accountId);
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
  const staff = createStaffSessions({ sessions });
  const shown = async (caller: Caller, id: string) => sessions.present(await reachSession(sessions, caller, id));

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
  mount(contract.suspend, async ({ params, body }, caller) => {
    await staff.suspend(caller, params.sessionId, (body as { reason: string }).reason);
    return shown(caller, params.sessionId);
  });
  mount(contract.resume, async ({ params }, caller) => {
    await staff.resume(caller, params.sessionId);
    return shown(caller, params.sessionId);
  });
  mount(contract.restart, async ({ params }, caller) => {
    await staff.restart(caller, params.sessionId);
    return shown(caller, params.sessionId);
  });
  mount(contract.disconnect, async ({ params }, caller) => {
    await staff.stop(caller, params.sessionId);
    return shown(caller, params.sessionId);
  });
}

type AuditQuery = InputOf<typeof contract.auditAll>['query'];

function mountAuditRoutes(mount: Mount, { database }: Deps): void {
  const list = async (query: Omit<AuditQuery, 'accountId'>, accountId: string | undefined, present: typeof presentEntry) => {
    const { actor, action, object, from, to, limit, offset } = query;
    const where: FindOptionsWhere<AuditLog> = {};
    if (accountId) where.accountId = accountId;
    if (actor) where.actorName = actor;
    if (action) where.action = action;
    if (object) where.objectId = object;
    if (from && to) where.at = Between(new Date(from), new Date(to));
    else if (from) where.at = MoreThanOrEqual(new Date(from));
    else if (to) where.at = LessThanOrEqual(new Date(to));
    const [found, total] = await database.reader
      .getRepository(AuditLog)
      .findAndCount({ where, order: { at: 'DESC', id: 'DESC' }, take: limit, skip: offset });
    return new Reply(found.map(present), { meta: pageMeta({ limit, offset }, total) });
  };
  mount(contract.audit, async ({ query }, caller) => list(query, caller.accountId, presentOwnEntry));
  mount(contract.auditAll, async ({ query }) => list(query, query.accountId, presentEntry));
}

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

/** As the account itself sees it: that staff did it, not who of them nor from where. */
const presentOwnEntry = (entry: AuditLog): ReturnType<typeof presentEntry> =>
  entry.actorType === 'staff'
    ? { ...presentEntry(entry), actor: { type: 'staff', id: null, name: null }, credential: null, ip: null }
    : presentEntry(entry);
