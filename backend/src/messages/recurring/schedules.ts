import { AppError, isId, messageReasons, newId, validationError, type Warning } from '@chasqui/shared';
import type { Caller } from '../../accounts/caller.js';
import type { Plans } from '../../accounts/plans.js';
import { recordAudit } from '../../audit/audit.js';
import type { Core } from '../../core.js';
import { deleteRows, insertRow, lockRows, readRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Sealer } from '../../lib/sealer.js';
import type { Media, StoredFile } from '../../media/media.js';
import { timezoneOf } from '../../sessions/quiet-hours.js';
import { Session } from '../../sessions/session.entity.js';
import type { StorageOf } from '../../sessions/storage-mode.js';
import { cronTimes, timesAfter, type CronTimes } from './cron.js';
import { Schedule, type ScheduledContents, type ScheduleStatus } from './schedule.entity.js';

/** The message of a schedule, checked and with its file on disk. */
export interface ComposedMessage extends ScheduledContents {
  /** WhatsApp's id of the chat. */
  recipient: string;
  file: StoredFile | null;
  isUrgent: boolean;
  warnings: Warning[];
}

export interface ScheduleFields {
  name: string;
  cron: string;
  timezone: string;
  endsAt: Date | null;
  maxOccurrences: number | null;
}

/** Without a time zone, that of the session counts, or else that of the account. */
export type NewSchedule = Omit<ScheduleFields, 'timezone'> & { timezone: string | null };

/** A schedule with the times of its next occurrences. */
export interface ScheduleView {
  schedule: Schedule;
  next: Date[];
}

/**
 * Recurring schedules of all accounts. A caller reaches only those of its account, and of its session if it is bound to one. The verbs that name a
 * schedule throw `SCHEDULE_NOT_FOUND`. Each change leaves an entry in the audit log. The messages of occurrences are made by occurrences.ts.
 */
export interface Schedules {
  list(caller: Caller, filters: { sessionId?: string | undefined; status?: ScheduleStatus | undefined }): Promise<ScheduleView[]>;
  find(caller: Caller, id: string): Promise<ScheduleView>;
  /** Throws `VALIDATION_FAILED` for a form of cron that has no next time, and `QUOTA_EXCEEDED` at the limit of schedules. Discards the file if it throws. */
  create(caller: Caller, session: Session, fields: NewSchedule, message: ComposedMessage): Promise<ScheduleView>;
  /** Changes fields, or the whole message. Occurrences whose message exists are not changed. Throws as `create`. */
  update(caller: Caller, id: string, fields: Partial<ScheduleFields>, message: ComposedMessage | null): Promise<ScheduleView>;
  pause(caller: Caller, id: string): Promise<ScheduleView>;
  /** Continues with the next time from now; what was missed meanwhile is not made up. Throws `SCHEDULE_ENDED` if no time is left. */
  resume(caller: Caller, id: string): Promise<ScheduleView>;
  /** Deletes the schedule and its file. Messages that exist stay. */
  remove(caller: Caller, id: string): Promise<void>;

  /** Returns what each occurrence sends, opened if it is sealed. Throws if no key opens it. */
  contentsOf(schedule: Schedule): ScheduledContents | null;
  /** Seals the contents again that an older key has sealed; see jobs/reseal.ts. */
  reseal: { page(last: Schedule | null): Promise<Schedule[]>; one(schedule: Schedule): Promise<boolean> };
  /** Deletes schedules that ended before this time, with their files. */
  prune(before: Date): Promise<void>;
  /** Deletes the schedules for a person, and removes the person from the messages of others. Returns the number of deleted schedules. */
  erase(accountId: string, isTheirs: (id: string) => boolean, without: (value: unknown) => unknown): Promise<number>;
  /** Returns the schedules for a person. */
  ofPerson(accountId: string, isTheirs: (id: string) => boolean): Promise<ScheduleView[]>;
}

