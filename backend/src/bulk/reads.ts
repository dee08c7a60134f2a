import { AppError, type BulkJobDetails, type BulkRecipientStatus, type BulkStatus } from '@chasqui/shared';
import { In } from 'typeorm';
import type { Caller } from '../accounts/caller.js';
import { readRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Session } from '../sessions/session.entity.js';
import { BulkJob, BulkRecipient } from './bulk.entity.js';
import type { BulkContext } from './context.js';
import { estimateEnds } from './feed/estimate.js';
import { outlookOf } from './feed/outlook.js';
import { presentJob } from './present.js';

/** Reads jobs and recipients, and estimates when jobs end. See `Bulk`. */

const pageSize = 500;

export interface JobQuery {
  status?: readonly BulkStatus[] | undefined;
  sessionId?: string | undefined;
  limit: number;
  offset: number;
}
export interface RecipientQuery {
  status?: readonly BulkRecipientStatus[] | undefined;
  limit: number;
  offset: number;
}

export async function find({ database }: BulkContext, { accountId, sessionId }: Caller, id: string): Promise<BulkJob> {
  const where = { id, accountId, ...(sessionId === null ? {} : { sessionId }) };
  const job = await database.reader.getRepository(BulkJob).findOneBy(where);
  if (!job) throw new AppError('BULK_JOB_NOT_FOUND');
  return job;
}

export async function list(
  { database }: BulkContext,
  { accountId, sessionId: bound }: Caller,
  { status, sessionId, limit, offset }: JobQuery,
): Promise<{ jobs: BulkJob[]; total: number }> {
  const named = bound ?? sessionId;
  const where = { accountId, ...(named ? { sessionId: named } : {}), ...(status ? { status: In([...status]) } : {}) };
  const [jobs, total] = await database.reader
    .getRepository(BulkJob)
    .findAndCount({ where, order: { id: 'DESC' }, take: limit, skip: offset });
  return { jobs, total };
}

export async function listRecipients(
  { database }: BulkContext,
  { id: jobId }: BulkJob,
  { status, limit, offset }: RecipientQuery,
): Promise<{ rows: BulkRecipient[]; total: number }> {
  const where = { jobId, ...(status ? { status: In([...status]) } : {}) };
  const [rows, total] = await database.reader
    .getRepository(BulkRecipient)
    .findAndCount({ where, order: { position: 'ASC' }, take: limit, skip: offset });
  return { rows, total };
}

export async function* pages({ database }: BulkContext, { id }: BulkJob): AsyncGenerator<BulkRecipient[]> {
  for (let last = -1; ;) {
    const condition = `"jobId" = ? AND position > ? ORDER BY position LIMIT ${pageSize}`;
    const rows = await readRows(database.reader, BulkRecipient, condition, [id, last]);
    if (rows.length === 0) return;
    yield rows;
    last = rows.at(-1)!.position;
  }
}

export async function present(context: BulkContext, jobs: readonly BulkJob[]): Promise<BulkJobDetails[]> {
  const { sessions } = context;
  const active = new Set(jobs.filter(({ status }) => isActive(status)).map(({ sessionId }) => sessionId));
  const ends = new Map<string, number>();
  for (const id of active) {
    const session = await sessions.byId(id);
    if (!session) continue;
    for (const [jobId, end] of await endsOf(context, session, [])) ends.set(jobId, end);
  }
  return jobs.map((job) => ({ ...presentJob(job), estimatedEndAt: isActive(job.status) ? isoOf(ends.get(job.id)) : null }));
}

const isActive = (status: BulkStatus): boolean => status === 'running' || status === 'waiting' || status === 'scheduled';
export const isoOf = (time: number | undefined): string | null => (time === undefined ? null : new Date(time).toISOString());

/**
 * Returns when the jobs of a session are expected to end, in milliseconds since 1970 by job id. `more`: further jobs to include, which are not
 * stored.
 */
export async function endsOf(context: BulkContext, session: Session, more: readonly BulkJob[]): Promise<Map<string, number>> {
  const { database, clock, quotas, localeOf } = context;
  const stored = await readRows(database.reader, BulkJob, `"sessionId" = ? AND status IN ('scheduled', 'running', 'waiting')`, [
    session.id,
  ]);
  const sql = 'SELECT MAX("nextAt") AS at FROM bulk_jobs WHERE "sessionId" = ?';
  const [planned] = (await runStatement<{ at: number | string | null }>(database.reader, sql, [session.id])).rows;
  const { timezone } = await localeOf(session.accountId);
  return estimateEnds(
    outlookOf({
      session,
      jobs: [...stored, ...more],
      now: clock.now(),
      nextAt: planned?.at ? new Date(Number(planned.at)) : null,
      quotas: await quotas.view(session),
      resetAfter: (scope, at) => quotas.resetAfter(scope, at, timezone),
      warmUpAt: (at) => quotas.warmUpAt(session, at, timezone),
      timezone,
    }),
  );
}
