import { IsNull, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { Plan } from '../../accounts/plan.entity.js';
import { Session } from '../../sessions/session.entity.js';

/** The choices of the forms: plans, accounts, and the sessions of each account. */
export async function choicesView(reader: DataSource) {
  const [plans, accounts, sessions] = await Promise.all([
    reader.getRepository(Plan).find({ order: { name: 'ASC' }, take: 500 }),
    reader.getRepository(Account).find({ where: { isActive: true }, order: { username: 'ASC' }, take: 500 }),
    reader.getRepository(Session).find({ where: { deletedAt: IsNull() }, order: { name: 'ASC' }, take: 2000 }),
  ]);
  return {
    plans: plans.map(({ id, name }) => ({ id, name })),
    accounts: accounts.map(({ id, username }) => ({ id, name: username })),
    sessions: sessions.map(({ id, name, accountId }) => ({ id, name, accountId })),
  };
}
export type ChoicesView = Awaited<ReturnType<typeof choicesView>>;
