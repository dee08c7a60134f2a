import {
  bulkMoves,
  type BulkReason,
  type BulkRecipientStatus,
  type BulkStatus,
  type MessageStatus,
  type SkipReason,
} from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Core } from '../core.js';
import { lockRows, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Media } from '../media/media.js';
import type { Message } from '../messages/message.entity.js';
import { Session } from '../sessions/session.entity.js';
import { BulkJob, BulkRecipient } from './bulk.entity.js';
import { openOf, presentJob, stepOf } from './present.js';

/** A change of a job's state. `until`: when the cause of waiting ends. */
export interface JobChange {
  status: BulkStatus;
  reason?: BulkReason | null;
  until?: Date | null;
  fields?: Partial<BulkJob>;
}

/**
 * Changes the states of jobs and recipients. A change follows the table of `shared/src/bulk.ts`, and is written with its counts and its event in the
 * transaction of the caller, who has locked the row of the session (`lock`). A recipient follows its message in the transaction of each change of the
 * message, so the counts always add up, and they stay when the message is deleted. Each verb also updates the `job` object that it is passed.
 */
export interface BulkState {
  /** Locks the session of a job and returns the job as it is then; null if it was deleted. */
  lock(tx: Transaction, job: Pick<BulkJob, 'id' | 'sessionId'>): Promise<BulkJob | null>;
  /** Moves a job to a state and sets `fields`. Publishes the state if it, its reason or `until` has changed. */
  change(tx: Transaction, job: BulkJob, change: JobChange): Promise<void>;
  /** Moves one recipient to another status, and sets the fields in `more`. Returns false if its status was changed since `row` was read. */
  move(
    tx: Transaction,
    job: BulkJob,
    row: BulkRecipient,
    to: BulkRecipientStatus,
    more?: Partial<BulkRecipient>,
  ): Promise<boolean>;
  /** Moves all recipients of a status. Returns their number. */
  moveAll(tx: Transaction, job: BulkJob, from: BulkRecipientStatus, to: BulkRecipientStatus): Promise<number>;
  /** Moves one recipient to `skipped`, and reviews the job. Does nothing if its status was changed since `row` was read. */
  skip(tx: Transaction, job: BulkJob, row: BulkRecipient, reason: SkipReason): Promise<void>;
  /**
   * Completes, reopens or pauses a job if its counts require it. `step`: the value of `stepOf` before the change of the counts; a new value is
   * published.
   */
  review(tx: Transaction, job: BulkJob, step: number): Promise<void>;
  /** Moves the recipient of a message to the status that corresponds to the status of the message. For `MessageState`. */
  follow(tx: Transaction, message: Message): Promise<void>;
  /** Publishes the state and the counts of a job as `bulk.status`. */
  publish(tx: Transaction, job: BulkJob): Promise<void>;
}

export interface BulkStateParts {
  media: Pick<Media, 'remove'>;
  /** A job is paused automatically if more than this share of its messages has failed. 0: never. */
  maxFailedPercent: number;
}

interface Context extends Pick<Core, 'events' | 'clock'>, BulkStateParts {}

/** The number of outcomes before which a job does not pause because of failures. */
const minOutcomes = 20;

export function createBulkState({ events, clock }: Pick<Core, 'events' | 'clock'>, parts: BulkStateParts): BulkState {
  const context: Context = { events, clock, ...parts };
  return {
    lock,
    change: (tx, job, change) => changeJob(context, tx, job, change),
    move: (tx, job, row, to, more) => moveRecipient(tx, job, row, to, more),
    moveAll,
    skip: (tx, job, row, reason) => skip(context, tx, job, row, reason),
    review: (tx, job, step) => review(context, tx, job, step),
    follow: (tx, message) => follow(context, tx, message),
    publish: (tx, job) => publish(context, tx, job),
  };
}

