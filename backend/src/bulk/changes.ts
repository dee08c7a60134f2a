import { AppError, type BulkStatus } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import { readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { Message } from '../messages/message.entity.js';
import { BulkJob } from './bulk.entity.js';
import type { BulkContext } from './context.js';
import { stepOf } from './present.js';

/** The verbs with which a caller changes a job: pause, resume, cancel and retry. See `Bulk`. */

/**
 * Locks the session of a job, reads the job again and changes it. `run` throws if the state of the job does not allow the change. Throws
 * `BULK_JOB_NOT_FOUND`.
 */
async function changeLocked(
  context: BulkContext,
  caller: Caller,
  found: BulkJob,
  verb: 'pause' | 'resume' | 'cancel' | 'retry',
  run: (tx: Transaction, job: BulkJob) => Promise<void>,
): Promise<BulkJob> {
  return context.database.write.run(async (tx) => {
    const job = await context.state.lock(tx, found);
    // Closes: a retention run deletes the job after it was found.
    if (!job) throw new AppError('BULK_JOB_NOT_FOUND');
    await run(tx, job);
    await audit(context, tx, caller, job, verb);
    return job;
  });
}

const requireStatus = ({ status }: BulkJob, ...allowed: BulkStatus[]): void => {
  if (!allowed.includes(status)) throw new AppError('BULK_STATE_CONFLICT', { status });
};

export async function pause(context: BulkContext, caller: Caller, found: BulkJob): Promise<BulkJob> {
  const job = await changeLocked(context, caller, found, 'pause', async (tx, locked) => {
    requireStatus(locked, 'scheduled', 'running', 'waiting');
    await context.state.change(tx, locked, { status: 'paused' });
  });
  failPoint('bulk.paused');
  return job;
}

export async function resume(context: BulkContext, caller: Caller, found: BulkJob): Promise<BulkJob> {
  const { clock, state } = context;
  const job = await changeLocked(context, caller, found, 'resume', async (tx, locked) => {
    requireStatus(locked, 'paused');
    const isAhead = locked.startedAt === null && locked.scheduledAt !== null && locked.scheduledAt > clock.now();
    const linkedAccountNumber = await linkedNumber(tx, locked.sessionId);
    const fields = { outcomes: 0, failures: 0, linkedAccountNumber };
    await state.change(tx, locked, { status: isAhead ? 'scheduled' : 'running', fields });
    await state.review(tx, locked, stepOf(locked));
  });
  failPoint('bulk.resumed');
  return job;
}

async function linkedNumber(tx: Transaction, sessionId: string): Promise<number> {
  const sql = 'SELECT "linkedAccountNumber" AS n FROM sessions WHERE id = ? AND "deletedAt" IS NULL';
  const [row] = (await runStatement<{ n: number | string }>(tx.manager, sql, [sessionId])).rows;
  if (!row) throw new AppError('BULK_STATE_CONFLICT', { reason: 'SESSION_DELETED' });
  return Number(row.n);
}

export async function cancel(context: BulkContext, caller: Caller, found: BulkJob): Promise<BulkJob> {
  const { state, messageState } = context;
  const job = await changeLocked(context, caller, found, 'cancel', async (tx, locked) => {
    requireStatus(locked, 'scheduled', 'running', 'waiting', 'paused');
    await state.moveAll(tx, locked, 'pending', 'cancelled');
    await state.change(tx, locked, { status: 'cancelled' });
    // Queued messages have not reached WhatsApp, so they can still be cancelled.
    const queued = await readRows(tx.manager, Message, `"bulkJobId" = ? AND status = 'queued'`, [locked.id]);
    for (const message of queued) await messageState.move(tx, message, 'cancelled', { from: ['queued'] });
    Object.assign(locked, (await state.lock(tx, locked)) ?? locked);
  });
  failPoint('bulk.cancelled');
  return job;
}

export const retry = (context: BulkContext, caller: Caller, found: BulkJob): Promise<BulkJob> =>
  changeLocked(context, caller, found, 'retry', async (tx, job) => {
    const { state } = context;
    requireStatus(job, 'running', 'waiting', 'paused', 'completed');
    if (job.failed === 0) throw new AppError('BULK_STATE_CONFLICT', { status: job.status, failed: 0 });
    if (job.content === null && job.sealed === null) throw new AppError('CONTENT_WIPED');
    // Otherwise the feeder would cancel the recipients, and the reasons of their failures would be lost.
    await linkedNumber(tx, job.sessionId);
    const step = stepOf(job);
    await state.moveAll(tx, job, 'failed', 'pending');
    await updateRows(tx, BulkJob, { id: job.id }, { outcomes: 0, failures: 0 });
    Object.assign(job, { outcomes: 0, failures: 0 });
    await state.review(tx, job, step);
  });

export const audit = ({ clock }: BulkContext, tx: Transaction, caller: Caller, job: BulkJob, verb: string): Promise<void> =>
  recordAudit(tx, caller, {
    action: `bulk.${verb}`,
    objectType: 'bulk_job',
    objectId: job.id,
    accountId: job.accountId,
    changes: { status: job.status, recipients: job.total },
    at: clock.now(),
  });
