import type { SessionSettings } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import { sharedNow } from '../../db/shared-time.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { readable } from '../../db/unreadable.js';
import { throttledPace, throttleSteps, type Throttle } from '../../lib/throttle.js';
import { addToWindow, pruneWindow, refundFromWindow, waitForRoom, type WindowState } from '../../lib/window-state.js';

/** A session with its pace: `perMinute`, `chatGapMs` and `jitterMs`. */
export interface PacedSession {
  id: string;
  settings: Pick<SessionSettings, 'pacing'>;
  /** Slows the pace down; see lib/throttle.ts. */
  throttle?: Throttle | null;
}

/** The sends that the pace allows a session now. */
export interface PaceView {
  /** Milliseconds until the session may send anything. 0 means now. */
  waitMs: number;
  /** A condition on `messages` that excludes chats whose last message is too recent. `1 = 1` if there is no gap. */
  readyChats: { condition: string; parameters: readonly unknown[] };
  /** Milliseconds until the first excluded chat may get its next message. Null if no chat is excluded. Queries the database. */
  firstChatMs: () => Promise<number | null>;
  /** Whether the pace delays nothing now, neither the session nor any chat. */
  isFree: boolean;
  /** Whether the stored times are ahead of the clock, because it was set back. The caller must `rebase` and check again. */
  isAhead: boolean;
}

/**
 * How fast a session may send: `perMinute` in any 60 seconds, and a gap between two messages to one chat. A single message after a pause is
 * sent at once; only a burst is delayed. With `perMinute` 0 both limits are off, and no verb uses the database.
 *
 * Hand-overs are stored and counted in the transaction that claims the next message, which has locked the session's row. So the pace applies
 * across all backends of a database and survives restarts.
 *
 * | case | defence |
 * | --- | --- |
 * | two backends check at once and both find room | `claim` checks again under the lock of the session's row; the second finds no room |
 * | the process dies after a claim | the claim counts, whether or not the message was sent |
 * | a clock is set back | `rebase` moves stored times that are ahead of the clock back with it, so that elapsed time still counts |
 *
 * `nowMs` is the caller's own time (see `steadyTime`). PostgreSQL's clock replaces it where several backends share a database.
 */
export interface Pacing {
  /** Returns what the session may send now. It takes no lock, so only `claim` decides. */
  check(where: DataSource, session: PacedSession, nowMs: number): Promise<PaceView>;
  /**
   * Counts one hand-over. Returns false and counts nothing if the pace does not allow it now. The transaction must have locked the session's
   * row.
   */
  claim(tx: Transaction, session: PacedSession, messageId: string, nowMs: number): Promise<boolean>;
  /**
   * Dates the session's last claim to now, when its outcome is known: a slow hand-over reached WhatsApp late, and the limit and the gap count
   * from then. The transaction must have locked the session's row. May run twice.
   */
  recordEnd(tx: Transaction, session: PacedSession, messageId: string, nowMs: number): Promise<void>;
  /** Moves stored times that are ahead of the clock back by as much as it was set back. The transaction must have locked the session's row. */
  rebase(tx: Transaction, sessionId: string, nowMs: number): Promise<void>;
}

const windowMs = 60_000;
/** Random shares of the jitter are stored in thousandths, so that a changed setting applies to chats that wait already. */
const jitterShares = 1_000;
/** Rows that no gap needs any more are deleted by a session's first claim in each period of this length. */
const cleanUpMs = 60_000;
/** The longest gap and jitter that a session's settings allow, slowed down by the strongest throttle. Milliseconds. */
const maxGapMs = 660_000 / Math.min(...throttleSteps);

const unpaced: PaceView = {
  waitMs: 0,
  readyChats: { condition: '1 = 1', parameters: [] },
  firstChatMs: () => Promise.resolve(null),
  isFree: true,
  isAhead: false,
};

const upsertPaceSql = `INSERT INTO session_pace ("sessionId", buckets, "updatedAt") VALUES (?, ?, ?)
  ON CONFLICT ("sessionId") DO UPDATE SET buckets = excluded.buckets, "updatedAt" = excluded."updatedAt"`;
const upsertSendSql = `INSERT INTO paced_sends ("messageId", "sessionId", at, jitter) VALUES (?, ?, ?, ?)
  ON CONFLICT ("messageId") DO UPDATE SET at = excluded.at, jitter = excluded.jitter`;
const deleteOldSql = 'DELETE FROM paced_sends WHERE "sessionId" = ? AND at <= ?';
const readySql = `"chatId" NOT IN (SELECT sent."chatId" FROM paced_sends p JOIN messages sent ON sent.id = p."messageId"
  WHERE p."sessionId" = ? AND p.at > ? AND p.at + p.jitter * ? / ${jitterShares} > ?)`;
const firstReadySql = `SELECT MIN(p.at + p.jitter * ? / ${jitterShares}) AS at FROM paced_sends p
  WHERE p."sessionId" = ? AND p.at > ? AND p.at + p.jitter * ? / ${jitterShares} > ?`;
const chatWaitsSql = `SELECT 1 AS one FROM messages m WHERE m.id = ? AND NOT (${readySql.replace('"chatId"', 'm."chatId"')})`;

/** `random` returns numbers from 0 to below 1, for the jitter. */
export const createPacing = (random: () => number): Pacing => ({
  check,
  claim: (tx, session, messageId, nowMs) => claim(random, tx, session, messageId, nowMs),
  recordEnd,
  rebase,
});

/** The session with the pace that it has now. */
const throttled = ({ id, settings, throttle }: PacedSession, nowMs: number): PacedSession => ({
  id,
  settings: { pacing: throttledPace(settings.pacing, readable(throttle ?? null, null), nowMs) },
});

