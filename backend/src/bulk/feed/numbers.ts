import { AppError, parseAddress } from '@chasqui/shared';
import { among, readRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Session } from '../../sessions/session.entity.js';
import { BulkRecipient, type BulkJob } from '../bulk.entity.js';
import type { CheckedNumber, FeedContext } from './context.js';

/** How many numbers one check asks for. It is small, because WhatsApp may restrict accounts that ask for many. */
const batchSize = 20;
/** The delay after a check that WhatsApp could not answer. */
const retryMs = 15_000;

/**
 * Checks the numbers of the next recipients of a job right before they get their message, because a number may be registered or given up at any time.
 * May run twice. Returns the delay until the next step in milliseconds; 0: at once.
 */
export async function checkNext(context: FeedContext, session: Session, { id, sessionId }: BulkJob): Promise<number> {
  const { database, state, checkNumbers } = context;
  const condition = `"jobId" = ? AND status = 'pending' AND NOT "isChecked" ORDER BY position LIMIT ${batchSize}`;
  const rows = await readRows(database.reader, BulkRecipient, condition, [id]);
  const numbers = rows.flatMap(({ address }) => (address && parseAddress(address)?.kind === 'phone' ? [address] : []));
  let checked: CheckedNumber[];
  try {
    checked = numbers.length > 0 ? await checkNumbers(session, numbers) : [];
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    await database.write.run(async (tx) => {
      const job = await state.lock(tx, { id, sessionId });
      if (job?.status !== 'running' && job?.status !== 'waiting') return;
      const until = new Date(context.clock.now().getTime() + retryMs);
      await state.change(tx, job, { status: 'waiting', reason: 'NUMBERS_NOT_CHECKED', until });
    });
    return retryMs;
  }
  const answers = new Map(checked.map((answer) => [answer.address, answer]));
  await database.write.run(async (tx) => {
    const job = await state.lock(tx, { id, sessionId });
    if (!job) return;
    for (const row of rows) await record(context, tx, job, row, answers.get(row.address ?? ''));
  });
  return 0;
}

async function record(
  { state }: FeedContext,
  tx: Transaction,
  job: BulkJob,
  row: BulkRecipient,
  answer: CheckedNumber | undefined,
): Promise<void> {
  if (answer && !answer.isRegistered) return state.skip(tx, job, row, 'RECIPIENT_NOT_ON_WHATSAPP');
  // Only the reply of WhatsApp shows that two numbers belong to one person, so a duplicate may be found here.
  if (answer && (await isListedEarlier(tx, row, answer.ids))) return state.skip(tx, job, row, 'DUPLICATE');
  await updateRows(tx, BulkRecipient, { jobId: row.jobId, position: row.position, status: 'pending' }, { isChecked: true });
}

async function isListedEarlier(
  tx: Transaction,
  { accountId, jobId, position }: BulkRecipient,
  ids: readonly string[],
): Promise<boolean> {
  if (ids.length === 0) return false;
  const { condition, parameter } = among(tx.manager, 'address', ids);
  // The job in a form that no index has: SQLite would read all earlier recipients of the job instead of these few addresses.
  const sql = `SELECT 1 AS found FROM bulk_recipients WHERE "accountId" = ? AND ${condition} AND "jobId" || '' = ? AND position < ?`;
  return (await runStatement(tx.manager, sql, [accountId, parameter, jobId, position])).rows.length > 0;
}
