import { AppError, newId, textOf, type BulkCheck, type BulkJobDetails } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Caller } from '../accounts/caller.js';
import type { Core } from '../core.js';
import { isConflict } from '../db/database-errors.js';
import { insertRow, insertRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { StoredFile } from '../media/media.js';
import type { IdempotencyKey } from '../messages/accept/idempotency.js';
import type { Session } from '../sessions/session.entity.js';
import { contentFor } from './accept/content.js';
import {
  checkRecipients,
  requireAcceptable,
  type CheckedRecipients,
  type RecipientInput,
  type RecipientChecks,
} from './accept/recipients.js';
import { BulkJob, BulkRecipient, noCounts, type JobContent } from './bulk.entity.js';
import { audit, cancel, pause, resume, retry } from './changes.js';
import type { BulkContext, BulkParts } from './context.js';
import { endsOf, find, isoOf, list, listRecipients, pages, present, type JobQuery, type RecipientQuery } from './reads.js';

/** A job to be accepted. Its file is checked and on disk. */
export interface NewJob {
  name: string | null;
  content: JobContent;
  file: StoredFile | null;
  /** The template from which the content was taken. */
  templateId?: string | null;
  recipients: readonly RecipientInput[];
  gapMs: readonly [number, number];
  checkNumbers: boolean;
  scheduledAt: Date | null;
}

/**
 * Bulk jobs: one message to many recipients. A caller reaches only the jobs of its account, and of its session if it is bound to one.
 *
 * Accepting a job is one commit: before it nothing has happened, after it the job with all its recipients is on disk and is carried out even if
 * processes die. `feed/feeder.ts` puts the messages into the outbox, and `state.ts` has the rules of states and counts.
 *
 * | verb | the process dies | then |
 * | --- | --- | --- |
 * | create | before the commit | nothing is stored; the media sweep deletes the file |
 * | create | after it | the job is carried out; a repeat with the same `Idempotency-Key` returns it |
 * | pause, resume, cancel, retry | before the commit | the job is as it was |
 * | pause, resume, cancel, retry | after it | the change is stored; a repeat is refused with the current status |
 */
export interface Bulk {
  /**
   * Checks and accepts a job. Throws `MISSING_VARIABLE` and `VALIDATION_FAILED` that name rows, `SCHEDULE_IN_PAST`, `SESSION_SUSPENDED`, `QUEUE_FULL`
   * for a session with too many jobs, and `IDEMPOTENCY_IN_PROGRESS`; then nothing is stored.
   */
  create(caller: Caller, session: Session, input: NewJob, key: IdempotencyKey | null): Promise<BulkJob>;
  /** Checks a job and stores nothing. */
  check(session: Session, input: NewJob): Promise<Omit<BulkCheck, 'columns'>>;
  /** Throws `BULK_JOB_NOT_FOUND`. */
  find(caller: Caller, id: string): Promise<BulkJob>;
  /** Returns a job of any account. */
  byId(id: string): Promise<BulkJob | null>;
  /** Returns a page of jobs, newest first, and how many match. */
  list(caller: Caller, query: JobQuery): Promise<{ jobs: BulkJob[]; total: number }>;
  /** Returns a page of the recipients of a job in the order of its list, and how many match. */
  recipients(job: BulkJob, query: RecipientQuery): Promise<{ rows: BulkRecipient[]; total: number }>;
  /** Returns all recipients page by page. */
  pages(job: BulkJob): AsyncGenerator<BulkRecipient[]>;
  /** Returns jobs as the routes show them, with their estimated ends. */
  present(jobs: readonly BulkJob[]): Promise<BulkJobDetails[]>;

  /** Queues no further message; a message that is already in the queue is sent. Throws `BULK_STATE_CONFLICT`. */
  pause(caller: Caller, job: BulkJob): Promise<BulkJob>;
  /**
   * Continues a paused job. Its failures are counted from zero, and it is sent from the account to which the session is linked now. Throws
   * `BULK_STATE_CONFLICT`.
   */
  resume(caller: Caller, job: BulkJob): Promise<BulkJob>;
  /** Ends a job: recipients without a message get none, and queued messages are cancelled. Throws `BULK_STATE_CONFLICT`. */
  cancel(caller: Caller, job: BulkJob): Promise<BulkJob>;
  /** Sends the failed messages again, under the same WhatsApp ids. Throws `BULK_STATE_CONFLICT` if no message has failed, and `CONTENT_WIPED`. */
  retry(caller: Caller, job: BulkJob): Promise<BulkJob>;
}

/** The maximum number of unfinished jobs of a session. It is limited because the feeder reads all of them at each step. */
const maxUnfinished = 100;
/** The maximum number of issues that a check returns. */
const maxIssues = 1_000;

export function createBulk(core: Core, parts: BulkParts): Bulk {
  const context: BulkContext = { ...core, ...parts };
  const { reader } = core.database;
  return {
    create: (caller, session, input, key) => create(context, caller, session, input, key),
    check: (session, input) => check(context, session, input),
    find: (caller, id) => find(context, caller, id),
    byId: (id) => reader.getRepository(BulkJob).findOneBy({ id }),
    list: (caller, query) => list(context, caller, query),
    recipients: (job, query) => listRecipients(context, job, query),
    pages: (job) => pages(context, job),
    present: (jobs) => present(context, jobs),
    pause: (caller, job) => pause(context, caller, job),
    resume: (caller, job) => resume(context, caller, job),
    cancel: (caller, job) => cancel(context, caller, job),
    retry: (caller, job) => retry(context, caller, job),
  };
}

async function create(
  context: BulkContext,
  caller: Caller,
  session: Session,
  input: NewJob,
  key: IdempotencyKey | null,
): Promise<BulkJob> {
  const { database, media, clock } = context;
  try {
    requireTime(input, clock.now());
    if (session.status === 'suspended') throw new AppError('SESSION_SUSPENDED', { reason: session.reasonText });
    const checked = await checkedRecipients(context, session, input);
    requireAcceptable(checked);
    const job = await newJob(context, session, input, checked);
    await database.write.run((tx) => write(context, tx, { caller, job, checked, file: input.file, key }));
    failPoint('bulk.accepted');
    return job;
  } catch (error) {
    // Closes: two calls with one key on two backends. The second call meets the record of the first.
    const refusal = key && isConflict(error) ? new AppError('IDEMPOTENCY_IN_PROGRESS') : error;
    // If the reply to the commit was lost, the job may exist. Then the file stays, and the media sweep deletes it if no row names it.
    if (input.file && refusal instanceof AppError) await media.discard(input.file);
    throw refusal;
  }
}

function requireTime({ scheduledAt }: NewJob, now: Date): void {
  if (scheduledAt && scheduledAt <= now) throw new AppError('SCHEDULE_IN_PAST', { scheduledAt: scheduledAt.toISOString() });
}

async function checkedRecipients(
  context: BulkContext,
  session: Session,
  { recipients, content }: NewJob,
): Promise<CheckedRecipients> {
  const { contacts, optOuts, messages, localeOf } = context;
  const { accountId } = session;
  const checks: RecipientChecks = {
    formsOf: (ids) => contacts.formsOfAll(accountId, ids),
    optedOut: (ids) => optOuts.among(accountId, ids),
  };
  const locale = await localeOf(accountId);
  return checkRecipients(recipients, content, { locale, countryCode: messages.countryOf(session) }, checks);
}

async function newJob(
  { clock, storageOf, contents }: BulkContext,
  session: Session,
  input: NewJob,
  { rows }: CheckedRecipients,
): Promise<BulkJob> {
  const now = clock.now();
  const id = newId(now.getTime());
  const isSealed = (await storageOf(session)) === 'metadata';
  const skipped = rows.filter(({ skip }) => skip !== null).length;
  const [gapMinMs, gapMaxMs] = input.gapMs;
  return {
    id,
    accountId: session.accountId,
    sessionId: session.id,
    name: input.name,
    status: input.scheduledAt ? 'scheduled' : 'running',
    reasonCode: null,
    waitingUntil: null,
    type: input.content.type,
    content: isSealed ? null : input.content,
    sealed: isSealed ? contents.sealJob(id, input.content) : null,
    isSealed,
    mediaId: input.file?.id ?? null,
    templateId: input.templateId ?? null,
    gapMinMs,
    gapMaxMs,
    checkNumbers: input.checkNumbers,
    linkedAccountNumber: session.linkedAccountNumber,
    total: rows.length,
    pending: rows.length - skipped,
    ...noCounts,
    skipped,
    nextAt: null,
    fedAt: null,
    scheduledAt: input.scheduledAt,
    startedAt: input.scheduledAt ? null : now,
    finishedAt: null,
    createdAt: now,
  };
}

/** What one commit writes. */
interface Written {
  caller: Caller;
  job: BulkJob;
  checked: CheckedRecipients;
  file: StoredFile | null;
  key: IdempotencyKey | null;
}

/** The one commit of a job: its row, its recipients, its file, its idempotency record, the audit entry and the event. */
async function write(context: BulkContext, tx: Transaction, { caller, job, checked, file, key }: Written): Promise<void> {
  const { state, media, idempotency, contents } = context;
  await state.lock(tx, job);
  await requireRoom(tx, job.sessionId);
  if (key) await idempotency.reserve(tx, [{ key, messageId: job.id }]);
  if (file) await media.attach(tx, file, { accountId: job.accountId, messageId: null, isShared: true });
  await insertRow(tx, BulkJob, job);
  await insertRows(
    tx,
    BulkRecipient,
    checked.rows.map(({ recipient, address, variables, skip }, position): BulkRecipient => {
      const isBare = Object.keys(variables).length === 0 || skip !== null;
      return {
        jobId: job.id,
        position,
        accountId: job.accountId,
        recipient,
        address,
        variables: isBare || job.isSealed ? null : variables,
        sealed: !isBare && job.isSealed ? contents.sealRow(job.id, position, variables) : null,
        status: skip ? 'skipped' : 'pending',
        reasonCode: skip,
        reasonText: null,
        messageId: null,
        isChecked: false,
      };
    }),
  );
  await audit(context, tx, caller, job, 'create');
  await state.publish(tx, job);
}

async function requireRoom(tx: Transaction, sessionId: string): Promise<void> {
  const sql = `SELECT COUNT(*) AS n FROM bulk_jobs WHERE "sessionId" = ? AND status IN ('scheduled', 'running', 'waiting', 'paused')`;
  const [row] = (await runStatement<{ n: number | string }>(tx.manager, sql, [sessionId])).rows;
  if (Number(row!.n) >= maxUnfinished) throw new AppError('QUEUE_FULL', { limit: maxUnfinished });
}

async function check(context: BulkContext, session: Session, input: NewJob): Promise<Omit<BulkCheck, 'columns'>> {
  const { clock, messages, localeOf } = context;
  requireTime(input, clock.now());
  const checked = await checkedRecipients(context, session, input);
  const { rows, issues } = checked;
  const first = rows.find(({ skip }, index) => !skip && !issues.some(({ row, isRefusal }) => isRefusal && row === index + 1));
  const locale = await localeOf(session.accountId);
  const countryCode = messages.countryOf(session);
  const accepted = rows.filter(({ skip }) => skip === null).length;
  const job = await newJob(context, session, input, checked);
  const ends = accepted > 0 ? await endsOf(context, session, [job]) : null;
  const skipped: Record<string, number> = {};
  for (const { skip } of rows) if (skip) skipped[skip] = (skipped[skip] ?? 0) + 1;
  return {
    total: rows.length,
    accepted,
    skipped,
    isAcceptable: accepted > 0 && !issues.some(({ isRefusal }) => isRefusal),
    issues: issues.slice(0, maxIssues).map(({ isRefusal: _, ...issue }) => issue),
    preview: first ? textOf(contentFor(input.content, first.variables, { locale, countryCode })) : null,
    estimatedEndAt: isoOf(ends?.get(job.id)),
  };
}
