import { AppError, isMediaType, parseRecipient, type Address } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Core } from '../../core.js';
import { lockRows, notAmong, readRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { describeError } from '../../failures/failures.js';
import { createItemBackoff } from '../../lib/item-backoff.js';
import { errorFields } from '../../lib/log.js';
import type { Media, StoredFile } from '../../media/media.js';
import { Session } from '../../sessions/session.entity.js';
import type { StorageOf } from '../../sessions/storage-mode.js';
import type { NewMessage } from '../accept/new-message.js';
import type { Messages } from '../messages.js';
import { cronTimes, type CronTimes } from './cron.js';
import { Schedule, type ScheduledContents } from './schedule.entity.js';
import { reasonOf, type Schedules } from './schedules.js';

/**
 * Makes the messages of recurring schedules. When an occurrence is due, one transaction moves the schedule to its next time and writes the message,
 * `scheduled` for the time of the occurrence. From there on it is like every other scheduled message: quota, grace time, quiet hours.
 *
 * | case | then |
 * | --- | --- |
 * | two backends find the same occurrence | both lock the session's row; the second finds the schedule at another time, and writes nothing |
 * | the process dies before the commit | the schedule is still due, and the next scan finds it |
 * | the process dies after the commit | the message is on disk and the schedule is at its next time |
 * | a clock is set back | an occurrence whose message exists is not made again: the schedule and the time are a unique key |
 * | occurrences were missed within the grace time | they are made late, one after the other |
 * | occurrences were missed by more | the last of them becomes a message that fails with `MISSED`; those before it are counted |
 */
export interface Occurrences {
  start(): void;
  /** Resolves when the running scan has ended. */
  stop(): Promise<void>;
  /** One scan. Makes what is due now. */
  run(): Promise<void>;
}

export interface OccurrenceParts {
  schedules: Pick<Schedules, 'contentsOf'>;
  messages: Pick<Messages, 'acceptWithin'>;
  media: Pick<Media, 'copy' | 'discard'>;
  storageOf: StorageOf;
  graceMs: number;
}

interface Context extends Pick<Core, 'database' | 'clock' | 'log' | 'report'>, OccurrenceParts {
  postponed: ReturnType<typeof createItemBackoff>;
  isStopped: boolean;
}

const pollMs = 1_000;
const batchSize = 50;
/** Missed occurrences that one step counts: a schedule of every minute has half a million in a year. */
const maxMissed = 1_000;
/** Schedules of deleted sessions are rare: they are looked for on every so many scans. */
const deletedEveryRuns = 10;

const ofDeletedSql = `SELECT id FROM schedules WHERE status <> 'ended'
  AND "sessionId" IN (SELECT s.id FROM sessions s WHERE s."deletedAt" IS NOT NULL) LIMIT ${batchSize}`;

export function createOccurrences(core: Core, parts: OccurrenceParts): Occurrences {
  const { database, clock, log, report } = core;
  const context: Context = { database, clock, log, report, ...parts, postponed: createItemBackoff(clock), isStopped: false };
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  let runs = 0;
  const scan = async (): Promise<void> => {
    if (runs++ % deletedEveryRuns === 0) await endOfDeletedSessions(context);
    await makeDue(context);
  };
  const schedule = (): void => {
    timer = setTimeout(() => {
      running = scan()
        .catch((error: unknown) => log.error('Schedules could not be scanned; the scan is retried.', errorFields(error)))
        .finally(() => {
          if (!context.isStopped) schedule();
        });
    }, pollMs);
  };
  return {
    start: schedule,
    async stop() {
      context.isStopped = true;
      clearTimeout(timer);
      await running;
    },
    run: scan,
  };
}

async function endOfDeletedSessions({ database, clock }: Context): Promise<void> {
  const { rows } = await runStatement<{ id: string }>(database.reader, ofDeletedSql, []);
  const changes = { status: 'ended', nextAt: null, updatedAt: clock.now(), ...reasonOf('SESSION_DELETED') } as const;
  for (const { id } of rows) await database.write.run((tx) => updateRows(tx, Schedule, { id }, changes));
}

/** Makes the due occurrence of each schedule, and again until nothing is due. A schedule that fails by itself is postponed and reported. */
async function makeDue(context: Context): Promise<void> {
  const { database, clock, postponed } = context;
  for (let more = true; more && !context.isStopped;) {
    const others = notAmong(database.reader, 'id', postponed.list());
    const sql = `SELECT id FROM schedules WHERE status = 'active' AND "nextAt" <= ? AND ${others.condition}
      AND EXISTS (SELECT 1 FROM accounts a WHERE a.id = schedules."accountId" AND a."isActive") ORDER BY "nextAt" LIMIT ${batchSize}`;
    const { rows } = await runStatement<{ id: string }>(database.reader, sql, [clock.now().getTime(), others.parameter]);
    for (const { id } of rows) await makeOne(context, id);
    more = rows.length > 0;
  }
}

async function makeOne(context: Context, id: string): Promise<void> {
  const { database, clock, media, postponed, log, report } = context;
  const [schedule] = await readRows(database.reader, Schedule, 'id = ?', [id]);
  if (schedule?.status !== 'active' || !schedule.nextAt) return;
  let file: StoredFile | null = null;
  let isKept = false;
  try {
    const step = stepOf(schedule, schedule.nextAt, clock.now(), context.graceMs);
    const contents = context.schedules.contentsOf(schedule);
    file = step.at && contents && schedule.mediaId ? await copyFile(context, schedule, contents) : null;
    isKept = await database.write.run((tx) => write(context, tx, schedule, step, contents, file));
    failPoint('occurrence.committed');
    postponed.delete(id);
  } catch (error) {
    const { accountId, sessionId } = schedule;
    // If the reply to the commit was lost, the file may belong to the message. The sweep of files decides.
    isKept = !(error instanceof AppError);
    const inMs = postponed.add(id);
    log.error('An occurrence of a schedule could not be made; it is retried later.', {
      scheduleId: id,
      inMs,
      ...errorFields(error),
    });
    report({ kind: 'message', subject: id, accountId, sessionId, ...describeError(error) });
  } finally {
    if (file && !isKept) await media.discard(file);
  }
}

/** What is to be done now: the occurrence that gets a message, if any, how many were passed, and the next time. */
interface Step {
  at: Date | null;
  passed: number;
  missed: number;
  next: Date | null;
}

/** Pure. Occurrences that were missed by more than the grace time are passed together; only the last of them gets a message. */
export function stepOf(
  {
    cron,
    timezone,
    endsAt,
    maxOccurrences,
    occurrences,
  }: Pick<Schedule, 'cron' | 'timezone' | 'endsAt' | 'maxOccurrences' | 'occurrences'>,
  due: Date,
  now: Date,
  graceMs: number,
): Step {
  const times = cronTimes(cron, timezone);
  const left = maxOccurrences === null ? Infinity : maxOccurrences - occurrences;
  const isMissed = (at: Date): boolean => now.getTime() - at.getTime() > graceMs;
  let [at, passed] = [due, 1];
  let next = nextOf(times, at, endsAt, left - passed);
  while (next && isMissed(next) && passed < maxMissed) {
    [at, passed] = [next, passed + 1];
    next = nextOf(times, at, endsAt, left - passed);
  }
  const missed = isMissed(at) ? passed : 0;
  // More missed ones follow: the last of those gets the message.
  const isLast = !next || !isMissed(next);
  return { at: isLast ? at : null, passed, missed, next };
}

function nextOf(times: CronTimes, at: Date, endsAt: Date | null, left: number): Date | null {
  if (left <= 0) return null;
  const next = times.after(at);
  return next && (endsAt === null || next < endsAt) ? next : null;
}

async function copyFile(
  { media, storageOf, database }: Context,
  schedule: Schedule,
  { content }: ScheduledContents,
): Promise<StoredFile | null> {
  const { mediaId, sessionId } = schedule;
  if (!mediaId || !isMediaType(content.type) || !('media' in content)) return null;
  const [session] = await readRows(database.reader, Session, 'id = ?', [sessionId]);
  if (!session) return null;
  return media.copy(mediaId, content.media, { kind: content.type, isSealed: (await storageOf(session)) === 'metadata' });
}

/** Returns whether the message was written. The transaction moves the schedule to its next time, or does nothing if it was changed meanwhile. */
async function write(
  context: Context,
  tx: Transaction,
  schedule: Schedule,
  step: Step,
  contents: ScheduledContents | null,
  file: StoredFile | null,
): Promise<boolean> {
  const { id, sessionId, version, nextAt } = schedule;
  await lockRows(tx, Session, [sessionId]);
  const [session] = await readRows(tx.manager, Session, 'id = ?', [sessionId]);
  const change = (changes: Partial<Schedule>): Promise<number> =>
    updateRows(tx, Schedule, { id, version, nextAt: nextAt!, status: 'active' }, changes);
  const stop = { status: 'paused', nextAt: null, updatedAt: context.clock.now() } as const;
  if (!session || session.deletedAt) return (await change({ ...stop, status: 'ended', ...reasonOf('SESSION_DELETED') }), false);
  if (session.linkedAccountNumber !== schedule.linkedAccountNumber)
    return (await change({ ...stop, ...reasonOf('SESSION_IDENTITY_CHANGED') }), false);
  if (!contents || (schedule.mediaId && step.at && !file)) return (await change({ ...stop, ...reasonOf('FILE_MISSING') }), false);
  const counts = {
    occurrences: schedule.occurrences + step.passed,
    missed: schedule.missed + step.missed,
    lastAt: step.at ?? schedule.lastAt,
    nextAt: step.next,
  };
  const isOver = step.next === null;
  const moved = await change(isOver ? { ...counts, ...stop, status: 'ended', ...reasonOf('COMPLETED') } : counts);
  failPoint('occurrence.written');
  if (moved === 0 || !step.at) return false;
  if (await exists(tx, id, step.at)) return false;
  await context.messages.acceptWithin(tx, session, newMessage(schedule, step.at, contents, file));
  return true;
}

/** Whether the occurrence has a message: the clock was set back since then. */
async function exists(tx: Transaction, id: string, at: Date): Promise<boolean> {
  const sql = 'SELECT 1 AS found FROM messages WHERE "scheduleId" = ? AND "occurrenceAt" = ?';
  return (await runStatement(tx.manager, sql, [id, at.getTime()])).rows.length > 0;
}

/** The id was parsed when the schedule was made. */
function addressOf(id: string): Address {
  const result = parseRecipient(id);
  if (!result.ok) throw new Error('The recipient of a schedule is no id of WhatsApp.');
  return result.address;
}

function newMessage(
  { id, recipient, isUrgent }: Schedule,
  scheduledAt: Date,
  { content, mentions, quotedMessageId, ignoreQuoteErrors }: ScheduledContents,
  file: StoredFile | null,
): NewMessage {
  const options = { quotedMessageId, ignoreQuoteErrors, mentions, queueIfOffline: true };
  const times = { scheduledAt, expiresAt: null, isUrgent };
  return { recipient: addressOf(recipient), content, file, options, quotedMessageId, origin: 'api', scheduleId: id, ...times };
}
