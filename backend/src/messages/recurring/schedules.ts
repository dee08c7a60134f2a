import { AppError, erased, isId, messageReasons, newId, type Warning } from '@chasqui/shared';
import type { Caller } from '../../accounts/caller.js';
import type { Plans } from '../../accounts/plans.js';
import { recordAudit } from '../../audit/audit.js';
import type { Core } from '../../core.js';
import { reserveAccountRoom, type AccountLimit } from '../../db/account-room.js';
import type { RunAlone } from '../../db/isolate.js';
import { deleteRows, insertRow, lockRows, readRows, updateRows } from '../../db/rows.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Sealer } from '../../lib/sealer.js';
import type { Media, StoredFile } from '../../media/media.js';
import { timezoneOf } from '../../sessions/quiet-hours.js';
import { Session } from '../../sessions/session.entity.js';
import type { StorageOf } from '../../sessions/storage-mode.js';
import { cronTimes, timesAfter } from '../../lib/cron.js';
import { listSchedules, view, viewsOf, type SchedulePage, type ScheduleQuery, type ScheduleView } from './reads.js';
import { Schedule, type ScheduledContents } from './schedule.entity.js';
import { firstTime, isDueAsBefore } from './times.js';

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

/** `timezone` null: the time zone of the session, or else of the account. */
export type NewSchedule = Omit<ScheduleFields, 'timezone'> & { timezone: string | null };

/**
 * Recurring schedules of all accounts. A caller reaches only those of its account, and of its session if it is bound to one. The verbs that name a
 * schedule throw `SCHEDULE_NOT_FOUND`. Each change leaves an entry in the audit log. The messages of occurrences are made by occurrences.ts.
 */
export interface Schedules {
  /** Returns a page, the oldest first. Throws `VALIDATION_FAILED` for a cursor that no page returned. */
  list(caller: Caller, query: ScheduleQuery): Promise<SchedulePage>;
  find(caller: Caller, id: string): Promise<ScheduleView>;
  /**
   * Throws `VALIDATION_FAILED` for a cron expression without a next time, and `QUOTA_EXCEEDED` at the limit of schedules. Discards the file if the
   * schedule is refused.
   */
  create(caller: Caller, session: Session, fields: NewSchedule, message: ComposedMessage): Promise<ScheduleView>;
  /** Changes fields, or the whole message. Occurrences whose message exists are not changed. Throws as `create`. */
  update(caller: Caller, id: string, fields: Partial<ScheduleFields>, message: ComposedMessage | null): Promise<ScheduleView>;
  pause(caller: Caller, id: string): Promise<ScheduleView>;
  /** Continues with the next time from now; occurrences that passed during the pause are not made. Throws `SCHEDULE_ENDED` if no time is left. */
  resume(caller: Caller, id: string): Promise<ScheduleView>;
  /** Deletes the schedule and its file. Messages that exist stay. */
  remove(caller: Caller, id: string): Promise<void>;

  /** Returns what each occurrence sends, opened if it is sealed; null if nothing is stored. Throws if no key opens it. */
  contentsOf(schedule: Schedule): ScheduledContents | null;
  /** Seals the contents again that an older key has sealed; see jobs/reseal.ts. */
  reseal: { page(last: Schedule | null): Promise<Schedule[]>; one(schedule: Schedule): Promise<boolean> };
  /** Deletes schedules that ended before this time, with their files. Returns their number. */
  prune(before: Date): Promise<number>;
  /**
   * Deletes the schedules whose recipient is a person, and removes the person from the names and the messages of others. Returns the number of
   * deleted schedules.
   */
  erase(accountId: string, person: ErasedPerson, alone: RunAlone): Promise<number>;
  /** Returns the schedules whose recipient is a person. */
  ofPerson(accountId: string, isTheirs: (id: string) => boolean): Promise<ScheduleView[]>;
}