export interface ScheduleParts {
  media: Pick<Media, 'attach' | 'discard' | 'remove'>;
  storageOf: StorageOf;
  limitsOf: Plans['limitsOf'];
  sealer: Sealer;
}

interface Context extends Pick<Core, 'database' | 'clock'>, ScheduleParts {}

/** The maximum of an account. */
export const maxSchedules = 1_000;
const shownTimes = 5;
const batchSize = 200;

export function createSchedules({ database, clock }: Pick<Core, 'database' | 'clock'>, parts: ScheduleParts): Schedules {
  const context: Context = { database, clock, ...parts };
  return {
    list: (caller, filters) => list(context, caller, filters),
    find: async (caller, id) => view(await find(context, caller, id)),
    create: (caller, session, fields, message) =>
      keepingFile(context, message, () => create(context, caller, session, fields, message)),
    update: (caller, id, fields, message) => keepingFile(context, message, () => update(context, caller, id, fields, message)),
    pause: (caller, id) => pause(context, caller, id),
    resume: (caller, id) => resume(context, caller, id),
    remove: (caller, id) => remove(context, caller, id),
    contentsOf: (schedule) => contentsOf(context, schedule),
    reseal: { page: (last) => sealedPage(context, last), one: (schedule) => resealOne(context, schedule) },
    prune: (before) => prune(context, before),
    erase: (accountId, isTheirs, without) => erase(context, accountId, isTheirs, without),
    async ofPerson(accountId, isTheirs) {
      const views: ScheduleView[] = [];
      for await (const schedule of allOf(context, accountId)) if (isTheirs(schedule.recipient)) views.push(view(schedule));
      return views;
    },
  };
}

async function list(
  context: Context,
  caller: Caller,
  { sessionId, status }: { sessionId?: string | undefined; status?: ScheduleStatus | undefined },
): Promise<ScheduleView[]> {
  const session = sessionId ?? caller.sessionId;
  const conditions = ['"accountId" = ?', ...(session ? ['"sessionId" = ?'] : []), ...(status ? ['status = ?'] : [])];
  const parameters = [caller.accountId, ...(session ? [session] : []), ...(status ? [status] : [])];
  const condition = `${conditions.join(' AND ')} ORDER BY id LIMIT ${maxSchedules}`;
  const schedules = await readRows(context.database.reader, Schedule, condition, parameters);
  return schedules.map(view);
}

async function find({ database }: Context, { accountId, sessionId }: Caller, id: string): Promise<Schedule> {
  const [schedule] = isId(id)
    ? await readRows(database.reader, Schedule, 'id = ? AND "accountId" = ?', [id.toLowerCase(), accountId])
    : [];
  if (!schedule || (sessionId !== null && schedule.sessionId !== sessionId)) throw new AppError('SCHEDULE_NOT_FOUND');
  return schedule;
}

function view(schedule: Schedule): ScheduleView {
  const { nextAt, cron, timezone, endsAt, maxOccurrences, occurrences } = schedule;
  const left = maxOccurrences === null ? shownTimes : Math.min(shownTimes, maxOccurrences - occurrences);
  if (!nextAt || left <= 0) return { schedule, next: [] };
  return { schedule, next: [nextAt, ...timesAfter(cronTimes(cron, timezone), nextAt, left - 1, endsAt)] };
}

/** Discards the file of a message if the change is refused. After another error the commit may have happened: then the sweep of files decides. */
async function keepingFile<T>({ media }: Context, message: ComposedMessage | null, change: () => Promise<T>): Promise<T> {
  try {
    return await change();
  } catch (error) {
    if (message?.file && error instanceof AppError) await media.discard(message.file);
    throw error;
  }
}

