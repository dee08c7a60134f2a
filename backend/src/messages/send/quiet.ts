import { messageReasons } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import type { Core } from '../../core.js';
import { lockRows, readRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { quietUntil } from '../../sessions/quiet-hours.js';
import { Session } from '../../sessions/session.entity.js';
import type { Message } from '../message.entity.js';
import type { SendContext } from './context.js';

/**
 * Quiet hours of sessions. A due message that is not urgent waits: it stays `queued` with the reason `QUIET_HOURS`, and `nextAttemptAt` is the end of
 * the quiet hours. So it is not due, and the queries of due messages keep their index: urgent messages are found behind any number of waiting ones.
 *
 * | case | then |
 * | --- | --- |
 * | quiet hours begin after a message was picked | the claim looks at them again, under the lock of the session's row |
 * | they end, or the setting is changed | `releaseQuiet` compares the waiting messages with the setting on every scan |
 * | a message is accepted with an outdated setting | the same |
 */

type QuietSession = Pick<Session, 'accountId' | 'settings'>;

/** Returns the end of the quiet hours of a session at this moment; null outside them. Inside a transaction pass its manager. */
export async function quietEnd(
  { clock }: Pick<Core, 'clock'>,
  where: DataSource | EntityManager,
  { accountId, settings }: QuietSession,
): Promise<Date | null> {
  const { quietHours } = settings;
  if (!quietHours) return null;
  const timezone = quietHours.timezone ?? settings.timezone ?? (await accountTimezone(where, accountId));
  return quietUntil({ quietHours, timezone }, clock.now());
}

async function accountTimezone(where: DataSource | EntityManager, accountId: string): Promise<string> {
  const { rows } = await runStatement<{ timezone: string }>(where, 'SELECT timezone FROM accounts WHERE id = ?', [accountId]);
  return rows[0]?.timezone ?? 'UTC';
}

/** The columns of a message that waits for the end of quiet hours. */
export const quietFields = (end: Date) =>
  ({
    nextAttemptAt: end,
    reasonCode: 'QUIET_HOURS',
    reasonText: `${messageReasons.QUIET_HOURS} They end at ${end.toISOString()}.`,
  }) satisfies Partial<Message>;

/** Rows that one statement changes. */
const batchSize = 500;

/** The whole condition is checked again: on PostgreSQL, another writer may have changed a row after it was selected. */
const setSql = (condition: string): string => `UPDATE messages SET "nextAttemptAt" = ?, "reasonCode" = ?, "reasonText" = ?
  WHERE status = 'queued' AND ${condition}
  AND id IN (SELECT id FROM messages WHERE status = 'queued' AND "sessionId" = ? AND ${condition} LIMIT ${batchSize})`;
const newSql = setSql(`"nextAttemptAt" IS NULL AND NOT "isUrgent"`);
const dueSql = setSql(`"nextAttemptAt" <= ? AND NOT "isUrgent"`);
const otherEndSql = setSql(`"reasonCode" = 'QUIET_HOURS' AND "nextAttemptAt" <> ?`);
const waitingSql = setSql(`"reasonCode" = 'QUIET_HOURS'`);

/** Lets the due messages of a session wait until the end of its quiet hours, except urgent ones. */
export async function holdQuiet(context: Pick<Core, 'database' | 'clock'>, sessionId: string, end: Date): Promise<void> {
  const fields = quietFields(end);
  await inBatches(context, sessionId, newSql, fields);
  await inBatches(context, sessionId, dueSql, fields, context.clock.now().getTime());
}

/** The first and the last end that messages of a session wait for. */
interface Waiting {
  id: string;
  first: number | string | null;
  last: number | string | null;
}

const endsOf = (which: 'MIN' | 'MAX'): string =>
  `(SELECT ${which}(m."nextAttemptAt") FROM messages m WHERE m.status = 'queued' AND m."reasonCode" = 'QUIET_HOURS' AND m."sessionId" = s.id)`;
/** Reads only the partial index of waiting messages. */
export const sessionsSql = `SELECT s.id, ${endsOf('MIN')} AS first, ${endsOf('MAX')} AS last FROM sessions s WHERE EXISTS
  (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."reasonCode" = 'QUIET_HOURS' AND m."sessionId" = s.id)`;

/** Compares the messages that wait for the end of quiet hours with the present settings: releases them, or lets them wait for another end. */
export async function releaseQuiet(context: SendContext): Promise<void> {
  const { database, lanes } = context;
  const { rows } = await runStatement<Waiting>(database.reader, sessionsSql, []);
  for (const { id, first, last } of rows) {
    const [session] = await readRows(database.reader, Session, 'id = ?', [id]);
    const end = session ? await quietEnd(context, database.reader, session) : null;
    if (end === null) {
      await inBatches(context, id, waitingSql, { nextAttemptAt: null, reasonCode: null, reasonText: null });
      lanes.wake(id);
    } else if (Number(first) !== end.getTime() || Number(last) !== end.getTime())
      await inBatches(context, id, otherEndSql, quietFields(end), end.getTime());
  }
}

/** Locks the session's row: of two backends that change the same messages, one waits for the other, and they cannot deadlock. */
async function inBatches(
  { database }: Pick<Core, 'database'>,
  sessionId: string,
  sql: string,
  { nextAttemptAt, reasonCode, reasonText }: Pick<Message, 'nextAttemptAt' | 'reasonCode' | 'reasonText'>,
  ...times: number[]
): Promise<void> {
  const values = [nextAttemptAt?.getTime() ?? null, reasonCode, reasonText, ...times, sessionId, ...times];
  for (let changed = batchSize; changed >= batchSize;)
    changed = await database.write.run(async (tx) => {
      await lockRows(tx, Session, [sessionId]);
      return (await runStatement(tx.manager, sql, values)).affected;
    });
}
