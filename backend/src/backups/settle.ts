import { messageReasons } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { IsNull } from 'typeorm';
import type { BulkJob } from '../bulk/bulk.entity.js';
import type { BulkState } from '../bulk/state.js';
import type { Core } from '../core.js';
import { isSystemError } from '../db/database-errors.js';
import { advisoryLocks, lockStep } from '../db/locks.js';
import { raiseEpochs } from '../db/restored-marks.js';
import { readRows, updateRows } from '../db/rows.js';
import { behindSavepoint } from '../db/savepoint.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { timeIn } from '../lib/clock.js';
import { errorFields } from '../lib/log.js';
import { Message } from '../messages/message.entity.js';
import { cronTimes } from '../lib/cron.js';
import { Schedule } from '../messages/recurring/schedule.entity.js';
import type { MessageState } from '../messages/state.js';
import { Session } from '../sessions/session.entity.js';
import { Restored } from './restored.entity.js';

/**
 * Settles what a restored backup left open, before this backend accepts or sends anything. The database is as old as the backup, and the installation
 * that it was taken from may have continued: a message that waits here may have been sent there. So no such message is sent automatically.
 *
 * | in the backup | becomes | because |
 * | --- | --- | --- |
 * | `queued`, `sending` | `uncertain` with `RESTORED`; it is looked up | it may have been sent under the same reserved id |
 * | `scheduled`, its time has passed | the same | likewise |
 * | `scheduled` for later | unchanged | it was not due there either |
 * | `uncertain` | unchanged | it is looked up as before |
 * | a bulk job that runs, waits or is paused, or whose time has passed | `paused` with `RESTORED` | a pending recipient may have got a message with an id that is unknown here |
 * | a schedule whose next time has passed | moved to its next time after now | likewise |
 *
 * A lookup that finds such a message settles it. A lookup that does not find it proves nothing, even if the history is complete: a linked device does
 * not receive the messages again that it sent itself, and the restored login is older than they are. So for a message from before the restore the
 * absence is never proven (`absenceProvenFrom`), and the account's policy decides: a person, or one more attempt under the same id.
 *
 * With the mode `move` nothing was sent in the meantime, and everything continues as after a restart.
 *
 * Each step is a transaction of its own and reads only what is left, so the next start continues one that died halfway. Another backend of the same
 * database waits for the step that runs, takes the next one, and does nothing more once the restore is settled: what is accepted from then on is new.
 */
export interface RestoredQueue {
  /** Settles the restores that are not settled yet. */
  settle(): Promise<void>;
  /** Returns the time before which the absence of an accepted message proves nothing. Milliseconds since 1970; 0: there was no such restore. */
  absenceProvenFrom(): number;
}

export interface RestoredQueueParts {
  state: Pick<MessageState, 'move'>;
  bulkState: Pick<BulkState, 'lock' | 'change'>;
  /** How long a message that was not found may still appear. Milliseconds. */
  graceMs: number;
}

interface Context extends Pick<Core, 'database' | 'clock' | 'log'>, RestoredQueueParts {}

const batchSize = 100;
/** By how much epochs are raised, because the earlier installation may have used later ones. */
const epochStep = 1_000;
/** How long settling the messages may take. */
const maxSettleMs = 600_000;

export function createRestoredQueue(core: Core, parts: RestoredQueueParts): RestoredQueue {
  const { database, clock, log } = core;
  const context: Context = { database, clock, log, ...parts };
  let provenFrom = 0;
  return {
    async settle() {
      await settleAll(context);
      const rows = await database.reader.getRepository(Restored).findBy({ mode: 'copy' });
      provenFrom = Math.max(0, ...rows.map(({ appliedAt }) => appliedAt?.getTime() ?? 0));
    },
    absenceProvenFrom: () => provenFrom,
  };
}

async function settleAll(context: Context): Promise<void> {
  const { database, clock, log } = context;
  const open = await database.reader.getRepository(Restored).findBy({ appliedAt: IsNull() });
  for (const restored of open) {
    const counts = restored.mode === 'copy' ? await settleCopy(context, restored.id) : {};
    const isFirst = await database.write.run(async (tx) => {
      const set = { appliedAt: clock.now(), counts };
      if ((await updateRows(tx, Restored, { id: restored.id, appliedAt: IsNull() }, set)) === 0) return false;
      await raiseEpochs(tx, epochStep);
      if (!restored.startsSessions) await updateRows(tx, Session, { deletedAt: IsNull() }, { desired: 'stopped' });
      return true;
    });
    if (isFirst)
      log.warn('A backup was restored. What may have been sent since it was taken is uncertain.', {
        backupId: restored.backupId,
        takenAt: restored.takenAt.toISOString(),
        mode: restored.mode,
        ...counts,
      });
  }
}

async function settleCopy(context: Context, restoredId: string): Promise<Record<string, number>> {
  const step: Step = (run) => whileOpen(context, restoredId, run);
  const jobs = (await step((tx) => pauseJobs(context, tx))) ?? 0;
  const schedules = (await step((tx) => moveSchedules(context, tx))) ?? 0;
  const messages = await makeUncertain(context, step);
  return { messages, jobs, schedules };
}

