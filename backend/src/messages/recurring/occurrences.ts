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
import { cronTimes, type CronTimes } from '../../lib/cron.js';
import { Session } from '../../sessions/session.entity.js';
import type { StorageOf } from '../../sessions/storage-mode.js';
import type { NewMessage } from '../accept/new-message.js';
import type { Messages } from '../messages.js';
import { filledContents, isTemplateDeleted, type FilledParts } from './filled.js';
import { Schedule, type ScheduledContents } from './schedule.entity.js';
import { reasonOf, type Schedules } from './schedules.js';

/**
 * Creates the messages of recurring schedules. When an occurrence is due, one transaction moves the schedule to its next time and writes the message,
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
  /** Scans every second for due occurrences. */
  start(): void;
  /** Stops the scans. Resolves when the running scan has ended. */
  stop(): Promise<void>;
  /**
   * For the job that checks for missed messages: runs a scan if a schedule has been due for a minute. Returns how many of these schedules are not due
   * any more.
   */
  check(): Promise<{ made: number }>;
  /** Runs one scan: creates the messages of all due occurrences. */
  run(): Promise<void>;
}

export interface OccurrenceParts {
  schedules: Pick<Schedules, 'contentsOf'>;
  messages: Pick<Messages, 'acceptWithin'> & FilledParts['messages'];
  templates: FilledParts['templates'];
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
/**
 * The maximum number of missed occurrences that one step passes: a schedule that is due every minute has half a million of them in a year, and
 * nothing else runs during a step.
 */
const maxMissed = 100;
/** A schedule that has been due for longer is late: it was missed by the scans, which run every second. */
const overdueMs = 60_000;
/** The number of steps of late schedules before those that are on time are looked for again. */
const lateBatchSize = 10;
/** One scan of this many looks for schedules of deleted sessions, which are rare. */
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
    if (runs++ % deletedEveryRuns === 0) await endSchedulesOfDeletedSessions(context);
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
    check: () => check(context),
    run: scan,
  };
}

async function endSchedulesOfDeletedSessions({ database, clock }: Context): Promise<void> {
  const { rows } = await runStatement<{ id: string }>(database.reader, ofDeletedSql, []);
  const changes = { status: 'ended', nextAt: null, updatedAt: clock.now(), ...reasonOf('SESSION_DELETED') } as const;
  for (const { id } of rows) await database.write.run((tx) => updateRows(tx, Schedule, { id }, changes));
}

async function check(context: Context): Promise<{ made: number }> {
  const { database, clock } = context;
  const sql = `SELECT COUNT(*) AS n FROM schedules WHERE status = 'active' AND "nextAt" <= ?
    AND EXISTS (SELECT 1 FROM accounts a WHERE a.id = schedules."accountId" AND a."isActive")`;
  const before = clock.now().getTime() - overdueMs;
  const count = async (): Promise<number> =>
    Number((await runStatement<{ n: number | string }>(database.reader, sql, [before])).rows[0]!.n);
  const missed = await count();
  if (missed === 0) return { made: 0 };
  await makeDue(context);
  return { made: Math.max(0, missed - (await count())) };
}

/**
 * Creates the messages of due occurrences until no schedule is due. Schedules that are on time go first, also while late ones catch up. Of the late
 * ones, each has one step before any has the next, so that a schedule of every minute does not delay the others after a long stop.
 */
async function makeDue(context: Context): Promise<void> {
  for (let hasLate = true; hasLate && !context.isStopped;) {
    await makeOnTime(context);
    hasLate = await makeLate(context);
  }
}

async function makeOnTime(context: Context): Promise<void> {
  for (let more = true; more && !context.isStopped;) {
    const now = context.clock.now().getTime();
    const ids = await listDue(context, '"nextAt" <= ? AND "nextAt" > ?', [now, now - overdueMs], `"nextAt" LIMIT ${batchSize}`);
    await makeEach(context, ids);
    more = ids.length > 0;
  }
}

/** Makes one step of each late schedule. Returns whether there was one. */
async function makeLate(context: Context): Promise<boolean> {
  for (let last = ''; !context.isStopped;) {
    const before = context.clock.now().getTime() - overdueMs;
    const ids = await listDue(context, '"nextAt" <= ? AND id > ?', [before, last], `id LIMIT ${lateBatchSize}`);
    if (ids.length === 0) return last !== '';
    await makeEach(context, ids);
    await makeOnTime(context);
    last = ids.at(-1)!;
  }
  return false;
}

/** Lists active schedules of active accounts, except those that failed by themselves and are postponed. */
async function listDue(
  { database, postponed }: Context,
  condition: string,
  values: readonly unknown[],
  order: string,
): Promise<string[]> {
  const others = notAmong(database.reader, 'id', postponed.list());
  const sql = `SELECT id FROM schedules WHERE status = 'active' AND ${condition} AND ${others.condition}
    AND EXISTS (SELECT 1 FROM accounts a WHERE a.id = schedules."accountId" AND a."isActive") ORDER BY ${order}`;
  const { rows } = await runStatement<{ id: string }>(database.reader, sql, [...values, others.parameter]);
  return rows.map(({ id }) => id);
}