async function check(where: DataSource, given: PacedSession, nowMs: number): Promise<PaceView> {
  const session = throttled(given, nowMs);
  const { pacing } = session.settings;
  if (pacing.perMinute === 0) return unpaced;
  const { now, buckets, updatedAt } = await readPace(where, session.id, nowMs);
  const waitMs = waitForRoom(pruneWindow(buckets, windowMs, now), pacing.perMinute, windowMs, now);
  const hasGap = pacing.chatGapMs + pacing.jitterMs > 0;
  return {
    waitMs,
    readyChats: hasGap ? { condition: readySql, parameters: gapParameters(session, now) } : unpaced.readyChats,
    firstChatMs: hasGap ? () => firstChatMs(where, session, now) : unpaced.firstChatMs,
    isFree: waitMs === 0 && !hasGap,
    isAhead: updatedAt > now,
  };
}

async function claim(
  random: () => number,
  tx: Transaction,
  given: PacedSession,
  messageId: string,
  nowMs: number,
): Promise<boolean> {
  const session = throttled(given, nowMs);
  const { pacing } = session.settings;
  if (pacing.perMinute === 0) return true;
  const { now, buckets, updatedAt } = await readPace(tx.manager, session.id, nowMs);
  if (updatedAt > now) return false;
  const window = pruneWindow(buckets, windowMs, now);
  const hasGap = pacing.chatGapMs + pacing.jitterMs > 0;
  if (waitForRoom(window, pacing.perMinute, windowMs, now) > 0) return false;
  if (hasGap && (await chatWaits(tx, session, messageId, now))) return false;
  addToWindow(window, windowMs, now);
  await writePace(tx, session.id, window, now);
  if (hasGap) await runStatement(tx.manager, upsertSendSql, [messageId, session.id, now, Math.round(random() * jitterShares)]);
  // The session's own times decide this. A count over all sessions could leave one of them out for ever.
  if (Math.floor(updatedAt / cleanUpMs) !== Math.floor(now / cleanUpMs))
    await runStatement(tx.manager, deleteOldSql, [session.id, now - maxGapMs]);
  return true;
}

async function recordEnd(tx: Transaction, given: PacedSession, messageId: string, nowMs: number): Promise<void> {
  const session = throttled(given, nowMs);
  if (session.settings.pacing.perMinute === 0) return;
  const { now, buckets, updatedAt } = await readPace(tx.manager, session.id, nowMs);
  if (updatedAt > now || buckets.length === 0) return;
  refundFromWindow(buckets);
  const window = pruneWindow(buckets, windowMs, now);
  addToWindow(window, windowMs, now);
  await writePace(tx, session.id, window, now);
  await runStatement(tx.manager, 'UPDATE paced_sends SET at = ? WHERE "messageId" = ?', [now, messageId]);
}

async function rebase(tx: Transaction, sessionId: string, nowMs: number): Promise<void> {
  const { now, buckets, updatedAt } = await readPace(tx.manager, sessionId, nowMs);
  const aheadMs = updatedAt - now;
  if (aheadMs <= 0) return;
  const moved = buckets.map(({ at, count }) => ({ at: at - aheadMs, count }));
  await writePace(tx, sessionId, moved, now);
  await runStatement(tx.manager, 'UPDATE paced_sends SET at = at - ? WHERE "sessionId" = ?', [aheadMs, sessionId]);
}

interface StoredPace {
  now: number | string;
  buckets: string | null;
  updatedAt: number | string | null;
}

/** Reads the session's window and the shared time in one statement. */
async function readPace(
  where: DataSource | EntityManager,
  sessionId: string,
  nowMs: number,
): Promise<{ now: number; buckets: WindowState; updatedAt: number }> {
  const now = sharedNow(where, nowMs);
  const sql = `SELECT ${now.sql} AS now, p.buckets AS buckets, p."updatedAt" AS "updatedAt"
    FROM (SELECT 1 AS one) single LEFT JOIN session_pace p ON p."sessionId" = ?`;
  const { rows } = await runStatement<StoredPace>(where, sql, [...now.parameters, sessionId]);
  const [row] = rows;
  return { now: Number(row!.now), buckets: parseBuckets(row!.buckets), updatedAt: Number(row!.updatedAt ?? 0) };
}

async function writePace(tx: Transaction, sessionId: string, buckets: WindowState, now: number): Promise<void> {
  const stored = JSON.stringify(buckets.map(({ at, count }) => [at, count]));
  await runStatement(tx.manager, upsertPaceSql, [sessionId, stored, now]);
}

/** Parses what `writePace` stored. */
const parseBuckets = (stored: string | null): WindowState =>
  stored === null ? [] : (JSON.parse(stored) as [number, number][]).map(([at, count]) => ({ at, count }));

/** The parameters of `readySql`. */
const gapParameters = ({ id, settings: { pacing } }: PacedSession, now: number): unknown[] => [
  id,
  now - pacing.chatGapMs - pacing.jitterMs,
  pacing.jitterMs,
  now - pacing.chatGapMs,
];

async function firstChatMs(where: DataSource, session: PacedSession, now: number): Promise<number | null> {
  const [id, since, jitterMs, until] = gapParameters(session, now);
  const { rows } = await runStatement<{ at: number | string | null }>(where, firstReadySql, [
    jitterMs,
    id,
    since,
    jitterMs,
    until,
  ]);
  const at = rows[0]?.at ?? null;
  return at === null ? null : Math.max(1, Number(at) + session.settings.pacing.chatGapMs - now);
}

async function chatWaits(tx: Transaction, session: PacedSession, messageId: string, now: number): Promise<boolean> {
  return (await runStatement(tx.manager, chatWaitsSql, [messageId, ...gapParameters(session, now)])).rows.length > 0;
}