async function lock(tx: Transaction, { id, sessionId }: Pick<BulkJob, 'id' | 'sessionId'>): Promise<BulkJob | null> {
  await lockRows(tx, Session, [sessionId]);
  const [job = null] = await readRows(tx.manager, BulkJob, 'id = ?', [id]);
  return job;
}

async function publish({ events }: Context, tx: Transaction, job: BulkJob): Promise<void> {
  const { accountId, sessionId } = job;
  await events.append(tx, { accountId, sessionId, type: 'bulk.status', data: presentJob(job) });
}

async function changeJob(
  context: Context,
  tx: Transaction,
  job: BulkJob,
  { status, reason = null, until = null, fields = {} }: JobChange,
): Promise<void> {
  const isMove = status !== job.status;
  if (isMove && !bulkMoves[job.status].includes(status))
    throw new Error(`A bulk job cannot move from ${job.status} to ${status}.`);
  const isSame = !isMove && reason === job.reasonCode && (until?.getTime() ?? null) === (job.waitingUntil?.getTime() ?? null);
  const isOver = status === 'completed' || status === 'cancelled';
  const times = {
    ...(status === 'running' && job.startedAt === null ? { startedAt: context.clock.now() } : {}),
    finishedAt: isOver ? (job.finishedAt ?? context.clock.now()) : null,
  };
  if (isSame && Object.keys(fields).length === 0) return;
  const changes = { ...times, ...fields, status, reasonCode: reason, waitingUntil: until };
  await updateRows(tx, BulkJob, { id: job.id }, changes);
  Object.assign(job, changes);
  if (isOver) await wipe(context, tx, job);
  if (!isSame) await publish(context, tx, job);
}

/** Deletes the sealed content of a job that is over, once no message needs it any more. */
async function wipe({ media }: Context, tx: Transaction, job: BulkJob): Promise<void> {
  if (!job.isSealed || openOf(job) > 0 || (job.status !== 'completed' && job.status !== 'cancelled')) return;
  if (job.mediaId) await media.remove(tx, [job.mediaId]);
  const wiped = { sealed: null, mediaId: null };
  await updateRows(tx, BulkJob, { id: job.id }, wiped);
  Object.assign(job, wiped);
  await runStatement(tx.manager, 'UPDATE bulk_recipients SET sealed = NULL WHERE "jobId" = ? AND sealed IS NOT NULL', [job.id]);
}

const columnOf = (status: BulkRecipientStatus): string => (status === 'read' ? 'readCount' : status);

/** Moves `by` recipients from one count of a job to another. */
async function count(
  tx: Transaction,
  job: BulkJob,
  from: BulkRecipientStatus,
  to: BulkRecipientStatus,
  by: number,
): Promise<void> {
  const [one, other] = [columnOf(from), columnOf(to)];
  const sql = `UPDATE bulk_jobs SET "${one}" = "${one}" - ?, "${other}" = "${other}" + ? WHERE id = ?`;
  await runStatement(tx.manager, sql, [by, by, job.id]);
  job[from] -= by;
  job[to] += by;
}

async function moveRecipient(
  tx: Transaction,
  job: BulkJob,
  row: BulkRecipient,
  to: BulkRecipientStatus,
  more: Partial<BulkRecipient> = {},
): Promise<boolean> {
  const { jobId, position, status: from } = row;
  const changes: Partial<BulkRecipient> = { reasonCode: null, reasonText: null, ...more, status: to };
  if ((await updateRows(tx, BulkRecipient, { jobId, position, status: from }, changes)) === 0) return false;
  Object.assign(row, changes);
  if (from !== to) await count(tx, job, from, to, 1);
  return true;
}

async function moveAll(tx: Transaction, job: BulkJob, from: BulkRecipientStatus, to: BulkRecipientStatus): Promise<number> {
  const changes = { status: to, reasonCode: null, reasonText: null };
  const moved = await updateRows(tx, BulkRecipient, { jobId: job.id, status: from }, changes);
  if (moved > 0) await count(tx, job, from, to, moved);
  return moved;
}