async function create(
  context: Context,
  caller: Caller,
  session: Session,
  given: NewSchedule,
  message: ComposedMessage,
): Promise<ScheduleView> {
  const { database, clock, limitsOf } = context;
  const now = clock.now();
  const { accountId, id: sessionId, linkedAccountNumber } = session;
  const timezone = given.timezone ?? timezoneOf(session.settings, (await limitsOf(accountId)).timezone);
  const fields: ScheduleFields = { ...given, timezone };
  const nextAt = firstTime(fields, now);
  const schedule = Object.assign(new Schedule(), {
    ...{ ...fields, id: newId(now.getTime()), accountId, sessionId, linkedAccountNumber },
    ...{ status: 'active', reasonCode: null, reasonText: null, occurrences: 0, missed: 0, version: 1 },
    ...{ nextAt, lastAt: null, createdAt: now, updatedAt: now },
  });
  Object.assign(schedule, await messageColumns(context, session, schedule.id, message));
  await database.write.run(async (tx) => {
    await lockRows(tx, Session, [sessionId]);
    await requireRoom(tx, accountId);
    await attach(context, tx, schedule, message);
    await insertRow(tx, Schedule, schedule);
    await audit(context, tx, caller, 'schedule.create', schedule);
  });
  return view(schedule);
}

async function requireRoom(tx: Transaction, accountId: string): Promise<void> {
  const sql = 'SELECT COUNT(*) AS n FROM schedules WHERE "accountId" = ?';
  const { rows } = await runStatement<{ n: number | string }>(tx.manager, sql, [accountId]);
  if (Number(rows[0]!.n) >= maxSchedules)
    throw new AppError('QUOTA_EXCEEDED', { scope: 'account.schedules', limit: maxSchedules });
}

/** Throws `VALIDATION_FAILED` if there is no time after `now`. */
function firstTime({ cron, timezone, endsAt }: Pick<ScheduleFields, 'cron' | 'timezone' | 'endsAt'>, now: Date): Date {
  const [first] = timesAfter(parseCron(cron, timezone), now, 1, endsAt);
  if (first) return first;
  const path = endsAt === null ? 'cron' : 'endsAt';
  throw validationError([{ path, code: 'NO_OCCURRENCE', message: 'The schedule has no occurrence from now on.' }]);
}

function parseCron(cron: string, timezone: string): CronTimes {
  try {
    return cronTimes(cron, timezone);
  } catch {
    const message =
      'Write five fields: minute, hour, day of the month, month and day of the week. `0 9 * * 1-5` is nine o’clock on weekdays.';
    throw validationError([{ path: 'cron', code: 'INVALID_CRON', message }]);
  }
}

async function update(
  context: Context,
  caller: Caller,
  id: string,
  fields: Partial<ScheduleFields>,
  message: ComposedMessage | null,
): Promise<ScheduleView> {
  const { sessionId } = await find(context, caller, id);
  const [session] = await readRows(context.database.reader, Session, 'id = ?', [sessionId]);
  if (!session || session.deletedAt) throw new AppError('SESSION_NOT_FOUND');
  const columns = message ? await messageColumns(context, session, id, message) : {};
  return change(context, caller, id, 'schedule.update', async (tx, schedule) => {
    const times = timesOfUpdate(schedule, fields, context.clock.now());
    if (message) {
      if (schedule.mediaId) await context.media.remove(tx, [schedule.mediaId]);
      await attach(context, tx, schedule, message);
    }
    return { ...fields, ...columns, ...times };
  });
}

/** A schedule that had ended begins again if its new fields have an occurrence; a paused one stays paused. */
function timesOfUpdate(schedule: Schedule, fields: Partial<ScheduleFields>, now: Date): Partial<Schedule> {
  const { cron, timezone, endsAt, maxOccurrences } = fields;
  if (cron === undefined && timezone === undefined && endsAt === undefined && maxOccurrences === undefined) return {};
  const merged = { ...schedule, ...fields };
  if (isComplete(merged)) return { status: 'ended', nextAt: null, ...reasonOf('COMPLETED') };
  const first = firstTime(merged, now);
  return schedule.status === 'paused' ? {} : { status: 'active', nextAt: first, ...noReason };
}

/** Whether it has had as many occurrences as it may. */
const isComplete = ({ maxOccurrences, occurrences }: Pick<Schedule, 'maxOccurrences' | 'occurrences'>): boolean =>
  maxOccurrences !== null && occurrences >= maxOccurrences;

