import { AppError } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import type { BulkJob, BulkRecipient } from '../../bulk/bulk.entity.js';
import type { Bulk } from '../../bulk/bulk.js';
import { presentRecipient } from '../../bulk/present.js';
import { Session } from '../../sessions/session.entity.js';
import { toMs } from './time.js';

/** The recipients that one page of a job shows. */
const pageSize = 50;

/** One job with its counts, its expected end and a page of its recipients; `status` selects some of them. */
export async function bulkView(
  reader: DataSource,
  bulk: Pick<Bulk, 'byId' | 'present' | 'recipients'>,
  id: string,
  { status, page }: { status?: BulkRecipient['status'] | undefined; page: number },
) {
  const job: BulkJob | null = await bulk.byId(id);
  if (!job) throw new AppError('BULK_JOB_NOT_FOUND');
  const [[details], account, session, { rows, total }] = await Promise.all([
    bulk.present([job]),
    reader.getRepository(Account).findOneBy({ id: job.accountId }),
    reader.getRepository(Session).findOneBy({ id: job.sessionId }),
    bulk.recipients(job, { status: status ? [status] : undefined, limit: pageSize, offset: (page - 1) * pageSize }),
  ]);
  return {
    ...details!,
    account: { id: job.accountId, name: account?.username ?? null },
    session: { id: job.sessionId, name: session?.name ?? null },
    createdAtMs: toMs(job.createdAt),
    recipients: rows.map((row) => presentRecipient(row, null)),
    found: total,
    pageSize,
  };
}
export type BulkView = Awaited<ReturnType<typeof bulkView>>;