/** Runs a part of the work in a transaction, one at a time over all backends. Returns null when another backend has settled the restore. */
type Step = <T>(run: (tx: Transaction) => Promise<T>) => Promise<T | null>;

const whileOpen = <T>({ database }: Context, id: string, run: (tx: Transaction) => Promise<T>): Promise<T | null> =>
  database.write.run(async (tx) => {
    await lockStep(tx, advisoryLocks.restored);
    const isOpen = await tx.manager.existsBy(Restored, { id, appliedAt: IsNull() });
    return isOpen ? run(tx) : null;
  });

/**
 * Makes waiting messages uncertain, and returns their number. A row that cannot be read is isolated: it must not be sent, and must not stop the
 * others.
 */
async function makeUncertain(context: Context, step: Step): Promise<number> {
  const { clock, log } = context;
  let settled = 0;
  for (const until = clock.monotonic() + maxSettleMs; clock.monotonic() < until;) {
    const found = await step(async (tx) => {
      const where = `(status IN ('queued', 'sending') OR (status = 'scheduled' AND "nextAttemptAt" <= ?)) ORDER BY id LIMIT ${batchSize}`;
      const rows = await readRows(tx.manager, Message, where, [clock.now().getTime()]);
      for (const message of rows) await makeOneUncertain(context, tx, message);
      return rows.length;
    });
    settled += found ?? 0;
    failPoint('restore.settled');
    if (found === null || found < batchSize) return settled;
  }
  log.error('The messages of a restored backup could not be settled in time.', { settled });
  throw new Error('The messages of a restored backup could not be settled.');
}

async function makeOneUncertain({ state, clock, graceMs, log }: Context, tx: Transaction, message: Message): Promise<void> {
  // The next attempt must not count as the first one: the page then looks for an earlier one, and the worker does not answer from its send record.
  const attempts = Math.max(1, message.attempts);
  const fields = { attempts, hasUncertainAttempt: true, nextAttemptAt: clock.now(), leaseExpiresAt: timeIn(clock, graceMs) };
  try {
    const how = { from: [message.status], reason: 'RESTORED', fields } as const;
    if (await behindSavepoint(tx, 'restored', (own) => state.move(own, { ...message }, 'uncertain', how))) return;
  } catch (error) {
    if (isSystemError(error)) throw error;
    log.error('A message of a restored backup could not be settled by its rules; it is held.', {
      messageId: message.id,
      ...errorFields(error),
    });
  }
  const held = { status: 'uncertain' as const, reasonCode: 'RESTORED', reasonText: messageReasons.RESTORED };
  await updateRows(tx, Message, { id: message.id }, { ...held, attempts, hasUncertainAttempt: true, nextAttemptAt: null });
}

/** Pauses the bulk jobs that may have continued elsewhere. Returns their number. */
async function pauseJobs({ clock, bulkState }: Context, tx: Transaction): Promise<number> {
  const sql = `SELECT id, "sessionId" FROM bulk_jobs WHERE status IN ('running', 'waiting', 'paused') OR (status = 'scheduled' AND "scheduledAt" <= ?)`;
  const { rows } = await runStatement<{ id: string; sessionId: string }>(tx.manager, sql, [clock.now().getTime()]);
  let paused = 0;
  for (const { id, sessionId } of rows) {
    const job: BulkJob | null = await bulkState.lock(tx, { id, sessionId });
    if (!job || !['running', 'waiting', 'paused', 'scheduled'].includes(job.status)) continue;
    await bulkState.change(tx, job, { status: 'paused', reason: 'RESTORED' });
    paused += 1;
  }
  return paused;
}

/**
 * Moves schedules that are due to their next time, which does not count as an occurrence. Returns their number. One whose cron expression cannot be read
 * stays, and creates no message.
 */
async function moveSchedules({ clock, log }: Context, tx: Transaction): Promise<number> {
  const now = clock.now();
  let moved = 0;
  const due = await readRows(tx.manager, Schedule, `status = 'active' AND "nextAt" <= ?`, [now.getTime()]);
  for (const { id, cron, timezone, endsAt, nextAt } of due) {
    const times = timesOf(cron, timezone);
    if (!times) {
      log.error('A schedule of a restored backup has no valid times.', { scheduleId: id });
      continue;
    }
    const next = times.after(now);
    const isOver = next === null || (endsAt !== null && next >= endsAt);
    const changes = isOver ? ({ status: 'ended', nextAt: null, reasonCode: 'COMPLETED' } as const) : { nextAt: next };
    moved += await updateRows(tx, Schedule, { id, nextAt: nextAt! }, { ...changes, updatedAt: now });
  }
  return moved;
}

function timesOf(cron: string, timezone: string): ReturnType<typeof cronTimes> | null {
  try {
    return cronTimes(cron, timezone);
  } catch {
    return null;
  }
}