async function makeEach(context: Context, ids: readonly string[]): Promise<void> {
  for (const id of ids) if (!context.isStopped) await makeOne(context, id);
}

/** Makes the due occurrence of a schedule. A schedule whose occurrence cannot be made is reported and postponed. */
async function makeOne(context: Context, id: string): Promise<void> {
  const { database, clock, media, postponed, log, report } = context;
  const [schedule] = await readRows(database.reader, Schedule, 'id = ?', [id]);
  // Closes: another backend made the occurrence after this one had listed the schedule; its next time is in the future.
  if (schedule?.status !== 'active' || !schedule.nextAt || schedule.nextAt > clock.now()) return;
  let file: StoredFile | null = null;
  let isFileUsed = false;
  try {
    const step = stepOf(schedule, schedule.nextAt, clock.now(), context.graceMs);
    const [session = null] = await readRows(database.reader, Session, 'id = ?', [schedule.sessionId]);
    const stored = context.schedules.contentsOf(schedule);
    const contents = stored && session ? await filledContents(context, session, stored) : stored;
    file =
      step.at && contents && session && schedule.mediaId ? await copyFile(context, session, schedule.mediaId, contents) : null;
    isFileUsed = await database.write.run((tx) => write(context, tx, schedule, step, contents, file));
    failPoint('occurrence.committed');
    postponed.delete(id);
  } catch (error) {
    const { accountId, sessionId } = schedule;
    // If the reply to the commit was lost, the file may belong to a message. Then it stays, and the media sweep deletes it if no row names it.
    isFileUsed = !(error instanceof AppError);
    const inMs = postponed.add(id);
    log.error('An occurrence of a schedule could not be made; it is retried later.', {
      scheduleId: id,
      inMs,
      ...errorFields(error),
    });
    report({ kind: 'message', subject: id, accountId, sessionId, ...describeError(error) });
  } finally {
    if (file && !isFileUsed) await media.discard(file);
  }
}

/**
 * One step of a due schedule. `at`: the occurrence that gets a message; null if none does. `passed`: the number of occurrences that are counted,
 * `missed` those of them that were too late. `next`: the next time of the schedule; null if it has ended.
 */
interface Step {
  at: Date | null;
  passed: number;
  missed: number;
  next: Date | null;
}

/**
 * Computes the step of a schedule that is due. Pure. Occurrences that were missed by more than the grace time are passed in one step; only the last
 * of them gets a message.
 */
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
  // If more missed occurrences follow, the last of those gets the message.
  const isLast = !next || !isMissed(next);
  return { at: isLast ? at : null, passed, missed, next };
}

function nextOf(times: CronTimes, at: Date, endsAt: Date | null, left: number): Date | null {
  if (left <= 0) return null;
  const next = times.after(at);
  return next && (endsAt === null || next < endsAt) ? next : null;
}

async function copyFile(
  { media, storageOf }: Context,
  session: Session,
  mediaId: string,
  { content }: ScheduledContents,
): Promise<StoredFile | null> {
  if (!isMediaType(content.type) || !('media' in content)) return null;
  return media.copy(mediaId, content.media, { kind: content.type, isSealed: (await storageOf(session)) === 'metadata' });
}

/**
 * Moves the schedule to its next time and writes the message of the occurrence. Does nothing if the schedule was changed since it was read. Returns
 * whether a message was written.
 */
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
  if (await isTemplateDeleted(tx, contents)) return (await change({ ...stop, ...reasonOf('TEMPLATE_DELETED') }), false);
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
  if (await hasMessage(tx, id, step.at)) return false;
  await context.messages.acceptWithin(tx, session, newMessage(schedule, step.at, contents, file));
  return true;
}

/** Whether the occurrence has a message already, which happens after a clock was set back. */
async function hasMessage(tx: Transaction, id: string, at: Date): Promise<boolean> {
  const sql = 'SELECT 1 AS found FROM messages WHERE "scheduleId" = ? AND "occurrenceAt" = ?';
  return (await runStatement(tx.manager, sql, [id, at.getTime()])).rows.length > 0;
}

/** Parses the recipient, which was checked when the schedule was created. */
function addressOf(id: string): Address {
  const result = parseRecipient(id);
  if (!result.ok) throw new Error('The recipient of a schedule is no id of WhatsApp.');
  return result.address;
}

function newMessage(
  { id, recipient, isUrgent }: Schedule,
  scheduledAt: Date,
  { content, template, mentions, quotedMessageId, ignoreQuoteErrors }: ScheduledContents,
  file: StoredFile | null,
): NewMessage {
  const options = { quotedMessageId, ignoreQuoteErrors, mentions, queueIfOffline: true };
  const times = { scheduledAt, expiresAt: null, isUrgent };
  const origins = { origin: 'api', scheduleId: id, templateId: template?.id ?? null } as const;
  return { recipient: addressOf(recipient), content, file, options, quotedMessageId, ...origins, ...times };
}