/** All ids and spellings of a person who is erased. */
export interface ErasedPerson {
  has(id: string): boolean;
  /** Whether a text may contain one of them. */
  mayBeIn(text: string): boolean;
  /** Returns a value without the person. */
  removeFrom(value: unknown): unknown;
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
const room: AccountLimit = { scope: 'account.schedules', table: 'schedules', limit: maxSchedules };
const batchSize = 200;

export function createSchedules({ database, clock }: Pick<Core, 'database' | 'clock'>, parts: ScheduleParts): Schedules {
  const context: Context = { database, clock, ...parts };
  return {
    list: (caller, query) => listSchedules(database.reader, caller, query),
    find: async (caller, id) => view(await find(context, caller, id)),
    create: (caller, session, fields, message) =>
      discardFileIfRefused(context, message, () => create(context, caller, session, fields, message)),
    update: (caller, id, fields, message) =>
      discardFileIfRefused(context, message, () => update(context, caller, id, fields, message)),
    pause: (caller, id) => pause(context, caller, id),
    resume: (caller, id) => resume(context, caller, id),
    remove: (caller, id) => remove(context, caller, id),
    contentsOf: (schedule) => contentsOf(context, schedule),
    reseal: { page: (last) => sealedPage(context, last), one: (schedule) => resealOne(context, schedule) },
    prune: (before) => prune(context, before),
    erase: (accountId, person, alone) => erase(context, accountId, person, alone),
    async ofPerson(accountId, isTheirs) {
      const theirs: Schedule[] = [];
      for await (const schedule of allOf(context, accountId)) if (isTheirs(schedule.recipient)) theirs.push(schedule);
      return viewsOf(theirs);
    },
  };
}

async function find({ database }: Context, { accountId, sessionId }: Caller, id: string): Promise<Schedule> {
  const [schedule] = isId(id)
    ? await readRows(database.reader, Schedule, 'id = ? AND "accountId" = ?', [id.toLowerCase(), accountId])
    : [];
  if (!schedule || (sessionId !== null && schedule.sessionId !== sessionId)) throw new AppError('SCHEDULE_NOT_FOUND');
  return schedule;
}

/**
 * Discards the file of a message if the change is refused. After another error the commit may have happened: then the file stays, and the media sweep
 * deletes it if no row names it.
 */
async function discardFileIfRefused<T>(
  { media }: Context,
  message: ComposedMessage | null,
  change: () => Promise<T>,
): Promise<T> {
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
  input: NewSchedule,
  message: ComposedMessage,
): Promise<ScheduleView> {
  const { database, clock, limitsOf } = context;
  const now = clock.now();
  const { accountId, id: sessionId, linkedAccountNumber } = session;
  const timezone = input.timezone ?? timezoneOf(session.settings, (await limitsOf(accountId)).timezone);
  const fields: ScheduleFields = { ...input, timezone };
  const nextAt = firstTime(fields, now);
  const schedule = Object.assign(new Schedule(), {
    ...{ ...fields, id: newId(now.getTime()), accountId, sessionId, linkedAccountNumber },
    ...{ status: 'active', reasonCode: null, reasonText: null, occurrences: 0, missed: 0, version: 1 },
    ...{ nextAt, lastAt: null, createdAt: now, updatedAt: now },
  });
  Object.assign(schedule, await messageColumns(context, session, schedule.id, message));
  await database.write.run(async (tx) => {
    await reserveAccountRoom(tx, accountId, room);
    await lockRows(tx, Session, [sessionId]);
    await attach(context, tx, schedule, message);
    await insertRow(tx, Schedule, schedule);
    await audit(context, tx, caller, 'schedule.create', schedule);
  });
  return view(schedule);
}

async function update(
  context: Context,
  caller: Caller,
  ref: string,
  fields: Partial<ScheduleFields>,
  message: ComposedMessage | null,
): Promise<ScheduleView> {
  const { id, sessionId } = await find(context, caller, ref);
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
  if (isDueAsBefore(schedule, merged, now)) return {};
  const first = firstTime(merged, now);
  return schedule.status === 'paused' ? {} : { status: 'active', nextAt: first, ...noReason };
}

/** Whether it has reached its maximum number of occurrences. */
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

async function remove(context: Context, caller: Caller, ref: string): Promise<void> {
  const { database, media } = context;
  const { id, sessionId } = await find(context, caller, ref);
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
  ref: string,
  action: string,
  changesOf: (tx: Transaction, schedule: Schedule) => Promise<Partial<Schedule> | null>,
): Promise<ScheduleView> {
  const { database, clock } = context;
  const { id, sessionId } = await find(context, caller, ref);
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

/** The row and column of a sealed text. The sealer opens the text only with the same place. */
const placeOf = (id: string): string => `schedules.message:${id}`;

async function messageColumns({ storageOf, sealer }: Context, session: Session, id: string, composed: ComposedMessage) {
  const { recipient, file, isUrgent, content, template, mentions, quotedMessageId, ignoreQuoteErrors } = composed;
  const contents: ScheduledContents = {
    content,
    ...(template ? { template } : {}),
    mentions,
    quotedMessageId,
    ignoreQuoteErrors,
  };
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

async function prune({ database, media }: Context, before: Date): Promise<number> {
  let total = 0;
  for (let deleted = batchSize; deleted >= batchSize; total += deleted)
    deleted = await database.write.run(async (tx) => {
      const condition = `status = 'ended' AND "updatedAt" < ? LIMIT ${batchSize}`;
      const ended = await readRows(tx.manager, Schedule, condition, [before.getTime()]);
      for (const { id, version, mediaId } of ended) {
        // Closes: a person changes the schedule after it was read, and it begins again.
        const isDeleted = (await deleteRows(tx, Schedule, { id, version, status: 'ended' })) === 1;
        if (isDeleted && mediaId) await media.remove(tx, [mediaId]);
      }
      return ended.length;
    });
  return total;
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

async function erase(context: Context, accountId: string, person: ErasedPerson, alone: RunAlone): Promise<number> {
  const { database, media } = context;
  let deleted = 0;
  for await (const schedule of allOf(context, accountId)) {
    const { id, mediaId, recipient } = schedule;
    await alone(`schedule ${id}`, async () => {
      if (!person.has(recipient)) return eraseNames(context, schedule, person);
      deleted += await database.write.run(async (tx) => {
        if (mediaId) await media.remove(tx, [mediaId]);
        return deleteRows(tx, Schedule, { id });
      });
    });
  }
  return deleted;
}

/** Removes a person from the name and the message of a schedule for others. */
async function eraseNames(context: Context, schedule: Schedule, person: ErasedPerson): Promise<void> {
  const { database, sealer } = context;
  const { id, version } = schedule;
  const before = contentsOf(context, schedule);
  const rest = person.removeFrom(before) as ScheduledContents | null;
  const isNamed = before !== null && rest !== null && JSON.stringify(rest) !== JSON.stringify(before);
  const after = isNamed ? { ...rest, mentions: before.mentions.filter((mention) => !person.has(mention)) } : null;
  const changes: Partial<Schedule> = {
    ...(person.mayBeIn(schedule.name) ? { name: erased } : {}),
    ...(after && schedule.sealed === null ? { message: after } : {}),
    ...(after && schedule.sealed !== null ? { sealed: sealer.seal(JSON.stringify(after), placeOf(id)) } : {}),
  };
  if (Object.keys(changes).length === 0) return;
  const write = (tx: Transaction) => updateRows(tx, Schedule, { id, version }, { ...changes, version: version + 1 });
  if ((await database.write.run(write)) === 0) throw new Error('A schedule was changed during the erasure.');
}

/** Why a schedule is paused or ended, if no person did it. */
export const scheduleReasons = {
  SESSION_DELETED: messageReasons.SESSION_DELETED,
  SESSION_IDENTITY_CHANGED:
    'The session is linked to another WhatsApp account than the one this schedule was made for. Resume it to send as the current account.',
  FILE_MISSING: 'The file of the schedule is gone. Change its message, then resume it.',
  TEMPLATE_DELETED: 'The template of the schedule was deleted. Change its message, then resume it.',
  COMPLETED: 'All its occurrences are over.',
} as const;

export const reasonOf = (code: keyof typeof scheduleReasons): Pick<Schedule, 'reasonCode' | 'reasonText'> => ({
  reasonCode: code,
  reasonText: scheduleReasons[code],
});