async function skip(context: Context, tx: Transaction, job: BulkJob, row: BulkRecipient, reason: SkipReason): Promise<void> {
  const step = stepOf(job);
  if (await moveRecipient(tx, job, row, 'skipped', { reasonCode: reason, sealed: null })) await review(context, tx, job, step);
}

async function review(context: Context, tx: Transaction, job: BulkJob, step: number): Promise<void> {
  const open = openOf(job);
  const isActive = job.status === 'running' || job.status === 'waiting';
  if (open === 0 && (isActive || job.status === 'paused')) return changeJob(context, tx, job, { status: 'completed' });
  if (open > 0 && job.status === 'completed') return changeJob(context, tx, job, { status: 'running' });
  if (job.status === 'cancelled') await wipe(context, tx, job);
  const isUncertain = isActive && job.pending === 0 && job.queued === 0 && job.uncertain > 0;
  if (isUncertain && job.reasonCode !== 'UNCERTAIN_MESSAGES')
    return changeJob(context, tx, job, { status: 'waiting', reason: 'UNCERTAIN_MESSAGES' });
  if (!isUncertain && job.reasonCode === 'UNCERTAIN_MESSAGES' && job.status === 'waiting')
    return changeJob(context, tx, job, { status: 'running' });
  if (isActive && job.pending > 0 && hasFailedTooOften(context, job))
    return changeJob(context, tx, job, { status: 'paused', reason: 'TOO_MANY_FAILURES' });
  if (stepOf(job) !== step) await publish(context, tx, job);
}

const hasFailedTooOften = ({ maxFailedPercent }: Context, { outcomes, failures }: BulkJob): boolean =>
  maxFailedPercent > 0 && outcomes >= minOutcomes && failures * 100 > outcomes * maxFailedPercent;

/** The status of a recipient whose message has this status. */
const statusOf: Record<MessageStatus, BulkRecipientStatus> = {
  scheduled: 'queued',
  queued: 'queued',
  sending: 'queued',
  sent: 'sent',
  delivered: 'delivered',
  read: 'read',
  played: 'read',
  failed: 'failed',
  uncertain: 'uncertain',
  cancelled: 'cancelled',
};
const withReason = new Set<BulkRecipientStatus>(['failed', 'uncertain']);
const isFirstOutcome = (from: BulkRecipientStatus, to: BulkRecipientStatus): boolean =>
  (from === 'queued' || from === 'uncertain') && ['sent', 'delivered', 'read', 'failed'].includes(to);

async function follow(context: Context, tx: Transaction, message: Message): Promise<void> {
  if (message.bulkJobId === null) return;
  const [row] = await readRows(tx.manager, BulkRecipient, '"messageId" = ?', [message.id]);
  const [job] = row ? await readRows(tx.manager, BulkJob, 'id = ?', [row.jobId]) : [];
  if (!row || !job) return;
  const [from, to] = [row.status, statusOf[message.status]];
  const reason = withReason.has(to) ? { reasonCode: message.reasonCode, reasonText: message.reasonText } : {};
  // A failed recipient can be retried, so its variables stay until the job is over.
  const wiped = to === 'failed' || to === 'uncertain' || to === 'queued' ? {} : { sealed: null };
  if (from === to && row.reasonCode === (reason.reasonCode ?? null)) return;
  const step = stepOf(job);
  if (!(await moveRecipient(tx, job, row, to, { ...reason, ...wiped }))) return;
  if (isFirstOutcome(from, to)) {
    const failed = to === 'failed' ? 1 : 0;
    await runStatement(tx.manager, 'UPDATE bulk_jobs SET outcomes = outcomes + 1, failures = failures + ? WHERE id = ?', [
      failed,
      job.id,
    ]);
    job.outcomes += 1;
    job.failures += failed;
  }
  failPoint('bulk.counted');
  await review(context, tx, job, step);
}
