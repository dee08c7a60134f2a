import { lockRows, notAmong, readRowsApart, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { readable } from '../../db/unreadable.js';
import { factorAt } from '../../lib/throttle.js';
import { Session } from '../../sessions/session.entity.js';
import { heldUntil, Message } from '../message.entity.js';
import type { SendContext } from './context.js';
import { reportMessage, type MessageRef } from './isolation.js';
import { holdQuiet, quietEnd } from './quiet.js';
import { blockedChats } from './takeovers.js';

/** Which message is next: the queries on the `queued` rows. */

/** Returns the sessions with a due message. It queries each session by itself, because the time of a scan of all queued rows grows with the queue. */
const dueSql = `SELECT s.id FROM sessions s JOIN accounts a ON a.id = s."accountId" WHERE a."isActive" AND (
  EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."nextAttemptAt" IS NULL)
  OR EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."nextAttemptAt" <= ?))`;

/** The connected sessions with a message that has been due since before a time, and none that is being sent or waits for the pace. Parameters: the time, twice. */
const overdueSql = `SELECT s.id FROM sessions s JOIN accounts a ON a.id = s."accountId"
  WHERE a."isActive" AND s.status = 'connected' AND s."deletedAt" IS NULL
  AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.status = 'sending' AND m."sessionId" = s.id)
  AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."reasonCode" IN ('PACING', 'THROTTLED'))
  AND (EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."nextAttemptAt" IS NULL AND m."queuedAt" <= ?)
    OR EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."nextAttemptAt" <= ?))`;

/** A retry that is further ahead than its schedule allows: the clock was set back since. Parameters: now, interval. Held messages have no schedule, and those that wait for the end of quiet hours have another one. */
const tooFarAhead = `attempts > 0 AND ("reasonCode" IS NULL OR "reasonCode" <> 'QUIET_HOURS') AND "nextAttemptAt" < ${heldUntil.getTime()} AND "nextAttemptAt" > CAST(? AS bigint) + CAST(? AS bigint) * (CAST(1 AS bigint) << (attempts - 1))`;
const aheadSql = `SELECT s.id FROM sessions s WHERE EXISTS
  (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m."sessionId" = s.id AND m."nextAttemptAt" > ? AND ${tooFarAhead})`;
const correctSql = `UPDATE messages SET "nextAttemptAt" = CAST(? AS bigint) + CAST(? AS bigint) * (CAST(1 AS bigint) << (attempts - 1))
  WHERE status = 'queued' AND "sessionId" = ? AND ${tooFarAhead}`;

/** Wakes every connected session with a message that has been due for a while. Returns the number of sessions. */
export async function wakeOverdueSessions({ database, clock, lanes }: SendContext, forMs: number): Promise<number> {
  const before = clock.now().getTime() - forMs;
  const { rows } = await runStatement<{ id: string }>(database.reader, overdueSql, [before, before]);
  for (const { id } of rows) lanes.wake(id);
  return rows.length;
}

/** Wakes every session with a due message. */
export async function wakeDueSessions({ database, clock, lanes }: SendContext): Promise<void> {
  const { rows } = await runStatement<{ id: string }>(database.reader, dueSql, [clock.now().getTime()]);
  for (const { id } of rows) lanes.wake(id);
}

/** Brings retries forward that are further ahead than their schedule allows, because the clock was set back. Returns their number. */
export async function correctRetryTimes({ database, clock, options }: SendContext): Promise<number> {
  const now = clock.now().getTime();
  const interval = options.retryIntervalMs;
  const { rows } = await runStatement<{ id: string }>(database.reader, aheadSql, [now + interval, now, interval]);
  let corrected = 0;
  for (const { id } of rows) {
    const parameters = [now, interval, id, now, interval];
    corrected += (await database.write.run((tx) => runStatement(tx.manager, correctSql, parameters))).affected;
  }
  return corrected;
}

/**
 * Returns the oldest due message that quiet hours and the pace allow now. If the pace delays all of them, records that on the oldest one and wakes
 * the session in time.
 */
export async function nextDue(context: SendContext, session: Session): Promise<Message | null> {
  const { database, pacing, lanes, steadyMs } = context;
  const { id: sessionId } = session;
  const quiet = await quietEnd(context, database.reader, session);
  if (quiet) await holdQuiet(context, sessionId, quiet);
  const pace = await pacing.check(database.reader, session, steadyMs());
  if (pace.isAhead) {
    await database.write.run(async (tx) => {
      await lockRows(tx, Session, [sessionId]);
      await pacing.rebase(tx, sessionId, steadyMs());
    });
    return nextDue(context, session);
  }
  const message = pace.waitMs > 0 ? null : await oldestDue(context, sessionId, pace.readyChats);
  if (message || pace.isFree) return message;
  const delayed = await oldestDue(context, sessionId, { condition: '1 = 1', parameters: [] });
  if (!delayed) return null;
  const waitMs = pace.waitMs > 0 ? pace.waitMs : await pace.firstChatMs();
  // The pace no longer delays it, or it was accepted in the meantime.
  if (waitMs === null) return delayed;
  const isThrottled = factorAt(readable(session.throttle, null), steadyMs()) < 1;
  const reasonCode = isThrottled ? 'THROTTLED' : 'PACING';
  if (delayed.reasonCode !== reasonCode)
    await database.write.run((tx) =>
      updateRows(tx, Message, { id: delayed.id, status: 'queued' }, { reasonCode, reasonText: null }),
    );
  lanes.wakeIn(sessionId, waitMs);
  return null;
}

/**
 * Returns the message that was accepted first, where a scheduled one counts from its time: ids sort by the time of their creation. A row that cannot be
 * read pauses its chat.
 */
async function oldestDue(
  context: SendContext,
  sessionId: string,
  chats: { condition: string; parameters: readonly unknown[] },
): Promise<Message | null> {
  const { reader } = context.database;
  const excluded = excludedChats(context, sessionId);
  const others = excluded.length > 0 ? notAmong(reader, 'chatId', excluded) : null;
  const condition = others ? `${chats.condition} AND ${others.condition}` : chats.condition;
  const parameters = others ? [...chats.parameters, others.parameter] : chats.parameters;
  let unreadable = 0;
  const oldest = async (due: string, values: readonly unknown[]): Promise<Message | undefined> => {
    const [message] = await readRowsApart(
      reader,
      Message,
      `status = 'queued' AND "sessionId" = ? AND ${due} AND ${condition} ORDER BY "nextAttemptAt", id LIMIT 1`,
      [sessionId, ...values, ...parameters],
      ({ id, accountId, chatId }, error) => {
        unreadable += 1;
        pauseChat(context, { id: String(id), accountId: String(accountId), sessionId, chatId: String(chatId) }, error);
      },
    );
    return message;
  };
  // Two queries, both in the order of the index `messages_due`. One query with OR, or by id alone, would scan the queue for every send.
  const first = await oldest('"nextAttemptAt" IS NULL', []);
  const retry = await oldest('"nextAttemptAt" <= ?', [context.clock.now().getTime()]);
  if (unreadable > 0) return oldestDue(context, sessionId, chats);
  if (retry && first) return isBefore(retry, first) ? retry : first;
  return retry ?? first ?? null;
}

/** Whether a message is sent before another one. */
function isBefore(one: Message, other: Message): boolean {
  const since = ({ scheduledAt, createdAt }: Message): number => (scheduledAt ?? createdAt).getTime();
  return since(one) === since(other) ? one.id < other.id : since(one) < since(other);
}

/** Chats of a session whose first message cannot be sent now. */
function excludedChats(context: SendContext, sessionId: string): string[] {
  const prefix = `${sessionId} `;
  const paused = context.pausedChats.list().flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));
  return [...paused, ...blockedChats(context, sessionId)];
}

/** The name of a message's chat in `pausedChats`. */
export const pausedChatOf = ({ sessionId, chatId }: Pick<Message, 'sessionId' | 'chatId'>): string => `${sessionId} ${chatId}`;

/** Pauses the chat of a message that cannot be claimed and reports the message. The order within the chat is preserved. */
export function pauseChat(context: SendContext, message: MessageRef & Pick<Message, 'chatId'>, error: unknown): void {
  const inMs = context.pausedChats.add(pausedChatOf(message));
  context.lanes.wakeIn(message.sessionId, inMs);
  const sentence = 'A message could not be claimed; its chat is retried later, and the other chats continue.';
  reportMessage(context, sentence, message, inMs, error);
}
