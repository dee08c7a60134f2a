import { isSystemError } from '../db/database-errors.js';
import type { RunAlone } from '../db/isolate.js';
import { among, deleteRows, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { describeError } from '../failures/failures.js';
import type { Core } from '../core.js';
import type { Media } from '../media/media.js';
import type { Variables } from '../templates/render.js';
import type { JobContents } from './accept/content.js';
import { BulkJob, BulkRecipient, type JobContent } from './bulk.entity.js';
import type { BulkState } from './state.js';

/** All ids and spellings of one person, which an erasure or an export searches for. */
export interface PersonTraces {
  all(): string[];
  /** Whether a text may contain one of them. */
  mayBeIn(text: string): boolean;
  /** Returns a value without the person. */
  removeFrom(value: unknown): unknown;
}

/** One recipient as it is stored, for the export of a person. */
export interface StoredRecipient {
  jobId: string;
  jobName: string | null;
  row: number;
  recipient: string | null;
  variables: Variables | null;
  status: string;
  messageId: string | null;
}

/** Retention, erasure, export and re-sealing of jobs. Each may die halfway, and the next run continues. */
export interface BulkUpkeep {
  /** Deletes jobs that ended before this time, with their recipients and their files. Returns their number. */
  prune(before: Date): Promise<number>;
  /**
   * Removes a person from the recipients and the variables of all jobs. A pending recipient gets no message. Counts stay. Returns the number of
   * changed rows.
   */
  erase(accountId: string, traces: PersonTraces, alone: RunAlone): Promise<number>;
  /** Returns the rows of a person. */
  stored(accountId: string, traces: PersonTraces): Promise<StoredRecipient[]>;
  /**
   * Seals jobs and rows again that an older key has sealed. `page` returns the next of them after `last`; `one` seals one again and returns whether
   * it did. `prefix`: the beginning of each text that the current key has sealed.
   */
  resealJobs: { page(prefix: string, last: BulkJob | null): Promise<BulkJob[]>; one(job: BulkJob): Promise<boolean> };
  resealRows: {
    page(prefix: string, last: BulkRecipient | null): Promise<BulkRecipient[]>;
    one(row: BulkRecipient): Promise<boolean>;
  };
}

export interface BulkUpkeepParts {
  state: BulkState;
  contents: JobContents;
  media: Pick<Media, 'remove'>;
}

interface Context extends Pick<Core, 'database' | 'report'>, BulkUpkeepParts {}

const batchSize = 200;

export function createBulkUpkeep({ database, report }: Pick<Core, 'database' | 'report'>, parts: BulkUpkeepParts): BulkUpkeep {
  const context: Context = { database, report, ...parts };
  const { reader } = database;
  return {
    prune: (before) => prune(context, before),
    erase: (accountId, traces, alone) => erase(context, accountId, traces, alone),
    stored: (accountId, traces) => stored(context, accountId, traces),
    resealJobs: {
      page: (prefix, last) =>
        readRows(reader, BulkJob, `${isStale} AND id > ? ORDER BY id LIMIT ${batchSize}`, [
          prefix.length,
          prefix,
          last?.id ?? '',
        ]),
      one: (job) => resealJob(context, job),
    },
    resealRows: {
      page: (prefix, last) => {
        const after = `("jobId" > ? OR ("jobId" = ? AND position > ?)) ORDER BY "jobId", position LIMIT ${batchSize}`;
        const key = [last?.jobId ?? '', last?.jobId ?? '', last?.position ?? -1];
        return readRows(reader, BulkRecipient, `${isStale} AND ${after}`, [prefix.length, prefix, ...key]);
      },
      one: (row) => resealRow(context, row),
    },
  };
}

const isStale = 'sealed IS NOT NULL AND SUBSTR(sealed, 1, ?) <> ?';

async function prune(context: Context, before: Date): Promise<number> {
  const { database, state, media, report } = context;
  let deleted = 0;
  for (let last = ''; ;) {
    const condition = `status IN ('completed', 'cancelled') AND "finishedAt" <= ? AND id > ? ORDER BY id LIMIT ${batchSize}`;
    const jobs = await readRows(database.reader, BulkJob, condition, [before, last]);
    for (const { id, sessionId, accountId } of jobs)
      try {
        deleted += await database.write.run(async (tx) => {
          const job = await state.lock(tx, { id, sessionId });
          // A retry may have reopened the job since it was read.
          if (!job?.finishedAt || job.finishedAt > before) return 0;
          await deleteRows(tx, BulkRecipient, { jobId: id });
          if (job.mediaId) await media.remove(tx, [job.mediaId]);
          return deleteRows(tx, BulkJob, { id });
        });
      } catch (error) {
        if (isSystemError(error)) throw error;
        report({ kind: 'retention', subject: id, accountId, sessionId, ...describeError(error) });
      }
    if (jobs.length < batchSize) return deleted;
    last = jobs.at(-1)!.id;
  }
}

/** The jobs of an account without their contents, page by page. */
async function* jobsOf({ database }: Context, accountId: string): AsyncGenerator<Pick<BulkJob, 'id' | 'sessionId'>> {
  const sql = `SELECT id, "sessionId" FROM bulk_jobs WHERE "accountId" = ? AND id > ? ORDER BY id LIMIT ${batchSize}`;
  for (let last = ''; ;) {
    const { rows } = await runStatement<{ id: string; sessionId: string }>(database.reader, sql, [accountId, last]);
    yield* rows;
    if (rows.length < batchSize) return;
    last = rows.at(-1)!.id;
  }
}

async function erase(context: Context, accountId: string, traces: PersonTraces, alone: RunAlone): Promise<number> {
  const { database, state } = context;
  let changed = 0;
  for await (const job of jobsOf(context, accountId)) {
    const write = (work: (tx: Transaction, locked: BulkJob) => Promise<void>): Promise<void> =>
      alone(`bulk job ${job.id}`, () =>
        database.write.run(async (tx) => {
          const locked = await state.lock(tx, job);
          if (locked) await work(tx, locked);
        }),
      );
    await write((tx, locked) => eraseFromJob(context, tx, locked, traces));
    for await (const rows of rowsNaming(context, job.id, traces, alone)) {
      await write(async (tx, locked) => {
        for (const row of rows) await eraseRow(context, tx, locked, row, traces);
      });
      changed += rows.length;
    }
  }
  return changed;
}

/** Returns the recipients of a job that are the person, or whose variables name them, page by page. */
async function* rowsNaming(
  { database, contents }: Context,
  jobId: string,
  traces: PersonTraces,
  alone: RunAlone,
): AsyncGenerator<BulkRecipient[]> {
  for (let last = -1; ;) {
    const condition = `"jobId" = ? AND position > ? ORDER BY position LIMIT ${batchSize}`;
    const page = await readRows(database.reader, BulkRecipient, condition, [jobId, last]);
    const found: BulkRecipient[] = [];
    const isNaming = (row: BulkRecipient): boolean =>
      traces.mayBeIn(`${row.address ?? ''} ${row.recipient ?? ''} ${row.reasonText ?? ''}`) ||
      traces.mayBeIn(JSON.stringify(contents.openRow(row)));
    for (const row of page)
      await alone(`bulk job ${jobId} ${row.position}`, async () => {
        if (isNaming(row)) found.push(row);
      });
    if (found.length > 0) yield found;
    if (page.length < batchSize) return;
    last = page.at(-1)!.position;
  }
}

async function eraseRow(
  { state, contents }: Context,
  tx: Transaction,
  job: BulkJob,
  found: BulkRecipient,
  traces: PersonTraces,
): Promise<void> {
  const { jobId, position } = found;
  const [row] = await readRows(tx.manager, BulkRecipient, '"jobId" = ? AND position = ?', [jobId, position]);
  if (!row) return;
  const isThem = row.address !== null && traces.all().includes(row.address);
  const reasonText = null;
  if (isThem) {
    if (row.status === 'pending') await state.skip(tx, job, row, 'ERASED');
    const erased = { recipient: null, address: null, variables: null, sealed: null, reasonText };
    return void (await updateRows(tx, BulkRecipient, { jobId, position }, erased));
  }
  const variables = traces.removeFrom(contents.openRow(row)) as Variables;
  const stripped = row.sealed === null ? { variables } : { sealed: contents.sealRow(jobId, position, variables) };
  const recipient = row.recipient !== null && traces.mayBeIn(row.recipient) ? null : row.recipient;
  await updateRows(tx, BulkRecipient, { jobId, position }, { ...stripped, recipient, reasonText });
}

/** Removes a person from the name and the content of a job. A contact card, for example, names a person. */
async function eraseFromJob({ contents }: Context, tx: Transaction, job: BulkJob, traces: PersonTraces): Promise<void> {
  const name = job.name !== null && traces.mayBeIn(job.name) ? null : job.name;
  if (name !== job.name) await updateRows(tx, BulkJob, { id: job.id }, { name });
  if (job.content === null && job.sealed === null) return;
  const content = contents.openJob(job);
  if (!traces.mayBeIn(JSON.stringify(content))) return;
  const without = traces.removeFrom(content) as JobContent;
  const changes = job.sealed === null ? { content: without } : { sealed: contents.sealJob(job.id, without) };
  await updateRows(tx, BulkJob, { id: job.id }, changes);
}

async function stored(context: Context, accountId: string, traces: PersonTraces): Promise<StoredRecipient[]> {
  const { database, contents } = context;
  const { condition, parameter } = among(database.reader, 'address', traces.all());
  const rows = await readRows(database.reader, BulkRecipient, `"accountId" = ? AND ${condition}`, [accountId, parameter]);
  const names = await namesOf(context, [...new Set(rows.map(({ jobId }) => jobId))]);
  return rows.map((row) => ({
    jobId: row.jobId,
    jobName: names.get(row.jobId) ?? null,
    row: row.position + 1,
    recipient: row.recipient,
    // Sealed variables exist only to send the message, and are not exported.
    variables: row.sealed === null ? contents.openRow(row) : null,
    status: row.status,
    messageId: row.messageId,
  }));
}

/** The names of jobs by their ids. */
async function namesOf({ database }: Context, jobIds: readonly string[]): Promise<Map<string, string | null>> {
  const { condition, parameter } = among(database.reader, 'id', jobIds);
  const sql = `SELECT id, name FROM bulk_jobs WHERE ${condition}`;
  const { rows } = await runStatement<{ id: string; name: string | null }>(database.reader, sql, [parameter]);
  return new Map(rows.map(({ id, name }) => [id, name]));
}

/** Does nothing if the job ended since it was read: its content is not stored any more. */
async function resealJob({ database, contents }: Context, job: BulkJob): Promise<boolean> {
  const sealed = contents.resealedJob(job);
  if (sealed === null || job.sealed === null) return false;
  const sql = 'UPDATE bulk_jobs SET sealed = ? WHERE id = ? AND sealed = ?';
  return (await database.write.run((tx) => runStatement(tx.manager, sql, [sealed, job.id, job.sealed]))).affected === 1;
}

async function resealRow({ database, contents }: Context, row: BulkRecipient): Promise<boolean> {
  const sealed = contents.resealedRow(row);
  if (sealed === null || row.sealed === null) return false;
  const sql = 'UPDATE bulk_recipients SET sealed = ? WHERE "jobId" = ? AND position = ? AND sealed = ?';
  return (
    (await database.write.run((tx) => runStatement(tx.manager, sql, [sealed, row.jobId, row.position, row.sealed]))).affected ===
    1
  );
}
