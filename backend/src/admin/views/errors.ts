import { errorTable, isErrorCode } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { readErrorCounts, summed } from '../../failures/error-counts.js';
import { readAmong } from '../../db/rows.js';

const quarterMs = 15 * 60_000;

/** The error replies of the last hours by code, with what each code means. Counts are at most two seconds old. */
export async function errorsView(reader: DataSource, now: Date, hours: number) {
  const since = Math.floor((now.getTime() - hours * 3_600_000) / quarterMs) * quarterMs;
  const errors = summed(await readErrorCounts(reader, since));
  const ids = [...new Set(errors.flatMap(({ sample }) => sample?.accountId ?? []))];
  const accounts = new Map((await readAmong(reader.manager, Account, 'id', ids)).map(({ id, username }) => [id, username]));
  return {
    since,
    errors: errors.map(({ code, count, lastAt, sample }) => ({
      code,
      count,
      lastAt: lastAt.getTime(),
      status: isErrorCode(code) ? errorTable[code][0] : (sample?.status ?? null),
      advice: isErrorCode(code) ? errorTable[code][1] : null,
      sample: sample && { ...sample, account: sample.accountId && (accounts.get(sample.accountId) ?? sample.accountId) },
    })),
  };
}
export type ErrorsView = Awaited<ReturnType<typeof errorsView>>;