const noReason = { reasonCode: null, reasonText: null };

const pause = (context: Context, caller: Caller, id: string): Promise<ScheduleView> =>
  change(context, caller, id, 'schedule.pause', async (_, { status }) =>
    status === 'active' ? { status: 'paused', nextAt: null, ...noReason } : null,
  );

const resume = (context: Context, caller: Caller, id: string): Promise<ScheduleView> =>
  change(context, caller, id, 'schedule.resume', async (tx, schedule) => {
    const { status, cron, timezone, endsAt, sessionId } = schedule;
    if (status === 'active') return null;
    const now = context.clock.now();
    const [nextAt] = isComplete(schedule) ? [] : timesAfter(cronTimes(cron, timezone), now, 1, endsAt);
    if (!nextAt) throw new AppError('SCHEDULE_ENDED');
    const [session] = await readRows(tx.manager, Session, 'id = ?', [sessionId]);
    if (!session || session.deletedAt) throw new AppError('SESSION_NOT_FOUND');
    return { status: 'active', nextAt, linkedAccountNumber: session.linkedAccountNumber, ...noReason };
  });

async function remove(context: Context, caller: Caller, id: string): Promise<void> {
  const { database, media } = context;
  const { sessionId } = await find(context, caller, id);
  await database.write.run(async (tx) => {
    await lockRows(tx, Session, [sessionId]);
    const [schedule] = await readRows(tx.manager, Schedule, 'id = ?', [id]);
    if (!schedule) return;
    if (schedule.mediaId) await media.remove(tx, [schedule.mediaId]);
    await deleteRows(tx, Schedule, { id });
    await audit(context, tx, caller, 'schedule.delete', schedule);
  });
}

/** Changes one schedule under the lock of its session. `changesOf` returns null if there is nothing to change. */
async function change(
  context: Context,
  caller: Caller,
  id: string,
  action: string,
  changesOf: (tx: Transaction, schedule: Schedule) => Promise<Partial<Schedule> | null>,
): Promise<ScheduleView> {
  const { database, clock } = context;
  const { sessionId } = await find(context, caller, id);
  const changed = await database.write.run(async (tx) => {
    // Closes: an occurrence is made of the version that is changed. It locks the same row.
    await lockRows(tx, Session, [sessionId]);
    const [schedule] = await readRows(tx.manager, Schedule, 'id = ?', [id]);
    if (!schedule) throw new AppError('SCHEDULE_NOT_FOUND');
    const changes = await changesOf(tx, schedule);
    if (!changes) return schedule;
    const noted = { ...changes, version: schedule.version + 1, updatedAt: clock.now() };
    await updateRows(tx, Schedule, { id }, noted);
    await audit(context, tx, caller, action, schedule);
    return Object.assign(schedule, noted);
  });
  return view(changed);
}

const audit = ({ clock }: Context, tx: Transaction, caller: Caller, action: string, { id, accountId }: Schedule): Promise<void> =>
  recordAudit(tx, caller, { action, objectType: 'schedule', objectId: id, accountId, at: clock.now() });

async function attach({ media }: Context, tx: Transaction, { accountId }: Schedule, { file }: ComposedMessage): Promise<void> {
  if (file) await media.attach(tx, file, { accountId, messageId: null, isShared: true });
}

/** Sealed text opens only at the place for which it was sealed. */
const placeOf = (id: string): string => `schedules.message:${id}`;

async function messageColumns({ storageOf, sealer }: Context, session: Session, id: string, composed: ComposedMessage) {
  const { recipient, file, isUrgent, content, mentions, quotedMessageId, ignoreQuoteErrors } = composed;
  const contents: ScheduledContents = { content, mentions, quotedMessageId, ignoreQuoteErrors };
  const isSealed = (await storageOf(session)) === 'metadata';
  return {
    ...{ recipient, isUrgent, type: content.type, mediaId: file?.id ?? null },
    message: isSealed ? null : contents,
    sealed: isSealed ? sealer.seal(JSON.stringify(contents), placeOf(id)) : null,
  };
}

