import type { DataSource } from 'typeorm';
import type { Caller } from '../../accounts/caller.js';
import { readRows } from '../../db/rows.js';
import { cursorAfter, readCursor } from '../../lib/list-cursor.js';
import { Schedule, type ScheduleStatus } from './schedule.entity.js';
import { shownTimesOf } from './times.js';

/** Reads schedules with the times of their next occurrences. */

/** A schedule with the times of its next occurrences. */
export interface ScheduleView {
  schedule: Schedule;
  next: Date[];
}

/** Which schedules are listed, and how many at a time. */
export interface ScheduleQuery {
  sessionId?: string | undefined;
  status?: ScheduleStatus | undefined;
  limit: number;
  cursor?: string | undefined;
}

/** Pass `nextCursor` for the next page; null: this is the last. */
export interface SchedulePage {
  schedules: ScheduleView[];
  nextCursor: string | null;
}

/** Returns a page of a caller's schedules, the oldest first. Throws `VALIDATION_FAILED` for a cursor that no page returned. */
export async function listSchedules(
  reader: DataSource,
  caller: Caller,
  { sessionId, status, limit, cursor }: ScheduleQuery,
): Promise<SchedulePage> {
  const equal = { accountId: caller.accountId, sessionId: sessionId ?? caller.sessionId, status };
  const given = Object.entries(equal).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  const conditions = [...given.map(([column]) => `"${column}" = ?`), ...(cursor === undefined ? [] : ['id > ?'])];
  const parameters = [...given.map(([, value]) => value), ...(cursor === undefined ? [] : [readCursor(cursor).id])];
  const condition = `${conditions.join(' AND ')} ORDER BY id LIMIT ${limit + 1}`;
  const found = await readRows(reader, Schedule, condition, parameters);
  const schedules = found.slice(0, limit);
  const last = schedules.at(-1);
  const hasMore = found.length > limit && last !== undefined;
  return {
    schedules: await viewsOf(schedules),
    nextCursor: hasMore ? cursorAfter({ at: last.createdAt.getTime(), id: last.id }) : null,
  };
}

export const view = (schedule: Schedule): ScheduleView => ({ schedule, next: shownTimesOf(schedule) });

/** Schedules whose times are computed before other requests have their turn. Each takes one or two milliseconds. */
const viewsPerTurn = 10;

export async function viewsOf(schedules: readonly Schedule[]): Promise<ScheduleView[]> {
  const views: ScheduleView[] = [];
  for (const schedule of schedules) {
    views.push(view(schedule));
    if (views.length % viewsPerTurn === 0) await new Promise(setImmediate);
  }
  return views;
}
