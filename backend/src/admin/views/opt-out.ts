import { AppError } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import type { Keywords } from '../../opt-outs/keywords.js';
import { keywordsOf } from '../../opt-outs/people.js';
import { OptOut, OptOutSettings } from '../../opt-outs/opt-out.entity.js';

/** One person who opted out. `waId` is null once the person was erased. */
export async function optOutView(reader: DataSource, id: string) {
  const row = await reader.getRepository(OptOut).findOneBy({ id, state: 'out' });
  if (!row) throw new AppError('OPT_OUT_NOT_FOUND');
  const account = await reader.getRepository(Account).findOneBy({ id: row.accountId });
  return {
    id,
    waId: row.waId,
    account: { id: row.accountId, name: account?.username ?? null },
    source: row.source,
    keyword: row.keyword,
    changedAt: row.changedAt.getTime(),
  };
}
export type OptOutView = Awaited<ReturnType<typeof optOutView>>;

/** The keywords of an account. */
export async function keywordsView(reader: DataSource, accountId: string): Promise<Keywords> {
  if (!(await reader.getRepository(Account).existsBy({ id: accountId }))) throw new AppError('ACCOUNT_NOT_FOUND');
  return keywordsOf(await reader.getRepository(OptOutSettings).findOneBy({ accountId }));
}