function contentsOf({ sealer }: Context, { id, message, sealed }: Schedule): ScheduledContents | null {
  return sealed === null ? message : (JSON.parse(sealer.open(sealed, placeOf(id))) as ScheduledContents);
}

const sealedPage = ({ database }: Context, last: Schedule | null): Promise<Schedule[]> =>
  readRows(database.reader, Schedule, `sealed IS NOT NULL AND id > ? ORDER BY id LIMIT ${batchSize}`, [last?.id ?? '']);

async function resealOne({ database, sealer }: Context, { id, sealed }: Schedule): Promise<boolean> {
  if (sealed === null || !sealer.isStale(sealed)) return false;
  const resealed = sealer.seal(sealer.open(sealed, placeOf(id)), placeOf(id));
  return (await database.write.run((tx) => updateRows(tx, Schedule, { id, sealed }, { sealed: resealed }))) === 1;
}

async function prune({ database, media }: Context, before: Date): Promise<void> {
  for (let deleted = batchSize; deleted >= batchSize;)
    deleted = await database.write.run(async (tx) => {
      const condition = `status = 'ended' AND "updatedAt" < ? LIMIT ${batchSize}`;
      const ended = await readRows(tx.manager, Schedule, condition, [before.getTime()]);
      await media.remove(
        tx,
        ended.flatMap(({ mediaId }) => (mediaId ? [mediaId] : [])),
      );
      for (const { id } of ended) await deleteRows(tx, Schedule, { id });
      return ended.length;
    });
}

async function* allOf({ database }: Context, accountId: string): AsyncGenerator<Schedule> {
  for (let last = ''; ;) {
    const condition = `"accountId" = ? AND id > ? ORDER BY id LIMIT ${batchSize}`;
    const page = await readRows(database.reader, Schedule, condition, [accountId, last]);
    yield* page;
    if (page.length < batchSize) return;
    last = page.at(-1)!.id;
  }
}

async function erase(
  context: Context,
  accountId: string,
  isTheirs: (id: string) => boolean,
  without: (value: unknown) => unknown,
): Promise<number> {
  const { database, media, sealer } = context;
  let deleted = 0;
  for await (const schedule of allOf(context, accountId)) {
    const { id, mediaId, recipient, version } = schedule;
    if (isTheirs(recipient)) {
      deleted += await database.write.run(async (tx) => {
        if (mediaId) await media.remove(tx, [mediaId]);
        return deleteRows(tx, Schedule, { id });
      });
      continue;
    }
    const before = contentsOf(context, schedule);
    const rest = without(before) as ScheduledContents | null;
    if (!before || !rest || JSON.stringify(rest) === JSON.stringify(before)) continue;
    const after: ScheduledContents = { ...rest, mentions: before.mentions.filter((mention) => !isTheirs(mention)) };
    const columns = schedule.sealed === null ? { message: after } : { sealed: sealer.seal(JSON.stringify(after), placeOf(id)) };
    const changes = { ...columns, version: version + 1 };
    if ((await database.write.run((tx) => updateRows(tx, Schedule, { id, version }, changes))) === 0)
      throw new Error('A schedule was changed during the erasure.');
  }
  return deleted;
}

/** Why a schedule is paused or ended, if no person did it. */
export const scheduleReasons = {
  SESSION_DELETED: messageReasons.SESSION_DELETED,
  SESSION_IDENTITY_CHANGED:
    'The session is linked to another WhatsApp account than the one this schedule was made for. Resume it to send as the current account.',
  FILE_MISSING: 'The file of the schedule is gone. Change its message, then resume it.',
  COMPLETED: 'All its occurrences are over.',
} as const;

export const reasonOf = (code: keyof typeof scheduleReasons): Pick<Schedule, 'reasonCode' | 'reasonText'> => ({
  reasonCode: code,
  reasonText: scheduleReasons[code],
});
