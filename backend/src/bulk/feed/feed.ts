import { AppError, isMediaType, parseAddress, type MessageContent } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { readRows, updateRows } from '../../db/rows.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { describeError } from '../../failures/failures.js';
import type { StoredFile } from '../../media/media.js';
import { Message } from '../../messages/message.entity.js';
import type { NewMessage } from '../../messages/messages.js';
import { accountFieldsOf } from '../../messages/send/linked-account.js';
import type { Session } from '../../sessions/session.entity.js';
import { contentFor } from '../accept/content.js';
import { BulkJob, BulkRecipient, type JobContent } from '../bulk.entity.js';
import { stepOf } from '../present.js';
import type { FeedContext } from './context.js';
import { gapAfter } from './estimate.js';

/**
 * The result of `feedNext`. `fed`: a message was queued. `again`: none was, and the next attempt may follow at once. `check`: the numbers of the
 * next recipients must be checked first.
 */
export type Fed = 'fed' | 'again' | 'check';

const nextSql = `"jobId" = ? AND status = 'pending' ORDER BY position LIMIT 1`;

/**
 * Gives the next recipient of a job its message: the recipient leaves `pending`, the message with its quota and its event is written, and the time of
 * the next one is stored, all in the transaction of the caller, who has locked the row of the session.
 *
 * | the process dies | what is on disk | what the next one does |
 * | --- | --- | --- |
 * | before the commit | the recipient is `pending` | queues the message |
 * | after it | the recipient is `queued`, and its message is in the outbox | the dispatcher sends it |
 *
 * Throws `QUOTA_EXCEEDED` and `QUEUE_FULL`: then the transaction must be rolled back.
 */
export async function feedNext(context: FeedContext, tx: Transaction, session: Session, job: BulkJob): Promise<Fed> {
  const { state } = context;
  const [row] = await readRows(tx.manager, BulkRecipient, nextSql, [job.id]);
  if (!row) throw new Error('A bulk job counts pending recipients, and there are none.');
  if (row.address === null) return (await state.skip(tx, job, row, 'ERASED'), 'again');
  if ((await context.optOuts.among(job.accountId, [row.address], tx.manager)).size > 0)
    return (await state.skip(tx, job, row, 'OPTED_OUT'), 'again');
  if (job.checkNumbers && !row.isChecked) return 'check';
  const prepared = prepare(context, session, job, row);
  if (!prepared) {
    await state.change(tx, job, { status: 'paused', reason: 'CONTENT_UNREADABLE' });
    return 'again';
  }
  const messageId = await writeMessage(context, tx, session, job, row, prepared);
  if (messageId === null) return 'again';
  await markFed(context, tx, session, job);
  failPoint('bulk.expanded');
  return 'fed';
}

interface Prepared {
  address: NonNullable<ReturnType<typeof parseAddress>>;
  content: MessageContent;
  file: StoredFile | null;
}

/** Fills the content for a recipient. If no key opens it, or it cannot be read or filled, reports the failure and returns null. */
function prepare(context: FeedContext, session: Session, job: BulkJob, row: BulkRecipient): Prepared | null {
  try {
    const { contents, locales, messages } = context;
    const content = contents.openJob(job);
    const locale = locales.get(job.accountId) ?? { language: 'en', timezone: 'UTC' };
    const address = parseAddress(row.address!);
    if (!address) return null;
    const filled = contentFor(content, contents.openRow(row), { locale, countryCode: messages.countryOf(session) });
    return { address, content: filled, file: fileOf(job, content) };
  } catch (error) {
    context.report({
      kind: 'bulk',
      subject: `${job.id} ${row.position}`,
      accountId: job.accountId,
      sessionId: job.sessionId,
      ...describeError(error),
    });
    return null;
  }
}

/** The file of the job, as its messages name it. All of them share its row. */
function fileOf({ mediaId, isSealed }: BulkJob, { type, media }: JobContent): StoredFile | null {
  if (mediaId === null || !media || !isMediaType(type)) return null;
  const { mimetype, filename, size, sha256 } = media;
  return {
    id: mediaId,
    mimetype,
    filename,
    size: size ?? 0,
    sha256: sha256 ?? '',
    kind: type,
    isSealed,
    uploadId: null,
    warnings: [],
  };
}

/** Writes the message, or queues the failed one again under its id. Returns null if nothing is to be sent. */
async function writeMessage(
  context: FeedContext,
  tx: Transaction,
  session: Session,
  job: BulkJob,
  row: BulkRecipient,
  { address, content, file }: Prepared,
): Promise<string | null> {
  const { messages, messageState, state, clock } = context;
  const options = { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], queueIfOffline: true, forward: null };
  const input: NewMessage = {
    recipient: address,
    content,
    file,
    options,
    quotedMessageId: null,
    expiresAt: null,
    origin: 'bulk',
    isFileShared: true,
    bulkJobId: job.id,
    templateId: job.templateId,
  };
  const earlier = row.messageId ? await tx.manager.findOneBy(Message, { id: row.messageId }) : null;
  if (!earlier) {
    const { id } = await messages.acceptWithin(tx, session, input, row.messageId ?? undefined);
    if (await state.move(tx, job, row, 'queued', { messageId: id })) return id;
    // Under the lock of the session no other writer moves the recipient. If one did, the message must not be sent.
    throw new Error('A recipient of a bulk job changed while its message was written.');
  }
  const step = stepOf(job);
  // An acknowledgement arrived after the failure, so the message was sent and must not be sent again.
  if (earlier.status !== 'failed') {
    await state.move(tx, job, row, 'queued');
    await state.follow(tx, earlier);
    await reread(tx, job);
    await state.review(tx, job, step);
    return null;
  }
  const wiped = earlier.content === null && earlier.sealed === null;
  const restored = wiped ? await messages.contentColumns(tx, session, input, earlier.id) : {};
  const expiresAt = new Date(clock.now().getTime() + session.settings.maxQueueAgeHours * 3_600_000);
  const fields = { nextAttemptAt: null, expiresAt, ...accountFieldsOf(session), ...restored };
  // The recipient must be `queued` first, because it follows the status of its message.
  await state.move(tx, job, row, 'queued');
  if (await messageState.move(tx, earlier, 'queued', { from: ['failed'], fields })) return earlier.id;
  throw new Error('A message that failed could not be queued again.');
}

/** Updates the passed `job` from its row. */
async function reread(tx: Transaction, job: BulkJob): Promise<void> {
  const [now] = await readRows(tx.manager, BulkJob, 'id = ?', [job.id]);
  if (now) Object.assign(job, now);
}

/** Counts the message, and stores when the session may queue the next one. */
async function markFed({ clock, state }: FeedContext, tx: Transaction, session: Session, job: BulkJob): Promise<void> {
  const now = clock.now();
  const gapMs = gapAfter(job, job.fed, session.settings.pacing.perMinute);
  const fields = { fed: job.fed + 1, fedAt: now, nextAt: new Date(now.getTime() + gapMs) };
  if (job.status === 'waiting') return state.change(tx, job, { status: 'running', fields });
  await updateRows(tx, BulkJob, { id: job.id }, fields);
  Object.assign(job, fields);
}

/** Whether an error of an attempt delays the job instead of being a fault. */
export const isDelay = (error: unknown): error is AppError =>
  error instanceof AppError && (error.code === 'QUOTA_EXCEEDED' || error.code === 'QUEUE_FULL');
